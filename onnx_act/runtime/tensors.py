"""What a model's input or output is, in the runtime's own words and in numpy's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""An array of whatever element type a model asks for."""

Dimension: TypeAlias = int | str | None
"""A fixed size, a symbolic name (the same name is the same size everywhere), or unknown."""

_NAMES = {
    "float": "float32",
    "double": "float64",
    "float8e4m3fn": "float8_e4m3fn",
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
}

# TensorProto.DataType of the element types that numpy itself lacks; onnx.proto, enum DataType.
ONNX_ELEMENT_TYPES = {
    "bfloat16": 16,
    "float8_e4m3fn": 17,
    "float8_e4m3fnuz": 18,
    "float8_e5m2": 19,
    "float8_e5m2fnuz": 20,
}

_EXTENDED = {name: np.dtype(getattr(ml_dtypes, name)) for name in ONNX_ELEMENT_TYPES}

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
"""The floating-point element types that feeds are generated for and outputs are judged in."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: The value's name.
        dtype: The element type in numpy's spelling (`"float32"`, `"bfloat16"`, `"string"`), or
            the runtime's own description when the value is no tensor (`"seq(tensor(float))"`).
        shape: One entry an axis. The runtime gives an empty tuple both for a scalar and for an
            unknown rank.
        is_tensor: False for sequences, maps, optionals and sparse tensors.
    """

    name: str
    dtype: str
    shape: tuple[Dimension, ...]
    is_tensor: bool

    @property
    def is_float(self) -> bool:
        """Whether this is a tensor of a floating-point type that feeds exist for."""
        return self.is_tensor and self.dtype in FLOATS


def spec_from_runtime(name: str, type_text: str, shape: list[Any] | None) -> TensorSpec:
    """Read a `NodeArg` of the runtime.

    Args:
        name: Its name.
        type_text: Its type as the runtime prints it, such as `tensor(float)`.
        shape: Its dimensions: integers, symbolic names, or None.
    """
    is_tensor = type_text.startswith("tensor(") and type_text.endswith(")")
    element = type_text[len("tensor(") : -1] if is_tensor else type_text
    dims = tuple(
        dim if isinstance(dim, str) and dim else int(dim) if _is_size(dim) else None
        for dim in shape or ()
    )
    return TensorSpec(name, _NAMES.get(element, element), dims, is_tensor)


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype of an element type's name; strings are objects.

    Raises:
        TypeError: Neither numpy nor ml_dtypes has that type.
    """
    if name == "string":
        return np.dtype(object)
    return _EXTENDED.get(name) or np.dtype(name)


def _is_size(dim: object) -> bool:
    return isinstance(dim, int) and dim >= 0
