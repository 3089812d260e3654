"""The reference model's outputs on one provider, with the noise floor around each of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from onnx_act.errors import EvidenceError, OnnxActError
from onnx_act.evidence.compare import as_float64, is_float
from onnx_act.evidence.noise import (
    NoiseFloor,
    OutputNoise,
    jittered,
    root_mean_square,
    rounded_again,
)
from onnx_act.evidence.precision import precision_of
from onnx_act.evidence.readable import run_readable
from onnx_act.graph.model import load_model
from onnx_act.graph.rounded_again import weights_rounded_again
from onnx_act.graph.statistics import coarsest_float, float_weights
from onnx_act.graph.widen import widened
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.session import CUDA, OptimizationLevel, SessionSettings, open_session
from onnx_act.runtime.target import short_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from onnx_act.graph.model import OnnxModel
    from onnx_act.runtime.datasets import Dataset
    from onnx_act.runtime.session import PlacedNode, Session
    from onnx_act.runtime.tensors import Array, TensorSpec

LEVELS = tuple(OptimizationLevel)

_JITTERS = 2
# A reference that is further off than one part in 128 between providers is not noisy, it is
# computed differently; counting that as noise would let anything pass.
_GROSS = 2.0**-7
# Sums are parted by threads, and so rounded otherwise. No more of them than the machine has cores:
# threads that wait for each other turn round, and that takes the cores from those they wait for.
_THREADS = (1, 2, 4)
# Weights are moved in memory: as many bytes of them as that.
_MOST_WEIGHTS = 1 << 28


@dataclass(slots=True)
class Baseline:
    """A reference on one provider.

    Attributes:
        inputs: The reference's inputs.
        outputs: Those of its outputs that are tensors.
        feeds: What it was run on.
        noises: For every feed, the noise of every output by name.
        failing_levels: Optimisation levels at which the reference does not run, with the reason.
        placed_elsewhere: Its nodes that another provider runs; None when unknown.
        notes: What a reader of the verdict should know.
        conditions: What noise was measured over, in words.
        rounding_is_measured: Whether noise holds what rounding to 16 bits does, by a run without.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    feeds: Dataset
    noises: list[dict[str, OutputNoise]]
    failing_levels: dict[OptimizationLevel, str] = field(default_factory=dict)
    placed_elsewhere: tuple[PlacedNode, ...] | None = None
    notes: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    rounding_is_measured: bool = False

    def scale(self, output: str) -> float:
        """The usual magnitude of an output: a sixteenth of the median over feeds of its RMS.

        Only feeds on which the output is (nearly) zero are smaller than that; rounding errors
        on those still come from intermediate values of ordinary size. An output that is zero
        on every feed has no magnitude, and 1 is taken.
        """
        sizes = [noise[output].rms for noise in self.noises]
        median = float(np.median(sizes)) if sizes else 0.0
        return median / 16.0 or max(sizes, default=0.0) / 16.0 or 1.0

    def floor(self, output: str) -> NoiseFloor:
        """The noise floor of an output over all feeds; its size over those that are not extreme."""
        noises = [noise[output] for noise in self.noises]
        usual = [
            n for n, left_out in zip(noises, self.feeds.is_extreme, strict=True) if not left_out
        ]
        return NoiseFloor(
            max_abs=max((noise.max_abs for noise in usual), default=0.0),
            rms=max((noise.total_rms for noise in usual), default=0.0),
            mismatches=sum(noise.mismatches for noise in noises),
            unstable=sum(int(noise.unstable.sum()) for noise in noises),
            shape_changes=any(noise.shape_changes for noise in noises),
        )

    def add_other_provider(self, other: Sequence[Mapping[str, Array]], name: str) -> None:
        """Take in what the same model gave on another provider, where that is near enough."""
        gross = set()
        for noises, results in zip(self.noises, other, strict=True):
            for output, noise in noises.items():
                if _is_gross(noise, results[output]):
                    gross.add(output)
                else:
                    noise.add(results[output])
        self.notes += [
            f"the reference itself gives another {output!r} on {short_name(name)}; that "
            f"difference is not counted as noise"
            for output in sorted(gross)
        ]


def equivalence_settings(
    provider: str, threads: int, *, production: bool = False
) -> SessionSettings:
    """How both models are opened for a verdict on their equivalence.

    TF32 is off on CUDA: with 10 bits of mantissa it is a rounding error larger than the faults
    that are looked for. In production it is what the provider makes it, which is on.
    """
    options = (("use_tf32", "0"),) if provider == CUDA and not production else ()
    return SessionSettings(
        provider, OptimizationLevel.DISABLE, threads=threads, provider_options=options
    )


def measure_baseline(
    reference: Path,
    settings: SessionSettings,
    request: FeedRequest | Dataset,
    *,
    most: int,
    candidate: Path | None = None,
) -> Baseline:
    """Run the reference in every condition that should not matter.

    The baseline is its output without optimisation. Around it: the same again, inputs moved by
    a rounding error (weights, where no input is a float), every optimisation level, and one, two
    and four threads instead of the default, as far as there are cores. A model of 16 bits also
    runs without rounding to them, and so with those of its weights moved that the candidate
    rounded again. An output that moved in jumps is shaken harder on every feed, for where they
    fall is chance.

    Args:
        reference: The unmodified model.
        settings: Provider and threads.
        request: What to run it on, or the feeds themselves.
        most: The most feeds to use.
        candidate: The model that will be judged, of which only weights are read.

    Raises:
        EvidenceError: The reference does not run on this provider.
    """
    try:
        baseline = _without_optimisation(reference, settings, request, most)
    except EvidenceError as error:
        where = short_name(settings.provider)
        raise EvidenceError(f"the reference does not run on {where}: {error}") from error
    if not any(is_float(array) for feed in baseline.feeds.feeds for array in feed.values()):
        _add_weight_jitter(baseline, reference, settings)
    conditions = [replace(settings, level=level) for level in LEVELS[1:]]
    conditions += [
        replace(settings, level=OptimizationLevel.ALL, threads=threads)
        for threads in _THREADS
        # Where it was said with how many threads to run, fewer than those are what else may be.
        if threads <= (os.cpu_count() or 1)
        and (settings.threads == 0 or threads < settings.threads)
    ]
    for condition in conditions:
        if condition.level not in baseline.failing_levels:
            _add_condition(baseline, reference, condition)
            if condition.threads != settings.threads:
                words = "1 thread" if condition.threads == 1 else f"{condition.threads} threads"
                baseline.conditions.append(words)
    _add_wide(baseline, reference, settings, candidate)
    jumping = _jumping(baseline)
    if any(jumping):
        _add_jitter(baseline, open_session(reference, settings), jumping, strong=True)
    return baseline


def run_all(session: Session, feeds: Dataset) -> list[dict[str, Array]]:
    """Every tensor output of a session on every feed."""
    names = [spec.name for spec in session.tensor_outputs]
    return [
        dict(zip(names, run_readable(session, feed, names), strict=True)) for feed in feeds.feeds
    ]


def _without_optimisation(
    reference: Path, settings: SessionSettings, request: FeedRequest | Dataset, most: int
) -> Baseline:
    """The baseline with the noise that needs no other session."""
    session = open_session(reference, settings)
    feeds = feeds_for(session, request) if isinstance(request, FeedRequest) else request
    feeds = feeds.first(most)
    if not session.tensor_outputs:
        raise EvidenceError("it has no output that is a tensor")
    baseline = Baseline(
        session.inputs,
        session.tensor_outputs,
        feeds,
        [
            {name: OutputNoise(array) for name, array in results.items()}
            for results in run_all(session, feeds)
        ],
        placed_elsewhere=session.placed_elsewhere,
    )
    baseline.notes += [
        f"output {spec.name!r} is a {spec.dtype} and is not judged"
        for spec in session.outputs
        if not spec.is_tensor
    ]
    _add_repetition(baseline, session)
    names = [spec.name for spec in baseline.outputs]
    _add_jitter(baseline, session, [names] * len(baseline.noises))
    return baseline


def _add_repetition(baseline: Baseline, session: Session) -> None:
    names = [spec.name for spec in baseline.outputs]
    for noises, feed in zip(baseline.noises, baseline.feeds.feeds, strict=True):
        for name, result in zip(names, run_readable(session, feed, names), strict=True):
            noises[name].add(result)
    moved = [
        name
        for name in names
        if any(n[name].max_abs > 0 or n[name].mismatches for n in baseline.noises)
    ]
    if moved:
        baseline.notes.append(
            f"the reference gives different results when it is run twice ({', '.join(moved)})"
        )


def _add_jitter(
    baseline: Baseline, session: Session, wanted: Sequence[Sequence[str]], *, strong: bool = False
) -> None:
    """Move inputs by rounding errors, and take in what that does to outputs, named by feed."""
    feeds = zip(baseline.noises, baseline.feeds.feeds, wanted, strict=True)
    for index, (noises, feed, outputs) in enumerate(feeds):
        for repetition in range(_JITTERS if outputs else 0):
            moved = jittered(feed, np.random.default_rng((index, repetition)), strong=strong)
            if moved is None:
                return
            for name, result in zip(outputs, run_readable(session, moved, outputs), strict=True):
                noises[name].add(result)


def _add_weight_jitter(baseline: Baseline, reference: Path, settings: SessionSettings) -> None:
    """Move the weights of a model whose inputs cannot be moved: tokens have no rounding error."""
    weights = float_weights(load_model(reference), _MOST_WEIGHTS)
    if not weights:
        return
    for repetition in range(_JITTERS):
        moved = jittered(weights, np.random.default_rng(repetition))
        session = open_session(reference, settings, moved)
        for noises, results in zip(baseline.noises, run_all(session, baseline.feeds), strict=True):
            for name, result in results.items():
                noises[name].add(result)


def _add_wide(
    baseline: Baseline, reference: Path, settings: SessionSettings, candidate: Path | None
) -> None:
    """Run a 16-bit reference without rounding to 16 bits: how far that moves it is its rounding.

    On the CPU no other condition shows it: wherever a kernel is missing, and that is nearly
    everywhere, the same casts stand at every optimisation level.
    """
    model = load_model(reference)
    if coarsest_float(model) not in {"float16", "bfloat16"}:
        return
    if not _add_wide_run(baseline, widened(model, _MOST_WEIGHTS), settings):
        return
    baseline.rounding_is_measured = True
    baseline.conditions.append("no rounding to 16 bits")
    weights = {} if candidate is None else _rounded_again(model, candidate)
    if not weights:
        return
    for repetition in range(_JITTERS):
        moved = rounded_again(weights, np.random.default_rng(repetition))
        _add_wide_run(baseline, widened(model, _MOST_WEIGHTS, moved), settings)
    what = "1 weight" if len(weights) == 1 else f"{len(weights)} weights"
    baseline.conditions.append(f"{what} rounded again")


def _rounded_again(reference: OnnxModel, candidate: Path) -> dict[str, Array]:
    try:
        return weights_rounded_again(reference, load_model(candidate), _MOST_WEIGHTS)
    except OnnxActError:
        # What cannot be read for this may still run; it is only allowed less.
        return {}


def _add_wide_run(baseline: Baseline, wide: bytes | None, settings: SessionSettings) -> bool:
    """Take in a run of the reference in float32; False where there is none, or it is another."""
    if wide is None:
        return False
    try:
        session = open_session(wide, settings)
        floats = {spec.name for spec in session.inputs if spec.dtype == "float32"}
        results = [
            session.run({k: v.astype(np.float32) if k in floats else v for k, v in feed.items()})
            for feed in baseline.feeds.feeds
        ]
    except EvidenceError:
        # An operator that only has 16 bits, or types that are computed: depth stands in for it.
        return False
    names = [spec.name for spec in session.outputs]
    by_name = [dict(zip(names, arrays, strict=True)) for arrays in results]
    outputs = [spec.name for spec in baseline.outputs]
    near = [
        not _is_gross(noises[name], arrays[name])
        for noises, arrays in zip(baseline.noises, by_name, strict=True)
        for name in outputs
    ]
    if not all(near):
        return False
    for noises, arrays in zip(baseline.noises, by_name, strict=True):
        for name in outputs:
            noises[name].add(arrays[name])
    return True


def _jumping(baseline: Baseline) -> list[list[str]]:
    """For each feed, the outputs whose noise comes in jumps, on it or on any that is not extreme.

    An extreme feed speaks for itself alone: what an exponential makes of a rounding error of a huge
    number is a jump, and to shake the others for it would allow them more than they move.
    """
    here = [
        {
            spec.name
            for spec in baseline.outputs
            if noises[spec.name].mismatches
            or noises[spec.name].comes_in_jumps(precision_of(spec.dtype))
        }
        for noises in baseline.noises
    ]
    extreme = baseline.feeds.is_extreme
    usual = {
        name for names, alone in zip(here, extreme, strict=True) if not alone for name in names
    }
    return [sorted(usual | names) for names in here]


def _add_condition(baseline: Baseline, reference: Path, settings: SessionSettings) -> None:
    try:
        session = open_session(reference, settings)
        results = run_all(session, baseline.feeds)
    except EvidenceError as error:
        baseline.failing_levels[settings.level] = str(error)
        baseline.notes.append(
            f"the reference itself does not run at level {settings.level.value}: {error}"
        )
        return
    for noises, arrays in zip(baseline.noises, results, strict=True):
        for name, array in arrays.items():
            noises[name].add(array)


def _is_gross(noise: OutputNoise, other: Array) -> bool:
    if other.shape != noise.baseline.shape:
        return True
    if not noise.is_float:
        return False
    r, o = as_float64(noise.baseline), as_float64(other)
    both = np.isfinite(r) & np.isfinite(o)
    return root_mean_square(o[both] - r[both]) > _GROSS * noise.rms
