"""Activations named in attributes: of recurrent operators, and of fused contrib operators."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import onnx_ir as ir

from onnx_act.activations.activation import MICROSOFT
from onnx_act.activations.catalogue import named
from onnx_act.errors import UsageError
from onnx_act.graph.digits import as_written
from onnx_act.graph.sampling import NO_BOUND, activation_by_attribute, marked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_act.activations.primitives import Expr

# What each function of one direction does, in the order of the standard; "gate" functions
# multiply another path.
_RECURRENT: Final = {
    "RNN": (("hidden", False),),
    "GRU": (("gates", True), ("hidden", False)),
    "LSTM": (("gates", True), ("cell", False), ("hidden", False)),
}
_DEFAULTS: Final = {
    "RNN": ("Tanh",),
    "GRU": ("Sigmoid", "Tanh"),
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
}
#: The functions an `activations` attribute may name, and how many parameters each takes.
RECURRENT_FUNCTIONS: Final = {
    "Affine": 2,
    "Relu": 0,
    "LeakyRelu": 1,
    "ThresholdedRelu": 1,
    "Tanh": 0,
    "ScaledTanh": 2,
    "Sigmoid": 0,
    "HardSigmoid": 2,
    "Elu": 1,
    "Softsign": 0,
    "Softplus": 0,
}
_GROUP_NORM_SILU: Final = 1


@dataclass(frozen=True, slots=True)
class AttributeSlot:
    """One activation inside an operator.

    Attributes:
        name: the slot, such as `activations[1]` or `activation`.
        text: the activation as it is spelled there.
        expression: what it computes, None when the spelling is not known.
        recurrent_gate: None for a fused operator; else whether the function multiplies another
            path (input, forget, update gates) or makes the state.
        position: its index in the `activations` list.
    """

    name: str
    text: str
    expression: Expr | None
    recurrent_gate: bool | None = None
    position: int = 0


def fused_activations(node: ir.Node) -> Iterator[AttributeSlot]:
    """The activations that a node's attributes name."""
    if node.domain == "" and node.op_type in _RECURRENT:
        yield from _recurrent(node)
    elif node.domain == MICROSOFT:
        slot = _contrib(node)
        if slot is not None:
            yield slot


def _floats(node: ir.Node, name: str) -> tuple[float, ...]:
    found = node.attributes.get(name)
    if found is None or found.is_ref():
        return ()
    if found.type is ir.AttributeType.FLOAT:
        return (as_written(found.as_float(), ir.DataType.FLOAT),)
    if found.type is ir.AttributeType.FLOATS:
        return tuple(as_written(v, ir.DataType.FLOAT) for v in found.as_floats())
    return ()


def recurrent_names(node: ir.Node) -> tuple[str, ...]:
    """The functions of a recurrent node, for every direction, defaults filled in."""
    attribute = node.attributes.get("direction")
    both = attribute is not None and attribute.as_string() == "bidirectional"
    stated = node.attributes.get("activations")
    if stated is not None and not stated.is_ref():
        return tuple(stated.as_strings())
    return _DEFAULTS[node.op_type] * (2 if both else 1)


def recurrent_parameters(node: ir.Node) -> list[tuple[float | None, float | None]]:
    """(alpha, beta) of every function; values go in order to the functions that want them."""
    alphas, betas = list(_floats(node, "activation_alpha")), list(_floats(node, "activation_beta"))
    found: list[tuple[float | None, float | None]] = []
    for name in recurrent_names(node):
        wants = next((n for k, n in RECURRENT_FUNCTIONS.items() if k.lower() == name.lower()), 0)
        alpha = alphas.pop(0) if wants >= 1 and alphas else None
        beta = betas.pop(0) if wants >= 2 and betas else None
        found.append((alpha, beta))
    return found


def _recurrent(node: ir.Node) -> Iterator[AttributeSlot]:
    kinds = _RECURRENT[node.op_type]
    names = recurrent_names(node)
    given = _is_given_by_a_caller(node)
    for position, (name, (alpha, beta)) in enumerate(
        zip(names, recurrent_parameters(node), strict=True)
    ):
        _, is_gate = kinds[position % len(kinds)]
        yield AttributeSlot(
            name=f"activations[{position}]",
            text=name,
            expression=None if given else activation_by_attribute(name, alpha, beta),
            recurrent_gate=is_gate,
            position=position,
        )


def _is_given_by_a_caller(node: ir.Node) -> bool:
    """Whether a call of the function that holds the node says what it applies, or with what."""
    return any(a.is_ref() for n, a in node.attributes.items() if n.startswith("activation"))


def _contrib(node: ir.Node) -> AttributeSlot | None:
    match node.op_type:
        case "BiasGelu":
            return AttributeSlot("Gelu", "Gelu", named("gelu").expression())
        case "FastGelu" if len(node.inputs) > 1 and node.inputs[1] is not None:
            tanh = named("gelu").expression({"approximate": "tanh"})
            return AttributeSlot("Gelu", "Gelu", tanh)
        case "GroupNorm" | "SkipGroupNorm":
            stated = node.attributes.get("activation")
            if stated is not None and not stated.is_ref() and stated.as_int() == _GROUP_NORM_SILU:
                return AttributeSlot("activation", "SiLU", named("silu").expression())
            return None
        case "FusedConv" | "NhwcFusedConv" | "FusedGemm":
            return _fused(node)
    return None


def _fused(node: ir.Node) -> AttributeSlot | None:
    stated = node.attributes.get("activation")
    if stated is None:
        return None
    if _is_given_by_a_caller(node):
        return AttributeSlot("activation", "given by a caller", None)
    if stated.type is not ir.AttributeType.STRING or not stated.as_string():
        return None
    name = stated.as_string()
    if node.op_type == "FusedGemm":
        given = [_floats(node, f"activation_{n}") for n in ("alpha", "beta", "gamma")]
        alpha, beta, gamma = (v[0] if v else None for v in given)
    else:
        values = (*_floats(node, "activation_params"), None, None)
        alpha, beta, gamma = values[0], values[1], None
    return AttributeSlot("activation", name, _fused_expression(name, alpha, beta, gamma))


def _fused_expression(
    name: str, alpha: float | None, beta: float | None, gamma: float | None
) -> Expr | None:
    try:
        match name:
            case "Clip":
                if alpha is None or beta is None:
                    return None
                bounds = {"min": _open_end(alpha), "max": _open_end(beta)}
                return marked(named("hardtanh").expression(bounds), (alpha, beta))
            case "Selu":
                given = {"alpha": alpha, "gamma": gamma}
                stated = {k: v for k, v in given.items() if v is not None}
                return marked(named("selu").expression(stated), stated.values())
    except UsageError:  # a value that the activation does not take, such as NaN
        return None
    return activation_by_attribute(name, alpha, beta)


def _open_end(bound: float) -> float:
    """A bound, infinite where it is the largest float32: kernels have no other way to say none."""
    return math.copysign(math.inf, bound) if abs(bound) >= NO_BOUND else bound
