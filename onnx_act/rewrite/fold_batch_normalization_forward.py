"""Fold BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul that reads it.

Not valid in training mode, where something else reads the normalised value too, where a weight is
not constant, and, unless its shift is zero, before a Conv that pads: the zeros it pads with are
not shifted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx_act.rewrite.forward_folding import FoldIntoConsumers


@dataclass(frozen=True)
class FoldBatchNormalizationForward(FoldIntoConsumers):
    """Put the scale into the weights behind it and what the shift adds up to into the biases."""

    name: str = field(default="fold_batch_normalization_forward", init=False)
    normalizing: bool = field(default=True, init=False)
