"""How far a right result may be from the reference, derived, and whether one is.

With u the unit roundoff of the coarsest float type at work, g the rounding errors that one operator
makes, s the growth over the model's depth, and R the root mean square of the reference output on
the feed:

* Every element: `|c - r| <= atol + rtol * |r|` with `rtol = 4 g u s` and
  `atol = 4 g u s R + 3 * noise`, where noise is the largest deviation of the unmodified model.
* The spread over all elements, when there are at least 8 (a classifier's ten scores): the root mean
  square of `c - r` is at most `g u s R` plus 3 times that of the noise. The same in every binade of
  `|r|` that holds 32 elements, with the binade's own magnitude and noise and with `f u s R`
  besides. Rounding errors average out where a wrong slope or a lost bias does not, so this sees
  broad faults several times smaller than the largest single rounding, and faults in small outputs
  beside large ones.

The constants:

* s is 1 where noise was observed, for depth is in it. In 16 bits that takes a run of the same model
  with the same numbers in float32, since the CPU provider computes in float32 between casts that
  stand at every optimisation level, and no other condition shows its rounding. Where there is
  nothing better, s is sqrt(depth): rounding errors of successive operators are independent to
  first order and add as a random walk.
* g is 4 for float32 and float64, whose kernels accumulate in their own precision (longer sums show
  in the noise). 16-bit kernels accumulate in float32 and round once; the difference of two such
  roundings has root mean square 0.54 u of the value, and g = 0.6.
* 4: the largest of a million Gaussian errors is five deviations, and a deviation of `g u` is
  already generous.
* 3: noise is a sample of a few runs whose maximum one more run exceeds, and the spread of a
  rewritten graph sums that of both graphs and of the changed weights. Of those in 16 bits noise
  holds one rounding more; a fold, what undoes it, and the runtime's own fold of the two make three.
* f is 8 for float32 and float64: activation kernels have absolute errors (the CPU's logistic up
  to 1e-7, which x * sigmoid(x) multiplies by x), large beside the tail's tiny values. In 16 bits
  those are below one rounding, and 0.15 covers cancellation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_act.evidence.compare import Floats, as_float64, is_float
from onnx_act.evidence.envelope import Envelope, envelope_of
from onnx_act.evidence.noise import OutputNoise, rms_by_binade, root_mean_square
from onnx_act.evidence.plain import plain

if TYPE_CHECKING:
    from onnx_act.evidence.precision import Precision
    from onnx_act.runtime.tensors import Array

_ELEMENT_FACTOR = 4.0
_NOISE_FACTOR = 3.0
_SPREAD_MINIMUM = 8
_BINADE_MINIMUM = 32


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What was allowed for one output on one feed.

    Attributes:
        atol: Absolute part for every element.
        rtol: Part relative to the reference's element.
        spread: The root mean square allowed over all elements together.
    """

    atol: float
    rtol: float
    spread: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(self)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One output of one run, judged.

    Attributes:
        severity: Error over what was allowed, at the worst: at most 1 passes. Infinite for NaN
            where the reference has none, and for other shapes.
        criterion: What the severity comes from: `element`, `spread`, `nan`, `shape`, `equality`.
        tolerance: What was allowed; None for outputs judged by equality.
        minimum_atol: The smallest atol with which, at this rtol, every element passes.
        judged: Elements judged, without those that are NaN on both sides.
        unjudged: Elements left out because the reference itself is not stable there.
        mismatches: Elements that differ, for outputs judged by equality.
        envelope: Which other tolerances the judged elements pass; that of nothing for texts.
    """

    severity: float
    criterion: str
    tolerance: Tolerance | None = None
    minimum_atol: float = 0.0
    judged: int = 0
    unjudged: int = 0
    mismatches: int = 0
    envelope: Envelope = field(default_factory=Envelope)


def judge_output(
    noise: OutputNoise,
    candidate: Array,
    *,
    precision: Precision,
    depth: int = 1,
    scale: float = 0.0,
) -> Judgement:
    """Judge one output of one run against its baseline.

    An infinity counts as the first number that rounds to it, so that a value just below the
    overflow may cross it, and no other may. NaN must be where the reference has NaN.

    Args:
        noise: The baseline with the noise around it.
        candidate: What the candidate gave.
        precision: How the coarsest float type at work rounds.
        depth: Operators on the longest path to the output, at least 1.
        scale: The output's usual magnitude, used where it is larger than this feed's.
    """
    if candidate.shape != noise.baseline.shape:
        if noise.shape_changes:
            return Judgement(0.0, "shape", unjudged=candidate.size)
        return Judgement(math.inf, "shape")
    if not noise.is_float or not is_float(candidate):
        mismatches = int(np.count_nonzero(candidate != noise.baseline))
        return Judgement(
            0.0,
            "equality",
            judged=candidate.size,
            mismatches=mismatches,
            envelope=_envelope_of_whole(noise.baseline, candidate),
        )
    unjudged = int(np.count_nonzero(noise.unstable))
    r, c = as_float64(noise.baseline), as_float64(candidate)
    stable = ~noise.unstable
    measured = noise.total_rms > 0.0 and precision.noise_is_measured
    unit = precision.unit * (1.0 if measured else math.sqrt(max(depth, 1)))
    size = max(noise.rms, scale)
    step = _ELEMENT_FACTOR * precision.growth * unit
    atol = step * size + _NOISE_FACTOR * noise.max_abs
    total_limit = precision.growth * unit * size + _NOISE_FACTOR * noise.total_rms
    tolerance = Tolerance(atol, step, total_limit)
    numbers = stable & ~np.isnan(r)
    judged = int(np.count_nonzero(numbers))
    if np.any((np.isnan(r) != np.isnan(c)) & stable):
        return Judgement(math.inf, "nan", tolerance, math.inf, judged, unjudged)
    if not numbers.any():
        return Judgement(0.0, "element", tolerance, 0.0, judged, unjudged)
    r = np.clip(r[numbers], -precision.overflow, precision.overflow)
    c = np.clip(c[numbers], -precision.overflow, precision.overflow)
    deviations = np.abs(c - r)
    element = float(np.max(_over(deviations, atol + step * np.abs(r))))
    # What a binade is allowed beyond its noise: beside the output's size, and its own.
    own = Tolerance(precision.floor * unit * size, precision.growth * unit, total_limit)
    # Where jumps fall is chance: they are judged over all elements together.
    jumps = noise.comes_in_jumps(precision)
    spread = _spread_severity(noise, r, deviations, own, by_binade=not jumps)
    return Judgement(
        severity=max(element, spread),
        criterion="element" if element >= spread else "spread",
        tolerance=tolerance,
        minimum_atol=max(0.0, float(np.max(deviations - step * np.abs(r)))),
        judged=judged,
        unjudged=unjudged,
        envelope=envelope_of(np.abs(r), deviations),
    )


def _envelope_of_whole(reference: Array, candidate: Array) -> Envelope:
    """That of integers and booleans."""
    if reference.dtype.kind in "OUS" or candidate.dtype.kind in "OUS":
        return Envelope()
    r, c = as_float64(reference), as_float64(candidate)
    return envelope_of(np.abs(r), np.abs(c - r))


def _spread_severity(
    noise: OutputNoise, r: Floats, deviations: Floats, allowed: Tolerance, *, by_binade: bool
) -> float:
    """The worst root mean square over what is allowed, over binades; 0 of few elements."""
    if r.size < _SPREAD_MINIMUM:
        return 0.0
    total = float(_over(np.array(root_mean_square(deviations)), np.array(allowed.spread)))
    if not by_binade:
        return total
    binades = noise.binades(r)
    errors, counts = rms_by_binade(deviations, binades)
    magnitudes, _ = rms_by_binade(r, binades)
    limits = allowed.atol + allowed.rtol * magnitudes + _NOISE_FACTOR * noise.spread
    severities = _over(errors, limits)[counts >= _BINADE_MINIMUM]
    return max(total, float(severities.max(initial=0.0)))


def _over(errors: Floats, limits: Floats) -> Floats:
    """Errors over limits; no error passes any limit, even zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(errors == 0.0, 0.0, errors / limits)
