"""Properties of an activation, found by evaluating its declaration: none is typed in.

What is found holds for the function on all of R: a dense grid with both tails, the exact places
where a condition of the expression switches, golden-section refinement of the extremes, and the
limits at both infinities.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.activations.primitives import Expr, Op, arrays_of, constant, topological
from onnx_act.activations.readings import derivative, evaluate
from onnx_act.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnx_act.activations.activation import Activation, Parameters

    Array = npt.NDArray[np.float64]

_INFINITELY_FAR: Final = 1e150  # its square is still finite
_HALF_WAY: Final = 1e75
_GOLDEN: Final = (math.sqrt(5.0) - 1.0) / 2.0
# Of a value, how far float64 may miss it in an expression of a dozen operations.
_ROUNDING: Final = 16 * float(np.finfo(np.float64).eps)
# Digits kept of an extreme: golden section finds the value, not the place, to full precision.
_DIGITS: Final = 12


class Monotonic(enum.StrEnum):
    """Whether the function ever turns round."""

    INCREASING = "increasing"
    DECREASING = "decreasing"
    CONSTANT = "constant"
    NO = "no"


class Saturating(enum.StrEnum):
    """On which sides the function levels off at a finite value."""

    NONE = "none"
    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Range:
    """The values that a function takes: the smallest interval that holds them all.

    Attributes:
        low: greatest lower bound; may be -inf.
        high: least upper bound; may be inf.
        low_is_attained: whether some finite x gives `low`.
        high_is_attained: whether some finite x gives `high`.
    """

    low: float
    high: float
    low_is_attained: bool
    high_is_attained: bool

    def __str__(self) -> str:
        left = "[" if self.low_is_attained else "("
        right = "]" if self.high_is_attained else ")"
        return f"{left}{_short(self.low)}, {_short(self.high)}{right}"

    def to_dict(self) -> dict[str, object]:
        """Plain data; an infinite bound is the text `inf` or `-inf`."""
        return {
            "low": _plain(self.low),
            "high": _plain(self.high),
            "low_is_attained": self.low_is_attained,
            "high_is_attained": self.high_is_attained,
            "text": str(self),
        }


@dataclass(frozen=True, slots=True)
class Properties:
    """What is true of an activation with given parameters.

    Attributes:
        range: the values it takes.
        monotonic: increasing means f(x) <= f(y) whenever x < y, so that plateaus are allowed.
        is_continuous: it has no jump.
        is_smooth: it is continuous and its left and right derivatives agree everywhere.
        is_zero_centred: f(0) = 0 and it takes both signs.
        saturating: the sides on which it has a finite limit.
        is_bounded: both ends of its range are finite.
        limit_left: its limit for x to -inf.
        limit_right: its limit for x to inf.
        kinks: where the derivative, or the value, jumps.
    """

    range: Range
    monotonic: Monotonic
    is_continuous: bool
    is_smooth: bool
    is_zero_centred: bool
    saturating: Saturating
    is_bounded: bool
    limit_left: float
    limit_right: float
    kinks: tuple[float, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain data; an infinite number is the text `inf` or `-inf`."""
        return {
            "range": self.range.to_dict(),
            "monotonic": self.monotonic.value,
            "is_continuous": self.is_continuous,
            "is_smooth": self.is_smooth,
            "is_zero_centred": self.is_zero_centred,
            "saturating": self.saturating.value,
            "is_bounded": self.is_bounded,
            "limit_left": _plain(self.limit_left),
            "limit_right": _plain(self.limit_right),
            "kinks": list(self.kinks),
        }


def describe(activation: Activation, parameters: Parameters | None = None) -> Properties:
    """The properties of `activation` with these parameters, defaults for the rest.

    Raises:
        UsageError: a parameter is unknown, out of its domain, or an array: each of its elements
            is another function.
    """
    root = activation.expression(parameters)
    if arrays_of(root):
        raise UsageError(f"{activation.name} has properties only with one number for a parameter")
    switches = _switches(root)
    x = _grid(switches)
    values = evaluate(root, x)
    left, right = _limit(root, -1.0), _limit(root, 1.0)
    jumps, kinks = _breaks(root, switches)
    low, low_is_attained = _least(root, x, left, right, jumps)
    minus_high, high_is_attained = _least(-root, x, -left, -right, jumps)
    bounds = Range(_tidy(low), _tidy(-minus_high), low_is_attained, high_is_attained)
    at_zero = float(evaluate(root, np.array([0.0]))[0])
    return Properties(
        range=bounds,
        monotonic=_monotonic(values),
        is_continuous=not jumps,
        is_smooth=not kinks,
        is_zero_centred=at_zero == 0.0 and bounds.low < 0.0 < bounds.high,
        saturating=_saturating(left, right),
        is_bounded=math.isfinite(bounds.low) and math.isfinite(bounds.high),
        limit_left=_tidy(left),
        limit_right=_tidy(right),
        kinks=tuple(_tidy(k) for k in kinks),
    )


def _grid(knots: tuple[float, ...] = ()) -> Array:
    """Sorted: dense around zero, logarithmic in both tails, and beside every knot."""
    tail = np.logspace(-8, 8, 321)
    beside = [k + s * max(1.0, abs(k)) for k in knots for s in (-1e-3, -1e-6, 0.0, 1e-6, 1e-3)]
    parts = (np.linspace(-32.0, 32.0, 4097), -tail, tail, np.array(beside, dtype=np.float64))
    return np.unique(np.concatenate(parts))


def _at(root: Expr, x: float) -> float:
    return float(evaluate(root, np.array([x]))[0])


def _limit(root: Expr, side: float) -> float:
    """The limit towards `side` * infinity; NaN when there is none."""
    far, nearer = _at(root, side * _INFINITELY_FAR), _at(root, side * _HALF_WAY)
    if abs(far) > 1e3 * (1.0 + abs(nearer)):
        return math.copysign(math.inf, far)
    return far


def _least(
    root: Expr, x: Array, left: float, right: float, jumps: list[float]
) -> tuple[float, bool]:
    """The greatest lower bound, and whether it is attained."""
    values = evaluate(root, x)
    place = int(np.argmin(values))
    inside, is_attained = float(values[place]), True
    beside = [j for j in jumps if abs(x[place] - j) <= 2e-3 * max(1.0, abs(j))]
    if beside:
        inside, is_attained = _least_at_jump(root, beside[0], inside)
    elif 0 < place < len(x) - 1:
        inside = min(inside, _refined(root, float(x[place - 1]), float(x[place + 1])))
    limit = min(left, right)
    if math.isinf(limit):
        return (inside, is_attained) if limit > 0 else (limit, False)
    if inside < limit - _ROUNDING * abs(limit):
        return inside, is_attained
    sides = [s for s, end in ((-1.0, left), (1.0, right)) if end == limit]
    return limit, any(_is_reached(root, limit, side) for side in sides)


def _least_at_jump(root: Expr, jump: float, inside: float) -> tuple[float, bool]:
    """The least of the value at a jump and its one-sided limits, and whether it is attained."""
    step = 1e-12 * max(1.0, abs(jump))
    beside = np.array([jump - step, jump + step])
    towards = evaluate(root, beside) + np.array([step, -step]) * derivative(root, beside)
    limit, at = _tidy(float(np.min(towards))), _tidy(_at(root, jump))
    if at <= limit:
        return at, True
    return (limit, False) if limit <= inside else (inside, True)


def _refined(root: Expr, low: float, high: float) -> float:
    """The least value in [low, high], where the function has one valley: golden section."""
    for _ in range(80):
        step = _GOLDEN * (high - low)
        left, right = high - step, low + step
        if _at(root, left) <= _at(root, right):
            high = right
        else:
            low = left
    return _at(root, 0.5 * (low + high))


def _is_reached(root: Expr, limit: float, side: float) -> bool:
    """Whether the limit on a side is really taken, and not only once float64 runs out of digits.

    A plateau begins at a point that the function runs into like a power of the distance. One that
    float64 makes begins where the gap to the limit has become tiny compared with the values, or
    has fallen by orders of magnitude on the last stretch.
    """
    near, far = -side * 64.0, side * _INFINITELY_FAR
    if _at(root, near) == limit:
        return True
    for _ in range(2200):
        middle = 0.5 * (near + far)
        if middle in (near, far):
            break
        near, far = (near, middle) if _at(root, middle) == limit else (middle, far)
    edge = near
    if abs(edge) < 1e-300:
        return True
    gaps = [abs(_at(root, edge - side * part * abs(edge)) - limit) for part in (0.1, 0.5)]
    return gaps[0] > 1e-12 * abs(limit) and gaps[0] > 1e-3 * gaps[1]


def _monotonic(values: Array) -> Monotonic:
    values = values[np.isfinite(values)]
    steps = np.diff(values)
    noise = _ROUNDING * np.maximum(np.abs(values[1:]), np.abs(values[:-1]))
    rises, falls = bool(np.any(steps > noise)), bool(np.any(steps < -noise))
    if rises and falls:
        return Monotonic.NO
    if rises:
        return Monotonic.INCREASING
    return Monotonic.DECREASING if falls else Monotonic.CONSTANT


def _saturating(left: float, right: float) -> Saturating:
    match math.isfinite(left), math.isfinite(right):
        case True, True:
            return Saturating.BOTH
        case True, False:
            return Saturating.LEFT
        case False, True:
            return Saturating.RIGHT
    return Saturating.NONE


def _conditions(root: Expr) -> list[Expr]:
    """For every operation that chooses, an expression whose sign says what it chooses."""
    found: list[Expr] = []
    for node in topological(root):
        match node.op, node.args:
            case ((Op.GREATER | Op.GREATER_EQUAL | Op.MAXIMUM | Op.MINIMUM), (a, b)):
                found.append(a - b)
            case ((Op.ABS | Op.SIGN), (a,)):
                found.append(a)
            case Op.HARD_SIGMOID, (a, alpha, beta):
                found.extend((alpha * a + beta, alpha * a + beta - constant(1.0)))
    return found


def _switches(root: Expr) -> tuple[float, ...]:
    """Where an operation of the expression changes its choice, to the last bit or two."""
    x = _grid()
    places: set[float] = set()
    for condition in _conditions(root):
        holds = evaluate(condition, x) > 0
        for i in np.flatnonzero(holds[1:] != holds[:-1]):
            low, high = float(x[i]), float(x[i + 1])
            for _ in range(1200):
                middle = 0.5 * (low + high)
                if middle in (low, high):
                    break
                same = (_at(condition, middle) > 0) == bool(holds[i])
                low, high = (middle, high) if same else (low, middle)
            places.add(low if abs(low) > 1e-300 else 0.0)
    return tuple(sorted(places))


def _breaks(root: Expr, switches: tuple[float, ...]) -> tuple[list[float], list[float]]:
    """Where the value jumps, and where the value or the derivative does."""
    jumps: list[float] = []
    kinks: list[float] = []
    for place in switches:
        step = 1e-12 * max(1.0, abs(place))
        beside = np.array([place - step, place + step])
        values, slopes = evaluate(root, beside), derivative(root, beside)
        steepest = max(1.0, float(np.max(np.abs(slopes))))
        jump = abs(float(values[1] - values[0]))
        if jump > 8 * step * steepest + _ROUNDING * float(np.max(np.abs(values))):
            jumps.append(place)
            kinks.append(place)
        elif abs(float(slopes[1] - slopes[0])) > 1e-7 * steepest:
            kinks.append(place)
    return jumps, kinks


def _tidy(value: float) -> float:
    # Adding zero turns the negative zero of a left tail into the number it stands for.
    return value if not math.isfinite(value) else float(f"{value:.{_DIGITS}g}") + 0.0


def _short(value: float) -> str:
    return f"{value:.5f}".rstrip("0").rstrip(".") if 1e-3 < abs(value) < 1e6 else f"{value:g}"


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
