"""Values that pass from nodes of one group to nodes of the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_act.graph.model import OnnxModel

NodeKey = tuple[str, str, int | None]
"""Operator, name ("" for none), and position among the main graph's nodes that are no constants."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A value that one group of nodes makes and the other takes.

    Attributes:
        value: Its name.
        node: Which of the given nodes makes or takes it, by position.
        side: Whether it is an `input` or an `output` of that node.
        position: Where among its inputs or outputs, those that were left out not counted.
        arity: How many inputs or outputs it has, counted likewise.
    """

    value: str
    node: int
    side: Literal["input", "output"]
    position: int
    arity: int


def crossing_values(
    model: OnnxModel, group: Sequence[NodeKey]
) -> tuple[tuple[Crossing, ...], tuple[int, ...]]:
    """The values between a group of nodes of the main graph and all other nodes.

    What is constant does not pass at run time, and inputs and outputs of the model are the
    caller's. A value that a subgraph reads counts as read by the node that holds the subgraph.

    Args:
        model: not touched.
        group: nodes, such as those that another provider runs.

    Returns:
        Each value once, and the positions in `group` of those nodes that were not found, as
        those in subgraphs and functions, and of which a name is not unique.
    """
    found = _found(model, group)
    members = {node: place for place, node in enumerate(found) if node is not None}
    constant = _constants(model)
    readers = _readers(model)
    crossings: dict[ir.Value, Crossing] = {}
    for node, place in members.items():
        given = [v for v in node.inputs if v is not None]
        for position, value in enumerate(given):
            maker = value.producer()
            if maker is None or maker in members or value in constant:
                continue
            crossing = Crossing(value.name or "", place, "input", position, len(given))
            crossings.setdefault(value, crossing)
        made = [v for v in node.outputs if v.name]
        for position, value in enumerate(made):
            if value in constant or all(r in members for r in readers.get(value, ())):
                continue
            crossing = Crossing(value.name or "", place, "output", position, len(made))
            crossings.setdefault(value, crossing)
    missing = tuple(place for place, node in enumerate(found) if node is None)
    return tuple(crossings.values()), missing


def _found(model: OnnxModel, group: Sequence[NodeKey]) -> list[ir.Node | None]:
    nodes = [n for n in model.content.graph if n.op_type != "Constant"]
    names = Counter(n.name for n in nodes)
    named = {(n.op_type, n.name): n for n in nodes if n.name and names[n.name] == 1}
    found: list[ir.Node | None] = []
    for op_type, name, index in group:
        node = named.get((op_type, name))
        if node is None and not name and index is not None and index < len(nodes):
            there = nodes[index]
            node = there if there.op_type == op_type and not there.name else None
        found.append(node)
    return found


def _constants(model: OnnxModel) -> set[ir.Value]:
    """Values of the main graph that do not depend on an input."""
    constant = set(model.content.graph.initializers.values())
    for node in model.content.graph:
        subgraphs = any(a.type.name in {"GRAPH", "GRAPHS"} for a in node.attributes.values())
        given = [v for v in node.inputs if v is not None]
        if subgraphs or (not given and node.op_type != "Constant"):
            continue
        if all(v in constant for v in given):
            constant.update(node.outputs)
    return constant


def _readers(model: OnnxModel) -> dict[ir.Value, set[ir.Node]]:
    """For each value of the main graph, the nodes of the main graph that read it."""
    readers: dict[ir.Value, set[ir.Node]] = {}
    # The node of the main graph that holds each graph; outer graphs come before inner ones.
    holders: dict[ir.Graph, ir.Node] = {}
    for scope in model.scopes():
        if scope.parent is not None:
            outside = scope.parent.graph
            outer = holders.get(outside) if isinstance(outside, ir.Graph) else None
            holders[scope.graph] = outer or scope.parent
        for node in scope.graph:
            holder = holders.get(scope.graph, node)
            for value in node.inputs:
                if value is not None:
                    readers.setdefault(value, set()).add(holder)
    return readers
