"""Planning and applying rules, one after the other, on a model in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_act.graph.constants import Constants
from onnx_act.graph.edit import Editor
from onnx_act.graph.finding import find_sites
from onnx_act.rewrite.rule import Change, Refusal, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onnx_act.graph.model import OnnxModel
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Capabilities, Rule


@dataclass(frozen=True, slots=True)
class Plan:
    """What rules proposed for a model, in order."""

    changes: tuple[Change, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    def __add__(self, other: Plan) -> Plan:
        return Plan(self.changes + other.changes, self.refusals + other.refusals)


def plan_rule(
    rule: Rule, model: OnnxModel, targets: Capabilities, sites: Sequence[Site] | None = None
) -> Plan:
    """What one rule proposes for the model as it is. The model is not touched.

    Args:
        rule: the rule.
        model: the model.
        targets: what the result must run on.
        sites: all sites of the model, routine ones included, when the caller has them already.
    """
    if sites is None:
        sites = find_sites(model, routine=True)
    subject = Subject(model, tuple(sites), Constants(model), targets)
    proposals = tuple(rule.plan(subject))
    return Plan(
        tuple(p for p in proposals if isinstance(p, Change)),
        tuple(p for p in proposals if isinstance(p, Refusal)),
    )


def apply_plan(plan: Plan, model: OnnxModel) -> None:
    """Apply the changes of a plan to the model it was made for."""
    if not plan.changes:
        return
    editor = Editor(model)
    for change in plan.changes:
        change.apply(editor)


def run_rules(
    steps: Iterable[Rule | tuple[Rule, ...]],
    model: OnnxModel,
    targets: Capabilities,
    sites: Sequence[Site] | None = None,
) -> Plan:
    """Plan and apply rules in order, each seeing what those before it left.

    A rule that enables itself is run until it proposes no change, and rules that stand together in
    a tuple until none of them does; of their refusals those of the last time count. Every change
    takes a node away or moves one where nothing brings it back from, so that this ends.

    Args:
        steps: in the order in which one enables the next.
        model: edited in place.
        targets: what the result must run on.
        sites: all sites of the model as it is, when the caller has them already.

    Returns:
        Everything that was done and refused.
    """
    done = Plan()
    for step in steps:
        together = step if isinstance(step, tuple) else (step,)
        while True:
            found = Plan()
            for rule in together:
                plan = _run_rule(rule, model, targets, sites)
                if plan.changes:
                    sites = None
                found += plan
            done += Plan(found.changes)
            if len(together) == 1 or not found.changes:
                break
        done += Plan((), found.refusals)
    return done


def _run_rule(
    rule: Rule, model: OnnxModel, targets: Capabilities, sites: Sequence[Site] | None
) -> Plan:
    """Plan and apply one rule, again and again where it enables itself."""
    plan = plan_rule(rule, model, targets, sites)
    apply_plan(plan, model)
    changes = plan.changes
    while plan.changes and rule.enables_itself:
        plan = plan_rule(rule, model, targets)
        apply_plan(plan, model)
        changes += plan.changes
    return Plan(changes, plan.refusals)
