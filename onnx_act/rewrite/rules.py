"""The rules of fusing, in the order in which one enables the next."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from onnx_act.rewrite.fold_batch_normalization import FoldBatchNormalization
from onnx_act.rewrite.fuse_activation import FUSE_CONV_ACTIVATION, FUSE_GEMM_ACTIVATION
from onnx_act.rewrite.fuse_mode import FuseMode
from onnx_act.rewrite.if_faster import IfFaster
from onnx_act.rewrite.remove_redundant_activation import RemoveRedundantActivation

if TYPE_CHECKING:
    from onnx_act.rewrite.rule import Rule

# Last: nothing else looks inside a fused operator.
_CONTRIB: Final[tuple[Rule, ...]] = (FUSE_CONV_ACTIVATION, FUSE_GEMM_ACTIVATION)


def _portable(max_growth: float) -> tuple[Rule, ...]:
    return (
        # First: an activation can only be fused into a Conv that it follows directly, and a fused
        # operator can no longer take a normalisation.
        FoldBatchNormalization(max_growth),
        # Then: of two activations the first would be fused and the second left behind.
        RemoveRedundantActivation(),
    )


#: Every rule of folding and fusing, as `FuseMode.CONTRIB` runs them.
FUSING: Final[tuple[Rule, ...]] = (*_portable(math.inf), *_CONTRIB)


def fusing_rules(mode: FuseMode, max_growth: float) -> tuple[Rule, ...]:
    """The rules that a mode runs, in order.

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
            return (*_portable(max_growth), *(IfFaster(rule) for rule in _CONTRIB))
        case FuseMode.CONTRIB:
            return (*_portable(max_growth), *_CONTRIB)
