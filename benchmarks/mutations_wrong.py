"""Wrong changes to a model, as a bad fold, fusion, export or hand makes them.

Each takes a proto that it may edit and a generator of random numbers, and says what it did, or
None where the model has no place for it. Whether what it did shows in an output is another
question (`mutations_truth`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from mutations_weights import (
    bias_changed,
    bit_changed,
    channels_changed,
    one_of,
    rounded_changed,
    scale_changed,
    scale_sign_changed,
)
from onnx import helper
from proto_edits import (
    array_of,
    attribute_of,
    float_type,
    is_floats,
    nodes_of,
    opset_of,
    set_array,
    set_attribute,
    tensors_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

    Wrong = Callable[[onnx.ModelProto, np.random.Generator], str | None]

_SLOPED: Final = {"LeakyRelu": 0.01, "Elu": 1.0, "Celu": 1.0, "Selu": 1.67326, "HardSigmoid": 0.2}
_ANOTHER: Final = {
    "Relu": "Elu",
    "Sigmoid": "HardSigmoid",
    "Tanh": "Softsign",
    "Elu": "Selu",
    "Softplus": "Relu",
    "Erf": "Tanh",
}
_ORDERED: Final = ("Sub", "Div", "Pow", "Less", "Greater")


def _slope(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """A slope 1 % off."""
    node = one_of(rng, nodes_of(model, *_SLOPED, "PRelu"))
    if node is None:
        return None
    if node.op_type == "PRelu":
        slopes = array_of(model, node.input[1])
        if slopes is None or not is_floats(slopes) or not np.any(slopes):
            return None
        set_array(model, node.input[1], (slopes * 1.01).astype(slopes.dtype))
    else:
        before = attribute_of(node, "alpha", _SLOPED[node.op_type])
        if not before:
            return None
        set_attribute(node, "alpha", 1.01 * before)
    return f"{node.op_type} {node.output[0]}"


def _pad_side(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """Padding at the other side."""
    padded = [
        n
        for n in nodes_of(model, "Conv", "MaxPool", "AveragePool")
        if any(p > 0 for p in attribute_of(n, "pads", []))
    ]
    node = one_of(rng, padded)
    if node is None:
        return None
    pads = list(attribute_of(node, "pads"))
    half = len(pads) // 2
    axis = next((i for i in range(half) if pads[i] > 0), None)
    if axis is None:
        return None
    pads[axis] -= 1
    pads[axis + half] += 1
    set_attribute(node, "pads", pads)
    return f"{node.op_type} {node.output[0]}"


def _pad_value(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """Another value in the padding."""
    constant = [
        n for n in nodes_of(model, "Pad") if attribute_of(n, "mode", b"constant") == b"constant"
    ]
    node = one_of(rng, constant)
    if node is None:
        return None
    if opset_of(model) < 11:
        set_attribute(node, "value", 0.5)
    elif len(node.input) > 2 and is_floats(array_of(model, node.input[2])):
        before = array_of(model, node.input[2])
        assert before is not None
        set_array(model, node.input[2], np.full_like(before, 0.5))
    else:
        return None
    return f"Pad {node.output[0]}"


def _operands(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """The operands of an operator exchanged that does not commute."""
    node = one_of(rng, nodes_of(model, *_ORDERED))
    if node is None or node.input[0] == node.input[1]:
        return None
    first, second = node.input[0], node.input[1]
    node.input[0], node.input[1] = second, first
    return f"{node.op_type} {node.output[0]}"


def _branches(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """The branches of an If exchanged."""
    node = one_of(rng, nodes_of(model, "If"))
    if node is None:
        return None
    for attribute in node.attribute:
        other = {"then_branch": "else_branch", "else_branch": "then_branch"}
        attribute.name = other.get(attribute.name, attribute.name)
    return f"If {node.output[0]}"


def _gelu_mode(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """GELU by tanh for GELU by erf, or the other way."""
    node = one_of(rng, [n for n in nodes_of(model, "Gelu") if n.domain in {"", "ai.onnx"}])
    if node is None:
        return None
    now = attribute_of(node, "approximate", b"none")
    set_attribute(node, "approximate", "tanh" if now == b"none" else "none")
    return f"Gelu {node.output[0]}"


def _bound(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """A bound moved by 5 %."""
    node = one_of(rng, nodes_of(model, "Clip"))
    if node is None:
        return None
    for index, name in ((2, "max"), (1, "min")):
        held = attribute_of(node, name)
        if held and abs(held) < 1e30:
            set_attribute(node, name, 0.95 * held)
            return f"Clip {node.output[0]}"
        bound = array_of(model, node.input[index]) if len(node.input) > index else None
        if bound is not None and is_floats(bound) and np.any(bound):
            set_array(model, node.input[index], (bound * 0.95).astype(bound.dtype))
            return f"Clip {node.output[0]}"
    return None


def _kink(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:  # noqa: ARG001 - the first
    """Relu where LeakyRelu or PRelu was, at the first of them."""
    node = next(iter(nodes_of(model, "LeakyRelu", "PRelu")), None)
    if node is None:
        return None
    node.op_type = "Relu"
    del node.input[1:]
    del node.attribute[:]
    return f"Relu {node.output[0]}"


def _axis(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """Another axis, or two exchanged in a Transpose."""
    node = one_of(rng, nodes_of(model, "Concat", "Softmax", "Transpose", "LogSoftmax", "Gather"))
    if node is None:
        return None
    if node.op_type == "Transpose":
        order = list(attribute_of(node, "perm", []))
        if len(order) < 2:
            return None
        order[-2], order[-1] = order[-1], order[-2]
        set_attribute(node, "perm", order)
    else:
        now = attribute_of(node, "axis", -1 if "Softmax" in node.op_type else 0)
        set_attribute(node, "axis", now - 1 if now else 1)
    return f"{node.op_type} {node.output[0]}"


def _epsilon(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """An epsilon of 1e-3 for 1e-5, or the other way."""
    kinds = ("BatchNormalization", "LayerNormalization", "InstanceNormalization")
    node = one_of(rng, nodes_of(model, *kinds))
    if node is None:
        return None
    now = attribute_of(node, "epsilon", 1e-5)
    set_attribute(node, "epsilon", 1e-3 if now < 5e-4 else 1e-5)
    return f"{node.op_type} {node.output[0]}"


def _stride(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """A kernel that is moved or spread otherwise, to the same shape where that can be."""
    node = one_of(rng, [n for n in nodes_of(model, "Conv") if attribute_of(n, "kernel_shape")])
    if node is None:
        return None
    kernel = attribute_of(node, "kernel_shape")
    pads = attribute_of(node, "pads", [0] * (2 * len(kernel)))
    if kernel[-1] == 3 and list(pads) == [1] * (2 * len(kernel)):
        set_attribute(node, "dilations", [2] * len(kernel))
        set_attribute(node, "pads", [2] * (2 * len(kernel)))
    else:
        strides = [3 - s if s < 3 else 1 for s in attribute_of(node, "strides", [1] * len(kernel))]
        set_attribute(node, "strides", strides)
    return f"Conv {node.output[0]}"


def _another(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """Another activation."""
    node = one_of(rng, nodes_of(model, *_ANOTHER))
    if node is None:
        return None
    was = node.op_type
    node.op_type = _ANOTHER[was]
    del node.attribute[:]
    return f"{node.op_type} for {was} {node.output[0]}"


def _constant(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """A number in a formula 1 % off."""
    found = []
    for node in nodes_of(model, "Mul", "Add", "Div", "Sub", "Pow"):
        for name in node.input:
            held = array_of(model, name)
            if held is not None and is_floats(held) and held.size == 1 and np.any(held):
                found.append((node, name, held))
    chosen = one_of(rng, found)
    if chosen is None:
        return None
    node, name, held = chosen
    set_array(model, name, (held * 1.01).astype(held.dtype))
    return f"{node.op_type} {node.output[0]}"


def _residual(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """One summand or factor left out."""
    held = tensors_of(model)
    both = [
        n
        for n in nodes_of(model, "Add", "Mul")
        if n.input[0] not in held and n.input[1] not in held
    ]
    node = one_of(rng, both)
    if node is None:
        return None
    node.op_type = "Identity"
    del node.input[1:]
    return f"Identity {node.output[0]}"


def _counting(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """Padding counted in an average that was not, or the other way."""
    padded = [n for n in nodes_of(model, "AveragePool") if any(attribute_of(n, "pads", []))]
    node = one_of(rng, padded)
    if node is None:
        return None
    set_attribute(node, "count_include_pad", 1 - attribute_of(node, "count_include_pad", 0))
    return f"AveragePool {node.output[0]}"


def _resize(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """Another way to resize."""
    node = one_of(rng, nodes_of(model, "Resize", "Upsample"))
    if node is None:
        return None
    now = attribute_of(node, "mode", b"nearest")
    set_attribute(node, "mode", "linear" if now == b"nearest" else "nearest")
    return f"{node.op_type} {node.output[0]}"


def _lost_scaling(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """A factor lost: alpha of a Gemm, or a Mul by a constant made an Identity."""
    node = one_of(rng, nodes_of(model, "Gemm", "Mul"))
    if node is None:
        return None
    if node.op_type == "Gemm":
        set_attribute(node, "beta", 0.98 * attribute_of(node, "beta", 1.0))
        return f"Gemm {node.output[0]}" if len(node.input) > 2 else None
    constant = [i for i, name in enumerate(node.input) if is_floats(array_of(model, name))]
    held = array_of(model, node.input[constant[0]]) if constant else None
    if held is None or held.size > 64 or float_type(model) is None:
        return None
    kept = node.input[1 - constant[0]]
    output = node.output[0]
    node.CopyFrom(helper.make_node("Identity", [kept], [output]))
    return f"Identity {output}"


#: What to call each kind of wrong change -> how it is made.
WRONG: Final[dict[str, Wrong]] = {
    "slope off by 1 %": _slope,
    "bias of a channel lost": bias_changed,
    "padding at the other side": _pad_side,
    "padding by another value": _pad_value,
    "operands exchanged": _operands,
    "branches of If exchanged": _branches,
    "GELU mode exchanged": _gelu_mode,
    "bound moved by 5 %": _bound,
    "scale of a channel negated": scale_sign_changed,
    "one bit of a weight flipped": bit_changed,
    "Relu for LeakyRelu": _kink,
    "another axis": _axis,
    "another epsilon": _epsilon,
    "another stride or dilation": _stride,
    "another activation": _another,
    "constant off by 1 %": _constant,
    "channels exchanged": channels_changed,
    "summand or factor left out": _residual,
    "padding counted in a mean": _counting,
    "scale or step off by 1 %": scale_changed,
    "weights cut short": rounded_changed,
    "another way to resize": _resize,
    "factor lost": _lost_scaling,
}
