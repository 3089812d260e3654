"""A comparison judged again by other tolerances, from its metrics alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from onnx_act.evidence.envelope import Envelope
from onnx_act.evidence.overrides import (
    GivenTolerances,
    minimum_atol_of,
    reason_beyond_given,
    severity_under,
)
from onnx_act.evidence.tolerance import Tolerance
from onnx_act.runtime.target import short_name
from onnx_act.runtime.tensors import FLOATS

if TYPE_CHECKING:
    from onnx_act.evidence.verdict import Equivalence, LevelVerdict, OutputVerdict, ProviderVerdict


def rejudge(equivalence: Equivalence, tolerances: GivenTolerances) -> Equivalence:
    """The verdict that other tolerances would have given.

    Outputs that `tolerances` says nothing of keep their verdict. For the others it is the one
    that the models' outputs would get, except where an envelope had so many corners that it was
    simplified: there it may fail what those would pass, never the other way.

    Args:
        equivalence: What was measured, as `load_metrics` gives it.
        tolerances: What is allowed.

    Raises:
        UsageError: There is no output of a name in `tolerances`.
    """
    names = {o.output: None for p in equivalence.providers for o in p.outputs}
    if names:
        tolerances.check(list(names))
    providers = tuple(_provider(p, tolerances) for p in equivalence.providers)
    failed = [p for p in providers if not p.passed]
    return replace(
        equivalence,
        passed=not failed,
        reason=f"on {short_name(failed[0].provider)}: {failed[0].reason}" if failed else "",
        providers=providers,
    )


def _provider(verdict: ProviderVerdict, tolerances: GivenTolerances) -> ProviderVerdict:
    if not verdict.outputs:
        # The candidate did not run: no tolerance helps.
        return verdict
    outputs = tuple(_output(output, tolerances) for output in verdict.outputs)
    failed = [output for output in outputs if not output.passed]
    reason = f"output {failed[0].output!r} {failed[0].reason}" if failed else ""
    return replace(verdict, passed=not failed, reason=reason, outputs=outputs)


def _output(verdict: OutputVerdict, tolerances: GivenTolerances) -> OutputVerdict:
    given = tolerances.for_output(verdict.output, is_float=verdict.dtype in FLOATS)
    if given is None:
        return verdict
    levels = tuple(_level(level, given) for level in verdict.levels)
    worst = max(levels, key=lambda level: level.severity)
    minimum_atol = max(
        minimum_atol_of(level.problem, level.envelope or Envelope(), given) for level in levels
    )
    reason = reason_beyond_given(worst.level, worst.problem, worst.severity, given, minimum_atol)
    if not reason and verdict.judged == 0 and verdict.difference.elements:
        reason = verdict.reason
    return replace(
        verdict,
        passed=not reason,
        reason=reason,
        tolerance=Tolerance(*given, math.inf),
        minimum_tolerance=worst.severity,
        minimum_atol=minimum_atol,
        levels=levels,
        is_given=True,
    )


def _level(verdict: LevelVerdict, given: tuple[float, float]) -> LevelVerdict:
    severity = severity_under(given, verdict.problem, verdict.envelope or Envelope())
    return replace(verdict, severity=severity, passed=severity <= 1.0)
