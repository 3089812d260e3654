"""Numbers as somebody wrote them: the digits behind a constant, and how far to trust them."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Final

import ml_dtypes
import numpy as np
import onnx_ir as ir

from onnx_act.activations.primitives import Expr, constant

# 0.7071 stands for 1/sqrt(2) and 1.4142 for sqrt(2): a number may be off by one in the last digit
# that was typed, as truncation leaves it, but never by more than this, relatively: three digits
# are another number.
_MOST: Final = 5e-5
_HALF_ULP: Final = {
    ir.DataType.FLOAT16: 2.0**-11,
    ir.DataType.BFLOAT16: 2.0**-8,
    ir.DataType.DOUBLE: 2.0**-53,
}
_FLOAT_HALF_ULP: Final = 2.0**-24
_KINDS: Final = {
    ir.DataType.FLOAT16: np.float16,
    ir.DataType.BFLOAT16: ml_dtypes.bfloat16,
    ir.DataType.DOUBLE: np.float64,
}


def as_written(value: float, dtype: ir.DataType | None) -> float:
    """The shortest decimal that the dtype stores as `value`: 0.1 for the float32 nearest to it."""
    if not math.isfinite(value):
        return value
    kind = _KINDS.get(dtype or ir.DataType.FLOAT, np.float32)
    for digits in range(1, 18):
        short = float(f"{value:.{digits}g}")
        with np.errstate(over="ignore"):
            stored = float(kind(short))
        if stored == value:
            return short
    return value


def half_ulp(dtype: ir.DataType | None) -> float:
    """What rounding to a float type may do to a number, relatively; of float32 where unknown."""
    return _HALF_ULP.get(dtype or ir.DataType.FLOAT, _FLOAT_HALF_ULP)


def stated(value: float, dtype: ir.DataType | None = ir.DataType.FLOAT) -> Expr:
    """A stored number as a constant: as it was written, and how far it may be from what was meant.

    Args:
        value: as it is stored.
        dtype: what it is stored in.
    """
    written = as_written(value, dtype)
    return constant(written, uncertainty_of(written, dtype))


def uncertainty_of(written: float, dtype: ir.DataType | None) -> float:
    """How far, relatively, a number may be from the one that was meant.

    One unit of its last typed digit, at most 5e-5, and at least half a unit of its dtype.
    """
    if written == 0 or not math.isfinite(written):
        return 0.0
    exponent = Decimal(repr(written)).normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    typed = 10.0**exponent / abs(written)
    return max(min(typed, _MOST), half_ulp(dtype))
