"""Numbers for the nodes of a model that survive what a runtime does to their names."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from onnx_act.graph.model import OnnxModel

# Runtimes put things before and behind the names of nodes and values when they make new ones of
# them; the colons keep number 1 from being found in number 12.
_TAG: Final = re.compile(r"onnx-act:(\d+):")


@dataclass(frozen=True, slots=True)
class NodeTags:
    """The numbers of a model's nodes.

    Attributes:
        numbers: node -> number. Nodes of local functions have none, as a function that is called
            several times is several nodes when it runs.
        kinds: (domain, operator) of each, by number.
    """

    numbers: Mapping[Hashable, int]
    kinds: tuple[tuple[str, str], ...]


@contextmanager
def tagged(model: OnnxModel) -> Iterator[NodeTags]:
    """Give every node and what it makes a name that holds its number, until the end of the block.

    Args:
        model: to be written inside the block; left as it was.
    """
    nodes = [
        node for scope in model.scopes() if not scope.is_function_body() for node in scope.graph
    ]
    # A value that carries a constant would rename that as well; such a value keeps its own.
    values = [
        [(place, v) for place, v in enumerate(n.outputs) if v.name and v.const_value is None]
        for n in nodes
    ]
    names = [(n.name, [v.name for _, v in made]) for n, made in zip(nodes, values, strict=True)]
    try:
        for number, (node, made) in enumerate(zip(nodes, values, strict=True)):
            node.name = node_name(number)
            for place, value in made:
                value.name = f"{node_name(number)}{place}"
        yield NodeTags(
            {node: number for number, node in enumerate(nodes)},
            tuple((node.domain, node.op_type) for node in nodes),
        )
    finally:
        for node, made, (name, value_names) in zip(nodes, values, names, strict=True):
            node.name = name
            for (_, value), value_name in zip(made, value_names, strict=True):
                value.name = value_name


def node_name(number: int) -> str:
    """How the node of a number is called while the model is tagged."""
    return f"onnx-act:{number}:"


def numbers_in(name: str) -> set[int]:
    """The numbers of the nodes that a name which a runtime made was made of."""
    return {int(number) for number in _TAG.findall(name)}
