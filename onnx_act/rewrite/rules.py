"""The rules of folding and fusing, in the order in which one enables the next."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from onnx_act.rewrite.commute_activation import CommuteActivation
from onnx_act.rewrite.flatten_matmul import FlattenMatMul
from onnx_act.rewrite.fold_affine import FoldAffine
from onnx_act.rewrite.fold_affine_forward import FoldAffineForward
from onnx_act.rewrite.fold_batch_normalization import FoldBatchNormalization
from onnx_act.rewrite.fold_batch_normalization_forward import FoldBatchNormalizationForward
from onnx_act.rewrite.fold_scale_through_activation import FoldScaleThroughActivation
from onnx_act.rewrite.fuse_activation import FUSE_CONV_ACTIVATION, FUSE_GEMM_ACTIVATION
from onnx_act.rewrite.fuse_bias_gelu import FuseBiasGelu
from onnx_act.rewrite.fuse_conv_residual import FuseConvResidual
from onnx_act.rewrite.fuse_gelu import FUSE_GELU
from onnx_act.rewrite.fuse_group_normalization import FuseGroupNormalization
from onnx_act.rewrite.fuse_matmul_activation import FuseMatMulActivation
from onnx_act.rewrite.fuse_mode import FuseMode
from onnx_act.rewrite.fuse_quick_gelu import FUSE_QUICK_GELU
from onnx_act.rewrite.if_faster import IfFaster
from onnx_act.rewrite.raise_activation import RaiseActivation
from onnx_act.rewrite.raise_gemm import RaiseGemm
from onnx_act.rewrite.remove_redundant_activation import RemoveRedundantActivation
from onnx_act.rewrite.simplify_activation import SimplifyActivation

if TYPE_CHECKING:
    from onnx_act.rewrite.rule import Rule

    Step = Rule | tuple[Rule, ...]


def _portable(max_growth: float) -> tuple[Step, ...]:
    return (
        # First: of two activations the first would be fused and the second left behind, and one
        # that does nothing parts a scale from its Conv.
        (SimplifyActivation(), RemoveRedundantActivation()),
        # Together: what one leaves may be next to an operator that takes it in. Backward before
        # forward: what the operator before takes in costs no border.
        (
            FoldBatchNormalization(max_growth),
            FoldAffine(max_growth),
            FoldScaleThroughActivation(max_growth),
            FoldBatchNormalizationForward(max_growth),
            FoldAffineForward(max_growth),
        ),
        # After the folds, which bring an activation next to the operator that it is fused into;
        # what has moved may be idle where it is now.
        (CommuteActivation(), RemoveRedundantActivation(), SimplifyActivation()),
        # After the folds, which know MatMul and Add as well, and before what fuses a Gemm.
        RaiseGemm(),
        IfFaster(FlattenMatMul()),
        # After the folds, whose sums and products are not the activation's.
        IfFaster(RaiseActivation()),
    )


#: The rules that put contrib operators. After all else: nothing else looks inside a fused operator.
CONTRIB: Final[tuple[Rule, ...]] = (
    # The larger patterns first: the smaller ones are parts of them.
    FuseConvResidual(),
    FuseMatMulActivation(),
    FuseBiasGelu(),
    FUSE_CONV_ACTIVATION,
    FUSE_GEMM_ACTIVATION,
    FUSE_QUICK_GELU,
    FUSE_GELU,
    FuseGroupNormalization(),
)


def fusing_rules(mode: FuseMode, max_growth: float = math.inf) -> tuple[Step, ...]:
    """The rules that a mode runs, in order; those in a tuple enable each other.

    Args:
        mode: how far to go.
        max_growth: how many times as large copies of shared weights may make the file.
    """
    match mode:
        case FuseMode.NONE:
            return ()
        case FuseMode.PORTABLE:
            return _portable(max_growth)
        case FuseMode.AUTO:
            return (*_portable(max_growth), *(IfFaster(rule) for rule in CONTRIB))
        case FuseMode.CONTRIB:
            return (*_portable(max_growth), *CONTRIB)


#: Every rule of folding and fusing, in order.
FUSING: Final[tuple[Rule, ...]] = tuple(
    rule
    for step in fusing_rules(FuseMode.CONTRIB)
    for rule in (step if isinstance(step, tuple) else (step,))
)
