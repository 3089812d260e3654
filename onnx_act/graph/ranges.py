"""Which numbers a value can hold, whatever the model is fed.

Sound and not tight: a value never holds a number outside of its interval. Nothing is said of NaN,
which any value may hold besides, nor of the numbers that NaN may be converted to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_act.activations.intervals import EVERYTHING, Interval
from onnx_act.graph.operator_ranges import (
    OperatorRanges,
    interval_of_constant,
    interval_of_dtype,
)
from onnx_act.graph.pieces import PieceReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from onnx_act.graph.constants import Constants
    from onnx_act.graph.model import OnnxModel


class Ranges:
    """The intervals of one model's values, found when asked and remembered."""

    def __init__(self, model: OnnxModel, constants: Constants) -> None:
        self._constants = constants
        self._functions = model.content.functions
        self._operators = OperatorRanges(constants, PieceReader(model, constants))
        self._scopes = {scope.graph: scope for scope in model.scopes()}
        self._known: dict[ir.Value, Interval] = {}

    def interval(self, value: ir.Value) -> Interval:
        """The interval of a value.

        Linear in the number of values that it depends on and that were not asked for before, along
        chains of any length.
        """
        stack = [value]
        while stack:
            current = stack[-1]
            if current in self._known:
                stack.pop()
                continue
            asked = self._asked(current)
            open_ones = [v for v in asked if v is not None and v not in self._known]
            if open_ones:
                stack.extend(open_ones)
                continue
            found = [EVERYTHING if v is None else self._known[v] for v in asked]
            self._known[current] = self._interval(current, found)
            stack.pop()
        return self._known[value]

    def trail(self, value: ir.Value) -> tuple[str, ...]:
        """The operators that make the interval of a value what it is, in graph order.

        The first one sets it, the others hand it on. Where several operands are handed on, the
        first one of which something is known is followed.
        """
        found: list[str] = []
        while (node := value.producer()) is not None and not self._constants.is_constant(value):
            found.append(node.op_type)
            asked = self._asked(value)
            if self._sets(value, asked):
                break
            bounded = [v for v in asked if v is not None and self._is_bounded(v)]
            if not bounded:
                break
            value = bounded[0]
        return tuple(reversed(found))

    def _sets(self, value: ir.Value, asked: Sequence[ir.Value | None]) -> bool:
        """Whether a value's interval would be the same if nothing were known of its operands."""
        blind = [
            self.interval(v) if v is not None and self._constants.is_constant(v) else EVERYTHING
            for v in asked
        ]
        return self._interval(value, blind) == self.interval(value)

    def _is_bounded(self, value: ir.Value) -> bool:
        return not self._constants.is_constant(value) and self.interval(value) != EVERYTHING

    def _asked(self, value: ir.Value) -> Sequence[ir.Value | None]:
        """The operands that the interval of a value depends on, by place."""
        node = self._operator(value)
        return () if node is None else self._operators.operands(node, self._opset(node))

    def _interval(self, value: ir.Value, operands: Sequence[Interval]) -> Interval:
        if self._constants.is_constant(value):
            return interval_of_constant(value, self._constants)
        node = self._operator(value)
        if node is None:
            return interval_of_dtype(value)
        place = next(k for k, v in enumerate(node.outputs) if v is value)
        return self._operators.result(node, place, self._opset(node), operands)

    def _operator(self, value: ir.Value) -> ir.Node | None:
        """What makes a value, unless it is constant, fed, or made by a local function."""
        node = None if self._constants.is_constant(value) else value.producer()
        return None if node is None or node.op_identifier() in self._functions else node

    def _opset(self, node: ir.Node) -> int:
        assert node.graph is not None
        return self._scopes[node.graph].opset(node.domain)
