"""Fuse the operators that spell an activation into the contrib operator that computes it.

Not valid where a target has no kernel for the operator, or where the operator stores a parameter
less exactly than the model's numbers are. Here for x * sigmoid(beta x), as QuickGelu.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.graph.lower import LoweringUnavailableError, OperatorLowering
from onnx_act.graph.probe_models import activation_probe
from onnx_act.graph.sites import Spelling
from onnx_act.rewrite.fuse_activation import (
    put_in_place,
    reason_in_spelling,
    reason_on,
)
from onnx_act.rewrite.rule import Change, Fidelity, Refusal
from onnx_act.rewrite.writing import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_act.activations.activation import Parameters
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Proposal, Subject


@dataclass(frozen=True)
class FuseSpelling:
    """Make the nodes of an activation the one contrib operator that its catalogue entry has.

    Attributes:
        activations: the names of the entries.
        spellings: how the sites are written that are to become one.
        beside_standard: whether also where the standard has an operator for it at the site's
            opset.
        name: how reports call the rule.
    """

    activations: frozenset[str]
    spellings: frozenset[Spelling]
    beside_standard: bool
    name: str = field(default="")
    enables_itself: bool = field(default=False, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every such activation that is spelled so."""
        known: dict[bytes, str | None] = {}
        for site in subject.sites:
            if site.name not in self.activations or site.spelling not in self.spellings:
                continue
            if self.beside_standard or not _has_standard(site):
                yield self._propose(site, subject, known)

    def _propose(self, site: Site, subject: Subject, known: dict[bytes, str | None]) -> Proposal:
        assert site.activation is not None
        lowering = next(
            OperatorLowering(o)
            for o in site.activation.operators
            if o.is_contrib() and o.fits(site.parameters)
        )
        against = (
            reason_in_spelling(site)
            or _reason_in_numbers(site, lowering)
            or self._reason_on_targets(site, lowering, subject, known)
        )
        if against is not None:
            return Refusal(self.name, site.id, site.name, against)
        return Change(
            rule=self.name,
            fidelity=Fidelity.NUMERIC,
            site=site.id,
            before=site.written,
            after=lowering.label,
            nodes=tuple(n.name or n.op_type for n in site.nodes),
            apply=self._edit(site, lowering),
            region=site.nodes,
        )

    def _reason_on_targets(
        self,
        site: Site,
        lowering: OperatorLowering,
        subject: Subject,
        known: dict[bytes, str | None],
    ) -> str | None:
        assert site.activation is not None
        assert site.dtype is not None
        try:
            probe = activation_probe(
                lowering,
                site.activation,
                site.parameters,
                site.dtype,
                site.scope,
                subject.model.content.ir_version,
            )
        except LoweringUnavailableError as error:
            return str(error)
        if probe not in known:
            known[probe] = reason_on(subject.targets, probe)
        against = known[probe]
        return None if against is None else f"{lowering.label}: {against}"

    def _edit(self, site: Site, lowering: OperatorLowering) -> Callable[[Editor], None]:
        user, index = _use_of_input(site)

        def apply(editor: Editor) -> None:
            x = user.inputs[index]
            assert x is not None
            assert site.activation is not None
            nodes, _ = build(site, site.activation, site.parameters, lowering, x, editor)
            put_in_place(nodes, site.nodes, self.name, site, editor)

        return apply


def _has_standard(site: Site) -> bool:
    assert site.activation is not None
    return any(
        not o.is_contrib() and o.since <= site.scope.opset() and o.fits(site.parameters)
        for o in site.activation.operators
    )


def _use_of_input(site: Site) -> tuple[ir.Node, int]:
    """Where a site reads its input: that stays right when the input is replaced."""
    return next(
        (node, index)
        for node in site.nodes
        for index, value in enumerate(node.inputs)
        if value is site.input
    )


def _reason_in_numbers(site: Site, lowering: OperatorLowering) -> str | None:
    """Why the operator would not compute with the numbers that the nodes have."""
    for name, value in _numbers(lowering, site.parameters):
        if site.dtype is ir.DataType.DOUBLE and float(np.float32(value)) != value:
            return f"{lowering.label} stores its {name} in float32, which {value:g} is not exactly"
    return None


def _numbers(lowering: OperatorLowering, parameters: Parameters) -> Iterator[tuple[str, float]]:
    for name, value in lowering.operator.attribute_values(parameters).items():
        if not isinstance(value, str):
            yield name, value


#: x * sigmoid(beta x), SiLU among them, as com.microsoft.QuickGelu.
FUSE_QUICK_GELU: Final = FuseSpelling(
    frozenset({"silu", "swish"}),
    frozenset({Spelling.OPERATOR, Spelling.EXPRESSION}),
    beside_standard=True,
    name="fuse_quick_gelu",
)
