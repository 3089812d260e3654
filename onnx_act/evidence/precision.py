"""How the float types round, and how much of it one operator does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Precision:
    """How a float type rounds.

    Attributes:
        unit: Unit roundoff: half the distance from 1 to the next larger number.
        growth: Rounding errors that one operator makes (g in `onnx_act.evidence.tolerance`).
        floor: The share of the output's scale that is allowed next to zero (f there).
        overflow: The magnitude that an infinity stands for: the first that rounds to it.
        noise_is_measured: Whether runs on the CPU show the rounding of this type in full.
    """

    unit: float
    growth: float
    floor: float
    overflow: float
    noise_is_measured: bool


_PRECISIONS = {
    "float64": Precision(
        2.0**-53, 4.0, 8.0, float(np.finfo(np.float64).max), noise_is_measured=True
    ),
    "float32": Precision(2.0**-24, 4.0, 8.0, 2.0**128, noise_is_measured=True),
    # What CUDA makes of float32 factors by default: float16's bits in float32's range.
    "tfloat32": Precision(2.0**-11, 0.6, 0.15, 2.0**128, noise_is_measured=False),
    "float16": Precision(2.0**-11, 0.6, 0.15, 2.0**16, noise_is_measured=False),
    "bfloat16": Precision(2.0**-8, 0.6, 0.15, 2.0**128, noise_is_measured=False),
    "float8_e4m3fn": Precision(2.0**-4, 0.6, 0.15, 512.0, noise_is_measured=False),
    "float8_e5m2": Precision(2.0**-3, 0.6, 0.15, 2.0**16, noise_is_measured=False),
}


def precision_of(*dtypes: str) -> Precision:
    """The coarsest precision of several float types; float32 when none is one."""
    known = [_PRECISIONS[dtype] for dtype in dtypes if dtype in _PRECISIONS]
    return max(known, key=lambda precision: precision.unit, default=_PRECISIONS["float32"])
