"""What the rules share that fold affine nodes into the linear operators behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.graph.sampling import attribute
from onnx_act.graph.types import shape_of
from onnx_act.rewrite.affine import NORMALIZATION, Affine, affine_of, varying_input
from onnx_act.rewrite.folding import parts_of_sites, provenance_of_fold, site_name
from onnx_act.rewrite.growth import GrowthBudget
from onnx_act.rewrite.linear import (
    Linear,
    copied_bytes,
    fold_before,
    linear_at,
    reason_not_foldable,
    rounded,
    title_with,
    with_bias,
    write_numbers,
)
from onnx_act.rewrite.rule import Change, Fidelity, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import onnx_ir as ir

    from onnx_act.graph.constants import Constants
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.model import Scope
    from onnx_act.rewrite.linear import Rounded
    from onnx_act.rewrite.rule import Proposal, Subject

# How far back a mean or a root is looked for: x - mean, squared, mean, root, quotient, scale.
_FAR: Final = 4
_OF_A_NORMALIZATION: Final = frozenset({"Sqrt", "ReduceMean", "ReduceSumSquare", "Reciprocal"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where affine nodes meet the linear operators that read them, and nothing else does.

    Attributes:
        scope: of all these nodes.
        chain: the affine nodes in graph order, each the only user of the one before.
        carriers: nodes between, that hand on what is affine as something affine.
        readers: the linear operators.
    """

    scope: Scope
    chain: tuple[ir.Node, ...]
    carriers: tuple[ir.Node, ...]
    readers: tuple[Linear, ...]


@dataclass(frozen=True)
class FoldIntoConsumers:
    """Put affine nodes into the weights and biases of the linear operators that read them.

    Attributes:
        max_growth: how many times as large the constants of the file may become by copies of
            weights that other nodes use as well.
        name: how reports call the rule.
        normalizing: whether it is about chains with a BatchNormalization in them, or without.
    """

    max_growth: float = float("inf")
    name: str = field(default="", init=False)
    normalizing: bool = field(default=False, init=False)
    # Of a chain the nearer part may fold alone, and bring the rest nearer to another operator.
    enables_itself: bool = field(default=True, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every chain in front of linear operators."""
        budget = GrowthBudget(subject.model, self.max_growth)
        taken: set[ir.Node] = set()
        for place in _places(subject):
            normalizes = any(n.op_type == NORMALIZATION for n in place.chain)
            if normalizes != self.normalizing:
                continue
            proposal = self._propose(place, subject.constants, budget)
            if isinstance(proposal, Change):
                # The Add behind a MatMul is a bias here and a shift before the next operator: what
                # was made of it once is looked at again when that is done.
                if taken.intersection(proposal.region):
                    continue
                taken.update(proposal.region)
            yield proposal

    def _propose(self, place: Place, constants: Constants, budget: GrowthBudget) -> Proposal:
        """A change for the longest part of the chain that folds, or why not even one node does."""
        site = site_name(place.scope, place.chain[-1].outputs[0])
        reason = ""
        for start in range(len(place.chain)):
            nodes = place.chain[start:]
            numbers = _folded(nodes, place, constants)
            if not isinstance(numbers, str):
                pairs = list(zip(place.readers, numbers, strict=True))
                added = sum(copied_bytes(reader, n) for reader, n in pairs)
                against = budget.reason_against(added)
                if against is None:
                    return self._change(nodes, pairs, site, constants)
                numbers = against
            reason = numbers
        return Refusal(self.name, site, "", reason)

    def _change(
        self,
        nodes: tuple[ir.Node, ...],
        pairs: list[tuple[Linear, Rounded]],
        site: str,
        constants: Constants,
    ) -> Change:
        readers = tuple(n for reader, _ in pairs for n in reader.nodes)
        involved = (*nodes, *readers)
        position = nodes[0].inputs.index(varying_input(nodes[0], constants))

        def apply(editor: Editor) -> None:
            for reader, numbers in pairs:
                provenance = provenance_of_fold(self.name, (*nodes, *reader.nodes))
                made = write_numbers(reader, numbers, editor)
                if made:
                    editor.replace(
                        reader.nodes, reader.result, made, made[-1].outputs[0], provenance
                    )
                else:
                    editor.note(reader.node, provenance)
            source = nodes[0].inputs[position]
            assert source is not None
            editor.bypass(nodes, source)

        shown = " and ".join(dict.fromkeys(reader.title for reader, _ in pairs))
        left = " and ".join(dict.fromkeys(title_with(r, numbers) for r, numbers in pairs))
        return Change(
            rule=self.name,
            fidelity=Fidelity.NUMERIC,
            site=site,
            before=f"{', '.join(n.op_type for n in nodes)} before {shown}",
            after=left,
            nodes=tuple(n.name or n.op_type for n in involved),
            apply=apply,
            region=involved,
        )


def _places(subject: Subject) -> Iterator[Place]:
    within = parts_of_sites(subject)
    constants = subject.constants
    for scope in subject.model.scopes():
        readers: dict[ir.Value, list[Linear]] = {}
        for node in scope.graph:
            linear = linear_at(node, constants)
            value = node.inputs[0] if node.inputs else None
            # An Add behind a MatMul is no reader: its MatMul is.
            if linear is not None and linear.adding is None and value is not None:
                readers.setdefault(value, []).append(with_bias(linear, constants))
        for value, found in readers.items():
            # Whoever else reads the value needs what is to be folded.
            if len(value.uses()) == len(found) and not value.is_graph_output():
                place = _place(value, tuple(found), scope, constants, within)
                if place.chain:
                    yield place


def _place(
    value: ir.Value,
    readers: tuple[Linear, ...],
    scope: Scope,
    constants: Constants,
    within: frozenset[ir.Node],
) -> Place:
    """The chain that ends in `value`, over nodes that carry it."""
    carriers: list[ir.Node] = []
    chain: list[ir.Node] = []
    current: ir.Value | None = value
    while current is not None and (current is value or _is_private(current)):
        node = current.producer()
        if node is None or node.graph is not scope.graph or node in within:
            break
        if not chain and _carries(node, scope.opset()):
            carriers.insert(0, node)
            current = node.inputs[0]
            continue
        current = varying_input(node, constants)
        if current is None:
            break
        chain.insert(0, node)
    return Place(scope, tuple(chain), tuple(carriers), readers)


def _is_private(value: ir.Value) -> bool:
    return len(value.uses()) == 1 and not value.is_graph_output()


def _carries(node: ir.Node, opset: int) -> bool:
    """Whether an affine function before the node can be one behind it."""
    if node.domain != "" or any(a.is_ref() for a in node.attributes.values()):
        return False
    match node.op_type:
        case "GlobalAveragePool" | "Identity":
            return True
        case "MaxPool":
            return len(node.outputs) == 1
        case "Flatten":
            return attribute(node, "axis", opset) == 1
    return False


def _folded(nodes: Sequence[ir.Node], place: Place, constants: Constants) -> list[Rounded] | str:
    """New numbers for every reader, or why one of them cannot take the nodes in."""
    if all(n.op_type != NORMALIZATION for n in nodes) and _ends_a_normalization(nodes[0]):
        return "it is the scale of a normalisation written out, which runtimes know as a whole"
    affine = _affine(nodes, place, constants)
    if isinstance(affine, str):
        return affine
    found: list[Rounded] = []
    for reader in place.readers:
        folded = reason_not_foldable(reader, constants) or fold_before(reader, affine, constants)
        numbers = folded if isinstance(folded, str) else rounded(folded, reader, constants)
        if isinstance(numbers, str):
            return numbers
        found.append(numbers)
    return found


def _affine(nodes: Sequence[ir.Node], place: Place, constants: Constants) -> Affine | str:
    """What the nodes compute, as it arrives at the readers."""
    value = varying_input(nodes[0], constants)
    shape = shape_of(value)
    rank = place.readers[0].rank if shape is None and not place.carriers else None
    rank = len(shape) if shape is not None else rank
    total: Affine | None = None
    for node in nodes:
        found = affine_of(node, rank, place.scope.opset(), constants)
        if isinstance(found, str):
            return found
        both = found if total is None or found is None else total.then(found)
        if both is None:
            return "its constants are neither one number nor one for each channel"
        total = both
    assert total is not None
    for carrier in place.carriers:
        carried = _carried(total, carrier)
        if isinstance(carried, str):
            return carried
        total = carried
    return total


def _carried(affine: Affine, node: ir.Node) -> Affine | str:
    if node.op_type == "MaxPool" and not np.all(affine.scale > 0):
        return "a negative scale does not pass MaxPool"
    if node.op_type != "Flatten" or affine.place is None:
        return affine
    shape = shape_of(node.inputs[0])
    row = None if shape is None else shape[1:]
    if row is None or not all(isinstance(d, int) for d in row):
        return "the shape that Flatten reads is not known"
    sizes = tuple(int(d) for d in row if d is not None)
    axis = len(sizes) - 1 - affine.place
    if axis < 0 or sizes[axis] != affine.scale.size:
        return "its constants are along another axis than Flatten keeps apart"
    column = (1,) * axis + (-1,) + (1,) * affine.place
    scale, shift = (
        np.broadcast_to(a.reshape(column), sizes).reshape(-1) for a in (affine.scale, affine.shift)
    )
    return Affine(scale, shift, 0)


def _ends_a_normalization(node: ir.Node) -> bool:
    """Whether a product or sum is the last step of LayerNormalization and its kind in primitives.

    Runtimes make one operator of the whole, scale and bias included, which folding would prevent.
    """
    pending, seen = [(v, 0) for v in node.inputs], set()
    while pending:
        value, distance = pending.pop()
        before = None if value is None else value.producer()
        if before is None or before in seen or distance >= _FAR:
            continue
        if before.op_type in _OF_A_NORMALIZATION:
            return True
        if before.op_type in {"Mul", "Div", "Add", "Sub", "Cast", "Pow"}:
            seen.add(before)
            pending.extend((v, distance + 1) for v in before.inputs)
    return False
