"""The same inner values of two models, run side by side and compared, a chunk at a time."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.errors import EvidenceError
from onnx_act.evidence.baseline import equivalence_settings
from onnx_act.evidence.compare import as_float64
from onnx_act.evidence.looking import cut_by_size, opened, value_sizes
from onnx_act.evidence.noise import OutputNoise, jittered, root_mean_square
from onnx_act.evidence.pairing import FeedAdapter
from onnx_act.evidence.precision import precision_of
from onnx_act.evidence.tolerance import judge_output
from onnx_act.graph.statistics import coarsest_float, float_weights
from onnx_act.graph.taps import tapped
from onnx_act.graph.widen import widened
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.session import OptimizationLevel, open_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from onnx_act.graph.model import OnnxModel
    from onnx_act.runtime.datasets import Dataset
    from onnx_act.runtime.session import Session
    from onnx_act.runtime.tensors import Array

_JITTERS: Final = 2
_FLIP_FACTOR: Final = 3
_SHORT: Final = frozenset({"float16", "bfloat16"})
# What is further off than one part in 128 is computed otherwise, and not noise.
_GROSS: Final = 2.0**-7
# Weights are moved in memory, where no input can be: as many bytes of them as that.
_MOST_WEIGHTS: Final = 1 << 28
# The usual magnitude of a value is at least this share of its median over feeds, as of outputs.
_SCALE_SHARE: Final = 1.0 / 16.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A value to compare.

    Attributes:
        reference: its name in the reference.
        candidate: its name in the candidate.
        depth: operators on the longest path to it.
    """

    reference: str
    candidate: str
    depth: int


@dataclass(slots=True)
class Compared:
    """One value over all feeds.

    Attributes:
        severity: how many times as far off as rounding explains, at the worst.
        criterion: what that comes from, see `onnx_act.evidence.tolerance.Judgement`.
        max_abs: the largest absolute difference.
        noise: the largest absolute difference of the reference from itself.
        is_identical: whether it is the same to the last bit.
        low: the least finite number it held in the reference; NaN where there was none.
        high: the greatest.
        at_feed: the number of the feed of `max_abs`, -1 where there is none.
        at_index: the position there.
        at_reference: the reference there.
        at_candidate: the candidate there.
    """

    severity: float = 0.0
    criterion: str = "element"
    max_abs: float = 0.0
    noise: float = 0.0
    is_identical: bool = True
    low: float = math.nan
    high: float = math.nan
    at_feed: int = -1
    at_index: tuple[int, ...] = ()
    at_reference: float = math.nan
    at_candidate: float = math.nan


class Comparison:
    """Two models, ready to be looked into.

    Args:
        models: the reference and the candidate.
        inputs: the candidate's name of each input of the reference.
        provider: the full name of an execution provider.
        threads: threads within an operator.
        request: what to run on.
        most_feeds: the most feeds of a data set that are used.
        folder: for models that hold all of their weights.

    Raises:
        EvidenceError: the reference does not run.
        UsageError: shapes or data do not fit it.
    """

    def __init__(
        self,
        *,
        models: tuple[OnnxModel, OnnxModel],
        inputs: Mapping[str, str],
        provider: str,
        threads: int,
        request: FeedRequest,
        most_feeds: int,
        folder: Path,
    ) -> None:
        self._reference, self._candidate = models
        self._inputs = inputs
        self._settings = equivalence_settings(provider, threads)
        self._folder = folder
        self._coarsest = coarsest_float(self._reference) or ""
        self._notes: dict[str, None] = {}
        with self._session(self._reference, (), OptimizationLevel.DISABLE) as session:
            self._feeds: Dataset = feeds_for(session, request).first(most_feeds)
        self._moved = self._movable_weights()

    @property
    def feed_kinds(self) -> tuple[str, ...]:
        """What each feed holds."""
        return self._feeds.origin

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the comparison should know."""
        return tuple(self._notes)

    def chunks(self, wanted: Sequence[Wanted], most_bytes: int) -> Iterator[list[Wanted]]:
        """Cut a list so that what one run returns stays within some bytes; at least one value."""
        by_name = {w.reference: w for w in wanted}
        sizes = value_sizes(self._reference, self._feeds)
        for names in cut_by_size(list(by_name), sizes, most_bytes):
            yield [by_name[name] for name in names]

    def compare(self, wanted: Sequence[Wanted]) -> dict[str, Compared]:
        """Run both models and compare these values, those that are tensors in both.

        Raises:
            EvidenceError: a model does not run.
        """
        with ExitStack() as stack:
            own = [w.reference for w in wanted]
            plain = stack.enter_context(
                self._session(self._reference, own, OptimizationLevel.DISABLE)
            )
            try:
                other = stack.enter_context(
                    self._session(
                        self._candidate, [w.candidate for w in wanted], OptimizationLevel.DISABLE
                    )
                )
                adapt = FeedAdapter(plain.inputs, other)
            except EvidenceError as error:
                raise EvidenceError(f"the candidate does not run: {error}") from error
            noisy = self._noisy_sessions(stack, own)
            wide = self._wide_session(own)
            seen = _tensors(plain), _tensors(other)
            kept = [w for w in wanted if w.reference in seen[0] and w.candidate in seen[1]]
            found = {w.reference: Compared() for w in kept}
            sizes: dict[str, list[float]] = {w.reference: [] for w in kept}
            flips: dict[str, list[int]] = {w.reference: [0, 0] for w in kept}
            names = [w.reference for w in kept]
            if not names:
                return {}
            for number, feed in enumerate(self._feeds.feeds):
                noises = self._noise(names, plain, noisy, feed, number)
                measured = _without_rounding(noises, wide, feed)
                results = other.run(adapt(feed), [w.candidate for w in kept])
                for one, result in zip(kept, results, strict=True):
                    self._judge(
                        one,
                        found[one.reference],
                        sizes[one.reference],
                        flips[one.reference],
                        noises[one.reference],
                        result,
                        number,
                        is_measured=one.reference in measured,
                    )
            return found

    def _noise(
        self,
        names: Sequence[str],
        plain: Session,
        noisy: Sequence[Session],
        feed: Mapping[str, Array],
        number: int,
    ) -> dict[str, OutputNoise]:
        noises = {
            name: OutputNoise(array)
            for name, array in zip(names, plain.run(feed, names), strict=True)
        }
        for repetition in range(_JITTERS):
            moved = jittered(feed, np.random.default_rng((number, repetition)))
            if moved is not None:
                for name, array in zip(names, plain.run(moved, names), strict=True):
                    noises[name].add(array)
        for session in noisy:
            for name, array in zip(names, session.run(feed, names), strict=True):
                noises[name].add(array)
        return noises

    def _noisy_sessions(self, stack: ExitStack, names: Sequence[str]) -> list[Session]:
        """The reference in other conditions that should not matter."""
        found = []
        try:
            found.append(
                stack.enter_context(self._session(self._reference, names, OptimizationLevel.ALL))
            )
        except EvidenceError as error:
            self._notes[f"the reference does not run optimised: {error}"] = None
        disabled = OptimizationLevel.DISABLE
        found += [
            stack.enter_context(self._session(self._reference, names, disabled, moved))
            for moved in self._moved
        ]
        return found

    def _wide_session(self, names: Sequence[str]) -> Session | None:
        """A reference of 16 bits without rounding to 16 bits; None where there is none."""
        if self._coarsest not in _SHORT:
            return None
        wide = widened(tapped(self._reference, names), _MOST_WEIGHTS)
        try:
            return None if wide is None else open_session(wide, self._settings)
        except EvidenceError:
            # An operator that only has 16 bits: depth stands in for what its rounding does.
            return None

    def _movable_weights(self) -> list[dict[str, Array]]:
        """Weights moved by a rounding error, for a model whose inputs cannot be: tokens."""
        if any(jittered(feed, np.random.default_rng(0)) for feed in self._feeds.feeds):
            return []
        weights = float_weights(self._reference, _MOST_WEIGHTS)
        moved = (jittered(weights, np.random.default_rng(k)) for k in range(_JITTERS))
        return [one for one in moved if one is not None]

    def _session(
        self,
        model: OnnxModel,
        names: Sequence[str],
        level: OptimizationLevel,
        weights: Mapping[str, Array] | None = None,
    ) -> AbstractContextManager[Session]:
        return opened(model, names, replace(self._settings, level=level), self._folder, weights)

    def _judge(
        self,
        one: Wanted,
        compared: Compared,
        sizes: list[float],
        flips: list[int],
        noise: OutputNoise,
        result: Array,
        number: int,
        *,
        is_measured: bool,
    ) -> None:
        baseline = noise.baseline
        sizes.append(noise.rms)
        compared.noise = max(compared.noise, noise.max_abs)
        precision = max(
            precision_of(baseline.dtype.name, self._coarsest),
            precision_of(result.dtype.name),
            key=attrgetter("unit"),
        )
        if is_measured:
            precision = replace(precision, noise_is_measured=True)
        judged = judge_output(
            noise,
            result,
            precision=precision,
            depth=one.depth,
            scale=_SCALE_SHARE * float(np.median(sizes)),
        )
        flips[0] += judged.mismatches
        flips[1] += noise.mismatches
        severity = judged.severity
        if flips[0]:
            allowed = _FLIP_FACTOR * flips[1]
            severity = flips[0] / allowed if allowed else math.inf
        if severity > compared.severity:
            compared.severity, compared.criterion = severity, judged.criterion
        _take_numbers(compared, baseline, result, number)


def _without_rounding(
    noises: Mapping[str, OutputNoise], wide: Session | None, feed: Mapping[str, Array]
) -> set[str]:
    """Take in what the reference gives without rounding to 16 bits; for which values it did."""
    if wide is None:
        return set()
    floats = {spec.name for spec in wide.inputs if spec.dtype == "float32"}
    adapted = {k: v.astype(np.float32) if k in floats else v for k, v in feed.items()}
    names = [name for name in noises if name in _tensors(wide)]
    try:
        results = dict(zip(names, wide.run(adapted, names), strict=True))
    except EvidenceError:
        return set()
    near = {
        n for n, array in results.items() if noises[n].is_float and not _is_gross(noises[n], array)
    }
    for name in near:
        noises[name].add(results[name])
    return near


def _is_gross(noise: OutputNoise, other: Array) -> bool:
    if other.shape != noise.baseline.shape:
        return True
    r, o = as_float64(noise.baseline), as_float64(other)
    both = np.isfinite(r) & np.isfinite(o)
    return root_mean_square(o[both] - r[both]) > _GROSS * noise.rms


def _tensors(session: Session) -> set[str]:
    return {spec.name for spec in session.tensor_outputs}


def _take_numbers(compared: Compared, ours: Array, theirs: Array, number: int) -> None:
    """Take in the range of the reference, and where the candidate is furthest off."""
    if ours.dtype.kind in "OUS":
        compared.is_identical &= bool(np.array_equal(ours, theirs))
        return
    r = as_float64(ours)
    finite = np.isfinite(r)
    if finite.any():
        compared.low = float(np.fmin(compared.low, r[finite].min()))
        compared.high = float(np.fmax(compared.high, r[finite].max()))
    if ours.shape != theirs.shape or theirs.dtype.kind in "OUS":
        compared.is_identical = False
        return
    c = as_float64(theirs)
    compared.is_identical &= bool(np.array_equal(r, c, equal_nan=True))
    both = finite & np.isfinite(c)
    if not both.any():
        return
    off = np.where(both, np.abs(np.subtract(c, r, where=both, out=np.zeros_like(r))), -1.0)
    worst = int(np.argmax(off))
    if off.flat[worst] > compared.max_abs:
        compared.max_abs = float(off.flat[worst])
        compared.at_feed = number
        compared.at_index = tuple(int(i) for i in np.unravel_index(worst, off.shape))
        compared.at_reference = float(r.flat[worst])
        compared.at_candidate = float(c.flat[worst])
