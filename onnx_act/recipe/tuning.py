"""The tuning step of a conversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_act.errors import UsageError
from onnx_act.recipe.fused_for import stamp_providers
from onnx_act.rewrite.engine import Plan, run_rules
from onnx_act.runtime.target import short_name
from onnx_act.runtime.turn import measuring_turn
from onnx_act.tuning.memory import load_profile, save_profile
from onnx_act.tuning.tuner import TuningRequest, chosen_rules, tune_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onnx_act.graph.model import OnnxModel
    from onnx_act.recipe.request import ConversionRequest
    from onnx_act.rewrite.rule import Capabilities
    from onnx_act.tuning.memory import TuningProfile
    from onnx_act.tuning.outcome import TuningOutcome

_LEAST_BUDGET_S = 5.0


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """How a conversion tunes.

    Attributes:
        budget_s: how long it may take in all, in seconds.
        contrib: whether operators outside the standard may be used.
        approximate: whether ways that round worse than the operator may be used.
        profile: what was measured on another machine, to be applied without measuring here.
        save_profile: where to write what was measured.

    Raises:
        UsageError: the fields do not go together.
    """

    budget_s: float = 60.0
    contrib: bool = False
    approximate: bool = False
    profile: Path | None = None
    save_profile: Path | None = None

    def __post_init__(self) -> None:
        if self.budget_s < _LEAST_BUDGET_S:
            raise UsageError(
                f"--budget is at least {_LEAST_BUDGET_S:g}s, not {self.budget_s:g}s: "
                f"nothing can be measured in less"
            )
        if self.profile is not None and self.save_profile is not None:
            raise UsageError(
                "--profile applies what was measured elsewhere and measures nothing: "
                "there is nothing to write with --save-profile"
            )


def run_tuning(
    model: OnnxModel,
    targets: Capabilities,
    request: ConversionRequest,
    options: TuneOptions,
    spent_s: float,
    progress: Callable[[str], None],
) -> tuple[TuningOutcome, Plan]:
    """Tune a model, and make the choices that are kept.

    Args:
        model: edited in place.
        targets: what it must run on.
        request: the conversion that this is a step of.
        options: how to tune.
        spent_s: what the conversion used of the budget before.
        progress: told what is going on.

    Raises:
        EvidenceError: the model does not run.
        UsageError: the profile cannot be read or written; shapes or data do not fit the model.
    """
    profile = None if options.profile is None else load_profile(options.profile)
    progress("waiting to measure")
    # Also what is written is then written by one at a time: a profile grows.
    with measuring_turn():
        outcome = _tuned(model, targets, request, options, profile, spent_s, progress)
        if options.save_profile is not None:
            save_profile(options.save_profile, [outcome])
    rules = chosen_rules(outcome)
    plan = run_rules(rules, model, targets) if rules else Plan()
    if options.contrib and any("com.microsoft." in change.after for change in plan.changes):
        stamp_providers(model, [short_name(p) for p in request.providers])
    return outcome, plan


def _tuned(
    model: OnnxModel,
    targets: Capabilities,
    request: ConversionRequest,
    options: TuneOptions,
    profile: TuningProfile | None,
    spent_s: float,
    progress: Callable[[str], None],
) -> TuningOutcome:
    return tune_model(
        model,
        targets,
        TuningRequest(
            providers=request.providers,
            feeds=request.feeds,
            threads=request.threads or 1,
            budget_s=options.budget_s,
            contrib=options.contrib,
            approximate=options.approximate,
            profile=profile,
            is_validated=request.validate and not request.dry_run,
            spent_s=spent_s,
        ),
        progress,
    )
