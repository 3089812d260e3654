"""Exchanging activations in a proto by hand, one spelling at a time; onnx and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from independent_numbers import every_graph, replace_nodes
from onnx import ModelProto, NodeProto, helper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Make = Callable[[str, str], list[NodeProto]]


def leaky(slope: float) -> Make:
    return lambda x, y: [helper.make_node("LeakyRelu", [x], [y], alpha=slope)]


def relu(x: str, y: str) -> list[NodeProto]:
    return [helper.make_node("Relu", [x], [y])]


def tanh(x: str, y: str) -> list[NodeProto]:
    return [helper.make_node("Tanh", [x], [y])]


def silu(x: str, y: str) -> list[NodeProto]:
    return [
        helper.make_node("Sigmoid", [x], [f"{y}__s"]),
        helper.make_node("Mul", [x, f"{y}__s"], [y]),
    ]


def swap_operator(op_type: str, make: Make) -> Callable[[ModelProto], int]:
    """Every node of one operator, in every graph."""
    return lambda model: replace_nodes(
        model, lambda n: n.op_type == op_type, lambda n: make(n.input[0], n.output[0])
    )


def swap_chain(*op_types: str, make: Make) -> Callable[[ModelProto], int]:
    """Every chain in which each operator uses what the one before made, and ends in `y`.

    `x` is the first input of the first node, for a chain that starts in `Add` or `Div` of it. The
    first nodes stay, unused: the runtime drops them.
    """

    def swap(model: ModelProto) -> int:
        count = 0
        for graph in every_graph(model):
            users: dict[str, list[NodeProto]] = {}
            for node in graph.node:
                for name in node.input:
                    users.setdefault(name, []).append(node)
            ends = {
                end.output[0]: start.input[0]
                for start in graph.node
                if start.op_type == op_types[0]
                for end in _ends(start, op_types[1:], users)
            }
            nodes: list[NodeProto] = []
            for node in graph.node:
                x = ends.get(node.output[0])
                nodes.extend([node] if x is None else make(x, node.output[0]))
            del graph.node[:]
            graph.node.extend(nodes)
            count += len(ends)
        return count

    return swap


def _ends(
    node: NodeProto, rest: tuple[str, ...], users: dict[str, list[NodeProto]]
) -> Iterator[NodeProto]:
    if not rest:
        yield node
        return
    for user in users.get(node.output[0], []):
        if user.op_type == rest[0]:
            yield from _ends(user, rest[1:], users)


def swap_gated(gate: str, make: Make) -> Callable[[ModelProto], int]:
    """Every Mul of x with `gate` of the same x."""

    def swap(model: ModelProto) -> int:
        gates = {
            n.output[0]: n.input[0] for g in every_graph(model) for n in g.node if n.op_type == gate
        }

        def chosen(node: NodeProto) -> bool:
            return node.op_type == "Mul" and any(
                gates.get(a) == b for a, b in (node.input, reversed(node.input))
            )

        def replacement(node: NodeProto) -> list[NodeProto]:
            x = next(i for i in node.input if i not in gates)
            return make(x, node.output[0])

        return replace_nodes(model, chosen, replacement)

    return swap


def set_attributes(op_type: str, **values: Any) -> Callable[[ModelProto], int]:
    """Other attributes for every node of one operator; None takes one away."""

    def swap(model: ModelProto) -> int:
        count = 0
        for graph in every_graph(model):
            for node in graph.node:
                if node.op_type != op_type:
                    continue
                count += 1
                kept = [a for a in node.attribute if a.name not in values]
                del node.attribute[:]
                node.attribute.extend(kept)
                given = {k: v for k, v in values.items() if v is not None}
                node.attribute.extend(helper.make_attribute(k, v) for k, v in given.items())
        return count

    return swap


def swap_fused_relu(slope: float) -> Callable[[ModelProto], int]:
    """The Relu inside of FusedConv, and Relu nodes."""

    def swap(model: ModelProto) -> int:
        count = swap_operator("Relu", leaky(slope))(model)
        for graph in every_graph(model):
            for node in graph.node:
                name = next((a for a in node.attribute if a.name == "activation"), None)
                if name is not None and name.s == b"Relu":
                    name.s = b"LeakyRelu"
                    node.attribute.append(helper.make_attribute("activation_params", [slope]))
                    count += 1
        return count

    return swap
