"""Swapping activations that are named in an attribute of a recurrent or fused operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import onnx_ir as ir

from onnx_act.graph.attribute_sites import (
    RECURRENT_FUNCTIONS,
    recurrent_names,
    recurrent_parameters,
)
from onnx_act.graph.describe import describe_activation
from onnx_act.graph.probe_models import node_probe
from onnx_act.rewrite.fused_operators import fused_alone, fused_attributes, fused_probe
from onnx_act.rewrite.rule import Change, Fidelity, Refusal, WrittenActivation
from onnx_act.rewrite.unfuse import unfusing
from onnx_act.rewrite.writing import Writer, provenance_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx_act.activations.activation import Activation, Parameters
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Proposal

# Function of an `activations` attribute -> the parameters it takes, in the order alpha, beta.
_TAKES: Final = {
    "leaky_relu": ("LeakyRelu", ("negative_slope",)),
    "threshold": ("ThresholdedRelu", ("threshold",)),
    "elu": ("Elu", ("alpha",)),
    "hardsigmoid": ("HardSigmoid", ("alpha", "beta")),
    "relu": ("Relu", ()),
    "tanh": ("Tanh", ()),
    "sigmoid": ("Sigmoid", ()),
    "softsign": ("Softsign", ()),
    "softplus": ("Softplus", ()),
}
_PROBE_HIDDEN: Final = 2
_GATES: Final = {"RNN": 1, "GRU": 3, "LSTM": 4}


def swap_recurrent(
    rule: str, site: Site, target: Activation, parameters: Parameters, writer: Writer
) -> Proposal:
    """A change of one entry of an `activations` attribute, where ONNX allows the target there."""
    taken = _TAKES.get(target.name)
    if taken is None or (target.name == "threshold" and parameters["value"] != 0):
        allowed = ", ".join(sorted(_TAKES))
        reason = f"{site.nodes[0].op_type} cannot name {target.name}; it can name {allowed}"
        return Refusal(rule, site.id, site.name, reason)
    if target.name == "softplus" and parameters["beta"] != 1:
        return Refusal(rule, site.id, site.name, "a recurrent Softplus has no beta")
    (node,) = site.nodes
    assert site.slot is not None
    position = site.slot.position
    numbers = [float(parameters[n]) for n in taken[1]]
    changed = _with_function(node, position, taken[0], numbers)
    # Kernels do not depend on how large the state is: nodes that differ in that ask once.
    small = [a for a in changed if a.name != "hidden_size"]
    small.append(ir.AttrInt64("hidden_size", _PROBE_HIDDEN))
    trial = ir.Node(node.domain, node.op_type, [], small)
    assert site.dtype is not None
    probe = node_probe(
        trial, _shapes(node), site.dtype, site.scope, writer.model.content.ir_version
    )
    # ONNX Runtime 1.20 to 1.23 end the process on some of these functions.
    reason_against = writer.targets.reason_against(probe, may_crash=True)
    if reason_against is not None:
        return Refusal(rule, site.id, site.name, f"{node.op_type}: {reason_against}")

    def apply(editor: Editor) -> None:
        # Another entry of the same node may have changed meanwhile: start from what is there.
        fresh = _with_function(node, position, taken[0], numbers)
        for name in [n for n in node.attributes if n.startswith("activation")]:
            node.attributes.pop(name)
        for attribute in fresh:
            node.attributes[attribute.name] = attribute
        editor.note(node, provenance_of(rule, site, target, parameters))

    return Change(
        rule=rule,
        fidelity=Fidelity.SEMANTIC,
        site=site.id,
        before=describe_activation(site.activation, site.parameters),
        after=describe_activation(target, parameters),
        nodes=(node.name or node.op_type,),
        apply=apply,
    )


def _with_function(
    node: ir.Node, position: int, function: str, numbers: list[float]
) -> list[ir.Attr]:
    """The node's attributes with one entry of its functions changed, parameters realigned."""
    names = list(recurrent_names(node))
    pairs = recurrent_parameters(node)
    names[position] = function
    pairs[position] = (
        numbers[0] if numbers else None,
        numbers[1] if len(numbers) > 1 else None,
    )
    # Values are taken in order by the functions that want them, so every one must state its own.
    alphas: list[float] = []
    betas: list[float] = []
    for name, (alpha, beta) in zip(names, pairs, strict=True):
        wants = next(n for k, n in RECURRENT_FUNCTIONS.items() if k.lower() == name.lower())
        defaults = {"hardsigmoid": (0.2, 0.5), "leakyrelu": (0.01, 0.0)}
        low, high = defaults.get(name.lower(), (1.0, 0.0))
        if wants >= 1:
            alphas.append(low if alpha is None else alpha)
        if wants >= 2:
            betas.append(high if beta is None else beta)
    skipped = {"activations", "activation_alpha", "activation_beta"}
    kept = [a for name, a in node.attributes.items() if name not in skipped]
    kept.append(ir.AttrStrings("activations", names))
    if alphas:
        kept.append(ir.AttrFloat32s("activation_alpha", alphas))
    if betas:
        kept.append(ir.AttrFloat32s("activation_beta", betas))
    return kept


def _shapes(node: ir.Node) -> list[tuple[int, ...]]:
    """Small input shapes that agree with the node's kind and directions."""
    hidden = _PROBE_HIDDEN
    direction = node.attributes.get("direction")
    both = 2 if direction is not None and direction.as_string() == "bidirectional" else 1
    rows = _GATES[node.op_type] * hidden
    return [(1, 1, 1), (both, rows, 1), (both, rows, hidden)]


def swap_fused(
    rule: str, site: Site, target: Activation, parameters: Parameters, writer: Writer
) -> Proposal:
    """A swap inside a fused operator: in place where its kernels take it, else unfused first."""
    (node,) = site.nodes
    attributes = fused_attributes(node.op_type, target, parameters)
    if attributes is not None:
        probe = fused_probe(node, attributes, site, writer.model.content.ir_version)
        if probe is not None and writer.targets.reason_against(probe) is None:

            def apply(editor: Editor) -> None:
                for name in [n for n in node.attributes if n.startswith("activation")]:
                    node.attributes.pop(name)
                for attribute in attributes:
                    node.attributes[attribute.name] = attribute
                editor.note(node, provenance_of(rule, site, target, parameters))

            version = writer.model.content.ir_version
            alone = fused_alone(node, attributes, site, version)
            label = f"{describe_activation(target, parameters)} (inside {node.op_type})"
            written = WrittenActivation(target, parameters, label, alone)
            return _change(rule, site, target, parameters, apply, written)
    lowering = writer.choose(site, target, parameters)
    if isinstance(lowering, str):
        return Refusal(rule, site.id, site.name, lowering)
    edit = unfusing(rule, site, target, parameters, lowering)
    if edit is None:
        reason = f"{node.op_type} cannot be taken apart here; its activation cannot be exchanged"
        return Refusal(rule, site.id, site.name, reason)
    written = writer.written(site, target, parameters, lowering)
    return _change(rule, site, target, parameters, edit, written)


def _change(
    rule: str,
    site: Site,
    target: Activation,
    parameters: Parameters,
    apply: Callable[[Editor], None],
    written: WrittenActivation,
) -> Change:
    return Change(
        rule=rule,
        fidelity=Fidelity.SEMANTIC,
        site=site.id,
        before=describe_activation(site.activation, site.parameters),
        after=describe_activation(target, parameters),
        nodes=tuple(n.name or n.op_type for n in site.nodes),
        apply=apply,
        written=written,
    )
