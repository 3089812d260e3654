"""Closed intervals, and what an activation does to the numbers of one.

A bound is only ever kept where it is exact in every float type and by every kernel: what computes
may miss a bound by a rounding (a sigmoid reaches 1.0000001 and a tanh -1.0000002 in the kernels of
ONNX Runtime), but no rounding takes a number to the other side of zero. So sums, products and
curves hand on the sign of a number and nothing else; comparing, choosing and moving hand on all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from onnx_act.activations.primitives import (
    Op,
    constant_value,
    constants_of,
    remembered,
    topological,
)
from onnx_act.activations.readings import evaluate

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnx_act.activations.primitives import Expr

    Array = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """The numbers from `low` to `high`, both included; either may be infinite."""

    low: float
    high: float


EVERYTHING: Final = Interval(-math.inf, math.inf)
NOT_NEGATIVE: Final = Interval(0.0, math.inf)

# Of these a function is made that is linear in pieces.
_STRAIGHT: Final = frozenset(
    {
        Op.VARIABLE,
        Op.CONSTANT,
        Op.ADD,
        Op.SUB,
        Op.MUL,
        Op.DIV,
        Op.NEG,
        Op.ABS,
        Op.MAXIMUM,
        Op.MINIMUM,
        Op.GREATER,
        Op.GREATER_EQUAL,
        Op.WHERE,
    }
)


def joined(*intervals: Interval) -> Interval:
    """The smallest interval that holds all of these."""
    return Interval(min(i.low for i in intervals), max(i.high for i in intervals))


def common(one: Interval, other: Interval) -> Interval:
    """What is in both; they have something in common."""
    return Interval(max(one.low, other.low), min(one.high, other.high))


def signs_of(interval: Interval) -> Interval:
    """All numbers of the signs that the numbers of an interval have, zero included."""
    low = 0.0 if interval.low >= 0 else -math.inf
    high = 0.0 if interval.high <= 0 else math.inf
    return Interval(low, high)


def negated(interval: Interval) -> Interval:
    """-x."""
    return Interval(-interval.high, -interval.low)


def magnitude(interval: Interval) -> Interval:
    """|x|."""
    if interval.low >= 0:
        return interval
    if interval.high <= 0:
        return negated(interval)
    return Interval(0.0, max(-interval.low, interval.high))


def signs_of_sum(one: Interval, other: Interval) -> Interval:
    """The signs of x + y."""
    # Infinities of both signs make no number; a bound that is none stays none.
    low = one.low + other.low if -math.inf not in {one.low, other.low} else -math.inf
    high = one.high + other.high if math.inf not in {one.high, other.high} else math.inf
    return signs_of(Interval(low, high))


def signs_of_product(one: Interval, other: Interval) -> Interval:
    """The signs of x * y."""
    corners = [_times(x, y) for x in one for y in other]
    return signs_of(Interval(min(corners), max(corners)))


def signs_of_quotient(one: Interval, other: Interval) -> Interval:
    """The signs of x / y. Of a y that may be zero nothing is known: it may be -0.0."""
    if not (other.low > 0 or other.high < 0):
        return EVERYTHING
    return signs_of_product(one, other)


def _times(x: float, y: float) -> float:
    # An infinite bound stands for numbers without limit, and zero times any of them is zero.
    return 0.0 if 0.0 in {x, y} else math.copysign(1.0, x) * math.copysign(1.0, y)


@remembered
def is_identity_on(formula: Expr, interval: Interval) -> bool:
    """Whether f(x) is x itself, to the last bit, for all x of an interval, and NaN for NaN.

    Args:
        formula: of one variable, without parameters and arrays. Its pieces are looked at on a grid
            that holds all their ends; operations that bend are trusted where their operand does
            not move.
        interval: the numbers that x may be.
    """
    x = np.append(_points(formula, interval), np.nan)
    for node in topological(formula):
        if node.op not in _STRAIGHT:
            if interval.low == interval.high:
                # Nothing moves there, and equality would be one of rounded numbers.
                return False
            operands = [np.broadcast_to(evaluate(a, x), x.shape)[:-1] for a in node.args]
            if any(np.any(o != o[:1]) for o in operands):
                return False
    return np.array_equal(np.broadcast_to(evaluate(formula, x), x.shape), x, equal_nan=True)


@remembered
def signs_on(formula: Expr, interval: Interval) -> Interval:
    """The signs that an activation's values have on an interval, as seen on a grid.

    Args:
        formula: of one variable, without parameters and arrays.
        interval: the numbers that x may be.
    """
    values = np.broadcast_to(evaluate(formula, x := _points(formula, interval)), x.shape)
    values = values[~np.isnan(values)]
    if not values.size:
        return EVERYTHING
    return signs_of(Interval(float(values.min()), float(values.max())))


def _points(formula: Expr, interval: Interval) -> Array:
    """Sorted points of an interval: its ends, a grid, both tails, and around every number."""
    tail = np.logspace(-40, 38, 391)
    numbers = [v for c in constants_of(formula) if (v := constant_value(c)) is not None]
    ends = np.array([v for v in (*interval, *numbers, *(-n for n in numbers)) if not math.isnan(v)])
    beside = [np.nextafter(ends, side) for side in (-math.inf, math.inf)]
    grid = np.concatenate([np.linspace(-32.0, 32.0, 2049), -tail, tail, ends, *beside, [0.0]])
    within: Array = np.unique(grid[(grid >= interval.low) & (grid <= interval.high)])
    return within
