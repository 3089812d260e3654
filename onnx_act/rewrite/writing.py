"""Choosing how to write an activation at a site, and the edit that writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.graph.describe import describe_activation
from onnx_act.graph.digits import half_ulp
from onnx_act.graph.lower import (
    Lowering,
    LoweringUnavailableError,
    NodeEmitter,
    OperatorLowering,
    emit,
    lowerings,
)
from onnx_act.graph.probe_models import activation_probe
from onnx_act.rewrite.rule import WrittenActivation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx_ir as ir

    from onnx_act.activations.activation import Activation, Parameters
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.model import OnnxModel, Scope
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Capabilities

_Key = tuple[object, ...]
_LISTED: Final = 3
# Below this float64 does not tell a rounding from a difference.
_FINEST: Final = 2.0**-50


class Writer:
    """Finds the first way to write an activation that every target can run, and remembers it."""

    def __init__(self, model: OnnxModel, targets: Capabilities) -> None:
        self.model = model
        self.targets = targets
        self._chosen: dict[_Key, Lowering | str] = {}

    def choose(
        self,
        site: Site,
        activation: Activation,
        parameters: Parameters,
        *,
        spelled_out: bool = False,
    ) -> Lowering | str:
        """A lowering for the site's place and dtype, or the reason why there is none.

        Args:
            site: the place.
            activation: what to write there.
            parameters: all its parameters.
            spelled_out: whether to write its formula even where an operator could run.
        """
        assert site.dtype is not None
        key = (
            spelled_out,
            activation.name,
            tuple(_hashable(v) for v in parameters.values()),
            site.dtype,
            tuple(sorted(site.scope.opsets.items())),
        )
        if key not in self._chosen:
            ways = lowerings(activation, parameters, site.scope.opset())
            self._chosen[key] = self._search(
                ways[-1:] if spelled_out else ways, activation, parameters, site.dtype, site.scope
            )
        return self._chosen[key]

    def _search(
        self,
        ways: Sequence[Lowering],
        activation: Activation,
        parameters: Parameters,
        dtype: ir.DataType,
        scope: Scope,
    ) -> Lowering | str:
        against: list[str] = []
        for lowering in ways:
            try:
                probe = activation_probe(
                    lowering, activation, parameters, dtype, scope, self.model.content.ir_version
                )
            except LoweringUnavailableError as error:
                against.append(str(error))
                continue
            reason = self.targets.reason_against(probe)
            if reason is None:
                return lowering
            label = lowering.label if isinstance(lowering, OperatorLowering) else "expression"
            against.append(f"{label}: {reason}")
        wanted = describe_activation(activation, parameters)
        later = [o for o in activation.operators if not o.is_contrib() and o.since > scope.opset()]
        if later:
            against.append(f"opset {later[0].since} has {later[0].op_type}: try --opset")
        listed = "; ".join(dict.fromkeys(against[:_LISTED]))
        return f"{wanted} in {dtype.name.lower()} cannot run on the targets ({listed})"

    def written(
        self, site: Site, activation: Activation, parameters: Parameters, lowering: Lowering
    ) -> WrittenActivation:
        """The activation as it will stand at the site, to be run by itself."""
        dtype = site.dtype
        assert dtype is not None
        version = self.model.content.ir_version

        def probe(size: int) -> bytes:
            return activation_probe(
                lowering, activation, parameters, dtype, site.scope, version, size
            )

        label = f"{describe_activation(activation, parameters)} ({lowering.label})"
        return WrittenActivation(activation, parameters, label, probe)

    def replacement(
        self,
        rule: str,
        site: Site,
        activation: Activation,
        parameters: Parameters,
        lowering: Lowering,
    ) -> Callable[[Editor], None]:
        """The edit that writes `activation` in the place of the site's nodes."""
        place = _use_of(site)

        def apply(editor: Editor) -> None:
            user, index = place
            x = user.inputs[index]
            assert x is not None
            nodes, result = build(site, activation, parameters, lowering, x, editor)
            provenance = provenance_of(rule, site, activation, parameters)
            editor.replace(site.nodes, site.nodes[-1].outputs[0], nodes, result, provenance)

        return apply


def reason_in_digits(site: Site) -> str | None:
    """Why no other way to write a site is the same but for rounding: the digits of its constants.

    Each of its nodes rounds once, and a constant once more.
    """
    rounding = max(half_ulp(site.dtype), _FINEST)
    if site.deviation <= 2 * len(site.nodes) * rounding:
        return None
    return (
        f"its constants make it differ from {site.name} by up to {site.deviation:.1g}, "
        f"which is more than rounding"
    )


def build(
    site: Site,
    activation: Activation,
    parameters: Parameters,
    lowering: Lowering,
    x: ir.Value,
    editor: Editor,
) -> tuple[list[ir.Node], ir.Value]:
    """The nodes of `activation` of `x` for a site's place, named after its output."""
    assert site.dtype is not None
    prefix = f"{site.output.name}/{activation.name}"
    emitter = NodeEmitter(site.dtype, site.scope.opset(), editor.fresh_name, prefix)
    result = emit(lowering, activation, parameters, x, emitter)
    return emitter.nodes, result


def provenance_of(
    rule: str, site: Site, activation: Activation, parameters: Parameters
) -> dict[str, str]:
    """What to note on new nodes: the rule, what was there, and what was put."""
    return {
        "rule": rule,
        "from": f"{describe_activation(site.activation, site.parameters)} ({site.written})",
        "to": describe_activation(activation, parameters),
        "nodes": ", ".join(n.name or n.op_type for n in site.nodes),
    }


def _use_of(site: Site) -> tuple[ir.Node, int]:
    """A use of the site's input inside the site: it follows the value when that is replaced."""
    for node in site.nodes:
        for index, value in enumerate(node.inputs):
            if value is site.input:
                return node, index
    message = f"site {site.id} does not use its input"
    raise AssertionError(message)


def _hashable(value: object) -> object:
    return (value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value
