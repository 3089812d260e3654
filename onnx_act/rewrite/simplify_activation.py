"""Write an activation that is linear in pieces as the simplest operator that computes the same.

Not valid where a slope is not a number that a float attribute can hold, where the operator has no
kernel on a target, or where a bound is the largest number of its dtype: it holds infinity back.

PRelu with one slope becomes LeakyRelu; a slope of 0, a lower bound of 0 and max(x, 0) become Relu;
a slope of 1 and a Clip without bounds go; Relu, Min, Max and Clip in a row, bounding on both sides
together, become one Clip. Constants are read and not recognised: a bound of 5.99999 stays one.

A slope of 0 makes -0.0 of negative numbers and NaN of minus infinity, where Relu makes 0 of both;
and a Clip without a bound lets infinity pass, by the standard if not in every runtime, as Relu and
nothing at all do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.activations.catalogue import named
from onnx_act.graph.describe import describe_activation
from onnx_act.graph.digits import as_written
from onnx_act.graph.lower import LoweringUnavailableError, OperatorLowering, lowerings
from onnx_act.graph.pieces import NOTHING, RECTIFIER, Clamp, PieceReader
from onnx_act.graph.probe_models import activation_probe
from onnx_act.graph.regions import FLOATS
from onnx_act.rewrite.remove_redundant_activation import bypassing
from onnx_act.rewrite.rule import UNKNOWN_TYPE, Change, Fidelity, Refusal
from onnx_act.rewrite.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_act.activations.activation import Activation, Parameters
    from onnx_act.graph.pieces import Piece
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Proposal, Subject

# The first opset at which the bounds of Clip are inputs of its dtype.
_BOUNDS_AS_INPUTS: Final = 11


@dataclass(frozen=True)
class SimplifyActivation:
    """Replace an activation by Relu, LeakyRelu, Clip or nothing, where that is all it is."""

    name: str = field(default="simplify_activation", init=False)
    enables_itself: bool = field(default=False, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every activation that a simpler operator computes."""
        reader = PieceReader(subject.model, subject.constants)
        writer = Writer(subject.model, subject.targets)
        known: dict[bytes, str | None] = {}
        for site in subject.sites:
            piece = reader.of_site(site)
            if piece is None or all(n.op_type == "Identity" for n in site.nodes):
                continue
            if piece == NOTHING:
                yield self._removal(site)
                continue
            simpler = _simpler(piece, site)
            if simpler is not None:
                yield self._proposal(site, *simpler, subject, writer, known)
            elif _holds_infinity_back(piece, site.dtype):
                reason = "its bound is the largest number of its dtype, and holds infinity back"
                yield Refusal(self.name, site.id, site.name, reason)

    def _removal(self, site: Site) -> Change:
        return Change(
            rule=self.name,
            fidelity=Fidelity.EXACT,
            site=site.id,
            before=site.written,
            after="nothing: it changes no number",
            nodes=tuple(n.name or n.op_type for n in site.nodes),
            apply=bypassing(site),
            region=site.nodes,
        )

    def _proposal(
        self,
        site: Site,
        activation: Activation,
        numbers: dict[str, float],
        subject: Subject,
        writer: Writer,
        known: dict[bytes, str | None],
    ) -> Proposal:
        if site.dtype is None:
            return Refusal(self.name, site.id, site.name, UNKNOWN_TYPE)
        (operator,) = activation.operators
        in_attributes = operator.op_type != "Clip" or site.scope.opset() < _BOUNDS_AS_INPUTS
        stored = ir.DataType.FLOAT if in_attributes else site.dtype
        for number in numbers.values():
            if not _is_held(number, stored):
                kind = stored.name.lower()
                why = f"{operator.op_type} would hold {number!r} as {kind}, and not to the last bit"
                return Refusal(self.name, site.id, site.name, why)
        parameters = {k: as_written(v, stored) for k, v in numbers.items()}
        lowering = OperatorLowering(operator)
        reason = _reason_against(lowering, activation, parameters, site, subject, known)
        if reason is not None:
            return Refusal(self.name, site.id, site.name, reason)
        shown = describe_activation(activation, parameters)
        return Change(
            rule=self.name,
            fidelity=Fidelity.EXACT,
            site=site.id,
            before=site.written,
            after=f"{lowering.label}: {shown}",
            nodes=tuple(n.name or n.op_type for n in site.nodes),
            apply=writer.replacement(self.name, site, activation, parameters, lowering),
            region=site.nodes,
        )


def _simpler(piece: Piece, site: Site) -> tuple[Activation, dict[str, float]] | None:
    """The one operator for a piece, where a site is written as something else."""
    if site.dtype not in {None, *FLOATS}:
        return None
    found = _simplest(piece)
    if found is None:
        return None
    (operator,) = found[0].operators
    is_there = len(site.nodes) == 1 and site.nodes[0].op_type == operator.op_type
    return None if is_there else found


def _simplest(piece: Piece) -> tuple[Activation, dict[str, float]] | None:
    if not isinstance(piece, Clamp):
        slope = piece.number
        return None if slope is None else (named("leaky_relu"), {"negative_slope": slope})
    if piece == RECTIFIER:
        return named("relu"), {}
    # With one bound alone nothing is gained: Min and Max are as good, and keep infinities.
    if not -math.inf < piece.low < piece.high < math.inf:
        return None
    if piece == Clamp(0.0, 6.0):
        return named("relu6"), {}
    return named("hardtanh"), {"min": piece.low, "max": piece.high}


def _holds_infinity_back(piece: Piece, dtype: ir.DataType | None) -> bool:
    """Whether it would be Relu or nothing, but for infinity."""
    if not isinstance(piece, Clamp) or dtype not in FLOATS:
        return False
    infinity = np.asarray(math.inf).astype(dtype.numpy())
    largest = float(np.nextafter(infinity, np.zeros_like(infinity)))
    return piece.high == largest and piece.low in {0.0, -largest, -math.inf}


def _is_held(number: float, dtype: ir.DataType) -> bool:
    with np.errstate(over="ignore"):
        return float(np.asarray(number).astype(dtype.numpy())) == number


def _reason_against(
    lowering: OperatorLowering,
    activation: Activation,
    parameters: Parameters,
    site: Site,
    subject: Subject,
    known: dict[bytes, str | None],
) -> str | None:
    """Why the operator cannot stand at a site; the targets are asked once for each kind."""
    assert site.dtype is not None
    version = subject.model.content.ir_version
    if lowering not in lowerings(activation, parameters, site.scope.opset()):
        return f"{lowering.label} exists since opset {lowering.operator.since}"
    try:
        probe = activation_probe(lowering, activation, parameters, site.dtype, site.scope, version)
    except LoweringUnavailableError as error:
        return str(error)
    if probe not in known:
        known[probe] = subject.targets.reason_against(probe)
    reason = known[probe]
    return None if reason is None else f"{lowering.label}: {reason}"
