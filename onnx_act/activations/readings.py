"""Numerical readings of an expression: its value in float64, and its derivative by dual numbers.

Derivatives at a kink are the left-hand ones, everywhere: max takes the smaller slope at a tie,
min the larger, and declarations write their conditions with a strict `>`. So relu'(0) = 0 and
leaky_relu'(0) is its slope, as in PyTorch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.activations.primitives import ArraySource, Expr, Op, topological

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

_INV_SQRT2: Final = 1.0 / math.sqrt(2.0)
_erf = np.frompyfunc(math.erf, 1, 1)
_erfc = np.frompyfunc(math.erfc, 1, 1)


def _sigmoid(a: Array) -> Array:
    # exp of a non-positive number never overflows, and keeps the left tail to full precision.
    e = np.exp(-np.abs(a))
    result: Array = np.where(a >= 0, 1.0, e) / (1.0 + e)
    return result


def _erf64(a: Array) -> Array:
    result: Array = np.asarray(_erf(a), dtype=np.float64)
    return result


def _normal_cdf(a: Array) -> Array:
    result: Array = 0.5 * np.asarray(_erfc(-a * _INV_SQRT2), dtype=np.float64)
    return result


def _where(c: Array, a: Array, b: Array) -> Array:
    result: Array = np.where(c != 0, a, b)
    return result


_EVALUATE: Final[Mapping[Op, Callable[..., Array]]] = {
    Op.ADD: np.add,
    Op.SUB: np.subtract,
    Op.MUL: np.multiply,
    Op.DIV: np.divide,
    Op.POW: np.power,
    Op.NEG: np.negative,
    Op.ABS: np.abs,
    Op.SQRT: np.sqrt,
    Op.EXP: np.exp,
    Op.EXPM1: np.expm1,
    Op.LOG: np.log,
    Op.TANH: np.tanh,
    Op.ERF: _erf64,
    Op.SIGMOID: _sigmoid,
    Op.SOFTPLUS: lambda a: np.logaddexp(0.0, a),
    Op.NORMAL_CDF: _normal_cdf,
    Op.HARD_SIGMOID: lambda a, alpha, beta: np.minimum(np.maximum(alpha * a + beta, 0.0), 1.0),
    Op.MAXIMUM: np.maximum,
    Op.MINIMUM: np.minimum,
    Op.GREATER: lambda a, b: np.greater(a, b).astype(np.float64),
    Op.GREATER_EQUAL: lambda a, b: np.greater_equal(a, b).astype(np.float64),
    Op.NOT: lambda a: np.equal(a, 0).astype(np.float64),
    Op.WHERE: _where,
    Op.SIGN: np.sign,
    Op.SIN: np.sin,
    Op.COS: np.cos,
    Op.TAN: np.tan,
    Op.ATAN: np.arctan,
    Op.FLOOR: np.floor,
    Op.CEIL: np.ceil,
    Op.ROUND: np.rint,
}


def evaluate(root: Expr, x: Array, arrays: Mapping[ArraySource, Array] | None = None) -> Array:
    """The expression at `x`, in float64.

    Args:
        root: an expression without open parameters.
        x: float64, any shape.
        arrays: values for the per-element constants, broadcastable against `x`; those not given
            are read whole.

    Returns:
        float64 of the broadcast shape. Overflow gives infinity and undefined operations NaN,
        without a warning.

    Raises:
        ValueError: a parameter has no value.
    """
    done: dict[int, Array] = {}
    with np.errstate(all="ignore"):
        for node in topological(root):
            done[id(node)] = _value(node, x, arrays or {}, done)
    result = done[id(root)]
    return np.broadcast_to(result, np.broadcast_shapes(result.shape, x.shape))


def _value(
    node: Expr, x: Array, arrays: Mapping[ArraySource, Array], done: Mapping[int, Array]
) -> Array:
    match node.op, node.payload:
        case Op.VARIABLE, _:
            return x
        case Op.CONSTANT, (float(value), _):
            return np.asarray(value, dtype=np.float64)
        case Op.ARRAY, ArraySource() as source:
            given = arrays.get(source)
            return source.values() if given is None else given
        case Op.PARAMETER, name:
            message = f"parameter {name!r} has no value"
            raise ValueError(message)
    operation = _EVALUATE[node.op]
    return np.asarray(operation(*(done[id(a)] for a in node.args)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Dual:
    """A value with its derivative with respect to x."""

    value: Array
    slope: Array


def derivative(root: Expr, x: Array) -> Array:
    """The derivative of the expression at `x`, in float64, from the left at a kink.

    Args:
        root: an expression without open parameters.
        x: float64, any shape.
    """
    done: dict[int, Dual] = {}
    with np.errstate(all="ignore"):
        for node in topological(root):
            args = tuple(done[id(a)] for a in node.args)
            value = _value(node, x, {}, {id(a): done[id(a)].value for a in node.args})
            slope = np.ones_like(x) if node.op is Op.VARIABLE else _slope(node.op, value, args)
            done[id(node)] = Dual(value, slope)
    return np.broadcast_to(done[id(root)].slope, x.shape)


def _slope(op: Op, value: Array, args: tuple[Dual, ...]) -> Array:
    """The chain rule for one operation, given its value and its operands."""
    match op, args:
        case ((Op.CONSTANT | Op.ARRAY), _):
            return np.zeros_like(value)
        case Op.ADD, (a, b):
            return a.slope + b.slope
        case Op.SUB, (a, b):
            return a.slope - b.slope
        case Op.MUL, (a, b):
            return _times(a.slope, b.value) + _times(b.slope, a.value)
        case Op.DIV, (a, b):
            return (a.slope - _times(b.slope, value)) / b.value
        case Op.POW, (a, b):
            return _times(a.slope, b.value * np.power(a.value, b.value - 1.0))
        case Op.MAXIMUM, (a, b):
            tie = np.minimum(a.slope, b.slope)
            return np.where(a.value == b.value, tie, np.where(a.value > b.value, a.slope, b.slope))
        case Op.MINIMUM, (a, b):
            tie = np.maximum(a.slope, b.slope)
            return np.where(a.value == b.value, tie, np.where(a.value < b.value, a.slope, b.slope))
        case Op.WHERE, (c, a, b):
            return np.where(c.value != 0, a.slope, b.slope)
        case Op.HARD_SIGMOID, (a, alpha, beta):
            raw = alpha.value * a.value + beta.value
            rising = alpha.value * a.slope >= 0
            inside = np.where(rising, (raw > 0) & (raw <= 1), (raw >= 0) & (raw < 1))
            return np.where(inside, alpha.value * a.slope, 0.0)
        case _, (a,):
            return _times(a.slope, _unary_slope(op, a.value, value, a.slope))
    return np.zeros_like(value)


def _times(slope: Array, factor: Array) -> Array:
    # A slope of exactly zero wins over an infinite factor: the operand does not move.
    return np.where(slope == 0, 0.0, slope * factor)


def _unary_slope(op: Op, a: Array, value: Array, direction: Array) -> Array:
    """The derivative of a one-operand primitive at `a`, where it takes `value`."""
    match op:
        case Op.NEG:
            return np.full_like(a, -1.0)
        case Op.ABS:
            return np.where(a == 0, -np.sign(direction), np.sign(a))
        case Op.SQRT:
            return 0.5 / value
        case Op.EXP:
            return value
        case Op.EXPM1:
            return np.exp(a)
        case Op.LOG:
            return 1.0 / a
        case Op.TANH:
            # 1 - tanh^2 cancels in the tails; sech^2 = 4 s(2a) s(-2a) does not.
            return 4.0 * _sigmoid(2.0 * a) * _sigmoid(-2.0 * a)
        case Op.ERF:
            return 2.0 / math.sqrt(math.pi) * np.exp(-a * a)
        case Op.SIGMOID:
            return _sigmoid(a) * _sigmoid(-a)
        case Op.SOFTPLUS:
            return _sigmoid(a)
        case Op.NORMAL_CDF:
            return np.exp(-0.5 * a * a) / math.sqrt(2.0 * math.pi)
        case Op.SIN:
            return np.cos(a)
        case Op.COS:
            return -np.sin(a)
        case Op.TAN:
            return 1.0 + value * value
        case Op.ATAN:
            return 1.0 / (1.0 + a * a)
    return np.zeros_like(a)
