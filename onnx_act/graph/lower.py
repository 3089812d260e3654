"""Writing an activation with ONNX operators: the operator reading of a declaration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.activations.folding import CONSTANTS, fold_constants, spread_factors
from onnx_act.activations.formula import text
from onnx_act.activations.primitives import (
    ArraySource,
    Expr,
    Op,
    constant_value,
    topological,
)
from onnx_act.graph.types import infer_as

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from onnx_act.activations.activation import Activation, Operator, Parameters, Respelling

# One ONNX operator each; the opset is the first whose version broadcasts or exists.
_DIRECT: Final[Mapping[Op, tuple[str, int]]] = {
    Op.ADD: ("Add", 7),
    Op.SUB: ("Sub", 7),
    Op.MUL: ("Mul", 7),
    Op.DIV: ("Div", 7),
    Op.POW: ("Pow", 7),
    Op.NEG: ("Neg", 6),
    Op.ABS: ("Abs", 6),
    Op.SQRT: ("Sqrt", 6),
    Op.EXP: ("Exp", 6),
    Op.LOG: ("Log", 6),
    Op.TANH: ("Tanh", 6),
    Op.ERF: ("Erf", 9),
    Op.SIGMOID: ("Sigmoid", 6),
    Op.SOFTPLUS: ("Softplus", 6),
    Op.MAXIMUM: ("Max", 8),
    Op.MINIMUM: ("Min", 8),
    Op.GREATER: ("Greater", 7),
    Op.WHERE: ("Where", 9),
    Op.SIGN: ("Sign", 9),
}
# Before this opset arithmetic did not broadcast by itself.
_BROADCASTS: Final = 7
#: Largest finite value of each float type: a parameter beyond it cannot be stored.
_LARGEST: Final = {ir.DataType.FLOAT16: 65504.0, ir.DataType.FLOAT: 3.4028235e38}


class LoweringUnavailableError(Exception):
    """An activation cannot be written so at this opset or dtype; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class OperatorLowering:
    """An activation as one operator."""

    operator: Operator

    @property
    def key(self) -> str:
        """What it is called in caches and profiles."""
        return self.label

    @property
    def label(self) -> str:
        """The operator with its domain."""
        domain = f"{self.operator.domain}." if self.operator.domain else ""
        return f"{domain}{self.operator.op_type}"


@dataclass(frozen=True, slots=True)
class ExpressionLowering:
    """An activation as its formula, in primitive operators.

    Attributes:
        formula: as text.
        respelling: the formula that is taken instead of the activation's own.
        channels: how many of them the place has, where factors are written one per channel.
    """

    formula: str
    respelling: Respelling | None = None
    channels: int | None = None

    @property
    def key(self) -> str:
        """What it is called in caches and profiles."""
        return OWN_FORMULA if self.respelling is None else self.respelling.name

    @property
    def label(self) -> str:
        """The formula."""
        return self.formula


Lowering = OperatorLowering | ExpressionLowering
#: The key of an activation's own formula.
OWN_FORMULA: Final = "formula"


def lowerings(
    activation: Activation, parameters: Parameters, opset: int, *, contrib: bool = False
) -> list[Lowering]:
    """The ways to write an activation at this opset, the preferred first.

    Args:
        activation: what to write.
        parameters: all its parameters.
        opset: of the default domain, where it is to be written.
        contrib: whether operators outside the standard may be used.
    """
    found: list[Lowering] = [
        OperatorLowering(o)
        for o in activation.operators
        if o.fits(parameters) and (contrib if o.is_contrib() else opset >= o.since)
    ]
    found.append(ExpressionLowering(text(activation.expression(parameters))))
    return found


def respelled_lowerings(
    activation: Activation, parameters: Parameters, channels: int | None
) -> list[Lowering]:
    """The respellings of an activation that suit its parameters.

    Args:
        activation: what to write.
        parameters: all its parameters.
        channels: how many of them its place has, by the second of four dimensions; None where
            that is not known, or where the dimensions are not four.
    """
    return [
        ExpressionLowering(
            text(activation.expression(parameters, respelling)),
            respelling,
            channels if respelling.is_channelwise else None,
        )
        for respelling in activation.respellings
        if respelling.suits(parameters) and not (respelling.is_channelwise and channels is None)
    ]


class NodeEmitter:
    """Builds nodes for one place in a model.

    Attributes:
        nodes: what was built, in order.
    """

    def __init__(
        self,
        dtype: ir.DataType,
        opset: int,
        rename: Callable[[str], str],
        prefix: str,
    ) -> None:
        self.nodes: list[ir.Node] = []
        self._dtype = dtype
        self._opset = opset
        self._rename = rename
        self._prefix = prefix
        self._constants: dict[bytes, ir.Value] = {}

    @property
    def opset(self) -> int:
        """The opset of the default domain that is built for."""
        return self._opset

    def op(
        self,
        op_type: str,
        *inputs: ir.Value,
        domain: str = "",
        attributes: Mapping[str, float | str] | None = None,
    ) -> ir.Value:
        """One node; its only output."""
        attrs = [
            ir.AttrString(k, v) if isinstance(v, str) else ir.AttrFloat32(k, float(v))
            for k, v in (attributes or {}).items()
        ]
        name = self._rename(f"{self._prefix}/{op_type}")
        output = ir.Value(name=name)
        node = ir.Node(domain, op_type, inputs, attrs, outputs=[output], name=name)
        self.nodes.append(node)
        return output

    def constant(self, values: npt.ArrayLike) -> ir.Value:
        """A constant of the emitter's dtype, as a node: that is right in functions and at any IR.

        Raises:
            LoweringUnavailableError: the dtype cannot hold a value.
        """
        exact = np.asarray(values, dtype=np.float64)
        largest = _LARGEST.get(self._dtype, math.inf)
        if np.any(np.isfinite(exact) & (np.abs(exact) > largest)):
            raise LoweringUnavailableError(f"a constant does not fit {self._dtype.name.lower()}")
        stored = exact.astype(self._dtype.numpy())
        key = repr(stored.shape).encode() + stored.tobytes()
        known = self._constants.get(key)
        if known is not None:
            return known
        name = self._rename(f"{self._prefix}/constant")
        tensor = ir.tensor(stored, dtype=self._dtype, name=name)
        output = ir.Value(name=name)
        # Known, but not declared: a constant says its type itself.
        infer_as(output, self._dtype, stored.shape)
        attrs = [ir.AttrTensor("value", tensor)]
        self.nodes.append(ir.Node("", "Constant", [], attrs, outputs=[output], name=name))
        self._constants[key] = output
        return output

    def clip(self, x: ir.Value, low: float, high: float) -> ir.Value:
        """Clip, with bounds where this opset has them; an infinite bound is left out."""
        stated = {k: v for k, v in (("min", low), ("max", high)) if math.isfinite(v)}
        if self._opset < 11:
            return self.op("Clip", x, attributes=stated)
        bounds: list[ir.Value | None] = [
            self.constant(v) if math.isfinite(v) else None for v in (low, high)
        ]
        while bounds and bounds[-1] is None:
            bounds.pop()
        name = self._rename(f"{self._prefix}/Clip")
        output = ir.Value(name=name)
        self.nodes.append(ir.Node("", "Clip", [x, *bounds], outputs=[output], name=name))
        return output


def emit(
    lowering: Lowering,
    activation: Activation,
    parameters: Parameters,
    x: ir.Value,
    emitter: NodeEmitter,
) -> ir.Value:
    """Build `activation` of `x` in the chosen way.

    Returns:
        The value that holds the result.

    Raises:
        LoweringUnavailableError: the opset or dtype has not got what it takes.
    """
    if isinstance(lowering, ExpressionLowering):
        formula = fold_constants(activation.expression(parameters, lowering.respelling))
        if lowering.channels is not None:
            formula = spread_factors(formula, lowering.channels)
        return _emit_expression(formula, x, emitter)
    operator = lowering.operator
    if operator.op_type == "Clip":
        bounds = operator.attribute_values(parameters)
        return emitter.clip(x, float(bounds["min"]), float(bounds["max"]))
    inputs = [emitter.constant(_input_shape(parameters[name])) for name in operator.inputs]
    attributes = operator.attribute_values(parameters)
    for name, value in attributes.items():
        if isinstance(value, float) and not abs(value) <= _LARGEST[ir.DataType.FLOAT]:
            raise LoweringUnavailableError(f"{operator.op_type}'s {name} cannot be {value:g}")
    return emitter.op(operator.op_type, x, *inputs, domain=operator.domain, attributes=attributes)


def _input_shape(value: object) -> npt.NDArray[np.float64]:
    # A number as an operand is written [1]: PRelu's kernels want a rank, and it broadcasts.
    array = np.asarray(value, dtype=np.float64)
    return array.reshape(1) if array.ndim == 0 else array


def _emit_expression(root: Expr, x: ir.Value, emitter: NodeEmitter) -> ir.Value:
    done: dict[int, ir.Value] = {}

    def operand(node: Expr) -> ir.Value:
        found = done.get(id(node))
        if found is not None:
            return found
        if node.op is Op.ARRAY:
            assert isinstance(node.payload, ArraySource)
            return emitter.constant(node.payload.values())
        value = constant_value(node)
        assert value is not None
        return emitter.constant(value)

    for node in topological(root):
        if node.op is Op.VARIABLE:
            done[id(node)] = x
        elif node.op not in CONSTANTS and not _is_inner_bound(node, root):
            done[id(node)] = _emit_node(node, operand, emitter)
    result = done.get(id(root))
    if result is x or result is None:
        return emitter.op("Identity", operand(root))
    return result


def _is_inner_bound(node: Expr, root: Expr) -> bool:
    """Whether a max is the inner half of a clip that is written as one operator."""
    if node.op is not Op.MAXIMUM or _bound(node) is None:
        return False
    users = [n for n in topological(root) if node in n.args]
    return bool(users) and all(u.op is Op.MINIMUM and _bound(u) is not None for u in users)


def _bound(node: Expr) -> tuple[Expr, float] | None:
    """(operand, bound) of a max or min with a number."""
    for inner, other in (node.args, node.args[::-1]):
        value = constant_value(other)
        if value is not None:
            return inner, value
    return None


def _emit_node(node: Expr, operand: Callable[[Expr], ir.Value], emitter: NodeEmitter) -> ir.Value:
    bounded = _bound(node) if node.op in {Op.MAXIMUM, Op.MINIMUM} else None
    if bounded is not None:
        return _emit_bound(node, bounded, operand, emitter)
    match node.op, node.args:
        case Op.MUL, (a, b) if constant_value(a) == 1.0:
            return operand(b)
        case ((Op.MUL | Op.DIV), (a, b)) if constant_value(b) == 1.0:
            return operand(a)
        case Op.EXPM1, (a,):
            _need("Sub", _BROADCASTS, emitter)
            return emitter.op("Sub", emitter.op("Exp", operand(a)), emitter.constant(1.0))
        case Op.NORMAL_CDF, (a,):
            _need("Erf", 9, emitter)
            scaled = emitter.op("Div", operand(a), emitter.constant(math.sqrt(2.0)))
            shifted = emitter.op("Add", emitter.op("Erf", scaled), emitter.constant(1.0))
            return emitter.op("Mul", shifted, emitter.constant(0.5))
        case Op.HARD_SIGMOID, (a, alpha, beta):
            slope, height = constant_value(alpha), constant_value(beta)
            assert slope is not None
            assert height is not None
            attributes = {"alpha": slope, "beta": height}
            return emitter.op("HardSigmoid", operand(a), attributes=attributes)
    if node.op not in _DIRECT:
        raise LoweringUnavailableError(f"no operator is known for {node.op.value}")
    op_type, since = _DIRECT[node.op]
    has_constant = any(a.op in CONSTANTS for a in node.args)
    if has_constant or since > _BROADCASTS:
        _need(op_type, since, emitter)
    return emitter.op(op_type, *(operand(a) for a in node.args))


def _emit_bound(
    node: Expr,
    bounded: tuple[Expr, float],
    operand: Callable[[Expr], ir.Value],
    emitter: NodeEmitter,
) -> ir.Value:
    inner, value = bounded
    if node.op is Op.MAXIMUM:
        if value == 0:
            return emitter.op("Relu", operand(inner))
        return emitter.clip(operand(inner), value, math.inf)
    low = -math.inf
    if inner.op is Op.MAXIMUM and (below := _bound(inner)) is not None:
        inner, low = below
    return emitter.clip(operand(inner), low, value)


def _need(op_type: str, since: int, emitter: NodeEmitter) -> None:
    if emitter.opset < since:
        raise LoweringUnavailableError(
            f"{op_type} as it is needed here exists since opset {since}, "
            f"and the model is at {emitter.opset}; raise it with --opset {since} or higher"
        )
