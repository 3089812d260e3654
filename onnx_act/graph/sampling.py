"""Elementwise nodes as expressions: what one node computes of its operands.

This is the one place that knows what ONNX operators mean as functions of a real variable. The
activations among them are not spelled out here: their meaning is their catalogue entry's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Final

import onnx
import onnx_ir as ir

from onnx_act.activations.activation import MICROSOFT, Activation, Operator
from onnx_act.activations.catalogue import CATALOGUE, named
from onnx_act.activations.primitives import (
    ArraySource,
    Expr,
    Op,
    X,
    apply,
    array,
    clip,
    constant_value,
    greater,
    rebuild,
    substitute,
    tanh,
    where,
)
from onnx_act.errors import UsageError
from onnx_act.graph.digits import as_written, stated
from onnx_act.graph.types import dtype_of, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np

    from onnx_act.graph.constants import Constants

_FLOATS: Final = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
)
_UNARY: Final = {
    "Neg": Op.NEG,
    "Abs": Op.ABS,
    "Sqrt": Op.SQRT,
    "Exp": Op.EXP,
    "Log": Op.LOG,
    "Sign": Op.SIGN,
    "Sin": Op.SIN,
    "Cos": Op.COS,
    "Tan": Op.TAN,
    "Atan": Op.ATAN,
    "Floor": Op.FLOOR,
    "Ceil": Op.CEIL,
    "Round": Op.ROUND,
    "Not": Op.NOT,
}
_BINARY: Final = {
    "Add": Op.ADD,
    "Sub": Op.SUB,
    "Mul": Op.MUL,
    "Div": Op.DIV,
    "Pow": Op.POW,
    "And": Op.MUL,
    "Greater": Op.GREATER,
    "GreaterOrEqual": Op.GREATER_EQUAL,
}
_VARIADIC: Final = {"Sum": Op.ADD, "Min": Op.MINIMUM, "Max": Op.MAXIMUM}
#: From here on a bound is none: the largest float32 is how that was written before bounds were
#: optional.
NO_BOUND: Final = 3.4e38
#: Operators that hand their first input on unchanged.
PASSING: Final = frozenset({"Identity", "Cast", "CastLike", "Dropout"})
#: Operators that can bend no line: a region of these alone is never an activation.
STRAIGHT: Final = frozenset(
    {"Add", "Sub", "Mul", "Div", "Neg", "Sum", "Pow", "Sqrt", "Reciprocal", *PASSING}
)
#: Operators that are plain arithmetic: by themselves they are not worth a mention.
ARITHMETIC: Final = STRAIGHT | {
    "Abs",
    "Log",
    "Sign",
    "Floor",
    "Ceil",
    "Round",
    "Not",
    "And",
    "Or",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
}


@dataclass(frozen=True, slots=True)
class NativeOperator:
    """How to read one operator as a catalogue entry."""

    activation: Activation
    operator: Operator


def _native_operators() -> Mapping[tuple[str, str], NativeOperator]:
    """(domain, operator) -> the entry whose parameters its attributes carry.

    Where several entries use an operator, the one that fixes fewest of its attributes.
    """
    found: dict[tuple[str, str], NativeOperator] = {}
    free: dict[tuple[str, str], int] = {}
    for activation in CATALOGUE:
        for operator in activation.operators:
            if any(callable(v) for v in operator.attributes.values()):
                continue
            key = (operator.domain, operator.op_type)
            carried = sum(isinstance(v, str) for v in operator.attributes.values())
            if key not in found or carried > free[key]:
                found[key], free[key] = NativeOperator(activation, operator), carried
    return found


NATIVE: Final = _native_operators()
# Read by hand below: their operands or attributes say more than one entry's parameters can.
_SPECIAL: Final = frozenset({"Clip", "Shrink", "PRelu"})
# What com.microsoft's schemas state as defaults; onnx does not know them.
_CONTRIB_DEFAULTS: Final = {("QuickGelu", "alpha"): 1.702}


@lru_cache(maxsize=4096)
def _attribute_default(op_type: str, domain: str, opset: int, name: str) -> float | str | None:
    if domain == MICROSOFT:
        return _CONTRIB_DEFAULTS.get((op_type, name))
    try:
        schema = onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return None
    declared = schema.attributes.get(name)
    if declared is None or not declared.default_value.type:
        return None
    value = onnx.helper.get_attribute_value(declared.default_value)
    if isinstance(value, bytes):
        return value.decode()
    return as_written(float(value), ir.DataType.FLOAT)


def attribute(node: ir.Node, name: str, opset: int) -> float | str | None:
    """A numeric or text attribute as it was written, or its default; None when there is neither."""
    found = node.attributes.get(name)
    if found is None:
        return _attribute_default(node.op_type, node.domain, opset, name)
    if found.is_ref():
        return None
    if found.type is ir.AttributeType.FLOAT:
        return as_written(found.as_float(), ir.DataType.FLOAT)
    if found.type is ir.AttributeType.STRING:
        return found.as_string()
    if found.type is ir.AttributeType.INT:
        return float(found.as_int())
    return None


class NodeReader:
    """Turns nodes into expressions, given the constants of their model."""

    def __init__(self, constants: Constants) -> None:
        self._constants = constants

    def constant_operand(
        self, value: ir.Value, beside: ir.Value | None, *, broadcasts: bool = True
    ) -> Expr | None:
        """A constant as an operand beside a variable.

        Args:
            value: the constant.
            beside: the variable operand; None when its shape does not matter.
            broadcasts: False when the constant cannot change the result's shape, whatever it is.

        Returns:
            None when it is not numeric, or when it would give the result another shape than the
            variable has (so that the node is not elementwise in it).
        """
        shape = self._constants.shape(value)
        if shape is None or (broadcasts and not _keeps_shape(shape, shape_of(beside))):
            return None
        dtype = dtype_of(value)
        single = self._constants.scalar(value)
        if single is not None:
            return stated(single, dtype)
        if dtype not in _FLOATS or not math.prod(shape):
            return None
        constants = self._constants

        def load() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
            values = constants.floats(value)
            assert values is not None
            return values

        return array(ArraySource(f"{value.name}@{id(value)}", shape, load))

    def expression(self, node: ir.Node, operands: list[Expr | None], opset: int) -> Expr | None:
        """What the node's first output is of its operands.

        Args:
            node: any node.
            operands: an expression per input, None where an optional input is absent.
            opset: of the node's domain in its scope.

        Returns:
            None when the node is not elementwise, or depends on what is not known.
        """
        if node.domain not in {"", MICROSOFT} or not operands or operands[0] is None:
            return None
        if node.domain == "" and node.op_type not in _SPECIAL:
            arithmetic = self._arithmetic(node, operands, opset)
            if arithmetic is not None:
                return arithmetic
        if node.op_type in _SPECIAL and node.domain == "":
            return _special(node, operands, opset)
        return native_expression(node, operands, opset)

    def _arithmetic(self, node: ir.Node, operands: list[Expr | None], opset: int) -> Expr | None:
        given = [o for o in operands if o is not None]
        if len(given) != len(operands) and node.op_type != "Dropout":
            return None
        match node.op_type, given:
            case (("Identity" | "CastLike"), [a, *_]):
                return a
            case "Cast", [a]:
                to = attribute(node, "to", opset)
                return _not(_not(a)) if to == _BOOL else a if to in _CAST_KEEPS else None
            case "Dropout", [a, *rest]:
                trains = len(operands) > 2 and not (
                    len(rest) == 2 and constant_value(rest[1]) == 0.0
                )
                return None if trains or len(node.outputs) > 1 else a
            case "Reciprocal", [a]:
                return 1.0 / a
            case "Where", [c, a, b]:
                return where(c, a, b)
            case "Less", [a, b]:
                return greater(b, a)
            case "LessOrEqual", [a, b]:
                return apply(Op.GREATER_EQUAL, b, a)
            case "Or", [a, b]:
                return _not(_not(a) * _not(b))
        if node.op_type in _UNARY and len(given) == 1:
            return apply(_UNARY[node.op_type], given[0])
        if node.op_type in _BINARY and len(given) == 2:
            return apply(_BINARY[node.op_type], given[0], given[1])
        if node.op_type in _VARIADIC:
            op = _VARIADIC[node.op_type]
            return reduce(lambda a, b: apply(op, a, b), given)
        return None


# Casts between these keep the function; to integers they round.
_CAST_KEEPS: Final = frozenset(float(int(d)) for d in _FLOATS)
_BOOL: Final = float(int(ir.DataType.BOOL))


def _not(truth: Expr) -> Expr:
    return apply(Op.NOT, truth)


def _keeps_shape(shape: tuple[int, ...], beside: tuple[int | str | None, ...] | None) -> bool:
    """Whether broadcasting a constant of `shape` leaves a tensor of shape `beside` as it is."""
    trimmed = list(shape)
    if beside is None:
        # Of unknown rank: only what cannot add a dimension to a tensor of rank one or more.
        return math.prod(shape) == 1 and len(shape) <= 1
    if len(trimmed) > len(beside):
        return False
    return all(c in (1, d) for c, d in zip(reversed(trimmed), reversed(beside), strict=False))


def _special(node: ir.Node, operands: list[Expr | None], opset: int) -> Expr | None:
    x = operands[0]
    assert x is not None
    match node.op_type:
        case "PRelu":
            slope = operands[1] if len(operands) == 2 else None
            return None if slope is None else where(greater(x, 0), x, slope * x)
        case "Shrink":
            lambd, bias = (attribute(node, n, opset) for n in ("lambd", "bias"))
            if not isinstance(lambd, float) or not isinstance(bias, float):
                return None
            low, width = stated(bias), stated(lambd)
            shifted = where(greater(-x, width), x + low, 0)
            return where(greater(x, width), x - low, shifted)
    return _clip(node, x, operands, opset)


def _clip(node: ir.Node, x: Expr, operands: list[Expr | None], opset: int) -> Expr | None:
    bounds: list[Expr] = []
    for position, (name, open_end) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
        if opset >= 11:
            given = operands[position] if len(operands) > position else None
            if given is None and len(node.inputs) > position and node.inputs[position] is not None:
                return None
            number = None if given is None else constant_value(given)
            if given is not None and number is None:
                return None
        else:
            bound = attribute(node, name, opset)
            number = bound if isinstance(bound, float) else None
            if name in node.attributes and number is None:
                return None
        if number is None or abs(number) >= NO_BOUND:
            number = open_end
        bounds.append(stated(number))
    return clip(x, bounds[0], bounds[1])


def native_expression(node: ir.Node, operands: list[Expr | None], opset: int) -> Expr | None:
    """A node that is one activation, by its catalogue entry; None when it is not one."""
    native = NATIVE.get((node.domain, node.op_type))
    x = operands[0]
    if native is None or x is None or len([o for o in operands if o is not None]) != 1:
        return None
    # Before opset 6 some of these had other defaults, and activations were not in place.
    if native.operator.domain == "" and opset < min(6, native.operator.since):
        return None
    parameters: dict[str, float | str] = {}
    for name, source in native.operator.attributes.items():
        value = attribute(node, name, opset)
        if value is None:
            return None
        if isinstance(source, str):
            parameters[source] = value
    for name, needed in native.operator.requires.items():
        parameters.setdefault(name, needed)
    try:
        expression = native.activation.expression(parameters)
    except UsageError:  # a value that the activation does not take, such as a Celu of alpha 0
        return None
    return substitute(marked(expression, parameters.values()), x)


def marked(expression: Expr, written: Iterable[float | str | None]) -> Expr:
    """`expression` with the numbers that a model states marked as uncertain as typed digits."""
    numbers = set(written) - {None}
    return rebuild(
        expression,
        lambda leaf: (
            stated(number)
            if (number := constant_value(leaf)) is not None and number in numbers
            else leaf
        ),
    )


def activation_by_attribute(name: str, alpha: float | None, beta: float | None) -> Expr | None:
    """The activation that an `activations` or `activation` attribute names, as an expression.

    None where nobody knows it, or it does not take these parameters.

    Args:
        name: as ONNX spells it there: Relu, Tanh, Sigmoid, Affine, LeakyRelu, ThresholdedRelu,
            ScaledTanh, HardSigmoid, Elu, Softsign, Softplus; contrib operators know more.
        alpha: its first parameter, None for the default.
        beta: its second parameter, None for the default.
    """
    try:
        found = _named_activation(name, alpha, beta)
    except UsageError:
        return None
    return None if found is None else marked(found, (alpha, beta))


def _named_activation(name: str, alpha: float | None, beta: float | None) -> Expr | None:
    a = 1.0 if alpha is None else alpha
    match name.lower():
        case "affine":
            return a * X + (0.0 if beta is None else beta)
        case "scaledtanh":
            return a * tanh((1.0 if beta is None else beta) * X)
        case "hardsigmoid":
            return named("hardsigmoid").expression(
                {"alpha": 0.2 if alpha is None else alpha, "beta": 0.5 if beta is None else beta}
            )
        case "leakyrelu":
            return named("leaky_relu").expression(
                {"negative_slope": 0.01 if alpha is None else alpha}
            )
        case "thresholdedrelu":
            return named("threshold").expression({"threshold": a, "value": 0.0})
        case "elu" | "celu":
            return named(name).expression({"alpha": a})
    for activation in CATALOGUE:
        if any(o.op_type.lower() == name.lower() for o in activation.operators):
            return activation.expression()
    return None
