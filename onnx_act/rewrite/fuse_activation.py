"""Fuse an activation into the Conv or Gemm that feeds it, as a contrib operator.

Not valid where something else uses the unfused result, or where a target has no kernel that takes
this activation, with these parameters, in this dtype (each is asked, see `fused_operators`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import onnx_ir as ir

from onnx_act.activations.activation import MICROSOFT
from onnx_act.graph.describe import describe_activation
from onnx_act.graph.sites import Spelling
from onnx_act.graph.types import declare_type
from onnx_act.rewrite.fused_operators import fused_attributes, fused_probe
from onnx_act.rewrite.rule import UNKNOWN_TYPE, Change, Fidelity, Refusal
from onnx_act.rewrite.writing import provenance_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_act.graph.edit import Editor
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Proposal, Subject

_WRITTEN_IN_PLACE: Final = frozenset({Spelling.OPERATOR, Spelling.CONTRIB, Spelling.EXPRESSION})


@dataclass(frozen=True)
class FuseActivation:
    """Make `producer` followed by an activation one `fused` node.

    Attributes:
        producer: the standard operator, Conv or Gemm.
        fused: the contrib operator that computes it and the activation.
        name: how reports call the rule.
    """

    producer: str
    fused: str
    name: str = field(default="")
    enables_itself: bool = field(default=False, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every activation that directly follows the producer."""
        known: dict[bytes, str | None] = {}
        for site in subject.sites:
            if site.spelling not in _WRITTEN_IN_PLACE or site.input is None or site.routine:
                continue
            before = site.input.producer()
            if before is None or before.domain != "" or before.op_type != self.producer:
                continue
            yield self._propose(site, before, subject, known)

    def _propose(
        self, site: Site, before: ir.Node, subject: Subject, known: dict[bytes, str | None]
    ) -> Proposal:
        if site.activation is None:
            return Refusal(self.name, site.id, site.name, "it is no activation we know by name")
        reason = _reason_against(site, before)
        attributes = fused_attributes(self.fused, site.activation, site.parameters)
        if attributes is None:
            shown = describe_activation(site.activation, site.parameters)
            reason = reason or f"{self.fused} has no name for {shown}"
        if reason is not None or attributes is None:
            return Refusal(self.name, site.id, site.name, reason or "")
        probe = fused_probe(before, attributes, site, subject.model.content.ir_version)
        if probe is None:
            return Refusal(self.name, site.id, site.name, "the rank of its weight is not known")
        if probe not in known:
            known[probe] = subject.targets.reason_against(probe)
        if (against := known[probe]) is not None:
            return Refusal(self.name, site.id, site.name, f"{self.fused}: {against}")
        return Change(
            rule=self.name,
            fidelity=Fidelity.NUMERIC,
            site=site.id,
            before=f"{self.producer}, {site.written}",
            after=f"{self.fused}[{attributes[0].as_string()}]",
            nodes=tuple(n.name or n.op_type for n in (before, *site.nodes)),
            apply=self._edit(site, before, attributes),
        )

    def _edit(
        self, site: Site, before: ir.Node, attributes: list[ir.Attr]
    ) -> Callable[[Editor], None]:
        def apply(editor: Editor) -> None:
            old = site.nodes[-1].outputs[0]
            editor.import_domain(MICROSOFT, site.scope)
            name = editor.fresh_name(f"{before.name or old.name}/{self.fused}")
            result = ir.Value(name=name)
            attrs = [*before.attributes.values(), *attributes]
            fused = ir.Node(
                MICROSOFT, self.fused, list(before.inputs), attrs, outputs=[result], name=name
            )
            assert site.activation is not None
            provenance = provenance_of(self.name, site, site.activation, site.parameters)
            provenance["nodes"] = ", ".join(n.name or n.op_type for n in (before, *site.nodes))
            editor.replace([before, *site.nodes], old, [fused], result, provenance)
            # Shape inference does not know contrib operators: what is known is written down. In a
            # function it is known of one call only, and another may bring another shape.
            if not site.scope.is_function_body():
                declare_type(result)

        return apply


def _reason_against(site: Site, before: ir.Node) -> str | None:
    (value,) = before.outputs
    if value.is_graph_output():
        return f"what {before.op_type} makes is an output of the graph as well"
    if any(use.node not in site.nodes for use in value.uses()):
        return f"something else uses what {before.op_type} makes"
    if before.graph is not site.nodes[-1].graph:
        return f"{before.op_type} is in an outer graph"
    source = None if before.inputs[0] is None else before.inputs[0].producer()
    if source is not None and source.op_type == "DequantizeLinear":
        # A runtime makes one integer operator of DequantizeLinear, Conv, Relu, QuantizeLinear, and
        # knows no fused operator there (seen in ONNX Runtime 1.31).
        return f"its {before.op_type} is quantised, and a fused operator would run in float"
    if "broadcast" in before.attributes:
        return f"{before.op_type} before opset 7 broadcasts as no fused operator does"
    if site.dtype is None:
        return UNKNOWN_TYPE
    return None


#: Conv and an activation as com.microsoft.FusedConv.
FUSE_CONV_ACTIVATION: Final = FuseActivation("Conv", "FusedConv", "fuse_conv_activation")
#: Gemm and an activation as com.microsoft.FusedGemm.
FUSE_GEMM_ACTIVATION: Final = FuseActivation("Gemm", "FusedGemm", "fuse_gemm_activation")
