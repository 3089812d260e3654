"""Gathering the evidence for one conversion, each piece in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onnx_act.errors import EvidenceError
from onnx_act.evidence.drift import Drift, measure_drift
from onnx_act.evidence.equivalence import judge_equivalence
from onnx_act.evidence.latency import Latency, measure_latency
from onnx_act.evidence.site_reference import (
    ActivationCheck,
    ActivationProbe,
    check_activations,
)
from onnx_act.graph.statistics import coarsest_float, measure_depth
from onnx_act.recipe.bounds import judge_bounds
from onnx_act.recipe.cuda import judge_production, judging_environment
from onnx_act.recipe.placement import find_placement
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.turn import measuring_turn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onnx_act.evidence.placement import Placement
    from onnx_act.evidence.verdict import Equivalence
    from onnx_act.graph.model import OnnxModel
    from onnx_act.recipe.bounds import BoundVerdict
    from onnx_act.recipe.reference import RaisedModel
    from onnx_act.recipe.regressions import Comparison, EarlierModel
    from onnx_act.recipe.request import ConversionRequest
    from onnx_act.rewrite.engine import Plan
    from onnx_act.rewrite.rule import WrittenActivation

_PROBE_SIZE: Final = 2001
_WITH_ITSELF: Final = (
    "only swaps were made, so there is no other model that the result must equal: equivalence is "
    "that of the result, unoptimised, with itself at every optimisation level on every provider; "
    "what the swaps did is in the checks of new activations and in the drift"
)


@dataclass(slots=True)
class Evidence:
    """What was found out about a result.

    Attributes:
        checks: new activations against their reference.
        equivalence: the result against the model it must equal.
        drift: the result against the original, when something was swapped.
        latency: the result against the original, per provider.
        notes: what a reader should know of it, such as what could not be found out, and why.
        problem: why the result must not be used, "" when nothing speaks against it.
        exit_code: for that problem.
        placement: where the nodes of the original and of the result run.
        production: as `equivalence`, on CUDA with TF32, which that is without.
        bounds: whether each bound holds, None where none was asked for.
        baseline: each figure beside that of an earlier run, None where there was none.
    """

    checks: tuple[ActivationCheck, ...] | None = None
    equivalence: Equivalence | None = None
    drift: Drift | None = None
    latency: tuple[Latency, ...] | None = None
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    exit_code: int = 0
    placement: tuple[Placement, ...] | None = None
    production: Equivalence | None = None
    bounds: tuple[BoundVerdict, ...] | None = None
    baseline: tuple[Comparison, ...] | None = None

    def fail(self, problem: str, exit_code: int = EvidenceError.exit_code) -> None:
        """Note a reason against the result; the first one counts."""
        if not self.problem:
            self.problem, self.exit_code = problem, exit_code


def gather_evidence(
    *,
    original: Path,
    reference: Path,
    candidate: Path,
    raised: RaisedModel | None,
    work: OnnxModel,
    plan: Plan,
    request: ConversionRequest,
    progress: Callable[[str], None],
) -> Evidence:
    """Everything the request asks to know about a staged result.

    Args:
        original: the input.
        reference: what the result must equal: the input, or the input with its swaps, which is
            the candidate itself when nothing else was done.
        candidate: the staged result.
        raised: the input at a higher opset, when it was raised.
        work: the result in memory.
        plan: what was done.
        request: what to find out.
        progress: told what is going on.
    """
    evidence = Evidence()
    if request.validate:
        _validate(evidence, original, reference, candidate, raised, work, plan, request, progress)
    if (request.validate and not evidence.problem) or request.strict_placement:
        _place(evidence, original, candidate, request, progress)
    if request.bench and not evidence.problem:
        _measure(evidence, original, candidate, request, progress)
    if request.bounds.given():
        _judge_bounds(evidence, request)
    if request.baseline is not None:
        _compare(evidence, request.baseline)
    return evidence


def _compare(evidence: Evidence, earlier: EarlierModel) -> None:
    judged, measured = evidence.equivalence, evidence.latency
    compared = earlier.compare(
        None if judged is None else judged.to_dict(),
        None if measured is None else [latency.to_dict() for latency in measured],
    )
    evidence.baseline = compared.comparisons
    evidence.notes.extend(compared.notes)
    if compared.problem:
        evidence.fail(compared.problem)


def _judge_bounds(evidence: Evidence, request: ConversionRequest) -> None:
    evidence.bounds = judge_bounds(
        request.bounds,
        equivalence=evidence.equivalence,
        drift=evidence.drift,
        latency=evidence.latency,
    )
    failed = [verdict.message for verdict in evidence.bounds if not verdict.held]
    if failed:
        evidence.fail("; ".join(failed))


def _validate(
    evidence: Evidence,
    original: Path,
    reference: Path,
    candidate: Path,
    raised: RaisedModel | None,
    work: OnnxModel,
    plan: Plan,
    request: ConversionRequest,
    progress: Callable[[str], None],
) -> None:
    swapped = any(c.rule == "swap_activation" for c in plan.changes)
    try:
        if raised is not None:
            progress("judging the raised opset")
            _judge_raise(evidence, original, raised, request)
        if swapped:
            progress("checking new activations")
            evidence.checks = run_isolated(
                check_activations,
                _probes(plan),
                request.providers,
                timeout_s=request.timeout_s,
            )
            failed = [c for c in evidence.checks if not c.passed]
            if failed:
                worst = failed[0]
                evidence.fail(
                    f"{worst.activation} as {worst.written} is {worst.max_abs:.3g} off its "
                    f"reference on {worst.provider} (at x = {worst.at:g})"
                )
            evidence.notes.extend(_unchecked(plan))
        progress("judging equivalence")
        options: dict[str, Any] = {
            "providers": request.providers,
            "request": request.feeds,
            "threads": request.threads,
            "depth": measure_depth(work),
            "coarsest_dtype": coarsest_float(work),
            "timeout_s": request.timeout_s,
        }
        evidence.equivalence = run_isolated(
            judge_equivalence,
            reference,
            candidate,
            environment=judging_environment(request.providers),
            **options,
        )
        if not evidence.equivalence.passed:
            evidence.fail(f"not equivalent: {evidence.equivalence.reason}")
        evidence.production, notes = judge_production(reference, candidate, **options)
        evidence.notes.extend(notes)
        if reference == candidate:
            evidence.notes.append(_WITH_ITSELF)
        if swapped or request.bounds.min_accuracy is not None:
            progress("measuring drift")
            evidence.drift = run_isolated(
                measure_drift,
                original,
                candidate,
                provider=request.providers[0],
                request=request.feeds,
                threads=request.threads,
                timeout_s=request.timeout_s,
            )
    except EvidenceError as error:
        evidence.fail(f"it could not be validated: {error}")


def _judge_raise(
    evidence: Evidence, original: Path, raised: RaisedModel, request: ConversionRequest
) -> None:
    judged = run_isolated(
        judge_equivalence,
        original,
        raised.path,
        providers=request.providers,
        request=request.feeds,
        threads=request.threads,
        depth=raised.depth,
        coarsest_dtype=raised.coarsest,
        environment=judging_environment(request.providers),
        timeout_s=request.timeout_s,
    )
    if judged.passed:
        step = f"from {raised.before} to {raised.after}"
        evidence.notes.append(f"raising the opset {step} was found equivalent")
    else:
        evidence.fail(f"raising the opset changed the model: {judged.reason}")


def _place(
    evidence: Evidence,
    original: Path,
    candidate: Path,
    request: ConversionRequest,
    progress: Callable[[str], None],
) -> None:
    progress("looking where nodes run")
    found = find_placement(
        {"original": original, "result": candidate},
        providers=request.providers,
        feeds=request.feeds,
        threads=request.threads,
        strict=request.strict_placement,
        timeout_s=request.timeout_s,
    )
    evidence.placement = found.placements
    evidence.notes.extend(found.notes)
    if found.problem:
        evidence.fail(found.problem)


def _unchecked(plan: Plan) -> list[str]:
    """A note on the new activations that cannot be run by themselves, where there are any."""
    swaps = [c for c in plan.changes if c.rule == "swap_activation"]
    count = sum(c.written is None for c in swaps)
    if not count:
        return []
    what = "1 activation" if count == 1 else f"{count} activations"
    were, them = ("was", "it") if count == 1 else ("were", "them")
    where = f"{what} inside recurrent operators {were} not checked one by one"
    return [f"{where} (drift and equivalence cover {them})"]


def _measure(
    evidence: Evidence,
    original: Path,
    candidate: Path,
    request: ConversionRequest,
    progress: Callable[[str], None],
) -> None:
    progress("waiting to measure latency")
    with measuring_turn() as turn:
        _measure_alone(evidence, original, candidate, request, progress)
    evidence.notes.extend(turn.notes())


def _measure_alone(
    evidence: Evidence,
    original: Path,
    candidate: Path,
    request: ConversionRequest,
    progress: Callable[[str], None],
) -> None:
    measured: list[Latency] = []
    for provider in request.providers:
        progress("measuring latency")
        try:
            measured.append(
                run_isolated(
                    measure_latency,
                    original,
                    candidate,
                    provider=provider,
                    seconds=request.bench_seconds,
                    threads=request.threads,
                    request=request.feeds,
                    timeout_s=request.timeout_s,
                )
            )
        except EvidenceError as error:
            evidence.notes.append(f"latency could not be measured: {error}")
    evidence.latency = tuple(measured)


def _probes(plan: Plan) -> list[ActivationProbe]:
    """One probe for each different way in which a swap wrote an activation."""
    found: dict[bytes, tuple[WrittenActivation, int]] = {}
    for change in plan.changes:
        written = change.written
        if written is None:
            continue
        model = written.probe(_PROBE_SIZE)
        found[model] = (written, found.get(model, (written, 0))[1] + 1)
    return [
        ActivationProbe(
            activation=written.activation.name,
            parameters={
                k: float(v.flat[0]) if isinstance(v, np.ndarray) else v
                for k, v in written.parameters.items()
            },
            written=written.label,
            model=model,
            count=count,
        )
        for model, (written, count) in found.items()
    ]
