"""Fold sums and products with constants into the Conv, ConvTranspose, Gemm or MatMul behind them.

Not valid where the constants are not one number, or one for each channel, where something else
reads the value too, where a weight is not constant, and, for a sum, before a Conv that pads: the
zeros it pads with are not shifted. The scale of a LayerNormalization that is written out is left
to it, since runtimes know the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx_act.rewrite.forward_folding import FoldIntoConsumers


@dataclass(frozen=True)
class FoldAffineForward(FoldIntoConsumers):
    """Put Mul, Div, Add and Sub by constants into the weights and the biases behind them."""

    name: str = field(default="fold_affine_forward", init=False)
    normalizing: bool = field(default=False, init=False)
