"""Write an activation that is spelled out in several operators as the one operator that it is.

Not valid where the opset or a target has no such operator. Whether it pays is another question: a
runtime may expand the operator again, or know the longer spelling better (see `if_faster`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_act.graph.describe import describe_activation
from onnx_act.graph.lower import OperatorLowering
from onnx_act.graph.sites import Spelling
from onnx_act.rewrite.rule import UNKNOWN_TYPE, Change, Fidelity, Refusal
from onnx_act.rewrite.writing import Writer, reason_in_digits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Proposal, Subject


@dataclass(frozen=True)
class RaiseActivation:
    """Replace an expression by the standard operator that computes it."""

    name: str = field(default="raise_activation", init=False)
    enables_itself: bool = field(default=False, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every activation that is an expression and has an operator."""
        writer = Writer(subject.model, subject.targets)
        for site in subject.sites:
            if site.spelling is not Spelling.EXPRESSION or site.routine or len(site.nodes) < 2:
                continue
            if site.activation is None or not site.activation.operators:
                continue
            proposal = self._propose(site, writer)
            if proposal is not None:
                yield proposal

    def _overflow(self, site: Site, lowering: OperatorLowering, writer: Writer) -> str | None:
        assert site.activation is not None
        probe = writer.written(site, site.activation, site.parameters, lowering).probe(1)
        against = writer.targets.overflow(probe)
        return None if against is None else f"{lowering.label}: {against}"

    def _propose(self, site: Site, writer: Writer) -> Proposal | None:
        assert site.activation is not None
        if site.dtype is None:
            return Refusal(self.name, site.id, site.name, UNKNOWN_TYPE)
        lowering = writer.choose(site, site.activation, site.parameters)
        if isinstance(lowering, str):
            return Refusal(self.name, site.id, site.name, lowering)
        if not isinstance(lowering, OperatorLowering):
            # There is no operator for it here, so that there is nothing to raise it to.
            return None
        against = reason_in_digits(site) or self._overflow(site, lowering, writer)
        if against is not None:
            return Refusal(self.name, site.id, site.name, against)
        return Change(
            rule=self.name,
            fidelity=Fidelity.NUMERIC,
            site=site.id,
            before=site.written,
            after=f"{lowering.label}: {describe_activation(site.activation, site.parameters)}",
            nodes=tuple(n.name or n.op_type for n in site.nodes),
            apply=writer.replacement(self.name, site, site.activation, site.parameters, lowering),
            region=site.nodes,
        )
