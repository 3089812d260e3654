"""A rule, less what the runtime does by itself and what does not pay.

Fusing for a runtime is worth a line in the file only where the runtime would not fuse when it
loads the model, and where the fused operator is the faster one: that a kernel exists says neither.
Both are found by asking: the first from what the runtime makes of the whole model, the second by
measuring the whole model with and without. A few nodes cut out would not say: whether a fusion pays
may be decided by the layout in which an operator far before it leaves its result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onnx_act.graph.model import load_model
from onnx_act.rewrite.engine import Plan, apply_plan, plan_rule
from onnx_act.rewrite.rule import Change, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_act.rewrite.rule import Proposal, Rule, Subject

# What half a second of measuring on a machine in use cannot tell from nothing.
_WORTHWHILE: Final = 1.01


@dataclass(frozen=True)
class IfFaster:
    """`rule`, where every target gains by it.

    Changes of one kind (the same operators before and after) are measured together.

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
        proposals = list(self.rule.plan(subject))
        changes = [p for p in proposals if isinstance(p, Change)]
        decided: dict[str, Refusal] = {}
        kinds: dict[tuple[str, str], list[Change]] = {}
        loaded = subject.targets.at_load(subject.model) if changes else None
        for change in changes:
            made = None if loaded is None else loaded.fused_as(change.region)
            if made is None:
                kinds.setdefault((change.before, change.after), []).append(change)
                continue
            reason = f"{change.before} -> {made} when the runtime loads the model"
            decided[change.site] = Refusal(self.name, change.site, "", reason, left_to_runtime=True)
        for alike in kinds.values():
            against = self._reason_against(alike, subject)
            if against is not None:
                decided.update({c.site: Refusal(self.name, c.site, "", against) for c in alike})
        for proposal in proposals:
            yield decided.get(proposal.site, proposal)

    def _reason_against(self, changes: list[Change], subject: Subject) -> str | None:
        """Why changes of one kind are not known to pay; None when they were measured to."""
        # The changes belong to the model that is not to be touched: the same ones for a copy.
        trial = load_model(subject.model.content)
        wanted = {c.site for c in changes}
        plan = plan_rule(self.rule, trial, subject.targets)
        apply_plan(Plan(tuple(c for c in plan.changes if c.site in wanted)), trial)
        gain = subject.targets.speedup(subject.model, trial)
        if gain < _WORTHWHILE:
            shown = f"{changes[0].after} made the model {gain:.2f} times as fast"
            return f"{shown} when it was measured" if gain else "it could not be measured"
        return None
