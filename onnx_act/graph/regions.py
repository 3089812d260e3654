"""Which stretches of a graph are functions of one of their values, and which activation each is.

One forward pass gives every value its expression as a function of each of its last few elementwise
ancestors (a node combines the expressions of operands that share an ancestor). One backward pass
takes, for every value, the furthest ancestor from which it is a known activation and whose nodes
in between nobody else uses. Both are linear in the number of nodes: expressions are interned, and
what one of them computes is identified once, however often it occurs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.activations.activation import MICROSOFT
from onnx_act.activations.identify import Identified, Unidentified, identify
from onnx_act.activations.primitives import LEAVES, Expr, Op, X, remembered, substitute, topological
from onnx_act.graph.sampling import PASSING, NodeReader
from onnx_act.graph.types import dtype_of

if TYPE_CHECKING:
    from onnx_act.graph.constants import Constants
    from onnx_act.graph.model import OnnxModel, Scope

# The longest spelling known, tanh-GELU with a cast around every operator, spans 18 values.
_FURTHEST: Final = 32
_STRAIGHT: Final = LEAVES | {Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.NEG, Op.POW, Op.SQRT}
_QUIET: Final = _STRAIGHT | {
    Op.ABS,
    Op.LOG,
    Op.SIGN,
    Op.FLOOR,
    Op.CEIL,
    Op.ROUND,
    Op.NOT,
    Op.GREATER,
    Op.GREATER_EQUAL,
}
FLOATS: Final = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
)
Views = dict["ir.Value", Expr]


@dataclass(frozen=True, slots=True)
class Region:
    """Nodes that compute a function of `source` and leave it in `result`.

    Attributes:
        source: the value the function is of.
        result: the value it ends in.
        nodes: in graph order.
        expression: the function.
        identified: the activation it is; None for a function that is in no catalogue entry.
    """

    source: ir.Value
    result: ir.Value
    nodes: tuple[ir.Node, ...]
    expression: Expr
    identified: Identified | None


@remembered
def _bends(expression: Expr) -> bool:
    return any(n.op not in _STRAIGHT for n in topological(expression))


@remembered
def _speaks(expression: Expr) -> bool:
    """Whether it is more than plain arithmetic, so that not knowing it is worth a line.

    A scaled and shifted exp or erf, as in box decoding, is arithmetic too.
    """
    inner = _under_affine(expression)
    if inner.op in {Op.EXP, Op.ERF} and _under_affine(inner.args[0]) is X:
        return False
    return any(n.op not in _QUIET for n in topological(expression))


def _under_affine(expression: Expr) -> Expr:
    """What is left when scaling and shifting by constants is taken off."""
    while expression.op in {Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.NEG}:
        open_args = [a for a in expression.args if a.op not in {Op.CONSTANT, Op.ARRAY}]
        if len(open_args) != 1 or (expression.op is Op.DIV and open_args[0] is expression.args[1]):
            return expression
        expression = open_args[0]
    return expression


_substitute = remembered(substitute)


def find_regions(model: OnnxModel, scope: Scope, constants: Constants) -> list[Region]:
    """Every activation and every unknown function of one variable in a scope, in graph order."""
    return _RegionFinder(model, scope, constants).find()


class _RegionFinder:
    def __init__(self, model: OnnxModel, scope: Scope, constants: Constants) -> None:
        self._model = model
        self._scope = scope
        self._constants = constants
        self._reader = NodeReader(constants)
        self._views: dict[ir.Value, Views] = {}
        self._place: dict[ir.Node, int] = {}
        self._claimed: set[ir.Node] = set()

    def find(self) -> list[Region]:
        for place, node in enumerate(self._scope.graph):
            self._place[node] = place
            self._view(node)
        regions: list[Region] = []
        backwards = [n for n in reversed(self._scope.graph) if self._is_elementwise(n)]
        for wanted in ("activation", "unknown", "routine"):
            for node in backwards:
                if node not in self._claimed:
                    found = self._best(node, wanted)
                    if found is not None:
                        self._claimed.update(found.nodes)
                        regions.append(found)
        return sorted(regions, key=lambda r: self._place[r.nodes[-1]])

    def _is_elementwise(self, node: ir.Node) -> bool:
        return bool(node.outputs) and len(self._views.get(node.outputs[0], ())) > 1

    def views(self, value: ir.Value) -> Views:
        """The value as a function of each of its elementwise ancestors; empty when of none."""
        return self._views.get(value, {})

    # Forward: every value as a function of its ancestors.

    def _views_of(self, value: ir.Value) -> Views:
        views = self._views.get(value)
        if views is None:
            views = self._views[value] = {value: X}
        return views

    def _view(self, node: ir.Node) -> None:
        variables = {
            v: None for v in node.inputs if v is not None and not self._constants.is_constant(v)
        }
        if not variables or not node.outputs or len(node.outputs) > 2:
            return
        first, *others = variables
        views: Views = {node.outputs[0]: X}
        if others:
            nearby = [self._views_of(v) for v in others]
            shared = [a for a in self._views_of(first) if all(a in views_ for views_ in nearby)]
            for ancestor in shared[: _FURTHEST - 1]:
                operands = {v: self._views_of(v)[ancestor] for v in variables}
                expression = self._expression(node, operands)
                if expression is None:
                    break
                views[ancestor] = expression
        else:
            local = self._expression(node, {first: X})
            if local is not None:
                known = list(self._views_of(first).items())[: _FURTHEST - 1]
                views.update((a, _substitute(local, e)) for a, e in known)
        if len(views) > 1:
            self._views[node.outputs[0]] = views

    def _expression(self, node: ir.Node, variables: dict[ir.Value, Expr]) -> Expr | None:
        body = self._model.content.functions.get(node.op_identifier())
        if body is not None:
            return self._call(node, body, variables)
        beside = next(iter(variables))
        # PRelu's slope is broadcast to x, never the other way round.
        broadcasts = node.op_type != "PRelu"
        operands: list[Expr | None] = []
        for value in node.inputs:
            if value is None or value in variables:
                operands.append(None if value is None else variables[value])
                continue
            operand = self._reader.constant_operand(value, beside, broadcasts=broadcasts)
            if operand is None:
                return None
            operands.append(operand)
        opset = self._scope.opset(node.domain)
        return self._reader.expression(node, operands, opset)

    def _call(
        self, node: ir.Node, body: ir.Function, variables: dict[ir.Value, Expr]
    ) -> Expr | None:
        """A call of a local function whose body is elementwise in its one input."""
        if len(node.inputs) != 1 or len(body.outputs) != 1 or node.attributes:
            return None
        summary = _summary(self._model, body, self._constants)
        (x,) = variables.values()
        return None if summary is None else _substitute(summary, x)

    # Backward: the largest region that is known.

    def _best(self, node: ir.Node, wanted: str) -> Region | None:
        result = node.outputs[0]
        if node.op_type in PASSING and wanted != "routine":
            return None
        views = self._views[result]
        ancestors = list(views.items())[1:]
        for position in range(len(ancestors) - 1, -1, -1):
            source, expression = ancestors[position]
            if wanted != "routine" and not _bends(expression):
                continue
            if any(e is expression for _, e in ancestors[:position]):
                continue  # a nearer ancestor gives the same function: the rest only passes it on
            region = self._closed_region(source, result, expression)
            if region is not None and self._is_wanted(region, wanted):
                return region
        return None

    def _closed_region(self, source: ir.Value, result: ir.Value, expression: Expr) -> Region | None:
        """The nodes between, when nobody outside uses what they compute on the way."""
        producer = result.producer()
        assert producer is not None
        nodes: set[ir.Node] = {producer}
        stack = [producer]
        while stack:
            for value in stack.pop().inputs:
                if value is None or value is source or self._constants.is_constant(value):
                    continue
                before = value.producer()
                if before is None or before in self._claimed:
                    return None
                if before not in nodes:
                    nodes.add(before)
                    stack.append(before)
        for node in nodes:
            for value in node.outputs:
                if value is result:
                    continue
                if value.is_graph_output() or any(u.node not in nodes for u in value.uses()):
                    return None
        known, after = dtype_of(source), dtype_of(result)
        if known is not None and after is not None and known != after:
            return None
        ordered = tuple(sorted(nodes, key=self._place.__getitem__))
        if len(ordered) == 1 and ordered[0].op_identifier() in self._model.content.functions:
            return None  # the site is inside the function
        spelled = ordered[0].op_type if len(ordered) == 1 else None
        found = identify(expression, spelled)
        return Region(
            source,
            result,
            ordered,
            expression,
            found if isinstance(found, Identified) else None,
        )

    def _is_wanted(self, region: Region, wanted: str) -> bool:
        found = region.identified
        match wanted:
            case "activation":
                return (
                    found is not None
                    and not found.activation.index_only
                    and not self._adds_nothing(region, found)
                )
            case "unknown":
                return (
                    found is None
                    and _speaks(region.expression)
                    and dtype_of(region.result) in {None, *FLOATS}
                    and isinstance(identify(region.expression), Unidentified)
                )
        return (
            found is not None
            and found.activation.index_only
            and region.nodes[-1].op_type not in PASSING - {"Identity"}
        )

    def _adds_nothing(self, region: Region, whole: Identified) -> bool:
        """Whether the region is a smaller one and something that changes nothing, as Relu(Relu(x)).

        Two activations are two sites then, so that the redundant one can be named and removed; and
        a leading operator that only hands x on, as adding a bias of zeros, is left outside.
        """
        for middle, second in self._views[region.result].items():
            if middle is region.source or middle is region.result or not _bends(second):
                continue
            first = self._views.get(middle, {}).get(region.source)
            if first is None:
                continue
            if not _bends(first):
                if _is_identity(first) and self._closed_region(middle, region.result, second):
                    return True
                continue
            parts = [identify(first, _operator(middle)), identify(second, _operator(region.result))]
            if all(_is_activation(p) for p in parts) and any(_is_same(p, whole) for p in parts):
                return True
        return False


def _operator(value: ir.Value) -> str | None:
    node = value.producer()
    return None if node is None or node.domain not in {"", MICROSOFT} else node.op_type


def _is_identity(expression: Expr) -> bool:
    found = identify(expression)
    return isinstance(found, Identified) and found.activation.name == "identity"


def _is_activation(found: object) -> bool:
    return isinstance(found, Identified) and not found.activation.index_only


def _is_same(found: object, whole: Identified) -> bool:
    if not isinstance(found, Identified) or found.activation is not whole.activation:
        return False
    return all(np.array_equal(found.parameters[k], v) for k, v in whole.parameters.items())


def _summary(model: OnnxModel, body: ir.Function, constants: Constants) -> Expr | None:
    """What a local function computes of its one input, when it is elementwise in it."""
    from onnx_act.graph.model import Scope  # noqa: PLC0415 - a cycle of types only

    if len(body.inputs) != 1 or body.attributes:
        return None
    cached = body.meta.get("onnx_act.summary", False)
    if cached is not False:
        return cached if isinstance(cached, Expr) else None
    body.meta["onnx_act.summary"] = None  # a recursive call finds nothing
    scope = Scope(body.name, body.graph, body.opset_imports, function=body)
    finder = _RegionFinder(model, scope, constants)
    if any(r.identified and not r.identified.activation.index_only for r in finder.find()):
        return None  # the site is inside the function, and no node is in two sites
    found = finder.views(body.outputs[0]).get(body.inputs[0])
    body.meta["onnx_act.summary"] = found
    return found
