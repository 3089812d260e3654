"""Where a function is looked at to tell which activation it is.

A dense grid around zero; both tails and huge values; every number in the function, points beside
it and its double and half; and, since a piece of a function can begin where two of its operands
cross, far from any number in it, the points beside and between all such crossings.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.activations.primitives import (
    Expr,
    Op,
    apply,
    constant_value,
    constants_of,
    remembered,
    topological,
)
from onnx_act.activations.readings import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

_MOST_KNOTS: Final = 64
_BISECTIONS: Final = 60


def _near_grid() -> Array:
    magnitudes = np.concatenate([np.logspace(-3, 0, 10), np.linspace(1.07, 11.93, 41)])
    return np.concatenate([-magnitudes[::-1], [0.0], magnitudes])


NEAR: Final = _near_grid()
_TAIL: Final = np.array([13.0, 15.5, 18.0, 20.5, 30.0, 50.0, 70.0, 88.5, 120.0, 1e3, 1e4, 1e6])


def _search_grid() -> Array:
    magnitudes = np.concatenate([np.linspace(0.01, 64.0, 1600), np.geomspace(65.0, 1e7, 400)])
    return np.concatenate([-magnitudes[::-1], [0.0], magnitudes])


# Crossings are looked for between neighbours of this grid.
_SEARCH: Final = _search_grid()


def far_points(*expressions: Expr) -> Array:
    """Both tails, points beside every number in the expressions, and beside every crossing."""
    knots = {abs(v) for e in expressions for c in constants_of(e) if (v := constant_value(c))}
    finite = sorted(k for k in knots if math.isfinite(k) and 1e-12 < k < 1e8)[:_MOST_KNOTS]
    beside = [k * s for k in finite for s in (0.5, 0.99, 1.0, 1.01, 2.0)]
    magnitudes = np.concatenate([_TAIL, np.array(beside, dtype=np.float64)])
    own = [crossing_points(e) for e in expressions if not e.has_arrays]
    return np.concatenate([-magnitudes, magnitudes, *own])


@remembered
def crossing_points(expression: Expr) -> Array:
    """Points beside and between the places where operands of a kinked operation cross."""
    found: set[float] = set()
    for difference in _differences(expression):
        found.update(_zeros(difference)[:_MOST_KNOTS])
    places = np.array(sorted(found))
    if not places.size:
        return places
    spread = 1e-7 * np.maximum(np.abs(places), 1e-3)
    wide = 1e-2 * np.maximum(np.abs(places), 1e-1)
    between = 0.5 * (places[1:] + places[:-1])
    shifted = (places + s for s in (-spread, spread, -wide, wide))
    return np.concatenate([*shifted, between])


def _differences(expression: Expr) -> Iterator[Expr]:
    """For every operation with a kink, what changes its sign there."""
    for node in topological(expression):
        match node.op, node.args:
            case ((Op.MAXIMUM | Op.MINIMUM | Op.GREATER | Op.GREATER_EQUAL), (a, b)):
                yield a - b
            case ((Op.ABS | Op.SIGN), (a,)):
                yield a
            case Op.HARD_SIGMOID, (a, alpha, beta):
                ramp = apply(Op.ADD, apply(Op.MUL, alpha, a), beta)
                yield ramp
                yield ramp - 1.0


def _zeros(difference: Expr) -> list[float]:
    """Where an expression changes its sign, to the last bits, found between grid neighbours."""
    values = evaluate(difference, _SEARCH)
    with np.errstate(invalid="ignore"):
        signs = np.sign(values)
    places = np.flatnonzero((signs[:-1] * signs[1:] < 0) | (signs[:-1] == 0))
    # A stretch that is zero throughout has no place of its own.
    places = places[:_MOST_KNOTS]
    if not places.size:
        return []
    low, high = _SEARCH[places], _SEARCH[places + 1]
    start = signs[places]
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        same = np.sign(evaluate(difference, middle)) == start
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return [float(v) for v in high]
