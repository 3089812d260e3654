"""Operators that are linear in pieces, read to the last bit of their constants.

Recognition asks what somebody meant: 5.99999 may be a 6 with few digits, and the largest float32
no bound at all. Who must leave every result as it is cannot, and asks here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.activations.intervals import EVERYTHING, Interval
from onnx_act.errors import UsageError
from onnx_act.graph.sampling import NATIVE, NO_BOUND, attribute

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnx_act.activations.primitives import Expr
    from onnx_act.graph.constants import Constants
    from onnx_act.graph.model import OnnxModel
    from onnx_act.graph.sites import Site

# The first opset at which Clip takes its bounds as inputs, and no bound is none.
_OPEN_BOUNDS: Final = 11
# The first opset in which activations are as they are now.
_FIRST: Final = 6
# Read as pieces or not at all: as curves they would be read by what they state as attributes.
_NO_CURVE: Final = frozenset({"Clip", "PRelu", "Shrink"})


@dataclass(frozen=True, slots=True)
class Clamp:
    """min(max(x, low), high), with low <= high; NaN stays NaN."""

    low: float
    high: float

    def of(self, x: float) -> float:
        """Its value at x."""
        return min(max(x, self.low), self.high)

    def image(self, interval: Interval) -> Interval:
        """The values it takes on an interval."""
        return Interval(self.of(interval.low), self.of(interval.high))

    def is_identity_on(self, interval: Interval) -> bool:
        """Whether it changes no number of an interval."""
        return self.low <= interval.low and interval.high <= self.high


@dataclass(frozen=True, slots=True, eq=False)
class Slope:
    """x where it is positive, slope * x elsewhere; some slope is neither 0 nor 1.

    Attributes:
        slope: float64, of the shape of the operand, () for an attribute; never empty.
    """

    slope: npt.NDArray[np.float64]

    @property
    def number(self) -> float | None:
        """The slope, where it is the same everywhere."""
        first = self.slope.flat[0]
        return float(first) if bool(np.all(self.slope == first)) else None

    def image(self, interval: Interval) -> Interval:
        """The values it takes on an interval; of what is multiplied, the sign."""
        if interval.low >= 0:
            return interval
        if np.all(self.slope >= 0):
            return Interval(-math.inf, max(interval.high, 0.0))
        return Interval(0.0, math.inf) if np.all(self.slope <= 0) else EVERYTHING

    def is_identity_on(self, interval: Interval) -> bool:
        """Whether it changes no number of an interval."""
        return interval.low >= 0


Piece = Clamp | Slope
NOTHING: Final = Clamp(-math.inf, math.inf)
RECTIFIER: Final = Clamp(0.0, math.inf)


def after_each_other(first: Piece, second: Piece) -> Piece | None:
    """Both as one, where that is one of these again."""
    if first == NOTHING:
        return second
    if second == NOTHING:
        return first
    if isinstance(second, Slope):
        # What is left has no negative numbers.
        return first if isinstance(first, Clamp) and first.low >= 0 else None
    if isinstance(first, Clamp):
        return Clamp(second.of(first.low), second.of(first.high))
    # What the slope makes of negative numbers stays negative, and is cut off.
    return second if second.low >= 0 and np.all(first.slope >= 0) else None


class PieceReader:
    """Reads the operators of one model."""

    def __init__(self, model: OnnxModel, constants: Constants) -> None:
        self._functions = model.content.functions
        self._constants = constants

    def of_site(self, site: Site) -> Piece | None:
        """What the operators of a site compute; None when that is no piece or cannot be told."""
        if site.input is None or site.slot is not None:
            return None
        value = site.input
        whole: Piece = NOTHING
        for node in site.nodes:
            found = self.of_node(node, site.scope.opset())
            if found is None or found[0] is not value:
                return None
            both = after_each_other(whole, found[1])
            if both is None:
                return None
            whole, value = both, node.outputs[0]
        return whole

    def of_node(self, node: ir.Node, opset: int) -> tuple[ir.Value, Piece] | None:
        """What one operator computes, and of which of its operands."""
        if not self._is_standard(node, opset) or not node.inputs or node.inputs[0] is None:
            return None
        x = node.inputs[0]
        match node.op_type:
            case "Identity":
                return x, NOTHING
            case "Relu":
                return x, RECTIFIER
            case "Clip":
                clamp = self._clip(node, opset)
                return None if clamp is None else (x, clamp)
            case "Max" | "Min":
                return self._bounded(node)
            case "LeakyRelu":
                alpha = _stated(node, "alpha", opset)
                return None if alpha is None else (x, _sloped(np.array(alpha)))
            case "PRelu" if len(node.inputs) > 1 and node.inputs[1] is not None:
                slope = self._constants.floats(node.inputs[1])
                if slope is not None and slope.size and np.isfinite(slope).all():
                    return x, _sloped(slope)
        return None

    def curve_of_site(self, site: Site) -> Expr | None:
        """The formula of a site that is one operator and no piece, as `curve_of_node`."""
        if len(site.nodes) != 1 or site.input is None or site.slot is not None:
            return None
        return self.curve_of_node(site.nodes[0], site.scope.opset())

    def curve_of_node(self, node: ir.Node, opset: int) -> Expr | None:
        """The formula of an operator that is an activation of its only input."""
        native = NATIVE.get((node.domain, node.op_type))
        if native is None or node.op_type in _NO_CURVE or not self._is_known(node):
            return None
        if opset < min(_FIRST, native.operator.since) or len(node.inputs) != 1:
            return None
        parameters: dict[str, float | str] = dict(native.operator.requires)
        for name, source in native.operator.attributes.items():
            value = attribute(node, name, opset)
            if value is None:
                return None
            if isinstance(source, str):
                parameters[source] = value if isinstance(value, str) else float(np.float32(value))
        try:
            return native.activation.expression(parameters)
        except UsageError:  # a value that the activation does not take
            return None

    def _is_known(self, node: ir.Node) -> bool:
        return node.op_identifier() not in self._functions

    def _is_standard(self, node: ir.Node, opset: int) -> bool:
        return node.domain == "" and opset >= _FIRST and self._is_known(node)

    def _clip(self, node: ir.Node, opset: int) -> Clamp | None:
        bounds = [-math.inf, math.inf]
        for k, name in enumerate(("min", "max")):
            if opset < _OPEN_BOUNDS:
                stated = _stated(node, name, opset)
                if name in node.attributes and stated is None:
                    return None
                # The largest float32 is the default of the attribute: it says that none is meant.
                if stated is not None and abs(stated) < NO_BOUND:
                    bounds[k] = stated
            elif len(node.inputs) > k + 1 and (operand := node.inputs[k + 1]) is not None:
                number = self._constants.scalar(operand)
                if number is None or math.isnan(number):
                    return None
                bounds[k] = number
        low, high = bounds
        return Clamp(min(low, high), high)

    def _bounded(self, node: ir.Node) -> tuple[ir.Value, Clamp] | None:
        """Max or Min of one value and numbers."""
        given = [v for v in node.inputs if v is not None]
        variables = [v for v in given if not self._constants.is_constant(v)]
        numbers = [self._constants.scalar(v) for v in given if self._constants.is_constant(v)]
        known = [n for n in numbers if n is not None and not math.isnan(n)]
        if len(variables) != 1 or not known or len(known) < len(numbers):
            return None
        if node.op_type == "Max":
            return variables[0], Clamp(max(known), math.inf)
        return variables[0], Clamp(-math.inf, min(known))


def _stated(node: ir.Node, name: str, opset: int) -> float | None:
    """A number that an attribute states, or its default, as it is stored."""
    value = attribute(node, name, opset)
    if not isinstance(value, float) or not math.isfinite(value):
        return None
    return float(np.float32(value))


def _sloped(slope: npt.NDArray[np.float64]) -> Piece:
    if np.all(slope == 0):
        return RECTIFIER
    return NOTHING if np.all(slope == 1) else Slope(slope)
