"""Remove an activation that changes nothing beside the one before or after it, as Relu(Relu(x)).

Not valid where the composition is a third function, or where something else uses the value that
the earlier one makes while it is the earlier one that is redundant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.activations.identify import Identified, identify
from onnx_act.activations.primitives import substitute
from onnx_act.graph.describe import describe_activation
from onnx_act.graph.sites import Spelling
from onnx_act.rewrite.rule import Change, Fidelity, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_act.graph.edit import Editor
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Proposal, Subject

_RULE: Final = "remove_redundant_activation"


@dataclass(frozen=True)
class RemoveRedundantActivation:
    """Drop one of two adjacent activations when the other alone computes the same."""

    name: str = field(default=_RULE, init=False)
    # Of three in a row the outer two become neighbours.
    enables_itself: bool = field(default=True, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every pair of adjacent activations of which one is idle."""
        by_output = {s.output: s for s in subject.sites if s.spelling is not Spelling.ATTRIBUTE}
        gone: set[Site] = set()
        for later in subject.sites:
            earlier = by_output.get(later.input) if later.input is not None else None
            if earlier is None or earlier.scope.name != later.scope.name or earlier in gone:
                continue
            idle = _idle_one(earlier, later)
            if idle is None:
                continue
            proposal = _propose(earlier, later, idle)
            if isinstance(proposal, Change):
                gone.add(idle)
            yield proposal


def _idle_one(earlier: Site, later: Site) -> Site | None:
    if earlier.activation is None or later.activation is None:
        return None
    if earlier.activation.index_only or later.activation.index_only:
        return None
    if any(isinstance(v, np.ndarray) for s in (earlier, later) for v in s.parameters.values()):
        return None
    first = earlier.activation.expression(earlier.parameters)
    second = later.activation.expression(later.parameters)
    both = identify(substitute(second, first))
    if not isinstance(both, Identified):
        return None
    for alone, idle in ((first, later), (second, earlier)):
        same = identify(alone)
        if (
            isinstance(same, Identified)
            and same.activation is both.activation
            and same.parameters == both.parameters
        ):
            return idle
    return None


def _propose(earlier: Site, later: Site, idle: Site) -> Proposal:
    kept = earlier if idle is later else later
    shown = describe_activation(kept.activation, kept.parameters)
    if idle.spelling is Spelling.FUSED:
        return Refusal(_RULE, idle.id, idle.name, "it is inside a fused operator")
    if idle is earlier and (
        idle.output.is_graph_output() or any(u.node not in later.nodes for u in idle.output.uses())
    ):
        reason = f"{shown} after it makes it redundant, but something else uses what it makes"
        return Refusal(_RULE, idle.id, idle.name, reason)
    before = describe_activation(idle.activation, idle.parameters)
    return Change(
        rule=_RULE,
        fidelity=Fidelity.EXACT,
        site=idle.id,
        before=before,
        after=f"nothing: {shown} {'before' if kept is earlier else 'after'} it does the same",
        nodes=tuple(n.name or n.op_type for n in idle.nodes),
        apply=_bypassing(idle),
    )


def _bypassing(site: Site) -> Callable[[Editor], None]:
    user, index = next(
        (n, k) for n in site.nodes for k, v in enumerate(n.inputs) if v is site.input
    )

    def apply(editor: Editor) -> None:
        source = user.inputs[index]
        assert source is not None
        editor.bypass(site.nodes, source)

    return apply
