"""A few nodes of a model as a model of their own, to be measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import onnx_ir as ir

from onnx_act.graph.model import MAIN, OnnxModel
from onnx_act.graph.types import dtype_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_act.graph.constants import Constants
    from onnx_act.graph.sites import Site

# More than these say no more about the layout that they want.
_MOST_CONSUMERS: Final = 2


def neighbourhood(
    site: Site,
    model: OnnxModel,
    constants: Constants,
    shapes: Mapping[str, tuple[int, ...]],
) -> OnnxModel | None:
    """A site with what makes its input and what uses its output.

    Values keep their names, so that the site keeps its id.

    Args:
        site: one of the main graph.
        model: it is in; not touched.
        constants: of the model.
        shapes: of the values at the edges, by name.

    Returns:
        None where something at an edge has no known type or shape, and for sites elsewhere.
    """
    if site.scope.name != MAIN or site.input is None:
        return None
    producer = site.input.producer()
    consumers = dict.fromkeys(u.node for u in site.output.uses() if u.node.graph is not None)
    around = [n for n in consumers if n.graph is site.nodes[0].graph and _is_plain(n)]
    nodes = [*site.nodes, *around[:_MOST_CONSUMERS]]
    if producer is not None and _is_plain(producer) and not constants.is_constant(site.input):
        nodes.insert(0, producer)
    copied = _copy(nodes, constants, shapes)
    if copied is None:
        return None
    inputs, outputs, initializers, copies = copied
    graph = ir.Graph(
        inputs,
        outputs,
        nodes=copies,
        initializers=initializers,
        opset_imports=dict(site.scope.opsets),
        name="neighbourhood",
    )
    return OnnxModel(ir.Model(graph, ir_version=max(model.content.ir_version, 4)))


def _is_plain(node: ir.Node) -> bool:
    """Whether it holds no graph, and refers to nothing of a caller."""
    graphs = {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}
    return not any(a.is_ref() or a.type in graphs for a in node.attributes.values())


_Copies = tuple[list[ir.Value], list[ir.Value], list[ir.Value], list[ir.Node]]


def _copy(
    nodes: Sequence[ir.Node], constants: Constants, shapes: Mapping[str, tuple[int, ...]]
) -> _Copies | None:
    """Inputs, outputs, initializers and nodes of the excerpt."""
    known: dict[ir.Value, ir.Value] = {}
    inputs: list[ir.Value] = []
    initializers: list[ir.Value] = []
    made = {v for n in nodes for v in n.outputs}
    copies = []
    for node in nodes:
        for value in node.inputs:
            if value is None or value in known or value in made:
                continue
            outside = _constant(value, constants) or _input(value, shapes)
            if outside is None:
                return None
            known[value] = outside
            (inputs if outside.const_value is None else initializers).append(outside)
        for value in node.outputs:
            known[value] = ir.Value(name=value.name)
        copies.append(
            ir.Node(
                node.domain,
                node.op_type,
                [None if v is None else known[v] for v in node.inputs],
                list(node.attributes.values()),
                overload=node.overload,
                outputs=[known[v] for v in node.outputs],
                name=node.name,
            )
        )
    outputs = [_output(v, known[v], shapes) for n in nodes for v in n.outputs if _leaves(v, nodes)]
    return inputs, outputs, initializers, copies


def _leaves(value: ir.Value, nodes: Sequence[ir.Node]) -> bool:
    """Whether something outside uses a value, or nothing does."""
    users = {u.node for u in value.uses()}
    return bool(value.name) and (not users or value.is_graph_output() or not users <= set(nodes))


def _constant(value: ir.Value, constants: Constants) -> ir.Value | None:
    if not constants.is_constant(value):
        return None
    tensor = value.const_value
    # What is stored elsewhere is read: the excerpt lies nowhere that a path could start from.
    if tensor is None or isinstance(tensor, ir.ExternalTensor):
        array = constants.array(value)
        if array is None:
            return None
        tensor = ir.tensor(array, name=value.name)
    kind = ir.TensorType(tensor.dtype)
    shape = ir.Shape(constants.shape(value) or ())
    return ir.Value(name=value.name, type=kind, shape=shape, const_value=tensor)


def _input(value: ir.Value, shapes: Mapping[str, tuple[int, ...]]) -> ir.Value | None:
    dtype, dims = dtype_of(value), shapes.get(value.name or "")
    if dtype is None or dims is None:
        return None
    return ir.Value(name=value.name, type=ir.TensorType(dtype), shape=ir.Shape(dims))


def _output(value: ir.Value, copy: ir.Value, shapes: Mapping[str, tuple[int, ...]]) -> ir.Value:
    dtype, dims = dtype_of(value), shapes.get(value.name or "")
    if dtype is not None:
        copy.type = ir.TensorType(dtype)
    if dims is not None:
        copy.shape = ir.Shape(dims)
    return copy
