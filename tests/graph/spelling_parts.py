"""Pieces that many spellings share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from onnx import TensorProto

if TYPE_CHECKING:
    from graph_sketch import Sketch

Build = Callable[["Sketch", str], str]


def gelu_erf(s: Sketch, x: str) -> str:
    return s("Add", s("Erf", s("Div", x, math.sqrt(2))), 1.0)


def cubic(s: Sketch, x: str) -> str:
    return s("Add", x, s("Mul", s("Pow", x, 3.0), 0.044715))


def cubic_by_products(s: Sketch, x: str) -> str:
    return s("Add", x, s("Mul", 0.044715, s("Mul", s("Mul", x, x), x)))


def half_gate(s: Sketch, inner: str) -> str:
    return s("Add", s("Tanh", s("Mul", inner, math.sqrt(2 / math.pi))), 1.0)


def relu6_of_shifted(s: Sketch, x: str) -> str:
    return s("Min", s("Relu", s("Add", x, 3.0)), 6.0)


def above(s: Sketch, x: str, edge: float) -> str:
    return s("Cast", s("Greater", x, edge), to=s.style.inner)


def one_plus_exp(s: Sketch, x: str) -> str:
    return s("Add", s("Exp", x), 1.0)


def mish_rational(s: Sketch, x: str) -> str:
    e = s("Exp", x)
    n = s("Mul", e, s("Add", e, 2.0))
    return s("Mul", x, s("Div", n, s("Add", n, 2.0)))


def tanh_by_exp(s: Sketch, x: str) -> str:
    up, down = s("Exp", x), s("Exp", s("Neg", x))
    return s("Div", s("Sub", up, down), s("Add", up, down))


def expm1(s: Sketch, x: str) -> str:
    return s("Sub", s("Exp", x), 1.0)


def clip_of(low: float, high: float) -> Build:
    return lambda s, x: s("Clip", x, s.constant(low, ()), s.constant(high, ()))


def softshrink_by_where(s: Sketch, x: str) -> str:
    left = s("Where", s("Less", x, -0.5), s("Add", x, 0.5), 0.0)
    return s("Where", s("Greater", x, 0.5), s("Sub", x, 0.5), left)


def outside(s: Sketch, x: str, edge: float) -> str:
    """As torch writes it: both comparisons are cast to what they are."""
    sides = s("Greater", x, edge), s("Less", x, s("Neg", edge))
    return s("Or", *(s("Cast", side, to=TensorProto.BOOL) for side in sides))


def inside(s: Sketch, x: str, edge: float) -> str:
    return s("And", s("GreaterOrEqual", x, -edge), s("LessOrEqual", x, edge))


def guarded_softplus(s: Sketch, x: str, beta: float) -> str:
    scaled = s("Mul", x, beta)
    return s("Where", s("Greater", scaled, 20.0), x, s("Div", s("Softplus", scaled), beta))
