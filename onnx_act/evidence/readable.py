"""Results as they are compared: numbers that a model printed are numbers again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_act.runtime.session import Session
    from onnx_act.runtime.tensors import Array

_TEXT = "OUS"
# What a printed float has and a printed integer has not.
_FLOAT_SIGNS = frozenset(".eEnN")


def run_readable(
    session: Session, feed: Mapping[str, Array], names: Sequence[str]
) -> tuple[Array, ...]:
    """Run a model once; its outputs as `read_numbers` gives them."""
    return tuple(read_numbers(array) for array in session.run(feed, names))


def read_numbers(array: Array) -> Array:
    """Text that holds a float in every element as float32; anything else as it is.

    Printed, a float differs in its last digit by any rounding: as text nothing could be said of it.
    Integers are left: they are labels as often as numbers.
    """
    if array.dtype.kind not in _TEXT or not array.size:
        return array
    texts = [str(element) for element in array.reshape(-1)]
    if not any(_FLOAT_SIGNS & set(text) for text in texts):
        return array
    try:
        numbers = np.array([float(text) for text in texts], np.float64)
    except ValueError:
        return array
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32).reshape(array.shape)


def as_comparable(array: Array, *, to_numbers: bool) -> Array:
    """A result to be compared with numbers, or not: text beside numbers is not a number."""
    if to_numbers and array.dtype.kind in _TEXT:
        return np.full(array.shape, np.nan, np.float32)
    return array
