"""Fold a positive scale behind an activation into the linear operator before the activation.

a * relu(x) = relu(a * x) for a > 0, and so for every activation that is positively homogeneous.
Not valid for a scale that is negative or zero somewhere, for a shift, or where something else uses
what the operator or the activation makes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from onnx_act.activations.readings import evaluate
from onnx_act.graph.describe import describe_activation
from onnx_act.graph.sites import Spelling
from onnx_act.rewrite.affine import affine_of
from onnx_act.rewrite.folding import (
    Chain,
    chain_behind,
    parts_of_sites,
    provenance_of_fold,
)
from onnx_act.rewrite.growth import GrowthBudget
from onnx_act.rewrite.linear import (
    Linear,
    copied_bytes,
    fold_behind,
    linear_at,
    reason_not_foldable,
    rounded,
    write_numbers,
)
from onnx_act.rewrite.rule import Change, Fidelity, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

    from onnx_act.graph.constants import Constants
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.linear import Rounded
    from onnx_act.rewrite.rule import Proposal, Subject


@dataclass(frozen=True)
class FoldScaleThroughActivation:
    """Move a scale from behind an activation into the weight before it.

    Attributes:
        max_growth: how many times as large the constants of the file may become by copies of
            weights that other nodes use as well.
        name: how reports call the rule.
    """

    max_growth: float = float("inf")
    name: str = field(default="fold_scale_through_activation", init=False)
    # The scale may be that of a second activation behind the first.
    enables_itself: bool = field(default=True, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every scale behind an activation that lets it pass."""
        budget = GrowthBudget(subject.model, self.max_growth)
        within = parts_of_sites(subject)
        taken: set[Linear] = set()
        for site in subject.sites:
            if site.input is None or site.routine or site.spelling is Spelling.FUSED:
                continue
            if not _is_homogeneous(site):
                continue
            linear = linear_at(site.input.producer(), subject.constants)
            if linear is None or linear in taken:
                continue
            chain = _scale_behind(site, linear, subject.constants, within)
            if chain is None:
                continue
            proposal = self._propose(site, linear, chain, subject.constants, budget)
            if isinstance(proposal, Change):
                taken.add(linear)
            yield proposal

    def _propose(
        self, site: Site, linear: Linear, chain: Chain, constants: Constants, budget: GrowthBudget
    ) -> Proposal:
        numbers = _reason_against(site, linear, chain) or _folded(linear, chain, constants)
        if not isinstance(numbers, str) and (
            against := budget.reason_against(copied_bytes(linear, numbers))
        ):
            numbers = against
        if isinstance(numbers, str):
            return Refusal(self.name, site.id, site.name, numbers)
        kept: Rounded = numbers
        involved = (*linear.nodes, *site.nodes, *chain.nodes)
        last = site.nodes[-1]

        def apply(editor: Editor) -> None:
            # A scale alone never asks for a bias that is not there.
            assert not write_numbers(linear, kept, editor)
            editor.note(linear.node, provenance_of_fold(self.name, involved))
            editor.bypass(chain.nodes, last.outputs[0])

        shown = describe_activation(site.activation, site.parameters)
        return Change(
            rule=self.name,
            fidelity=Fidelity.NUMERIC,
            site=site.id,
            before=f"{linear.title}, {shown}, {', '.join(n.op_type for n in chain.nodes)}",
            after=f"{linear.title}, {shown}",
            nodes=tuple(n.name or n.op_type for n in involved),
            apply=apply,
            region=involved,
        )


def _is_homogeneous(site: Site) -> bool:
    """Whether f(a x) = a f(x) for every a > 0.

    Scaling by a power of two is exact: a function that is linear on either side of zero passes to
    the bit, and one that is not fails where it bends.
    """
    if site.activation is None or site.activation.index_only:
        return False
    formula = site.activation.expression(
        {k: v.flat[0] if isinstance(v, np.ndarray) else v for k, v in site.parameters.items()}
    )
    x = np.concatenate([-np.geomspace(1e-3, 1e3, 97), [0.0], np.geomspace(1e-3, 1e3, 97)])
    with np.errstate(all="ignore"):
        y = evaluate(formula, x)
        return all(np.array_equal(evaluate(formula, a * x), a * y) for a in (0.25, 2.0, 16.0))


def _scale_behind(
    site: Site, linear: Linear, constants: Constants, within: frozenset[ir.Node]
) -> Chain | None:
    """The longest part of the chain behind a site that has no shift, or its one shifting node."""
    chain = chain_behind(site.output, linear.rank, site.scope, constants, within)
    for count in range(len(chain.nodes), 0, -1):
        affine = None
        for node in chain.nodes[:count]:
            found = affine_of(node, linear.rank, site.scope.opset(), constants)
            if found is None or isinstance(found, str):
                return None
            affine = found if affine is None else affine.then(found)
            assert affine is not None
        if affine is not None and not np.any(affine.shift != 0) and np.any(affine.scale != 1):
            return Chain(site.output, chain.nodes[:count], affine)
    if any(np.any(f.scale != 1) for f in [chain.affine] if f is not None):
        return chain
    return None


def _reason_against(site: Site, linear: Linear, chain: Chain) -> str | None:
    assert chain.affine is not None
    if np.any(chain.affine.shift != 0):
        return f"{chain.nodes[0].op_type} behind it shifts as well, and a shift does not pass it"
    if not np.all(chain.affine.scale > 0):
        return "the scale behind it is not positive everywhere"
    if any(use.node not in site.nodes for use in linear.result.uses()):
        return f"something else uses what {linear.node.op_type} makes"
    if linear.result.is_graph_output():
        return f"what {linear.node.op_type} makes is an output of the graph as well"
    if linear.node.graph is not site.nodes[-1].graph:
        return f"{linear.node.op_type} is in an outer graph"
    return None


def _folded(linear: Linear, chain: Chain, constants: Constants) -> Rounded | str:
    assert chain.affine is not None
    folded = reason_not_foldable(linear, constants) or fold_behind(linear, chain.affine, constants)
    return folded if isinstance(folded, str) else rounded(folded, linear, constants)
