"""What the rules share that fold affine nodes into the linear operator before or after them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from onnx_act.rewrite.affine import NORMALIZATION, Affine, affine_of
from onnx_act.rewrite.growth import GrowthBudget
from onnx_act.rewrite.linear import (
    Linear,
    copied_bytes,
    fold_behind,
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


@dataclass(frozen=True, slots=True)
class Chain:
    """Affine nodes, each the only user of the one before.

    Attributes:
        source: what the first one reads.
        nodes: in graph order.
        affine: what they compute together.
        broken: why the node after them, which would be one more, is none.
        breaker: that node.
    """

    source: ir.Value
    nodes: tuple[ir.Node, ...]
    affine: Affine | None
    broken: str = ""
    breaker: ir.Node | None = None

    @property
    def result(self) -> ir.Value:
        """What the last node makes."""
        return self.nodes[-1].outputs[0]


def chain_behind(
    source: ir.Value,
    rank: int | None,
    scope: Scope,
    constants: Constants,
    within: frozenset[ir.Node],
) -> Chain:
    """The longest chain of affine nodes that reads `source`.

    Args:
        source: a value.
        rank: of `source`.
        scope: that makes `source`.
        constants: of the model.
        within: nodes that are part of something else, and end the chain.
    """
    nodes: list[ir.Node] = []
    affine: Affine | None = None
    value = source
    while not value.is_graph_output() and len(value.uses()) == 1:
        (use,) = value.uses()
        node = use.node
        if node.graph is not scope.graph or node in within:
            break
        found = affine_of(node, rank, scope.opset(), constants)
        if isinstance(found, str):
            return Chain(source, tuple(nodes), affine, found, node)
        both = found if affine is None or found is None else affine.then(found)
        if both is None:
            break
        nodes.append(node)
        affine = both
        value = node.outputs[0]
    return Chain(source, tuple(nodes), affine)


def parts_of_sites(subject: Subject) -> frozenset[ir.Node]:
    """Nodes that spell an activation together with others: folding one would hide it."""
    return frozenset(
        n
        for s in subject.sites
        if s.activation is not None and not s.routine and len(s.nodes) > 1
        for n in s.nodes
    )


def site_name(scope: Scope, value: ir.Value) -> str:
    """How reports call the place where a value is made."""
    return f"{scope.name}/{value.name}" if scope.name else str(value.name)


@dataclass(frozen=True)
class FoldIntoProducer:
    """Put the affine nodes behind a linear operator into its weight and bias.

    Attributes:
        max_growth: how many times as large the constants of the file may become by copies of
            weights that other nodes use as well.
        name: how reports call the rule.
        normalizing: whether it is about chains with a BatchNormalization in them, or without.
    """

    max_growth: float = float("inf")
    name: str = field(default="", init=False)
    normalizing: bool = field(default=False, init=False)
    # What ended a chain may be constant or unshared once other folds are done.
    enables_itself: bool = field(default=True, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every chain behind a linear operator."""
        budget = GrowthBudget(subject.model, self.max_growth)
        for scope, linear, chain in chains_behind_linear(subject):
            normalizes = any(n.op_type == NORMALIZATION for n in chain.nodes)
            if normalizes == self.normalizing and _pays(linear, chain):
                yield self._propose(linear, chain, scope, subject.constants, budget)

    def _propose(
        self,
        linear: Linear,
        chain: Chain,
        scope: Scope,
        constants: Constants,
        budget: GrowthBudget,
    ) -> Proposal:
        site = site_name(scope, chain.result)
        numbers = _folded(linear, chain, constants)
        if not isinstance(numbers, str) and (
            reason := budget.reason_against(copied_bytes(linear, numbers))
        ):
            numbers = reason
        if isinstance(numbers, str):
            return Refusal(self.name, site, "", numbers)
        kept: Rounded = numbers

        involved = (*linear.nodes, *chain.nodes)

        def apply(editor: Editor) -> None:
            made = write_numbers(linear, kept, editor)
            provenance = provenance_of_fold(self.name, involved)
            if made:
                editor.replace(involved, chain.result, made, made[-1].outputs[0], provenance)
            else:
                editor.note(linear.node, provenance)
                editor.bypass(chain.nodes, linear.result)

        folded = ", ".join(n.op_type for n in chain.nodes)
        return Change(
            rule=self.name,
            fidelity=Fidelity.NUMERIC,
            site=site,
            before=f"{linear.title}, {folded}",
            after=title_with(linear, kept),
            nodes=tuple(n.name or n.op_type for n in involved),
            apply=apply,
            region=involved,
        )


def chains_behind_linear(subject: Subject) -> Iterator[tuple[Scope, Linear, Chain]]:
    """Every linear operator of a model, and the chain behind it, which may be empty."""
    within = parts_of_sites(subject)
    constants = subject.constants
    for scope in subject.model.scopes():
        for node in scope.graph:
            linear = linear_at(node, constants)
            # A MatMul with a bias is looked at with its Add.
            if linear is None or with_bias(linear, constants) != linear:
                continue
            yield scope, linear, chain_behind(linear.result, linear.rank, scope, constants, within)


def _pays(linear: Linear, chain: Chain) -> bool:
    """Whether fewer nodes are left: a shift behind a MatMul without bias stays an Add."""
    if linear.node.op_type != "MatMul" or linear.bias is not None or chain.affine is None:
        return bool(chain.nodes)
    return len(chain.nodes) > bool(np.any(chain.affine.shift != 0))


def provenance_of_fold(rule: str, nodes: Sequence[ir.Node]) -> dict[str, str]:
    """What to note on a node that others were folded into."""
    return {
        "rule": rule,
        "from": ", ".join(n.op_type for n in nodes),
        "nodes": ", ".join(n.name or n.op_type for n in nodes),
    }


def _folded(linear: Linear, chain: Chain, constants: Constants) -> Rounded | str:
    reason = reason_not_foldable(linear, constants)
    if reason is not None:
        return reason
    assert chain.affine is not None
    folded = fold_behind(linear, chain.affine, constants)
    return folded if isinstance(folded, str) else rounded(folded, linear, constants)
