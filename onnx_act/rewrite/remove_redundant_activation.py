"""Remove an activation that changes nothing where it stands, as in Relu(MaxPool(Relu(x))).

Not valid where some number of its input is changed, or where something else uses what it makes
while it is only idle because of the activation after it.

It is idle where its input holds no number that it changes, however far before that is settled, and
where the activation after it alone computes the same. Bounds and slopes are read to the last bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.activations.formula import number
from onnx_act.activations.intervals import is_identity_on
from onnx_act.activations.primitives import substitute
from onnx_act.activations.probe_points import NEAR, far_points
from onnx_act.activations.readings import evaluate
from onnx_act.graph.describe import describe_activation
from onnx_act.graph.pieces import Clamp, PieceReader, Slope, after_each_other
from onnx_act.graph.ranges import Ranges
from onnx_act.graph.sites import Spelling
from onnx_act.rewrite.rule import Change, Fidelity, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_act.activations.intervals import Interval
    from onnx_act.activations.primitives import Expr
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Proposal, Subject

_RULE: Final = "remove_redundant_activation"
_LISTED: Final = 4


@dataclass(frozen=True)
class RemoveRedundantActivation:
    """Drop activations that the operators before them, or the activation after them, make idle."""

    name: str = field(default=_RULE, init=False)
    # Of three in a row the outer two become neighbours.
    enables_itself: bool = field(default=True, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every activation that is idle."""
        reader = PieceReader(subject.model, subject.constants)
        ranges = Ranges(subject.model, subject.constants)
        by_output = {s.output: s for s in subject.sites if s.spelling is not Spelling.ATTRIBUTE}
        gone: set[Site] = set()
        for site in subject.sites:
            if site.routine or site.input is None:
                continue
            function = reader.of_site(site) or reader.curve_of_site(site)
            if function is None:
                continue
            if _is_idle(function, ranges.interval(site.input)):
                gone.add(site)
                yield _removal(site, _because(function, ranges.trail(site.input)))
                continue
            earlier = by_output.get(site.input)
            if earlier is None or earlier in gone or not _absorbs(site, earlier, reader):
                continue
            proposal = _removal_before(site, earlier)
            if isinstance(proposal, Change):
                gone.add(earlier)
            yield proposal


def _is_idle(function: Clamp | Slope | Expr, interval: Interval) -> bool:
    """Whether a function changes no number of an interval."""
    if isinstance(function, (Clamp, Slope)):
        return function.is_identity_on(interval)
    return is_identity_on(function, interval)


def _because(function: Clamp | Slope | Expr, trail: tuple[str, ...]) -> str:
    """Why the function is idle behind these operators."""
    if len(trail) > _LISTED:
        trail = (trail[0], "...", *trail[2 - _LISTED :])
    source = f"its input, by {', '.join(trail)},"
    if not isinstance(function, Clamp) or function == Clamp(0.0, math.inf):
        return f"{source} is never negative"
    if math.isinf(function.high):
        return f"{source} is never below {number(function.low)}"
    if math.isinf(function.low):
        return f"{source} is never above {number(function.high)}"
    return f"{source} is never outside of {number(function.low)} to {number(function.high)}"


def _absorbs(site: Site, earlier: Site, reader: PieceReader) -> bool:
    """Whether a site computes the same without the activation directly before it."""
    if earlier.routine or earlier.scope.name != site.scope.name:
        return False
    second = reader.of_site(site)
    if not isinstance(second, Clamp):
        return False
    if earlier.spelling is Spelling.FUSED:
        return _absorbs_fused(site, earlier)
    first = reader.of_site(earlier)
    return first is not None and after_each_other(first, second) == second


def _absorbs_fused(site: Site, earlier: Site) -> bool:
    if earlier.activation is None or site.activation is None:
        return False
    first = earlier.activation.expression(earlier.parameters)
    second = site.activation.expression(site.parameters)
    x = np.concatenate([NEAR, far_points(first, second)])
    return np.array_equal(evaluate(substitute(second, first), x), evaluate(second, x))


def _removal_before(site: Site, earlier: Site) -> Proposal:
    """What to do about an activation that the one after it makes idle."""
    if earlier.spelling is Spelling.FUSED:
        return Refusal(_RULE, earlier.id, earlier.name, "it is inside a fused operator")
    shown = describe_activation(site.activation, site.parameters)
    users = {use.node for use in earlier.output.uses()}
    if earlier.output.is_graph_output() or not users <= set(site.nodes):
        reason = f"{shown} after it makes it redundant, but something else uses what it makes"
        return Refusal(_RULE, earlier.id, earlier.name, reason)
    return _removal(earlier, f"{shown} after it does the same")


def _removal(site: Site, why: str) -> Change:
    return Change(
        rule=_RULE,
        fidelity=Fidelity.EXACT,
        site=site.id,
        before=describe_activation(site.activation, site.parameters),
        after=f"nothing: {why}",
        nodes=tuple(n.name or n.op_type for n in site.nodes),
        apply=bypassing(site),
        region=site.nodes,
    )


def bypassing(site: Site) -> Callable[[Editor], None]:
    """The edit that takes a site out: what read its result reads its input."""
    user, index = next(
        (n, k) for n in site.nodes for k, v in enumerate(n.inputs) if v is site.input
    )

    def apply(editor: Editor) -> None:
        source = user.inputs[index]
        assert source is not None
        editor.bypass(site.nodes, source)

    return apply
