"""Multiply rows laid out as one matrix where the result of a biased MatMul is reshaped anyway.

MatMul, Add and Reshape become Flatten, Gemm and Reshape: the Gemm adds the bias while it
multiplies, and the Flatten moves nothing. Runtimes do the same at load where all sizes are known.
Not valid where the shape that is asked for could mean something else of a matrix: a zero in it
copies a dimension of what is reshaped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import onnx_ir as ir

from onnx_act.graph.probe_models import node_probe
from onnx_act.graph.regions import FLOATS
from onnx_act.graph.shape_entries import shape_entries, taken_dimensions
from onnx_act.graph.types import dtype_of, infer_as, shape_of
from onnx_act.rewrite.folding import provenance_of_fold, site_name
from onnx_act.rewrite.linear import linear_at
from onnx_act.rewrite.rule import UNKNOWN_TYPE, Change, Fidelity, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_act.graph.constants import Constants
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.model import Scope
    from onnx_act.graph.shape_entries import Entry
    from onnx_act.rewrite.linear import Linear
    from onnx_act.rewrite.rule import Proposal, Subject

_RULE: Final = "flatten_matmul"
# Since these opsets Gemm broadcasts its bias, Flatten takes every type, and a Reshape can be told
# that a zero is a zero.
_SINCE: Final = 9
_ALLOWZERO: Final = 14
_BEFORE: Final = "MatMul, Add, Reshape"
_AFTER: Final = "Flatten, Gemm, Reshape"


@dataclass(frozen=True, slots=True)
class _Reshaped:
    """A biased product by a constant matrix, the Reshape of it, and what else reads its shape."""

    linear: Linear
    reshape: ir.Node
    asking: tuple[ir.Node, ...]

    @property
    def nodes(self) -> tuple[ir.Node, ...]:
        """In graph order."""
        return (*self.linear.nodes, self.reshape)


@dataclass(frozen=True)
class FlattenMatMul:
    """Make MatMul of more than two dimensions, Add and Reshape a Gemm of flattened rows.

    Attributes:
        sites: the names of the results to do it to; None for all.
    """

    sites: frozenset[str] | None = None
    name: str = field(default=_RULE, init=False)
    enables_itself: bool = field(default=False, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every Reshape of such a product, in graph order."""
        known: dict[bytes, str | None] = {}
        for scope in subject.model.scopes():
            flattened: dict[ir.Value, ir.Value] = {}
            for node in scope.graph:
                found = _reshaped(node, subject.constants)
                if found is None:
                    continue
                site = site_name(scope, node.outputs[0])
                if self.sites is not None and site not in self.sites:
                    continue
                reason = _reason_against(found, scope, subject.constants)
                if reason is None:
                    probe = _probe(found, scope, subject.model.content.ir_version)
                    if probe not in known:
                        known[probe] = subject.targets.reason_against(probe)
                    reason = known[probe]
                if reason is not None:
                    yield Refusal(_RULE, site, "", reason)
                    continue
                yield Change(
                    rule=_RULE,
                    fidelity=Fidelity.NUMERIC,
                    site=site,
                    before=_BEFORE,
                    after=_AFTER,
                    nodes=tuple(n.name or n.op_type for n in found.nodes),
                    apply=_edit(found, subject.constants, flattened),
                    region=found.nodes,
                )


def _reshaped(node: ir.Node, constants: Constants) -> _Reshaped | None:
    if node.op_type != "Reshape" or node.domain != "" or len(node.inputs) != 2:
        return None
    data = node.inputs[0]
    linear = linear_at(None if data is None else data.producer(), constants)
    if data is None or linear is None or linear.adding is None:
        return None
    if linear.rank is not None and linear.rank < 3:
        return None
    asking = tuple(u.node for u in data.uses() if u.node.op_type == "Shape" and u.idx == 0)
    if data.is_graph_output() or len(data.uses()) != 1 + len(asking):
        return None
    return _Reshaped(linear, node, asking) if linear.node.graph is node.graph else None


def _reason_against(found: _Reshaped, scope: Scope, constants: Constants) -> str | None:
    linear = found.linear
    if linear.rank is None:
        return "the rank of what MatMul reads is not known"
    if scope.opset() < _SINCE:
        return f"Gemm and Flatten are as they are needed here since opset {_SINCE}"
    dtype = dtype_of(linear.weight)
    if dtype is None:
        return UNKNOWN_TYPE
    if dtype not in FLOATS:
        return f"Gemm is not asked to multiply {dtype.name.lower()}"
    bias = linear.bias
    shape = None if bias is None else shape_of(bias) or constants.shape(bias)
    if shape is None or len(shape) > 2:
        return "the bias is no vector"
    if any(not _asks_for_rows(node, linear.rank, constants) for node in found.asking):
        return "something else asks for the shape of the product"
    if found.reshape.attributes.get_int("allowzero", 0):
        return None
    return _reason_in_shape(found, scope, constants)


def _reason_in_shape(found: _Reshaped, scope: Scope, constants: Constants) -> str | None:
    """Why the shape could ask for something else of a matrix; None when it cannot."""
    wanted = found.reshape.inputs[1]
    assert wanted is not None
    entries = shape_entries(wanted, constants)
    if entries is None:
        return "the shape that it is brought to is computed in a way that is not followed"
    linear = found.linear
    alike = {linear.node.inputs[0], linear.node.outputs[0], linear.result}
    rows = (linear.rank or 0) - 1
    for place, entry in enumerate(entries):
        if isinstance(entry, int):
            if entry == 0:
                return "the shape that it is brought to copies dimensions by zeros"
            continue
        source, index = entry
        if source not in alike or index != place or index >= rows:
            return "a size that it is brought to could be zero where its own is not"
    if _may_ask_for_nothing(entries) and scope.opset() < _ALLOWZERO:
        return f"a Reshape to no elements needs opset {_ALLOWZERO} here; raise it with --opset"
    return None


def _may_ask_for_nothing(entries: list[Entry]) -> bool:
    """Whether a zero in the shape has to be told from one that copies.

    Beside a -1 no Reshape takes a zero, and of no rows in all a matrix has none.
    """
    return -1 not in entries and any(not isinstance(e, int) and e[1] > 0 for e in entries)


def _asks_for_rows(shape: ir.Node, rank: int, constants: Constants) -> bool:
    """Whether a Shape is asked for nothing but dimensions that the product has from its input."""
    result = shape.outputs[0]
    if result.is_graph_output():
        return False
    taken = [taken_dimensions(use.node, constants) for use in result.uses()]
    return all(t is not None and all(index < rank - 1 for _, index in t) for t in taken)


def _probe(found: _Reshaped, scope: Scope, ir_version: int) -> bytes:
    dtype = dtype_of(found.linear.weight)
    assert dtype is not None
    shapes = [(2, 4), (4, 4), (4,)]
    return node_probe(ir.Node("", "Gemm", []), shapes, dtype, scope, ir_version)


def _edit(
    found: _Reshaped, constants: Constants, flattened: dict[ir.Value, ir.Value]
) -> Callable[[Editor], None]:
    linear, reshape = found.linear, found.reshape
    wanted = reshape.inputs[1]
    assert wanted is not None
    zeros = bool(reshape.attributes.get_int("allowzero", 0))
    zeros = zeros or _may_ask_for_nothing(shape_entries(wanted, constants) or [])

    def apply(editor: Editor) -> None:
        rank, x = linear.rank, linear.node.inputs[0]
        assert rank is not None
        assert x is not None
        stem = linear.node.name or linear.result.name
        dtype, outer = dtype_of(linear.weight), (shape_of(linear.weight) or (None,))[-1]

        def node(op_type: str, inputs: list[ir.Value | None], attrs: list[ir.Attr]) -> ir.Node:
            name = editor.fresh_name(f"{stem}/{op_type}")
            made = ir.Value(name=name)
            return ir.Node("", op_type, inputs, attrs, outputs=[made], name=name)

        for asking in found.asking:
            # The dimensions that are asked for are those of the input.
            asking.replace_input_with(0, x)
        nodes = []
        if x not in flattened:
            flat = node("Flatten", [x], [ir.AttrInt64("axis", rank - 1)])
            flattened[x] = flat.outputs[0]
            infer_as(flattened[x], dtype, (None, (shape_of(linear.weight) or (None,))[0]))
            nodes.append(flat)
        product = node("Gemm", [flattened[x], linear.weight, linear.bias], [])
        infer_as(product.outputs[0], dtype, (None, outer))
        attrs = [ir.AttrInt64("allowzero", 1)] if zeros else []
        again = node("Reshape", [product.outputs[0], reshape.inputs[1]], attrs)
        nodes += [product, again]
        provenance = provenance_of_fold(_RULE, found.nodes)
        editor.replace(found.nodes, reshape.outputs[0], nodes, again.outputs[0], provenance)

    return apply
