"""Write a rank-2 MatMul and the Add of its bias as Gemm, where an activation follows.

Not valid for other ranks, where the matrix or the bias is not constant, or where something else
uses the product. Gemm and an activation is what runtimes fuse; MatMul, Add and an activation not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnx_act.graph.probe_models import node_probe
from onnx_act.graph.types import dtype_of
from onnx_act.rewrite.folding import provenance_of_fold
from onnx_act.rewrite.fused_operators import fused_attributes
from onnx_act.rewrite.linear import linear_at
from onnx_act.rewrite.rule import UNKNOWN_TYPE, Change, Fidelity, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_act.graph.edit import Editor
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.linear import Linear
    from onnx_act.rewrite.rule import Proposal, Subject

# Since this opset Gemm broadcasts its bias without being told to.
_SINCE = 7


@dataclass(frozen=True)
class RaiseGemm:
    """Make MatMul and Add one Gemm in front of an activation that FusedGemm knows."""

    name: str = field(default="raise_gemm", init=False)
    enables_itself: bool = field(default=False, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every biased MatMul in front of such an activation."""
        seen: set[ir.Node] = set()
        for site in subject.sites:
            if site.activation is None or site.input is None or site.routine:
                continue
            linear = linear_at(site.input.producer(), subject.constants)
            if linear is None or linear.adding is None or linear.adding in seen:
                continue
            if fused_attributes("FusedGemm", site.activation, site.parameters) is None:
                continue
            seen.add(linear.adding)
            yield self._propose(site, linear, subject)

    def _propose(self, site: Site, linear: Linear, subject: Subject) -> Proposal:
        reason = _reason_against(site, linear, subject)
        if reason is not None:
            return Refusal(self.name, site.id, site.name, reason)
        adding = linear.adding
        assert adding is not None

        def apply(editor: Editor) -> None:
            name = editor.fresh_name(f"{linear.node.name or linear.result.name}/Gemm")
            result = ir.Value(name=name)
            inputs = [linear.node.inputs[0], linear.weight, linear.bias]
            gemm = ir.Node("", "Gemm", inputs, outputs=[result], name=name)
            provenance = provenance_of_fold(self.name, linear.nodes)
            editor.replace(linear.nodes, adding.outputs[0], [gemm], result, provenance)

        return Change(
            rule=self.name,
            fidelity=Fidelity.NUMERIC,
            site=site.id,
            before=linear.title,
            after="Gemm",
            nodes=tuple(n.name or n.op_type for n in linear.nodes),
            apply=apply,
            region=linear.nodes,
        )


def _reason_against(site: Site, linear: Linear, subject: Subject) -> str | None:
    if linear.rank is None:
        return "the rank of what MatMul reads is not known"
    if linear.rank != 2:
        return f"MatMul reads rank {linear.rank}, and Gemm takes rank 2"
    if site.scope.opset() < _SINCE:
        return f"Gemm before opset {_SINCE} broadcasts in a way of its own"
    dtype = dtype_of(linear.weight)
    if dtype is None:
        return UNKNOWN_TYPE
    probe = node_probe(
        ir.Node("", "Gemm", []),
        [(2, 4), (4, 4), (4,)],
        dtype,
        site.scope,
        subject.model.content.ir_version,
    )
    against = subject.targets.reason_against(probe)
    return None if against is None else f"Gemm: {against}"
