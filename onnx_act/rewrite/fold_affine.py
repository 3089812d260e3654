"""Fold sums and products with constants into the Conv, ConvTranspose, Gemm or MatMul before them.

Not valid where the constants are not one number, or one for each channel, where something else
uses a result in between, or where a weight is not constant. Nodes that spell an activation, such
as the `Add(3)` of a HardSigmoid, are left to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx_act.rewrite.folding import FoldIntoProducer


@dataclass(frozen=True)
class FoldAffine(FoldIntoProducer):
    """Put Mul, Div, Add and Sub by constants into the weight and the bias before them."""

    name: str = field(default="fold_affine", init=False)
    normalizing: bool = field(default=False, init=False)
