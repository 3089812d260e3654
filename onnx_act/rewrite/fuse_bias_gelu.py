"""Fuse adding a constant bias into the GELU behind it, as BiasGelu or FastGelu.

Not valid where the bias is not a vector as long as the last dimension, which it would broadcast,
where something else uses the sum, or where a target has no kernel for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import onnx_ir as ir

from onnx_act.activations.activation import MICROSOFT
from onnx_act.graph.types import shape_of
from onnx_act.rewrite.fuse_activation import (
    put_in_place,
    reason_in_spelling,
    reason_on,
    reason_to_keep,
    sites_after,
)
from onnx_act.rewrite.fused_probes import biased_probe
from onnx_act.rewrite.rule import Change, Fidelity, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_act.graph.constants import Constants
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Proposal, Subject

_RULE: Final = "fuse_bias_gelu"
# Which of the two GELUs -> the operator that adds a bias first.
_FUSED: Final = {"none": "BiasGelu", "tanh": "FastGelu"}


@dataclass(frozen=True)
class FuseBiasGelu:
    """Make Add and a GELU one node, however the GELU is written."""

    name: str = field(default=_RULE, init=False)
    enables_itself: bool = field(default=False, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every GELU of a sum."""
        known: dict[bytes, str | None] = {}
        for site, adding in sites_after("", ("Add",), subject):
            if site.name == "gelu":
                yield _propose(site, adding, subject, known)


def _propose(
    site: Site, adding: ir.Node, subject: Subject, known: dict[bytes, str | None]
) -> Proposal:
    approximate = site.parameters["approximate"]
    assert isinstance(approximate, str)
    op_type = _FUSED[approximate]
    reason = reason_to_keep(adding, site.nodes)
    if reason is None and "broadcast" in adding.attributes:
        reason = "Add before opset 7 broadcasts as no fused operator does"
    reason = reason or reason_in_spelling(site)
    if reason is not None:
        return Refusal(_RULE, site.id, site.name, reason)
    place = _place_of_bias(adding, subject.constants)
    if isinstance(place, str):
        return Refusal(_RULE, site.id, site.name, place)
    probe = biased_probe(op_type, site, subject.model.content.ir_version)
    if probe not in known:
        known[probe] = reason_on(subject.targets, probe)
    if (against := known[probe]) is not None:
        return Refusal(_RULE, site.id, site.name, f"{op_type}: {against}")
    region = (adding, *site.nodes)
    return Change(
        rule=_RULE,
        fidelity=Fidelity.NUMERIC,
        site=site.id,
        before=f"Add, {site.written}",
        after=f"{MICROSOFT}.{op_type}",
        nodes=tuple(n.name or n.op_type for n in region),
        apply=_edit(op_type, adding, place, site),
        region=region,
    )


def _place_of_bias(adding: ir.Node, constants: Constants) -> int | str:
    """Which operand of the Add is the bias of the other; or why neither is."""
    first, second = adding.inputs
    assert first is not None
    assert second is not None
    place = next((k for k, v in enumerate((first, second)) if constants.is_constant(v)), None)
    if place is None:
        offered = next((v for v in (second, first) if v.is_initializer()), None)
        if offered is None:
            return "nothing that it adds is a constant"
        return f"{offered.name}, which it adds, can be overridden by a caller"
    bias, x = (second, first) if place == 1 else (first, second)
    length, shape = constants.shape(bias), shape_of(x)
    if length is None:
        return f"{bias.name} is a constant that is not evaluated"
    if not shape or not isinstance(shape[-1], int):
        return f"the last dimension of {x.name} is not known"
    if length != (shape[-1],):
        return f"{bias.name}, which it adds, is {list(length)} and no bias of {shape[-1]} numbers"
    return place


def _edit(op_type: str, adding: ir.Node, place: int, site: Site) -> Callable[[Editor], None]:
    def apply(editor: Editor) -> None:
        old = site.nodes[-1].outputs[0]
        name = editor.fresh_name(f"{old.name}/{op_type}")
        inputs = [adding.inputs[1 - place], adding.inputs[place]]
        result = ir.Value(name=name)
        fused = ir.Node(MICROSOFT, op_type, inputs, outputs=[result], name=name)
        put_in_place([fused], (adding, *site.nodes), _RULE, site, editor)

    return apply
