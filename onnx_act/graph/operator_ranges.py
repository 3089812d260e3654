"""What single operators do to the intervals of their operands.

Operators that move, choose, compare or bound hand on bounds as they are; operators that compute
hand on signs, because no other bound outlives a rounding (see `activations.intervals`). An operator
that is not here may give any number.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.activations.intervals import (
    EVERYTHING,
    NOT_NEGATIVE,
    Interval,
    common,
    is_identity_on,
    joined,
    magnitude,
    negated,
    signs_of,
    signs_of_product,
    signs_of_quotient,
    signs_of_sum,
    signs_on,
)
from onnx_act.graph.attribute_sites import fused_activations
from onnx_act.graph.regions import FLOATS
from onnx_act.graph.types import dtype_of, shape_of
from onnx_act.graph.windows import windows_hold_input

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_act.graph.constants import Constants
    from onnx_act.graph.pieces import PieceReader

_NOTHING_KNOWN: Final[tuple[ir.Value | None, ...]] = ()

# Every number of each result is one of the first operand's.
_MOVING: Final = frozenset(
    {
        "Compress",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "GlobalMaxPool",
        "Identity",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
# Sums of the first operand's numbers, none with a negative weight, or those numbers rounded.
_WEIGHING: Final = frozenset(
    {"AveragePool", "Ceil", "Floor", "GlobalAveragePool", "ReduceMean", "ReduceSum", "Round"}
)
# Lengths and shares: never negative, whatever the operands are.
_LENGTHS: Final = frozenset({"ReduceL1", "ReduceL2", "ReduceSumSquare"})
_SHARES: Final = frozenset({"Softmax", "Sqrt"})
_SUMMING: Final = frozenset({"Add", "Mean", "Sum"})
_ARITHMETIC: Final = (
    _WEIGHING
    | _LENGTHS
    | _SHARES
    | _SUMMING
    | {"Abs", "Div", "Mul", "Neg", "Pow", "Reciprocal", "Sub"}
)
# What these make of the first operand is said here, though some are activations of the catalogue.
_CHOOSING: Final = frozenset(
    {
        "Cast",
        "CastLike",
        "DequantizeLinear",
        "Dropout",
        "HardSigmoid",
        "LeakyRelu",
        "MaxPool",
        "PRelu",
        "QuantizeLinear",
        "ReduceMax",
        "ReduceMin",
        "Relu",
        "Resize",
        "Upsample",
    }
)
# Of these more operands than the first matter.
_SEVERAL: Final = _SUMMING | {
    "Clip",
    "Concat",
    "Div",
    "Max",
    "Min",
    "Mul",
    "Pad",
    "Pow",
    "Sub",
    "Where",
}
_OF_DTYPE: Final = {
    ir.DataType.BOOL: Interval(0, 1),
    ir.DataType.INT4: Interval(-8, 7),
    ir.DataType.INT8: Interval(-128, 127),
    ir.DataType.INT16: Interval(-(2**15), 2**15 - 1),
    ir.DataType.UINT4: Interval(0, 15),
    ir.DataType.UINT8: Interval(0, 255),
    ir.DataType.UINT16: Interval(0, 2**16 - 1),
    ir.DataType.UINT32: NOT_NEGATIVE,
    ir.DataType.UINT64: NOT_NEGATIVE,
}
# The opsets from which Clip and Pad take numbers as inputs, and Dropout trains only when told to.
_INPUTS: Final = 11
_INFERS: Final = 7


def interval_of_dtype(value: ir.Value) -> Interval:
    """The numbers that a value's element type has."""
    return _OF_DTYPE.get(dtype_of(value) or ir.DataType.UNDEFINED, EVERYTHING)


class OperatorRanges:
    """Reads the operators of one model."""

    def __init__(self, constants: Constants, reader: PieceReader) -> None:
        self._constants = constants
        self._reader = reader

    def operands(self, node: ir.Node, opset: int) -> Sequence[ir.Value | None]:
        """The operands on which the intervals of a standard node's results depend, by place."""
        if node.domain == "" and node.op_type in _SEVERAL:
            return node.inputs
        reads = node.domain == "" and node.op_type in _MOVING | _ARITHMETIC | _CHOOSING
        if reads or self._reader.curve_of_node(node, opset) is not None:
            return node.inputs[:1]
        return _NOTHING_KNOWN

    def result(
        self, node: ir.Node, place: int, opset: int, operands: Sequence[Interval]
    ) -> Interval:
        """The interval of one result.

        Args:
            node: an operator, and no call of a local function.
            place: which of its results.
            opset: of its domain.
            operands: the intervals of its operands that matter, by place.
        """
        found = EVERYTHING
        if node.domain == "" and node.op_type == "Split":
            found = operands[0]
        elif place == 0:
            found = self._first(node, opset, operands)
        return common(found, interval_of_dtype(node.outputs[place]))

    def _first(self, node: ir.Node, opset: int, operands: Sequence[Interval]) -> Interval:
        slot = next(iter(fused_activations(node)), None)
        if slot is not None and slot.recurrent_gate is None and slot.expression is not None:
            return signs_on(slot.expression, EVERYTHING)
        if not operands:
            return EVERYTHING
        kind = node.op_type if node.domain == "" else ""
        if kind in _MOVING:
            return operands[0]
        if kind in _ARITHMETIC:
            # Integers wrap around.
            known = dtype_of(node.outputs[0]) in FLOATS
            return self._computed(node, operands) if known else EVERYTHING
        if kind in _CHOOSING:
            return self._chosen(node, opset, operands[0])
        if kind in _SEVERAL:
            return self._of_several(node, opset, operands)
        curve = self._reader.curve_of_node(node, opset)
        if curve is None:
            return EVERYTHING
        return operands[0] if is_identity_on(curve, operands[0]) else signs_on(curve, operands[0])

    def _computed(self, node: ir.Node, operands: Sequence[Interval]) -> Interval:
        kind, first = node.op_type, operands[0]
        if kind in _LENGTHS:
            # Runtimes differ on what it makes of each number where nothing is reduced.
            return EVERYTHING if "noop_with_empty_axes" in node.attributes else NOT_NEGATIVE
        if kind in _SHARES:
            return NOT_NEGATIVE
        if kind in _WEIGHING:
            return signs_of(first)
        if kind in _SUMMING:
            return signs_of(reduce(signs_of_sum, operands))
        match kind:
            case "Abs":
                return magnitude(first)
            case "Neg":
                return negated(first)
            case "Reciprocal":
                return signs_of_quotient(Interval(1, 1), first)
            case "Sub":
                return signs_of_sum(first, negated(operands[1]))
            case "Div":
                return signs_of_quotient(first, operands[1])
            case "Mul" if node.inputs[0] is node.inputs[1]:
                return NOT_NEGATIVE
            case "Mul":
                return signs_of_product(first, operands[1])
        return self._power(node, first, operands[1])

    def _power(self, node: ir.Node, base: Interval, exponent: Interval) -> Interval:
        stated = node.inputs[1]
        numbers = None if stated is None else self._constants.floats(stated)
        if numbers is not None and np.all(numbers % 2 == 0):
            return NOT_NEGATIVE
        # An odd negative power of -0.0, which is not less than 0, is minus infinity.
        return NOT_NEGATIVE if min(base.low, exponent.low) >= 0 else EVERYTHING

    def _chosen(self, node: ir.Node, opset: int, first: Interval) -> Interval:
        match node.op_type:
            case "Relu":
                return Interval(max(first.low, 0.0), max(first.high, 0.0))
            case "HardSigmoid":
                # Its kernels end in a minimum and a maximum.
                return Interval(0, 1)
            case "LeakyRelu" | "PRelu":
                found = self._reader.of_node(node, opset)
                return EVERYTHING if found is None else found[1].image(first)
            case "MaxPool" if windows_hold_input(node):
                return first
            case "MaxPool":
                return Interval(-math.inf, first.high)
            case "ReduceMax" | "ReduceMin":
                # Of nothing, the largest is minus infinity.
                return first if _has_elements(node.inputs[0]) else EVERYTHING
            case "Dropout":
                trains = opset < _INFERS or (len(node.inputs) > 2 and node.inputs[2] is not None)
                return signs_of(first) if trains else first
            case "Cast" | "CastLike":
                return _cast(first, dtype_of(node.outputs[0]))
            case "Resize" | "Upsample":
                return _resized(node, first)
            case "DequantizeLinear":
                return self._dequantised(node, first)
        return self._quantised(node, first)

    def _of_several(self, node: ir.Node, opset: int, operands: Sequence[Interval]) -> Interval:
        match node.op_type:
            case "Max":
                return _greatest(*operands)
            case "Min":
                return _least(*operands)
            case "Concat":
                return joined(*operands)
            case "Where" if len(operands) > 2:
                return joined(operands[1], operands[2])
            case "Clip" if opset < _INPUTS:
                found = self._reader.of_node(node, opset)
                return EVERYTHING if found is None else found[1].image(operands[0])
            case "Clip":
                bounds = [_at(node, operands, k) for k in (1, 2)]
                low = bounds[0] or Interval(-math.inf, -math.inf)
                high = bounds[1] or Interval(math.inf, math.inf)
                return _least(_greatest(operands[0], low), high)
            case "Pad":
                return _padded(node, opset, operands)
        return EVERYTHING

    def _dequantised(self, node: ir.Node, first: Interval) -> Interval:
        scale, zero = self._quantisation(node)
        if scale is None or zero is None:
            return EVERYTHING
        return signs_of(Interval(first.low - zero.high, first.high - zero.low))

    def _quantised(self, node: ir.Node, first: Interval) -> Interval:
        """Rounded and moved to the zero point, between the ends of an integer type."""
        ends = interval_of_dtype(node.outputs[0])
        scale, zero = self._quantisation(node)
        if scale is None or zero is None or ends == EVERYTHING:
            return EVERYTHING
        low = max(ends.low, zero.low) if first.low >= 0 else ends.low
        high = min(ends.high, zero.high) if first.high <= 0 else ends.high
        return Interval(low, high)

    def _quantisation(self, node: ir.Node) -> tuple[Interval | None, Interval | None]:
        """The scale, where it is constant and positive, and the zero point, where constant."""
        given = list(node.inputs[1:3])
        scale = None if not given or given[0] is None else self._numbers(given[0])
        if scale is not None and not scale.low > 0:
            scale = None
        if len(given) < 2 or given[1] is None:
            return scale, Interval(0, 0)
        return scale, self._numbers(given[1])

    def _numbers(self, value: ir.Value) -> Interval | None:
        found = interval_of_constant(value, self._constants)
        return None if found == EVERYTHING else found


# Constants of more elements are weights: not read, and not what anybody asks for.
_MOST_ELEMENTS: Final = 1 << 16


def interval_of_constant(value: ir.Value, constants: Constants) -> Interval:
    """The interval of what a constant holds; everything where it is large, or holds NaN."""
    shape = constants.shape(value) if constants.is_constant(value) else None
    if shape is None or not 0 < math.prod(shape) <= _MOST_ELEMENTS:
        return EVERYTHING
    numbers = constants.floats(value)
    if numbers is None or np.isnan(numbers).any():
        return EVERYTHING
    return Interval(float(numbers.min()), float(numbers.max()))


def _greatest(*operands: Interval) -> Interval:
    return Interval(max(o.low for o in operands), max(o.high for o in operands))


def _least(*operands: Interval) -> Interval:
    return Interval(min(o.low for o in operands), min(o.high for o in operands))


def _at(node: ir.Node, operands: Sequence[Interval], place: int) -> Interval | None:
    given = len(node.inputs) > place and node.inputs[place] is not None
    return operands[place] if given else None


def _has_elements(value: ir.Value | None) -> bool:
    dims = shape_of(value)
    return dims is not None and all(isinstance(d, int) and d > 0 for d in dims)


def _cast(interval: Interval, dtype: ir.DataType | None) -> Interval:
    """Rounded to another float type: a bound that the type has is not passed, whatever is rounded.

    To an integer type, numbers beyond its ends become any number.
    """
    if dtype not in FLOATS:
        return EVERYTHING
    signs = signs_of(interval)
    with np.errstate(over="ignore"):
        low, high = (float(np.asarray(end).astype(dtype.numpy())) for end in interval)
    return Interval(
        interval.low if low == interval.low else signs.low,
        interval.high if high == interval.high else signs.high,
    )


def _text(node: ir.Node, name: str, default: str) -> str:
    """A text attribute; "" where the caller of a function gives it."""
    found = node.attributes.get(name)
    if found is None:
        return default
    return "" if found.is_ref() else found.as_string()


def _padded(node: ir.Node, opset: int, operands: Sequence[Interval]) -> Interval:
    mode = _text(node, "mode", "constant")
    if mode in {"edge", "reflect", "wrap"}:
        return operands[0]
    if mode != "constant":
        return EVERYTHING
    if opset >= _INPUTS:
        return joined(operands[0], _at(node, operands, 2) or Interval(0, 0))
    value = node.attributes.get("value")
    if value is not None and value.is_ref():
        return EVERYTHING
    number = 0.0 if value is None else float(np.float32(value.as_float()))
    return joined(operands[0], Interval(number, number))


def _resized(node: ir.Node, first: Interval) -> Interval:
    beyond = _text(node, "coordinate_transformation_mode", "half_pixel")
    if beyond in {"", "tf_crop_and_resize"}:
        return EVERYTHING
    match _text(node, "mode", "nearest"):
        case "nearest":
            return first
        case "linear":
            return signs_of(first)
    return EVERYTHING  # a cubic overshoots
