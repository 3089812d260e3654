"""A candidate on trial on one provider: run at every optimisation level, each output judged."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from onnx_act.errors import EvidenceError
from onnx_act.evidence.baseline import LEVELS, Baseline
from onnx_act.evidence.compare import DifferenceAccumulator
from onnx_act.evidence.envelope import Envelope
from onnx_act.evidence.overrides import (
    GivenTolerances,
    minimum_atol_of,
    reason_beyond_given,
    severity_under,
)
from onnx_act.evidence.pairing import FeedAdapter, pair
from onnx_act.evidence.precision import Precision, precision_of
from onnx_act.evidence.readable import as_comparable, run_readable
from onnx_act.evidence.tolerance import Judgement, Tolerance, judge_output
from onnx_act.evidence.verdict import LevelVerdict, OutputVerdict, ProviderVerdict
from onnx_act.runtime.session import OptimizationLevel, open_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from onnx_act.evidence.noise import NoiseFloor, OutputNoise
    from onnx_act.runtime.session import PlacedNode, SessionSettings
    from onnx_act.runtime.tensors import Array, TensorSpec

# Integer outputs that the reference itself flips may flip in three times as many elements, for
# the reason that spread may be three times the noise's.
_FLIP_FACTOR = 3


def judge_candidate(
    baseline: Baseline,
    candidate: Path,
    settings: SessionSettings,
    *,
    depth: int,
    coarsest_dtype: str | None,
    on_cpu: Sequence[Mapping[str, Array]] | None,
    tolerances: GivenTolerances | None = None,
) -> ProviderVerdict:
    """Run a candidate at every level on the baseline's feeds and judge every output.

    A candidate that cannot be opened or run where the reference can has failed; at a level where
    the reference cannot run either, it is not judged.

    Args:
        baseline: The reference on this provider.
        candidate: The model in question.
        settings: Provider and threads.
        depth: Operators on the longest path.
        coarsest_dtype: The coarsest float type inside the model, if not that of the outputs.
        on_cpu: The reference's outputs on the CPU for every feed, when this provider is another.
        tolerances: What the user allows, in the place of what is derived.

    Raises:
        UsageError: The reference has no output of a name in `tolerances`.
    """
    tolerances = tolerances or GivenTolerances()
    tolerances.check([spec.name for spec in baseline.outputs])
    trials = [
        _OutputTrial(
            spec,
            _precision(spec.dtype, coarsest_dtype or "", baseline),
            baseline.scale(spec.name),
            depth,
            keeps_results=on_cpu is not None,
            given=tolerances.for_output(spec.name, is_float=spec.is_float),
        )
        for spec in baseline.outputs
    ]
    notes = list(baseline.notes)
    elsewhere: tuple[PlacedNode, ...] | None = None
    reason = ""
    for level in LEVELS:
        try:
            placed = _run_level(trials, baseline, candidate, replace(settings, level=level))
            elsewhere = placed if elsewhere is None else elsewhere
        except EvidenceError as error:
            if level in baseline.failing_levels:
                notes.append(f"the candidate does not run at level {level.value} either")
                continue
            reason = f"the candidate does not run at level {level.value}: {error}"
            break
    if reason:
        verdicts: tuple[OutputVerdict, ...] = ()
    else:
        _compare_with_cpu(trials, baseline, on_cpu)
        verdicts = tuple(trial.verdict(baseline) for trial in trials)
        failed = [verdict for verdict in verdicts if not verdict.passed]
        reason = f"output {failed[0].output!r} {failed[0].reason}" if failed else ""
    return ProviderVerdict(
        provider=settings.provider,
        passed=not reason,
        reason=reason,
        outputs=verdicts,
        reference_elsewhere=baseline.placed_elsewhere,
        candidate_elsewhere=elsewhere,
        notes=tuple(notes),
        conditions=tuple(baseline.conditions),
    )


def _precision(dtype: str, coarsest: str, baseline: Baseline) -> Precision:
    precision = precision_of(dtype, coarsest)
    is_measured = precision.noise_is_measured or baseline.rounding_is_measured
    return replace(precision, noise_is_measured=is_measured)


def _run_level(
    trials: Sequence[_OutputTrial],
    baseline: Baseline,
    candidate: Path,
    settings: SessionSettings,
) -> tuple[PlacedNode, ...] | None:
    """Run every feed at one level; the nodes that another provider runs."""
    session = open_session(candidate, settings)
    adapt = FeedAdapter(baseline.inputs, session)
    names = pair("output", baseline.outputs, session.tensor_outputs)
    theirs = [names[trial.spec.name] for trial in trials]
    feeds = zip(baseline.feeds.feeds, baseline.feeds.is_extreme, strict=True)
    for noises, (feed, is_extreme) in zip(baseline.noises, feeds, strict=True):
        results = run_readable(session, adapt(feed), theirs)
        for trial, result in zip(trials, results, strict=True):
            noise = noises[trial.spec.name]
            trial.add(settings.level, noise, result, is_extreme=is_extreme)
    return session.placed_elsewhere


@dataclass(slots=True)
class _Tally:
    """One output at one level."""

    difference: DifferenceAccumulator = field(default_factory=DifferenceAccumulator)
    worst: Judgement = field(default_factory=lambda: Judgement(-1.0, "element"))
    mismatches: int = 0
    judged: int = 0
    unjudged: int = 0
    minimum_atol: float = 0.0
    envelope: Envelope = field(default_factory=Envelope)
    problem: str = ""
    worst_is_extreme: bool = False


@dataclass(slots=True)
class _OutputTrial:
    """One output at all levels."""

    spec: TensorSpec
    precision: Precision
    scale: float
    depth: int
    keeps_results: bool
    given: tuple[float, float] | None = None
    tallies: dict[OptimizationLevel, _Tally] = field(default_factory=dict)
    provider: DifferenceAccumulator | None = None
    total: DifferenceAccumulator | None = None
    change: DifferenceAccumulator | None = None
    last: list[Array] = field(default_factory=list)

    def add(
        self,
        level: OptimizationLevel,
        noise: OutputNoise,
        result: Array,
        *,
        is_extreme: bool = False,
    ) -> None:
        """Take in one feed; an extreme one is judged, and left out of figures and envelopes."""
        result = as_comparable(result, to_numbers=noise.is_float)
        judgement = judge_output(
            noise,
            result,
            # A candidate that returns a coarser type than the reference is judged by its own.
            precision=max(self.precision, precision_of(result.dtype.name), key=attrgetter("unit")),
            depth=self.depth,
            scale=self.scale,
        )
        tally = self.tallies.setdefault(level, _Tally())
        if is_extreme:
            tally.difference.skip()
        elif result.shape == noise.baseline.shape:
            tally.difference.add(noise.baseline, result)
        if judgement.severity > tally.worst.severity:
            tally.worst = judgement
            tally.worst_is_extreme = is_extreme
        tally.mismatches += judgement.mismatches
        tally.judged += judgement.judged
        tally.unjudged += judgement.unjudged
        if not is_extreme:
            tally.minimum_atol = max(tally.minimum_atol, judgement.minimum_atol)
            tally.envelope = tally.envelope.merged(judgement.envelope)
        tally.problem = tally.problem or problem_of(judgement, result)
        if self.keeps_results and level is OptimizationLevel.ALL:
            self.last.append(result)

    def verdict(self, baseline: Baseline) -> OutputVerdict:
        """The verdict over all levels."""
        floor = baseline.floor(self.spec.name)
        severities = {level: _severity(tally, floor) for level, tally in self.tallies.items()}
        level = max(severities, key=severities.__getitem__)
        tally = self.tallies[level]
        difference = tally.difference.result()
        if self.given is None:
            tolerance = tally.worst.tolerance
            minimum_atol = max(other.minimum_atol for other in self.tallies.values())
            reason = _reason(tally, severities[level], floor, level)
        else:
            # The difference stays that of the level which rounding explains least.
            severities = {
                each: severity_under(self.given, other.problem, other.envelope)
                for each, other in self.tallies.items()
            }
            worst = max(severities, key=severities.__getitem__)
            tolerance = Tolerance(*self.given, math.inf)
            minimum_atol = max(
                minimum_atol_of(other.problem, other.envelope, self.given)
                for other in self.tallies.values()
            )
            reason = reason_beyond_given(
                worst, self.tallies[worst].problem, severities[worst], self.given, minimum_atol
            )
        if not reason and tally.judged == 0 and difference.elements:
            reason = "has no element that could be judged: NaN or unstable throughout"
        if not reason and tally.mismatches and 2 * floor.mismatches > tally.judged:
            reason = (
                f"cannot be judged: {floor.mismatches} of its {tally.judged} elements change in "
                f"the reference itself by rounding alone"
            )
        return OutputVerdict(
            output=self.spec.name,
            dtype=self.spec.dtype,
            passed=not reason,
            reason=reason,
            max_abs=difference.max_abs,
            max_rel=difference.max_rel,
            tolerance=tolerance,
            minimum_tolerance=max(severities.values()),
            minimum_atol=minimum_atol,
            noise_floor=floor,
            difference=difference,
            provider_difference=self.provider.result() if self.provider else None,
            total_difference=self.total.result() if self.total else None,
            levels=tuple(
                LevelVerdict(
                    each,
                    severities[each] <= 1.0,
                    other.difference.result().max_abs,
                    severities[each],
                    other.envelope,
                    other.problem,
                )
                for each, other in self.tallies.items()
            ),
            judged=tally.judged,
            unjudged=tally.unjudged,
            is_given=self.given is not None,
            change_difference=self.change.result() if self.change else None,
        )


def problem_of(judgement: Judgement, result: Array) -> str:
    """What no tolerance would help against: `shape`, `nan`, `text`, or nothing."""
    if judgement.criterion == "equality":
        return "text" if judgement.mismatches and result.dtype.kind in "OUS" else ""
    is_beyond_help = judgement.criterion in {"shape", "nan"} and math.isinf(judgement.severity)
    return judgement.criterion if is_beyond_help else ""


def _severity(tally: _Tally, floor: NoiseFloor) -> float:
    if tally.mismatches == 0:
        return max(tally.worst.severity, 0.0)
    allowed = _FLIP_FACTOR * floor.mismatches
    flips = tally.mismatches / allowed if allowed else math.inf
    return max(tally.worst.severity, flips)


def _reason(tally: _Tally, severity: float, floor: NoiseFloor, level: OptimizationLevel) -> str:
    """Why an output does not pass; empty when it does."""
    if severity <= 1.0:
        return ""
    at = f"at level {level.value}"
    difference = tally.difference.result()
    if tally.worst.criterion == "shape":
        return f"has another shape {at}"
    if tally.worst.criterion == "nan":
        return f"has NaN in other places than the reference {at}"
    if tally.mismatches:
        return (
            f"differs in {tally.mismatches} of {tally.judged} elements {at}; "
            f"the reference itself flips {floor.mismatches}"
        )
    what = "on the average " if tally.worst.criterion == "spread" else ""
    if tally.worst_is_extreme:
        return f"is {what}{severity:.3g} times as far off as rounding explains {at} on huge inputs"
    return (
        f"is {what}{severity:.3g} times as far off as rounding explains {at} "
        f"(max abs {difference.max_abs:.3g}, noise floor {floor.max_abs:.3g})"
    )


def _compare_with_cpu(
    trials: Sequence[_OutputTrial],
    baseline: Baseline,
    on_cpu: Sequence[Mapping[str, Array]] | None,
) -> None:
    """Part the error: the provider's share, and change and provider together."""
    if on_cpu is None:
        return
    for trial in trials:
        trial.provider, trial.total = DifferenceAccumulator(), DifferenceAccumulator()
        trial.change = DifferenceAccumulator()
        name = trial.spec.name
        extreme = baseline.feeds.is_extreme
        for index, (noises, results) in enumerate(zip(baseline.noises, on_cpu, strict=True)):
            if extreme[index]:
                continue
            here = noises[name].baseline
            if here.shape == results[name].shape:
                trial.provider.add(results[name], here)
            if index < len(trial.last) and trial.last[index].shape == results[name].shape:
                trial.total.add(results[name], trial.last[index])
            if index < len(trial.last) and trial.last[index].shape == here.shape:
                trial.change.add(here, trial.last[index])
