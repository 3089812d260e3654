"""What a generated feed holds: one kind of numbers, for every element type."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import ml_dtypes
import numpy as np

from onnx_act.errors import EvidenceError, UsageError
from onnx_act.runtime.tensors import FLOATS, ONNX_ELEMENT_TYPES, Array, TensorSpec, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What the feeds of a model hold, in turn.
#:
#: `normal` is N(0, 1). `wide` is N(0, 3), which carries most activations into both tails. `heavy`
#: is Student's t with 2 degrees of freedom, cut at +-1000 (+-200 in float16, so that a few layers
#: do not overflow). `small` is N(0, 0.1), where a slope at zero shows. `knots` draws from the
#: points at which activations bend or are cut. `huge` has magnitudes from 100 to 10,000 (to 1,000
#: in float16), evenly in their logarithm, where exponentials overflow and a model must not; it is
#: the same numbers, divided, for a model that makes nothing but infinities of these. `constant` is
#: one number throughout, `zero` is zero.
KINDS: Final = ("normal", "wide", "heavy", "small", "knots", "huge", "constant", "zero")

#: The kinds that look like inputs; the others look for faults that these do not show.
ORDINARY: Final = frozenset({"normal", "wide", "heavy", "small", "data"})

#: Kinds whose outputs are so large that no figure in the units of the others may hold them: they
#: are judged, for infinities and NaN above all, and count in no largest difference.
EXTREME: Final = frozenset({"huge"})

# Six kinds: a constant and a zero input are left out because a zero comes up among the knots and
# every row of a convolution's border is a constant, while each further feed costs a run in each
# of a dozen conditions.
DEFAULT_COUNT: Final = 6

#: By what a huge feed is divided, one after the other, until it does.
HUGE_DIVISORS: Final = (1.0, 10.0, 100.0, 1000.0)

# Bends and bounds of the activations of ONNX and torch: hardsigmoid and hardswish +-3, relu6 and
# clips 6 and +-1, shrinks +-0.5, sigmoid approximations +-2.5, thresholds 0 and 20 (softplus).
_KNOTS: Final = (0.0, 0.5, 1.0, 2.5, 3.0, 6.0, 20.0)
_HEAVY_LIMIT: Final = {"float16": 200.0}
_DEFAULT_HEAVY_LIMIT: Final = 1000.0
# Powers of ten between which magnitudes of a huge feed lie.
_HUGE: Final = {"float16": (2.0, 3.0)}
_DEFAULT_HUGE: Final = (2.0, 4.0)
_INTEGER_RANGE: Final = (0, 9)
_SMALL_FLOATS: Final = frozenset(n for n in ONNX_ELEMENT_TYPES if n.startswith("float8_e"))
# What the runtime takes no array of, from numpy or ml_dtypes.
_UNFEEDABLE: Final = frozenset({"int4", "uint4", "float4e2m1", "float8e8m0", "int2", "uint2"})
_MOST_SIGNED: Final = float(np.iinfo(np.int64).max)


def check_generable(spec: TensorSpec) -> None:
    """Make sure that numbers can be made up for an input.

    Raises:
        EvidenceError: it is a string, a sequence, or of a type that numpy has no numbers of.
    """
    if spec.is_tensor and spec.dtype != "string":
        if spec.dtype in FLOATS or spec.dtype in _SMALL_FLOATS:
            return
        try:
            dtype = numpy_dtype(spec.dtype)
        except TypeError:
            dtype = np.dtype(object)
        if dtype.kind in "biu":
            return
    what = f"no values can be generated for input {spec.name!r} of type {spec.dtype}"
    if spec.is_tensor and spec.dtype not in _UNFEEDABLE:
        raise EvidenceError(f"{what}; give real inputs with --data FILE.npz")
    raise EvidenceError(f"{what}, and no file of arrays holds such: this model cannot be run here")


def check_range(spec: TensorSpec, limits: tuple[float, float]) -> None:
    """Make sure that an input can hold numbers of a closed range.

    Raises:
        UsageError: the range is empty or not finite, or has ends that the element type lacks.
    """
    low, high = limits
    shown = f"the range {low:g},{high:g} of input {spec.name!r}"
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UsageError(f"{shown} must have finite ends")
    if low > high:
        raise UsageError(f"{shown} is empty: give the lower end first")
    dtype = numpy_dtype(spec.dtype)
    if dtype.kind not in "biu":
        most = _largest(dtype)
        if max(abs(low), abs(high)) > most:
            raise UsageError(f"{shown} goes beyond {spec.dtype}, which ends at {most:g}")
        return
    if low != int(low) or high != int(high):
        raise UsageError(f"{shown} must have whole numbers as ends: it is {spec.dtype}")
    least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if low < least or high > min(most, _MOST_SIGNED):
        raise UsageError(f"{shown} goes beyond {spec.dtype}, which holds {least} to {most}")


def values_of_kind(
    rng: np.random.Generator,
    spec: TensorSpec,
    shape: tuple[int, ...],
    kind: str,
    *,
    limits: tuple[float, float] | None = None,
    knots: Sequence[float] = (),
    divisor: float = 1.0,
) -> Array:
    """The numbers of one input in one feed.

    Args:
        rng: where they come from.
        spec: the input.
        shape: its dimensions in this feed.
        kind: one of `KINDS`. Integers are uniform whatever the kind, but for `constant`, `zero`
            (the nearest in the range), and `knots` (an end of the range).
        limits: the closed range that they are kept in; 0 to 9 for integers when left out.
        knots: where the model's activations bend; half of a `knots` feed is drawn from these.
        divisor: what a `huge` feed is divided by.

    Returns:
        An array of that shape and of the input's element type.

    Raises:
        EvidenceError: nothing can be generated for the input.
        UsageError: it cannot hold such a range.
    """
    check_generable(spec)
    if limits is not None:
        check_range(spec, limits)
    dtype = numpy_dtype(spec.dtype)
    if dtype.kind in "biu":
        default = (0, 1) if dtype.kind == "b" else _INTEGER_RANGE
        low, high = default if limits is None else (int(limits[0]), int(limits[1]))
        return np.asarray(_integers(rng, shape, kind, low, high)).astype(dtype)
    if limits is not None:
        found = np.asarray(_within(rng, shape, kind, limits, knots)).astype(dtype)
        # Rounding to a coarse type may carry a number over an end.
        low_end, high_end = np.array(limits, dtype)
        return np.asarray(np.clip(found, low_end, high_end))
    found = np.asarray(_floats(rng, spec.dtype, shape, kind, knots))
    if kind == "huge":
        found = found / divisor
    if spec.dtype in _SMALL_FLOATS:
        most = _largest(dtype)
        found = np.clip(found, -most, most)
    # Arithmetic on an array of no dimension gives a number.
    return np.asarray(found.astype(dtype))


def _largest(dtype: np.dtype[Any]) -> float:
    return float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]


def _integers(
    rng: np.random.Generator, shape: tuple[int, ...], kind: str, low: int, high: int
) -> Any:
    match kind:
        case "zero":
            return np.full(shape, min(max(low, 0), high))
        case "constant":
            return np.full(shape, rng.integers(low, high, endpoint=True))
        case "knots":
            return rng.choice(np.array([low, high]), shape)
    return rng.integers(low, high, shape, endpoint=True)


def _within(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    kind: str,
    limits: tuple[float, float],
    knots: Sequence[float],
) -> Any:
    low, high = limits
    match kind:
        case "zero":
            return np.full(shape, min(max(low, 0.0), high))
        case "constant":
            return np.full(shape, rng.uniform(low, high))
        case "knots":
            inside = [k for each in (*_KNOTS, *knots) for k in (each, -each) if low <= k <= high]
            return rng.choice(np.array([low, high, *inside]), shape)
    return rng.uniform(low, high, shape)


def _floats(
    rng: np.random.Generator,
    dtype: str,
    shape: tuple[int, ...],
    kind: str,
    knots: Sequence[float],
) -> Any:
    match kind:
        case "normal":
            return rng.standard_normal(shape)
        case "wide":
            return 3.0 * rng.standard_normal(shape)
        case "small":
            return 0.1 * rng.standard_normal(shape)
        case "heavy":
            limit = _HEAVY_LIMIT.get(dtype, _DEFAULT_HEAVY_LIMIT)
            return np.clip(rng.standard_t(2, shape), -limit, limit)
        case "knots":
            return _at_knots(rng, shape, knots)
        case "huge":
            signs = 2.0 * rng.integers(0, 2, shape) - 1.0
            return signs * 10.0 ** rng.uniform(*_HUGE.get(dtype, _DEFAULT_HUGE), shape)
        case "constant":
            return np.full(shape, rng.standard_normal())
    return np.zeros(shape)


def _at_knots(rng: np.random.Generator, shape: tuple[int, ...], knots: Sequence[float]) -> Any:
    """Points of the catalogue and, as often, of the model; each as often as its negative."""
    usual = rng.choice(np.array([*(-k for k in _KNOTS), *_KNOTS]), shape)
    if not knots:
        return usual
    own = rng.choice(np.array([*(-k for k in knots), *knots]), shape)
    return np.where(rng.integers(0, 2, shape) == 1, own, usual)
