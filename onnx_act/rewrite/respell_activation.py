"""Write an activation in another way that computes the same, because that was measured faster.

Not valid where the activation is an attribute of a fused or recurrent operator, where its dtype is
not known, or where the opset, the dtype or the place has not got what the other way needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.graph.describe import describe_activation
from onnx_act.graph.fingerprint import fingerprint
from onnx_act.graph.lower import (
    Lowering,
    LoweringUnavailableError,
    NodeEmitter,
    OperatorLowering,
    emit,
    lowerings,
    respelled_lowerings,
)
from onnx_act.graph.regions import FLOATS
from onnx_act.rewrite.expand_gate import GateExpansion, expand_gate
from onnx_act.rewrite.rule import Change, Fidelity, Refusal
from onnx_act.rewrite.writing import Writer, provenance_of, reason_in_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    from onnx_act.graph.constants import Constants
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.fingerprint import Fingerprint
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Proposal, Subject

_RULE: Final = "respell_activation"
#: A way to write an activation in its place.
Way = Lowering | GateExpansion


@dataclass(frozen=True)
class RespellActivation:
    """Write the sites that `choices` names as it says.

    Attributes:
        choices: the id of a site -> the key of a way to write it, see `ways_to_write`.
        channels: the id of a site -> how many channels it has, where that is known.
        images: the id of a site -> height and width of the image that it gates, where it is a
            gate of one number per channel; see `expand_gate`.
        approximate: `activation: key` of ways that round worse than the operator does.
    """

    choices: Mapping[str, str]
    channels: Mapping[str, int] = field(default_factory=dict)
    images: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    approximate: frozenset[str] = frozenset()
    name: str = field(default=_RULE, init=False)
    enables_itself: bool = field(default=False, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every site that was chosen."""
        writer = Writer(subject.model, subject.targets)
        for missing in sorted(self.choices.keys() - {site.id for site in subject.sites}):
            yield Refusal(_RULE, missing, "", "there is no such site in the model")
        for site in subject.sites:
            key = self.choices.get(site.id)
            if key is None:
                continue
            way = self._way(site, key)
            if way is None:
                reason = f"it cannot be written as {key} in its place"
                yield Refusal(_RULE, site.id, site.name, reason)
                continue
            if isinstance(way, GateExpansion):
                yield _expansion(site, way)
                continue
            assert site.activation is not None
            approximate = f"{site.name}: {key}" in self.approximate
            described = describe_activation(site.activation, site.parameters)
            yield Change(
                rule=_RULE,
                fidelity=Fidelity.APPROXIMATE if approximate else Fidelity.NUMERIC,
                site=site.id,
                before=f"{described} as {site.written}",
                after=way.label,
                nodes=tuple(n.name or n.op_type for n in site.nodes),
                apply=_edit(site, way, writer),
                region=site.nodes,
                written=writer.written(site, site.activation, site.parameters, way),
            )

    def _way(self, site: Site, key: str) -> Way | None:
        if not is_respellable(site):
            return None
        place = (self.channels.get(site.id), self.images.get(site.id))
        way = ways_to_write(site, *place, contrib=True).get(key)
        if way is None or isinstance(way, GateExpansion):
            return way
        return None if would_be_written_as(site, way) is None else way


def _expansion(site: Site, way: GateExpansion) -> Change:
    assert site.activation is not None
    described = describe_activation(site.activation, site.parameters)
    provenance = provenance_of(_RULE, site, site.activation, site.parameters)
    return Change(
        rule=_RULE,
        fidelity=Fidelity.EXACT,
        site=site.id,
        before=f"{described} as {site.written}",
        after=way.label,
        nodes=tuple(n.name or n.op_type for n in site.nodes),
        apply=lambda editor: expand_gate(editor, site, way, provenance),
        region=site.nodes,
    )


def is_respellable(site: Site) -> bool:
    """Whether there may be another way to write a site."""
    return (
        site.activation is not None
        and site.slot is None
        and site.input is not None
        and site.dtype in FLOATS
        and not site.routine
        and reason_in_digits(site) is None
    )


def ways_to_write(
    site: Site, channels: int | None, image: tuple[int, int] | None = None, *, contrib: bool
) -> dict[str, Way]:
    """The ways to write the activation of a site at its opset, by key.

    Args:
        site: one that `is_respellable`.
        channels: how many of them it has, by the second of four dimensions; None where that is
            not known.
        image: height and width of the image that it gates, None where it gates none.
        contrib: whether operators outside the standard may be used.
    """
    assert site.activation is not None
    given = (site.activation, site.parameters)
    ways: list[Way] = [*lowerings(*given, site.scope.opset())]
    if contrib:
        ways += lowerings(*given, site.scope.opset(), contrib=True)
    ways += respelled_lowerings(*given, channels)
    if image is not None:
        ways.append(GateExpansion(*image))
    return {way.key: way for way in ways}


def written_as(site: Site, constants: Constants) -> Fingerprint:
    """How a site is written."""
    assert site.input is not None
    return fingerprint(site.nodes, site.input, constants.array)


def would_be_written_as(site: Site, way: Lowering) -> Fingerprint | None:
    """How a site would be written; None where it cannot be at its opset and dtype."""
    assert site.activation is not None
    assert site.dtype is not None
    assert site.input is not None
    emitter = NodeEmitter(site.dtype, site.scope.opset(), lambda wanted: wanted, "")
    try:
        emit(way, site.activation, site.parameters, site.input, emitter)
    except LoweringUnavailableError:
        return None
    held = {n.outputs[0]: n.attributes["value"] for n in emitter.nodes if n.op_type == "Constant"}

    def array(value: ir.Value) -> npt.NDArray[np.generic] | None:
        attribute = held.get(value)
        return None if attribute is None else np.asarray(attribute.as_tensor().numpy())

    return fingerprint(emitter.nodes, site.input, array)


def _edit(site: Site, way: Lowering, writer: Writer) -> Callable[[Editor], None]:
    assert site.activation is not None
    write = writer.replacement(_RULE, site, site.activation, site.parameters, way)

    def apply(editor: Editor) -> None:
        if isinstance(way, OperatorLowering) and way.operator.is_contrib():
            editor.import_domain(way.operator.domain, site.scope)
        write(editor)

    return apply
