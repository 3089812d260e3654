"""The noise floor: how far the unmodified model moves when nothing of it was changed.

One `OutputNoise` holds a baseline (one output on one feed, at the lowest optimisation level) and
takes in what the same model gave in other conditions: other optimisation levels, another number
of threads, another provider, inputs moved by a rounding error.

Spread is kept by binade (powers of two of the baseline's magnitude). A model may return boxes in
pixels beside scores below one, and a leaky slope lives in outputs far smaller than the largest:
noise that is normal at one magnitude would hide a fault at another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from onnx_act.evidence.compare import Floats, as_float64, is_float
from onnx_act.evidence.plain import plain
from onnx_act.graph.factors import unit_in_last_place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_act.evidence.precision import Precision
    from onnx_act.runtime.tensors import Array

_BINADES = 28
# The share of elements of a 16-bit input that is moved by one unit in the last place: a rounding
# error has variance ulp^2 / 12, and so has a step of one ulp taken with probability 1/12.
_ROUNDING_SHARE = 1.0 / 12.0
_JUMP = 50.0
_SHAKE_ULPS = 64


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """How far one output of the unmodified model moved, over all feeds and conditions.

    Attributes:
        max_abs: Largest absolute deviation from the baseline.
        rms: Largest root mean square of the deviations of one run on one feed.
        mismatches: For integer and boolean outputs: elements that changed, in the worst run of
            each feed, summed over feeds.
        unstable: Elements that were NaN or infinite in one condition and not in another; they
            cannot be judged.
        shape_changes: Whether a condition changed the output's shape.
    """

    max_abs: float
    rms: float
    mismatches: int
    unstable: int
    shape_changes: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(self)


class OutputNoise:
    """The baseline of one output on one feed, and the noise seen around it.

    Attributes:
        baseline: What the reference gave.
        is_float: Whether the output is judged by tolerance (else by equality).
        rms: Root mean square of the finite elements of the baseline; 0 when there is none.
        max_abs: Largest deviation.
        total_rms: Largest root mean square of the deviations of one run.
        mismatches: Most elements that changed in one run.
        unstable: Mask of the elements that cannot be judged.
        shape_changes: Whether a run gave another shape.
    """

    def __init__(self, baseline: Array) -> None:
        self.baseline = baseline
        self.is_float = is_float(baseline)
        self.max_abs = 0.0
        self.total_rms = 0.0
        self.mismatches = 0
        self.shape_changes = False
        self.unstable = np.zeros(baseline.shape, bool)
        self.rms = 0.0
        self._spread = np.zeros(_BINADES)
        if self.is_float:
            values = as_float64(baseline)
            self.rms = root_mean_square(values[np.isfinite(values)])

    def add(self, other: Array) -> None:
        """Take in what the same model gave in another condition."""
        if other.shape != self.baseline.shape:
            self.shape_changes = True
            return
        if not self.is_float:
            self.mismatches = max(self.mismatches, int(np.count_nonzero(other != self.baseline)))
            return
        r, o = as_float64(self.baseline), as_float64(other)
        both = np.isfinite(r) & np.isfinite(o)
        same = both | (np.isnan(r) & np.isnan(o)) | (r == o)
        self.unstable |= ~same
        if not both.any():
            return
        deviations = np.abs(o[both] - r[both])
        self.max_abs = max(self.max_abs, float(deviations.max()))
        self.total_rms = max(self.total_rms, root_mean_square(deviations))
        spread, _ = rms_by_binade(deviations, self.binades(r[both]))
        self._spread = np.maximum(self._spread, spread)

    def comes_in_jumps(self, precision: Precision) -> bool:
        """Whether the noise is far above the arithmetic's own.

        It comes in jumps then: a quantised value that flips, a threshold that a rounding error
        crosses.
        """
        return self.max_abs > _JUMP * precision.growth * precision.unit * self.rms

    def binades(self, values: Floats) -> npt.NDArray[np.intp]:
        """The binade of every magnitude; the lowest one also holds zero and all below it."""
        _, exponents = np.frexp(np.abs(values))
        _, top = math.frexp(self.rms or 1.0)
        # Eight binades above the root mean square, the rest below.
        return np.where(values == 0.0, 0, np.clip(exponents - top + _BINADES - 8, 0, _BINADES - 1))

    @property
    def spread(self) -> Floats:
        """The largest root mean square of the deviations of one run, by binade."""
        return self._spread


def rms_by_binade(
    deviations: Floats, binades: npt.NDArray[np.intp]
) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Root mean square and number of the values in every binade."""
    counts = np.bincount(binades, minlength=_BINADES)
    with np.errstate(over="ignore"):
        sums = np.bincount(binades, weights=deviations * deviations, minlength=_BINADES)
    return np.sqrt(sums / np.maximum(counts, 1)), counts


def root_mean_square(values: Floats) -> float:
    """Root mean square; 0 of nothing."""
    if values.size == 0:
        return 0.0
    # Scaled, so that the squares of float32's largest values cannot overflow.
    top = float(np.max(np.abs(values)))
    return top * math.sqrt(float(np.mean((values / top) ** 2))) if top > 0.0 else 0.0


def jittered(
    feed: Mapping[str, Array], rng: np.random.Generator, *, strong: bool = False
) -> dict[str, Array] | None:
    """A feed whose float inputs are moved by one unit in the last place, up or down.

    Every rounding in a model's first layer then falls out afresh, and how far the output moves
    shows what the model makes of a rounding error: how ill-conditioned it is, how often a
    quantised value flips. Optimisation levels alone do not show that for models in which the
    runtime finds nothing to optimise. In 16 bits one ulp is much, so that only as many elements
    move as give the variance of one rounding.

    Args:
        feed: The feed.
        rng: Chooses directions.
        strong: Move by 64 ulps, and every element of 16-bit inputs by one: for noise that comes
            in jumps, of which the weaker motion shows too few to know how often they happen.

    Returns:
        The feed, or None when no input is a float.
    """
    if not any(is_float(array) for array in feed.values()):
        return None
    return {name: _moved(a, rng, strong) if is_float(a) else a for name, a in feed.items()}


def _moved(array: Array, rng: np.random.Generator, strong: bool) -> Array:
    up = rng.integers(0, 2, array.shape).astype(bool)
    infinity = np.array(np.inf, array.dtype)
    short = array.dtype.itemsize < 4
    with np.errstate(over="ignore", under="ignore"):
        neighbours = np.where(up, np.nextafter(array, infinity), np.nextafter(array, -infinity))
        if strong and not short:
            neighbours = array + _SHAKE_ULPS * (neighbours - array)
    share = _ROUNDING_SHARE if short and not strong else 1.0
    chosen = rng.random(array.shape) < share
    # Zero stays: its neighbour is a denormal, which is no rounding error of anything.
    moved = np.where(chosen & (array != 0) & np.isfinite(neighbours), neighbours, array)
    return moved.astype(array.dtype)


def rounded_again(
    weights: Mapping[str, Array], rng: np.random.Generator
) -> dict[str, npt.NDArray[np.float32]]:
    """Weights of 16 bits, each off by what rounding it once more does, in float32.

    That is any number up to half a unit in the last place, all equally likely. A bias is off by
    half a unit, up or down: it is all that there is of its channel, nothing averages out, and two
    runs may miss how far it goes. Float32 has bits enough for it; in the weights' own type it would
    be no motion, or one of a whole unit.

    Args:
        weights: float16 or bfloat16, finite; those of one dimension are biases.
        rng: chooses the errors.
    """
    return {
        name: (as_float64(array) + _rounding_error(array, rng)).astype(np.float32)
        for name, array in weights.items()
    }


def _rounding_error(array: Array, rng: np.random.Generator) -> Floats:
    if array.ndim == 1:
        units = rng.choice((-0.5, 0.5), array.shape)
    else:
        units = rng.uniform(-0.5, 0.5, array.shape)
    return np.asarray(units * unit_in_last_place(array))
