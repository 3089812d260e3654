"""A rule, less what the runtime does by itself and what does not pay.

Fusing for a runtime is worth a line in the file only where the runtime would not fuse when it
loads the model, and where the fused operator is the faster one: that a kernel exists says neither.
Both are found by asking, the first from what the runtime made of the whole model, the second by
measuring the few nodes that would change, before and after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onnx_act.graph.excerpt import excerpt
from onnx_act.rewrite.engine import apply_plan, plan_rule
from onnx_act.rewrite.linear import linear_at
from onnx_act.rewrite.rule import Change, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

    from onnx_act.rewrite.rule import LoadedGraph, Proposal, Rule, Subject

# What a small measurement on a machine in use cannot tell from nothing.
_WORTHWHILE: Final = 1.02


@dataclass(frozen=True)
class IfFaster:
    """`rule`, where every target gains by it.

    Attributes:
        rule: its changes state their `region`.
    """

    rule: Rule

    @property
    def name(self) -> str:
        """How reports call it: as the rule alone."""
        return self.rule.name

    @property
    def enables_itself(self) -> bool:
        """As the rule alone."""
        return self.rule.enables_itself

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """The rule's proposals; changes that do not pay as refusals."""
        loaded: LoadedGraph | None = None
        for proposal in self.rule.plan(subject):
            if isinstance(proposal, Refusal):
                yield proposal
                continue
            if loaded is None:
                loaded = subject.targets.at_load(subject.model)
            yield self._weigh(proposal, loaded, subject)

    def _weigh(self, change: Change, loaded: LoadedGraph, subject: Subject) -> Proposal:
        made = loaded.fused_as(change.region)
        if made is not None:
            reason = f"{change.before} -> {made} when the runtime loads the model"
            return Refusal(self.name, change.site, "", reason, left_to_runtime=True)
        against = self._reason_against(change, subject)
        return change if against is None else Refusal(self.name, change.site, "", against)

    def _reason_against(self, change: Change, subject: Subject) -> str | None:
        """Why the change is not known to pay; None when it was measured to."""
        nodes = (*_before(change.region, subject), *change.region)
        taken = excerpt(nodes, subject.model, subject.constants)
        if isinstance(taken, str):
            return f"its gain cannot be measured: {taken}"
        before = taken.serialised()
        plan = plan_rule(self.rule, taken.model, subject.targets)
        if not plan.changes:
            return "its gain cannot be measured: apart from the model it is not fused"
        apply_plan(plan, taken.model)
        gain = subject.targets.speedup(before, taken.serialised())
        if gain < _WORTHWHILE:
            return f"{change.after} was measured {gain:.2f} times as fast as what is there"
        return None


def _before(region: tuple[ir.Node, ...], subject: Subject) -> list[ir.Node]:
    """The linear operators that feed a region and nothing else.

    They are measured with it: what a runtime makes of them depends on what follows, such as the
    layout in which a Conv leaves its result, or whether a MatMul takes its bias in.
    """
    inside = set(region)
    found: dict[ir.Node, None] = {}
    for value in (v for n in region for v in n.inputs if v is not None):
        linear = linear_at(value.producer(), subject.constants)
        if linear is None or inside.intersection(linear.nodes) or value.is_graph_output():
            continue
        if linear.node.graph is region[-1].graph and all(u.node in inside for u in value.uses()):
            found.update(dict.fromkeys(linear.nodes))
    return list(found)
