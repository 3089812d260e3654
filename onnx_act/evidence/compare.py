"""How far two arrays are apart, gathered over any number of feeds, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from onnx_act.evidence.plain import plain
from onnx_act.evidence.statistics import weighted_percentile, wilson_interval

if TYPE_CHECKING:
    from onnx_act.runtime.tensors import Array

Floats = npt.NDArray[np.float64]

# Relative errors are taken against at least this share of the reference's root mean square: next
# to zero a quotient says nothing about the model.
_RELATIVE_FLOOR = 1e-3
# Distances up to here are counted exactly, larger ones to six significant bits.
_EXACT_ULPS = 1024


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often two classifiers, or a classifier and its labels, chose the same class.

    Attributes:
        agreed: Rows with the same class.
        total: Rows.
        rate: Their quotient.
        low: Lower end of the rate's 95 % Wilson interval.
        high: Upper end.
    """

    agreed: int
    total: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a candidate's output is from a reference's.

    Elements where either side is NaN or infinite count in `nan_agrees` and `inf_agrees` only.

    Attributes:
        elements: Elements compared.
        mismatches: Elements that are not equal (NaN equals NaN).
        identical: Whether there is no mismatch.
        max_abs: Largest absolute difference.
        mean_abs: Mean absolute difference.
        max_rel: Largest difference relative to the reference's element, or to 1e-3 of the
            reference's root mean square where the element is smaller than that.
        sqnr_db: Reference power over difference power, in decibels; infinite when identical.
        cosine: Cosine of the angle between the two, taken as vectors.
        ulp_p50: Median distance in units in the last place of the reference's dtype.
        ulp_p99: Its 99th percentile.
        ulp_max: Its maximum.
        nan_agrees: Both have NaN at the same places.
        inf_agrees: Both have infinities of the same signs at the same places.
        worst_feed: Number of the feed that holds the element of `max_abs`, or -1.
        worst_index: The position of that element.
        worst_reference: The reference there.
        worst_candidate: The candidate there.
        top1: How often the largest of the last axis is at the same place, for float outputs of
            shape [rows, classes >= 2]; None for others.
    """

    elements: int
    mismatches: int
    identical: bool
    max_abs: float
    mean_abs: float
    max_rel: float
    sqnr_db: float
    cosine: float
    ulp_p50: float
    ulp_p99: float
    ulp_max: float
    nan_agrees: bool
    inf_agrees: bool
    worst_feed: int
    worst_index: tuple[int, ...]
    worst_reference: float
    worst_candidate: float
    top1: Agreement | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(self)


class DifferenceAccumulator:
    """Gathers the difference of one output over several feeds."""

    def __init__(self) -> None:
        self._elements = 0
        self._mismatches = 0
        self._finite = 0
        self._sums = np.zeros(5)  # |d|, d*d, r*r, c*c, r*c
        self._max_rel = 0.0
        self._ulps: dict[float, int] = {}
        self._nan_agrees = True
        self._inf_agrees = True
        self._worst: tuple[float, int, tuple[int, ...], float, float] = (-1.0, -1, (), 0.0, 0.0)
        self._top1: tuple[int, int] | None = None
        self._feeds = 0

    def add(self, reference: Array, candidate: Array) -> None:
        """Take in the outputs of the next feed.

        Args:
            reference: An array of any dtype and shape.
            candidate: An array of the same shape; float dtypes may differ.

        Raises:
            ValueError: The shapes differ.
        """
        if reference.shape != candidate.shape:
            raise ValueError(f"shapes differ: {reference.shape} and {candidate.shape}")
        number = self._feeds
        self._feeds += 1
        self._elements += reference.size
        if reference.dtype.kind in "OUS":
            self._mismatches += int(np.count_nonzero(reference != candidate))
            return
        r, c = as_float64(reference), as_float64(candidate)
        self._mismatches += int(np.count_nonzero((r != c) & ~(np.isnan(r) & np.isnan(c))))
        self._nan_agrees &= bool(np.array_equal(np.isnan(r), np.isnan(c)))
        self._inf_agrees &= bool(np.array_equal(_infinities(r), _infinities(c)))
        self._add_top1(reference, r, c)
        finite = np.isfinite(r) & np.isfinite(c)
        if not finite.any():
            return
        d = np.where(finite, np.abs(np.subtract(c, r, where=finite, out=np.zeros_like(r))), -1.0)
        worst = int(np.argmax(d))
        if d.flat[worst] > self._worst[0]:
            index = tuple(int(i) for i in np.unravel_index(worst, d.shape))
            self._worst = (float(d.flat[worst]), number, index, r[index].item(), c[index].item())
        self._add_ulps(ulp_distance(reference, candidate)[finite])
        d, r, c = d[finite], r[finite], c[finite]
        self._finite += d.size
        with np.errstate(over="ignore"):
            self._sums += [d.sum(), (d * d).sum(), (r * r).sum(), (c * c).sum(), (r * c).sum()]
            floor = _RELATIVE_FLOOR * math.sqrt(float((r * r).mean()))
        denominators = np.maximum(np.abs(r), floor)
        relative = np.divide(d, denominators, where=denominators > 0, out=np.where(d > 0, 1.0, 0.0))
        self._max_rel = max(self._max_rel, float(relative.max()))

    def skip(self) -> None:
        """Leave the next feed out, so that those after it keep their numbers."""
        self._feeds += 1

    def result(self) -> Difference:
        """The difference over all feeds so far."""
        total_abs, noise, power, other_power, dot = (float(x) for x in self._sums)
        max_abs, feed, index, reference, candidate = self._worst
        measured = self._finite > 0
        return Difference(
            elements=self._elements,
            mismatches=self._mismatches,
            identical=self._mismatches == 0,
            max_abs=max(max_abs, 0.0),
            mean_abs=total_abs / self._finite if measured else 0.0,
            max_rel=self._max_rel,
            sqnr_db=_decibels(power, noise),
            cosine=_cosine(power, other_power, dot),
            ulp_p50=weighted_percentile(self._ulps, 50) if self._ulps else 0.0,
            ulp_p99=weighted_percentile(self._ulps, 99) if self._ulps else 0.0,
            ulp_max=max(self._ulps, default=0.0),
            nan_agrees=self._nan_agrees,
            inf_agrees=self._inf_agrees,
            worst_feed=feed,
            worst_index=index,
            worst_reference=reference,
            worst_candidate=candidate,
            top1=None if self._top1 is None else agreement(*self._top1),
        )

    def _add_ulps(self, distances: Floats) -> None:
        large = distances > _EXACT_ULPS
        if large.any():
            mantissa, exponent = np.frexp(distances[large])
            distances = distances.copy()
            distances[large] = np.ldexp(np.ceil(mantissa * 64) / 64, exponent)
        values, counts = np.unique(distances, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self._ulps[value] = self._ulps.get(value, 0) + count

    def _add_top1(self, reference: Array, r: Floats, c: Floats) -> None:
        if not is_classifier_shaped(reference):
            return
        agreed, total = self._top1 or (0, 0)
        same = np.argmax(r, axis=-1) == np.argmax(c, axis=-1)
        self._top1 = (agreed + int(np.count_nonzero(same)), total + len(same))


def compare(reference: Array, candidate: Array) -> Difference:
    """How far one array is from another of the same shape.

    Raises:
        ValueError: The shapes differ.
    """
    accumulator = DifferenceAccumulator()
    accumulator.add(reference, candidate)
    return accumulator.result()


def agreement(agreed: int, total: int) -> Agreement:
    """A count of agreements with its rate and interval."""
    low, high = wilson_interval(agreed, total)
    return Agreement(agreed, total, agreed / total if total else 0.0, low, high)


def is_classifier_shaped(output: Array) -> bool:
    """Whether an output is a float array [rows, classes] with at least two classes."""
    return is_float(output) and output.ndim == 2 and output.shape[-1] >= 2 and len(output) > 0


def is_float(array: Array) -> bool:
    """Whether an array's dtype is floating-point, ml_dtypes included."""
    return array.dtype.kind == "f" or array.dtype in _EXTENDED_FLOATS


def as_float64(array: Array) -> Floats:
    """The values of a numeric array in float64."""
    return np.asarray(array.astype(np.float64))


def ulp_distance(reference: Array, candidate: Array) -> Floats:
    """The number of representable values of the reference's dtype between two arrays.

    Of integers and booleans it is the absolute difference. Elements that are NaN give numbers
    without meaning.
    """
    if not is_float(reference):
        return np.abs(as_float64(candidate) - as_float64(reference))
    with np.errstate(over="ignore"):
        a = _ordered(reference)
        b = _ordered(candidate.astype(reference.dtype))
    return np.where(a > b, a - b, b - a).astype(np.float64)


_EXTENDED_FLOATS = frozenset(
    np.dtype(dtype)
    for dtype in (
        ml_dtypes.bfloat16,
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e4m3fnuz,
        ml_dtypes.float8_e5m2,
        ml_dtypes.float8_e5m2fnuz,
    )
)


def _ordered(array: Array) -> npt.NDArray[np.uint64]:
    """Float bits as unsigned integers in the order of the values, both zeros as one."""
    width = 8 * array.dtype.itemsize
    bits = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}").astype(np.uint64)
    bits = bits.reshape(array.shape)
    sign = np.uint64(1 << (width - 1))
    magnitude = bits & (sign - np.uint64(1))
    return np.where(bits & sign, sign - magnitude, sign + magnitude)


def _infinities(values: Floats) -> Floats:
    return np.where(np.isinf(values), np.sign(values), 0.0)


def _decibels(power: float, noise: float) -> float:
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(power / noise) if power > 0.0 else -math.inf


def _cosine(power: float, other_power: float, dot: float) -> float:
    if power == 0.0 and other_power == 0.0:
        return 1.0
    scale = math.sqrt(power) * math.sqrt(other_power)
    return max(-1.0, min(1.0, dot / scale)) if scale > 0.0 else 0.0
