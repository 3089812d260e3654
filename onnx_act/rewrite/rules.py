"""The rules of fusing, in the order in which one enables the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onnx_act.rewrite.fold_batch_normalization import FoldBatchNormalization
from onnx_act.rewrite.fuse_activation import FUSE_CONV_ACTIVATION, FUSE_GEMM_ACTIVATION
from onnx_act.rewrite.remove_redundant_activation import RemoveRedundantActivation

if TYPE_CHECKING:
    from onnx_act.rewrite.rule import Rule

FUSING: Final[tuple[Rule, ...]] = (
    # First: an activation can only be fused into a Conv that it follows directly, and a fused
    # operator can no longer take a normalisation.
    FoldBatchNormalization(),
    # Then: of two activations the first would be fused and the second left behind.
    RemoveRedundantActivation(),
    # Last: nothing else looks inside a fused operator.
    FUSE_CONV_ACTIVATION,
    FUSE_GEMM_ACTIVATION,
)
