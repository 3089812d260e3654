"""Swap one activation for another, because somebody asked for it.

Not valid where the site is not the activation that was named, where the result is quantised with
a range that the new activation leaves, or where no target can run the new one in that dtype.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.activations.readings import evaluate
from onnx_act.graph.describe import describe_activation
from onnx_act.graph.regions import FLOATS
from onnx_act.graph.roles import CARRYING
from onnx_act.graph.sampling import NATIVE
from onnx_act.graph.sites import Role, Spelling
from onnx_act.graph.types import shape_of
from onnx_act.rewrite.rule import UNKNOWN_TYPE, Change, Fidelity, Refusal
from onnx_act.rewrite.swap_attribute import swap_fused, swap_recurrent
from onnx_act.rewrite.swap_request import SwapRequest, carried_over
from onnx_act.rewrite.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_act.activations.activation import Activation, Parameters
    from onnx_act.graph.selectors import Selector
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Proposal, Subject

_RULE: Final = "swap_activation"
# Operators whose result never leaves the range of their input.
_NARROWING: Final = frozenset(
    {"AveragePool", "Clip", "GlobalAveragePool", "GlobalMaxPool", "Max", "MaxPool", "Min", "Relu"}
)


@dataclass(frozen=True)
class SwapActivation:
    """Replace the activations that `requests` name, at the sites that `where` selects.

    Without a selector only feature paths are touched: gates and outputs are refused with that
    reason. A site that several requests cover takes the first.
    """

    requests: tuple[SwapRequest, ...]
    where: Selector | None = None
    name: str = field(default=_RULE, init=False)
    enables_itself: bool = field(default=False, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every site that a request covers."""
        writer = Writer(subject.model, subject.targets)
        for site in subject.sites:
            if self.where is not None and not self.where(site):
                continue
            request = next((r for r in self.requests if r.covers(site)), None)
            if request is None:
                yield from self._part_of_another(site)
                continue
            reason = self._reason_to_leave(site)
            if reason is None:
                yield _propose(site, request, writer)
            else:
                yield Refusal(_RULE, site.id, site.name, reason)

    def _part_of_another(self, site: Site) -> Iterator[Refusal]:
        """A refusal of a site that is something else, but holds an operator that was asked for."""
        for request in self.requests:
            if site.activation is not request.source and request.source in operators_within(site):
                yield Refusal(_RULE, site.id, site.name, _why_not(request.source, site))
                return

    def _reason_to_leave(self, site: Site) -> str | None:
        if self.where is not None or site.role is Role.MAIN:
            return None
        if site.role is Role.GATE:
            return "it is a gate on another branch; select it with --where role:gate to swap it"
        return "it makes an output of the model; select it with --where role:output to swap it"


def operators_within(site: Site) -> list[Activation]:
    """The activations whose own operators are among the nodes of a site."""
    natives = (NATIVE.get((n.domain, n.op_type)) for n in site.nodes)
    return [native.activation for native in natives if native is not None]


def _why_not(source: Activation, site: Site) -> str:
    if site.activation is None:
        return f"{source.name} is part of {site.formula}, which is in no catalogue entry"
    whole = describe_activation(site.activation, site.parameters)
    return f"its {source.name} is part of {whole} ({site.written}); swap that"


def _propose(site: Site, request: SwapRequest, writer: Writer) -> Proposal:
    parameters = carried_over(request, site)
    if isinstance(parameters, str):
        return Refusal(_RULE, site.id, site.name, parameters)
    target = request.target
    reason = _reason_against(site, target, parameters)
    if reason is not None:
        return Refusal(_RULE, site.id, site.name, reason)
    if site.spelling is Spelling.ATTRIBUTE:
        return swap_recurrent(_RULE, site, target, parameters, writer)
    if site.spelling is Spelling.FUSED:
        return swap_fused(_RULE, site, target, parameters, writer)
    written = writer.choose(site, target, parameters)
    if isinstance(written, str):
        return Refusal(_RULE, site.id, site.name, written)
    return Change(
        rule=_RULE,
        fidelity=Fidelity.SEMANTIC,
        site=site.id,
        before=describe_activation(site.activation, site.parameters),
        after=describe_activation(target, parameters),
        nodes=tuple(n.name or n.op_type for n in site.nodes),
        apply=writer.replacement(_RULE, site, target, parameters, written),
        written=writer.written(site, target, parameters, written),
    )


def _reason_against(site: Site, target: Activation, parameters: Parameters) -> str | None:
    assert site.activation is not None
    if site.activation is target and all(
        np.array_equal(site.parameters[k], v) for k, v in parameters.items()
    ):
        return f"it already is {describe_activation(target, parameters)}"
    if site.dtype is None:
        return UNKNOWN_TYPE
    if site.dtype not in FLOATS:
        return f"it works on {site.dtype.name.lower()}, and activations are functions of floats"
    for name, value in parameters.items():
        if isinstance(value, np.ndarray) and not _spans(value.shape, shape_of(site.output)):
            shape = shape_of(site.output)
            return (
                f"{name} of shape {list(value.shape)} cannot be broadcast to its shape "
                f"{list(shape) if shape is not None else 'of unknown rank'}"
            )
    if _is_quantised(site) and not _stays_within(site, target, parameters):
        return (
            f"its result is quantised with a scale chosen for {site.name}, and {target.name} "
            "can leave that range; swap before quantisation, or calibrate again"
        )
    return None


def _spans(shape: tuple[int, ...], whole: tuple[int | str | None, ...] | None) -> bool:
    """Whether an array of `shape` broadcasts into a tensor of dimensions `whole`."""
    if whole is None or len(shape) > len(whole):
        return False
    pairs = zip(reversed(shape), reversed(whole), strict=False)
    return all(mine in {1, theirs} for mine, theirs in pairs)


def _is_quantised(site: Site) -> bool:
    """Whether the result reaches a QuantizeLinear through nothing that would change its range."""
    seen = {site.output}
    stack = [site.output]
    while stack:
        for node, _ in stack.pop().uses():
            if node.op_type == "QuantizeLinear":
                return True
            if node.op_type in CARRYING | _NARROWING:
                fresh = [v for v in node.outputs if v not in seen]
                seen.update(fresh)
                stack.extend(fresh)
    return False


def _stays_within(site: Site, target: Activation, parameters: Parameters) -> bool:
    """Whether, at every input, the new value lies between zero and the old one.

    A scale that was calibrated for the old activation then covers the new one too.
    """
    assert site.activation is not None
    x = np.concatenate([-np.logspace(-3, 4, 400)[::-1], [0.0], np.logspace(-3, 4, 400)])
    column = np.reshape(x, (-1, 1, 1, 1, 1, 1))
    old = evaluate(site.activation.expression(site.parameters), column)
    new = evaluate(target.expression(parameters), column)
    slack = 1e-6 * np.maximum(1.0, np.abs(old))
    covered = (new >= np.minimum(old, 0.0) - slack) & (new <= np.maximum(old, 0.0) + slack)
    return bool(np.all(covered))
