"""Wrong changes to the weights of a model, see `mutations_wrong`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from proto_edits import array_of, attribute_of, is_floats, nodes_of, set_array, tensors_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx


def one_of(rng: np.random.Generator, found: Sequence[Any]) -> Any:
    """One of several at random; None of none."""
    return found[int(rng.integers(len(found)))] if len(found) else None


def bias_changed(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """The bias of one channel lost."""
    biased = [n for n in nodes_of(model, "Conv", "ConvTranspose", "Gemm") if len(n.input) > 2]
    node = one_of(rng, biased)
    bias = None if node is None else array_of(model, node.input[2])
    if bias is None or not is_floats(bias) or not np.any(bias):
        return None
    where = one_of(rng, np.flatnonzero(bias).tolist())
    bias.flat[where] = 0
    set_array(model, node.input[2], bias)
    return f"{node.op_type} {node.output[0]} [{where}]"


def scale_sign_changed(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """One channel folded with the wrong sign."""
    node = one_of(rng, nodes_of(model, "BatchNormalization", "Conv", "Gemm"))
    weights = None if node is None else array_of(model, node.input[1])
    if weights is None or not is_floats(weights):
        return None
    transposed = node.op_type == "Gemm" and not attribute_of(node, "transB", 0)
    channels = np.moveaxis(weights, -1, 0) if transposed else weights
    where = int(rng.integers(len(channels)))
    channels[where] = -channels[where]
    set_array(model, node.input[1], weights)
    return f"{node.op_type} {node.output[0]} [{where}]"


def bit_changed(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """One bit of one weight flipped: the exponent's lowest or the mantissa's highest."""
    held = {
        name
        for n in nodes_of(model, "Conv", "Gemm", "MatMul", "ConvTranspose")
        for name in n.input[1:2]
        if name in tensors_of(model)
    }
    name = one_of(rng, sorted(held))
    weights = None if name is None else array_of(model, name)
    if weights is None or not is_floats(weights) or weights.dtype.itemsize not in {2, 4}:
        return None
    # Of the larger half: a bit of a weight that is nearly zero is nearly nothing.
    large = np.flatnonzero(np.abs(weights) >= np.median(np.abs(weights)))
    where = one_of(rng, large.tolist())
    lowest = {2: 10, 4: 23}[weights.dtype.itemsize] - int(rng.integers(2))
    bits = weights.reshape(-1).view(f"u{weights.dtype.itemsize}")
    bits[where] ^= 1 << lowest
    set_array(model, name, weights)
    return f"{name} [{where}] bit {lowest}"


def channels_changed(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """Two output channels of a Conv exchanged."""
    node = one_of(rng, nodes_of(model, "Conv"))
    weights = None if node is None else array_of(model, node.input[1])
    if weights is None or not is_floats(weights) or len(weights) < 2:
        return None
    a, b = (int(i) for i in rng.choice(len(weights), 2, replace=False))
    weights[[a, b]] = weights[[b, a]]
    set_array(model, node.input[1], weights)
    return f"Conv {node.output[0]} [{a}] and [{b}]"


def scale_changed(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """The step of a quantisation, or the scale of a normalisation, 1 % off."""
    kinds = ("QuantizeLinear", "DequantizeLinear", "BatchNormalization", "LayerNormalization")
    node = one_of(rng, nodes_of(model, *kinds))
    held = None if node is None else array_of(model, node.input[1])
    if held is None or not is_floats(held):
        return None
    set_array(model, node.input[1], (held * 1.01).astype(held.dtype))
    return f"{node.op_type} {node.output[0]}"


def rounded_changed(model: onnx.ModelProto, rng: np.random.Generator) -> str | None:
    """The weights of one operator rounded to 8 bits of mantissa less than they have."""
    held = {
        name
        for n in nodes_of(model, "Conv", "Gemm", "MatMul")
        for name in n.input[1:2]
        if name in tensors_of(model)
    }
    name = one_of(rng, sorted(held))
    weights = None if name is None else array_of(model, name)
    if weights is None or not is_floats(weights) or weights.dtype.itemsize not in {2, 4}:
        return None
    step = {2: 6, 4: 19}[weights.dtype.itemsize]
    bits = weights.view(f"u{weights.dtype.itemsize}")
    bits &= np.array(~((1 << step) - 1) & ((1 << 8 * bits.dtype.itemsize) - 1), bits.dtype)
    set_array(model, name, weights)
    return f"{name} cut to {weights.dtype.name} without {step} bits"
