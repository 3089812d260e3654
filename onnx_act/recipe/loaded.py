"""What runtimes made of a model when they loaded it, node by node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onnx_act.graph.tags import node_name, numbers_in

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from onnx_act.graph.tags import NodeTags
    from onnx_act.runtime.load import LoadedNode

# Operators beside those of its own that a runtime makes of several standard ones.
_MADE_OF_SEVERAL: Final = frozenset({"Gelu", "Gemm"})
_OWN_DOMAINS: Final = ("com.microsoft", "com.ms.")
# What a runtime puts between operators to change the type, layout or place of a value.
_BETWEEN: Final = frozenset(
    {"Cast", "ReorderInput", "ReorderOutput", "MemcpyToHost", "MemcpyFromHost"}
)
_CONVOLUTIONS: Final = frozenset({"Conv", "FusedConv", "NhwcFusedConv"})


class LoadedNodes:
    """What one provider made of a model, by the numbers of the nodes that it was made of.

    Args:
        nodes: of the loaded model.
        tags: of the model before.
    """

    def __init__(self, nodes: Sequence[LoadedNode], tags: NodeTags) -> None:
        self._kinds = tags.kinds
        self._named: dict[int, list[LoadedNode]] = {}
        for node in nodes:
            for number in _numbers(node):
                self._named.setdefault(number, []).append(node)

    def fused_as(self, region: Sequence[int]) -> str | None:
        """The operator that holds all of some adjacent nodes; None when that is not certain.

        The runtime names what it makes after a node that it was made of, after that node's
        result, or not at all, and drops the names of values when it changes their layout. So one
        operator with one of the region's names is asked for, of a kind that the region had not,
        which either makes the region's result or tells its activation, while no name of the
        region is left elsewhere.

        Args:
            region: their numbers, in graph order.
        """
        inside = set(region)
        last = region[-1]
        makers: list[LoadedNode] = []
        for node in (n for number in region for n in self._named.get(number, ())):
            if _stands_between(node):
                left = {k for name in node.outputs for k in numbers_in(name)} & inside
                if left - {last}:
                    return None
            elif not any(node is maker for maker in makers):
                makers.append(node)
        if len(makers) != 1:
            return None
        (maker,) = makers
        kinds = {self._kinds[number] for number in region}
        if (maker.domain, maker.op_type) in kinds or not _is_made_of_several(maker):
            return None
        if not maker.activation and last not in _numbers(maker):
            return None
        return _shown(maker)


@dataclass(frozen=True, slots=True)
class LoadedEverywhere:
    """What all providers made of a model.

    Attributes:
        numbers: of the model's nodes, see `NodeTags`.
        providers: what each made of it; None where that is not known.
    """

    numbers: Mapping[Hashable, int]
    providers: tuple[LoadedNodes | None, ...]

    def fused_as(self, nodes: Sequence[Hashable]) -> str | None:
        """What every provider makes of these adjacent nodes by itself, such as `Conv[Relu]`.

        Args:
            nodes: in graph order, of the model that was loaded.

        Returns:
            None where some provider leaves them apart, or where it cannot be told, as in the body
            of a function.
        """
        region = [self.numbers[node] for node in nodes if node in self.numbers]
        if not region or len(region) != len(nodes):
            return None
        made: dict[str, None] = {}
        for loaded in self.providers:
            found = None if loaded is None else loaded.fused_as(region)
            if found is None:
                return None
            made[found] = None
        return " or ".join(made) or None


def _numbers(node: LoadedNode) -> set[int]:
    return {number for name in (node.name, *node.outputs) for number in numbers_in(name)}


def _stands_between(node: LoadedNode) -> bool:
    """Whether the runtime put it there; a node of the model kept its number as its name."""
    is_of_the_model = node.name in {node_name(number) for number in numbers_in(node.name)}
    return node.op_type in _BETWEEN and not is_of_the_model


def _is_made_of_several(node: LoadedNode) -> bool:
    return node.op_type in _MADE_OF_SEVERAL or node.domain.startswith(_OWN_DOMAINS)


def _shown(node: LoadedNode) -> str:
    kind = "Conv" if node.op_type in _CONVOLUTIONS else node.op_type
    return f"{kind}[{node.activation}]" if node.activation else kind
