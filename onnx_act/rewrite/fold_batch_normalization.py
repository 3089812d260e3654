"""Fold BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul that feeds it.

Not valid in training mode, where something else uses the unnormalised result, or where a weight
is not constant. Sums and products with constants in between are folded with it. Weights shared
with other nodes are copied. Sums are made in float64 and rounded once to the weight's dtype.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onnx_act.graph.types import shape_of
from onnx_act.rewrite.affine import NORMALIZATION, affine_of
from onnx_act.rewrite.folding import FoldIntoProducer, chains_behind_linear, site_name
from onnx_act.rewrite.linear import linear_at
from onnx_act.rewrite.rule import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

    from onnx_act.graph.model import Scope
    from onnx_act.rewrite.rule import Proposal, Subject

_FOLDABLE: Final = "Conv, ConvTranspose, Gemm or MatMul by a constant"


@dataclass(frozen=True)
class FoldBatchNormalization(FoldIntoProducer):
    """Put the scale into the weight and the shift into the bias of the operator before."""

    name: str = field(default="fold_batch_normalization", init=False)
    normalizing: bool = field(default=True, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every BatchNormalization of the model."""
        yield from super().plan(subject)
        folded = {n for _, _, chain in chains_behind_linear(subject) for n in chain.nodes}
        for scope in subject.model.scopes():
            for node in scope.graph:
                if node.op_type == NORMALIZATION and node.domain == "" and node not in folded:
                    site = site_name(scope, node.outputs[0])
                    yield Refusal(self.name, site, "", _reason_against(node, scope, subject))


def _reason_against(node: ir.Node, scope: Scope, subject: Subject) -> str:
    """Why no chain behind a linear operator holds it."""
    value = node.inputs[0]
    before = None if value is None else value.producer()
    linear = linear_at(before, subject.constants)
    shape = None if value is None else shape_of(value)
    rank = len(shape) if shape is not None else None if linear is None else linear.rank
    affine = affine_of(node, rank, scope.opset(), subject.constants)
    if isinstance(affine, str) and (linear is not None or rank is not None):
        return affine
    if before is None or linear is None:
        what = "an input" if before is None else ".".join(filter(None, before.op_identifier()[:2]))
        return f"it follows {what}, not {_FOLDABLE}"
    assert value is not None
    if value.is_graph_output() or len(value.uses()) != 1:
        return f"something else uses what {before.op_type} makes"
    if before.graph is not node.graph:
        return f"{before.op_type} is in an outer graph"
    return f"its channels are not those of {before.op_type}"
