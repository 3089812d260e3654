"""The parts of an activation's domain: its tails, where it is nearly a line, and the knee between.

A tail is where the derivative has come within a hundredth of its limit and stays there, beyond
every place where the function or its derivative jumps. What a linear function and a function
without limits have (a square, a sine) is no tail.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.activations.properties import describe
from onnx_act.activations.readings import derivative

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnx_act.activations.activation import Activation, Parameters, ParameterValue

    Array = npt.NDArray[np.float64]

_NEAR: Final = 0.01
_FAR: Final = (1e3, 1e4)
_CENTRE: Final = 4.0
# The derivative of what has no limit is still finite at a thousand.
_STEEPEST: Final = 100.0
_SLOW: Final = 1e-3
_STEP: Final = 1.0 / 256.0


class Part(enum.Enum):
    """Where on the line of an activation's inputs."""

    LEFT = "left tail"
    KNEE = "knee"
    RIGHT = "right tail"


@dataclass(frozen=True, slots=True)
class DomainPart:
    """A part of an activation's domain.

    Attributes:
        part: which.
        low: where it begins; minus infinity for a left tail.
        high: where it ends. A tail does not hold its finite end, a knee holds both.
    """

    part: Part
    low: float
    high: float

    def count(self, x: Array) -> int:
        """How many numbers of an array lie in it."""
        if self.part is Part.KNEE:
            return int(np.count_nonzero((x >= self.low) & (x <= self.high)))
        return int(np.count_nonzero((x > self.low) & (x < self.high)))

    def overlaps(self, low: float, high: float) -> bool:
        """Whether a number of the closed interval may lie in it."""
        if self.part is Part.KNEE:
            return low <= self.high and high >= self.low
        return low < self.high and high > self.low


def domain_parts(activation: Activation, parameters: Parameters) -> tuple[DomainPart, ...]:
    """The tails and the knee of an activation, from left to right.

    A function with one bend and lines on both sides of it (relu) has two tails and no knee: the
    bend is exercised by numbers on both sides. Of a parameter with a number for each channel the
    median is taken.

    Args:
        activation: the catalogue's entry.
        parameters: all its parameters.

    Returns:
        Nothing for a function that has no tail.
    """
    single = {name: _single(value) for name, value in parameters.items()}
    kinks = describe(activation, single).kinks
    root = activation.expression(single)
    x = np.concatenate([-np.geomspace(_FAR[0], 64.0, 200), np.arange(-64.0, 64.0, _STEP)])
    x = np.sort(np.concatenate([x, -x]))
    slopes = derivative(root, x)
    ends = derivative(root, -np.array(_FAR)), derivative(root, np.array(_FAR))
    scale = _scale(x, slopes, [float(end[-1]) for end in ends])
    left = _end_of_tail(x, slopes, _limit(ends[0], scale), scale)
    right = -_end_of_tail(-x[::-1], slopes[::-1], _limit(ends[1], scale), scale)
    low, high = _snapped(min((left, *kinks)), kinks), _snapped(max((right, *kinks)), kinks)
    if low == math.inf and high == -math.inf:
        return ()  # a line
    if high - low <= 4 * _STEP and low > -math.inf and high < math.inf:
        bend = kinks[0] if kinks else 0.5 * (low + high)
        return (DomainPart(Part.LEFT, -math.inf, bend), DomainPart(Part.RIGHT, bend, math.inf))
    parts = []
    if low > -math.inf:
        parts.append(DomainPart(Part.LEFT, -math.inf, low))
    parts.append(DomainPart(Part.KNEE, low, high))
    if high < math.inf:
        parts.append(DomainPart(Part.RIGHT, high, math.inf))
    return tuple(parts) if len(parts) > 1 else ()


def _snapped(end: float, kinks: tuple[float, ...]) -> float:
    """The kink that the grid saw one step beside its place; else the end itself."""
    near = next((k for k in kinks if abs(k - end) <= 2 * _STEP), end)
    # Adding zero turns a negative zero into the number it stands for.
    return near + 0.0


def _single(value: ParameterValue) -> float | str:
    return float(np.median(value)) if isinstance(value, np.ndarray) else value


def _scale(x: Array, slopes: Array, ends: list[float]) -> float:
    """The usual size of the derivative: of its limits, else near zero, else anywhere."""
    limits, near, anywhere = (
        float(np.max(np.abs(some), initial=0.0, where=np.abs(some) < _STEEPEST))
        for some in (np.array(ends), slopes[np.abs(x) <= _CENTRE], slopes)
    )
    # A derivative that falls to zero slowly is not zero yet where its limits are looked at.
    if limits > _SLOW * near:
        return limits
    return near or anywhere


def _limit(far: Array, scale: float) -> float:
    """The limit of the derivative on one side; NaN where it has not settled."""
    near, farther = float(far[0]), float(far[1])
    settled = math.isfinite(near) and abs(farther - near) <= _NEAR * scale
    return farther if settled else math.nan


def _end_of_tail(x: Array, slopes: Array, limit: float, scale: float) -> float:
    """Where, coming from the left, the derivative leaves its limit; infinite where it never does.

    Minus infinite where there is no limit.
    """
    if math.isnan(limit):
        return -math.inf
    away = np.flatnonzero(~(np.abs(slopes - limit) <= _NEAR * scale))
    return math.inf if away.size == 0 else float(x[max(int(away[0]) - 1, 0)])
