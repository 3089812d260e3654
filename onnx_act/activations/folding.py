"""Expressions made ready to be written: constants computed, factors spread over channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.activations.primitives import (
    ArraySource,
    Expr,
    Op,
    array,
    constant,
    constant_value,
    topological,
)
from onnx_act.activations.readings import evaluate

if TYPE_CHECKING:
    import numpy.typing as npt

#: Operations that hold a known number, or one per channel or element.
CONSTANTS: Final = frozenset({Op.CONSTANT, Op.ARRAY})


def fold_constants(root: Expr) -> Expr:
    """`root` with what it computes of constants alone as constants: rounded once, and no nodes."""
    done: dict[int, Expr] = {}
    for node in topological(root):
        args = tuple(done[id(a)] for a in node.args)
        folded = Expr(node.op, args) if args else node
        if args and all(a.op in CONSTANTS for a in args):
            folded = _constant_of(evaluate(folded, np.zeros(())))
        done[id(node)] = folded
    return done[id(root)]


def _constant_of(values: npt.NDArray[np.float64]) -> Expr:
    """A number, or an array whose key is its content."""
    if values.ndim == 0:
        return constant(float(values))
    kept = np.array(values)
    return array(ArraySource(f"{kept.shape}{kept.tobytes().hex()}", kept.shape, lambda: kept))


def spread_factors(root: Expr, channels: int) -> Expr:
    """`root` with every number that something is multiplied by as one per channel."""
    done: dict[int, Expr] = {}
    for node in topological(root):
        args = [done[id(a)] for a in node.args]
        if node.op is Op.MUL:
            args = [_per_channel(a, channels) for a in args]
        done[id(node)] = Expr(node.op, tuple(args)) if args else node
    return done[id(root)]


def _per_channel(node: Expr, channels: int) -> Expr:
    value = constant_value(node)
    return node if value is None else _constant_of(np.full((channels, 1, 1), value))
