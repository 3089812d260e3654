"""Fuse a Conv, the sum with another branch, and the activation of the sum, as FusedConv.

Not valid where the two branches may differ in shape, so that one is broadcast, where something
else uses the Conv's result or the unactivated sum, or where a target has no kernel for it or an
optimiser that gets it wrong (both are asked, see `fused_probes.residual_probe`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.activations.activation import MICROSOFT
from onnx_act.graph.describe import describe_activation
from onnx_act.graph.types import dtype_of, shape_of
from onnx_act.rewrite.fuse_activation import (
    put_in_place,
    reason_in_spelling,
    reason_not_plain,
    reason_on,
    reason_to_keep,
    sites_after,
)
from onnx_act.rewrite.fused_operators import fused_attributes
from onnx_act.rewrite.fused_probes import residual_probe
from onnx_act.rewrite.rule import Change, Fidelity, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_act.graph.edit import Editor
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Proposal, Subject

_RULE: Final = "fuse_conv_residual"
_FUSED: Final = "FusedConv"


@dataclass(frozen=True, slots=True)
class _Sum:
    """A Conv, the Add behind it, and where in the Add the other branch is."""

    conv: ir.Node
    adding: ir.Node
    other: int


@dataclass(frozen=True)
class FuseConvResidual:
    """Make Conv, Add and an activation one FusedConv of four inputs.

    A sum without an activation is left alone: some kernels want one to be named.
    """

    name: str = field(default=_RULE, init=False)
    enables_itself: bool = field(default=False, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every activation of a sum with a Conv's result.

        Where both branches end in a Conv the later one takes the sum: the other is ready by then.
        """
        known: dict[bytes, str | None] = {}
        places: dict[ir.Node, int] = {}
        for site, adding in sites_after("", ("Add",), subject):
            sums = _sums_of(adding)
            if len(sums) == 2:
                if adding not in places:
                    places.update((n, k) for k, n in enumerate(site.scope.graph))
                sums.sort(key=lambda s: places.get(s.conv, -1), reverse=True)
            if sums:
                yield _propose(site, sums, subject, known)


def _sums_of(adding: ir.Node) -> list[_Sum]:
    """The ways to see an Add as the sum with a Conv's result."""
    found = []
    for index, value in enumerate(adding.inputs):
        before = None if value is None else value.producer()
        if before is not None and before.domain == "" and before.op_type == "Conv":
            found.append(_Sum(before, adding, 1 - index))
    return found


def _propose(
    site: Site, sums: list[_Sum], subject: Subject, known: dict[bytes, str | None]
) -> Proposal:
    if site.activation is None:
        return Refusal(_RULE, site.id, site.name, "it is no activation we know by name")
    attributes = fused_attributes(_FUSED, site.activation, site.parameters)
    if attributes is None:
        shown = describe_activation(site.activation, site.parameters)
        return Refusal(_RULE, site.id, site.name, f"{_FUSED} has no name for {shown}")
    reasons = [_reason_against(s, site) for s in sums]
    chosen = next((s for s, reason in zip(sums, reasons, strict=True) if reason is None), None)
    if chosen is None:
        return Refusal(_RULE, site.id, site.name, reasons[0] or "")
    probe = residual_probe(chosen.conv, attributes, site, subject.model.content.ir_version)
    assert probe is not None
    if probe not in known:
        known[probe] = reason_on(subject.targets, probe)
    if (against := known[probe]) is not None:
        return Refusal(_RULE, site.id, site.name, f"{_FUSED} with a sum: {against}")
    region = (chosen.conv, chosen.adding, *site.nodes)
    return Change(
        rule=_RULE,
        fidelity=Fidelity.NUMERIC,
        site=site.id,
        before=f"Conv, Add, {site.written}",
        after=f"{_FUSED}[{attributes[0].as_string()}]",
        nodes=tuple(n.name or n.op_type for n in region),
        apply=_edit(chosen, site, attributes),
        region=region,
    )


def _reason_against(sum_: _Sum, site: Site) -> str | None:
    conv, adding = sum_.conv, sum_.adding
    # That only the Add uses the Conv's result also says that the other branch does not.
    reason = (
        reason_to_keep(conv, (adding,))
        or reason_to_keep(adding, site.nodes)
        or reason_not_plain(conv)
        or reason_in_spelling(site)
    )
    if reason is not None:
        return reason
    if adding.inputs[0] is adding.inputs[1]:
        return "the Conv's result is added to itself"
    group = conv.attributes.get("group")
    if group is not None and group.is_ref():
        return "group of Conv is set by every call of the function"
    weight = shape_of(conv.inputs[1])
    if weight is None or not isinstance(weight[0], int):
        return "the shape of its Conv's weight is not known"
    return _reason_in_shapes(conv.outputs[0], adding.inputs[sum_.other], site)


def _reason_in_shapes(convolved: ir.Value, other: ir.Value | None, site: Site) -> str | None:
    """Why the two branches are not known to have one shape."""
    assert other is not None
    first, second = shape_of(convolved), shape_of(other)
    if first is None or second is None:
        unknown = convolved if first is None else other
        return f"the shape of {unknown.name} is not known"
    producer = other.producer()
    holder = producer.graph if producer is not None else other.graph
    if first != second or None in first:
        shown = " and ".join(_shown(s) for s in (first, second))
        return f"the branches are not known to have one shape: {shown}"
    names = [d for d in first if isinstance(d, str)]
    if names and holder is not site.nodes[-1].graph:
        return f"{other.name} is from an outer graph, where {names[0]} may be another number"
    if (known := dtype_of(other)) is not None and known != site.dtype:
        return f"the branches have two element types: {known.name.lower()} is added"
    return None


def _shown(shape: tuple[int | str | None, ...]) -> str:
    # onnx makes up a name for every dimension that it cannot tell.
    known = ("?" if d is None or str(d).startswith("unk__") else str(d) for d in shape)
    return f"[{','.join(known)}]"


def _edit(sum_: _Sum, site: Site, attributes: list[ir.Attr]) -> Callable[[Editor], None]:
    conv, adding = sum_.conv, sum_.adding

    def apply(editor: Editor) -> None:
        anchor = site.nodes[-1]
        name = editor.fresh_name(f"{conv.name or anchor.outputs[0].name}/{_FUSED}")
        # What is added may be the result of a fusion by now: the Add knows.
        inputs = [*conv.inputs[:2], _bias(conv, anchor, site, editor), adding.inputs[sum_.other]]
        attrs = [*conv.attributes.values(), *attributes]
        result = ir.Value(name=name)
        fused = ir.Node(MICROSOFT, _FUSED, inputs, attrs, outputs=[result], name=name)
        put_in_place([fused], (conv, adding, *site.nodes), _RULE, site, editor)

    return apply


def _bias(conv: ir.Node, anchor: ir.Node, site: Site, editor: Editor) -> ir.Value:
    """The Conv's bias; zeros where it has none, since not every kernel takes a sum without it."""
    bias = conv.inputs[2] if len(conv.inputs) > 2 else None
    if bias is not None:
        return bias
    weight, dtype = shape_of(conv.inputs[1]), site.dtype
    assert weight is not None
    assert dtype is not None
    channels = weight[0]
    assert isinstance(channels, int)
    zeros = ir.tensor(np.zeros(channels, dtype.numpy()), dtype=dtype)
    return editor.add_constant(f"{conv.name or conv.outputs[0].name}/bias", zeros, anchor)
