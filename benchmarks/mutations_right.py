"""Right changes to a model: our own, and those that anyone may make.

Each takes a proto and a generator of random numbers, and gives the changed proto, or None where
the model has no place for it. What rounds is rounded otherwise by some of them, as by every fold;
what a model computes in exact arithmetic none of them changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
from mutations_ours import contrib, portable, raised, respelled, undone
from onnx import helper
from proto_edits import (
    FLOAT,
    FLOAT16,
    add_constant,
    array_of,
    attribute_of,
    float_type,
    fresh,
    holds_type,
    is_floats,
    main_nodes,
    opset_of,
    replace_node,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Right = Callable[[onnx.ModelProto, np.random.Generator], onnx.ModelProto | None]


def _renamed(node: onnx.NodeProto, output: str) -> onnx.NodeProto:
    """A copy of a node that gives a value of another name."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    made.output[0] = output
    return made


def _commuted(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """The operands of what commutes exchanged, everywhere."""
    nodes = [n for n in main_nodes(model, "Add", "Mul", "Max", "Min") if len(n.input) == 2]
    for node in nodes:
        first, second = node.input[0], node.input[1]
        node.input[0], node.input[1] = second, first
    return model if nodes else None


def _identities(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """An Identity before every activation and Conv."""
    nodes = main_nodes(model, "Conv", "Relu", "LeakyRelu", "Sigmoid", "Add", "Mul")
    for node in nodes:
        name = fresh(model, "same")
        passed = helper.make_node("Identity", [node.input[0]], [name])
        node.input[0] = name
        replace_node(model, node.output[0], [passed, node])
    return model if nodes else None


def _constants(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """Weights as Constant nodes instead of initializers."""
    listed = {v.name for v in model.graph.input}
    held = [t for t in model.graph.initializer if t.name not in listed]
    if not held:
        return None
    kept = [t for t in model.graph.initializer if t.name in listed]
    made = [helper.make_node("Constant", [], [t.name], value=t) for t in held]
    nodes = list(model.graph.node)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend([*made, *nodes])
    model.graph.initializer.extend(kept)
    return model


def _bias_added(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """The bias of every Conv added by an operator of its own."""
    done = False
    for node in main_nodes(model, "Conv"):
        bias = array_of(model, node.input[2]) if len(node.input) > 2 else None
        kernel = array_of(model, node.input[1])
        if bias is None or kernel is None:
            continue
        shape = (1, len(bias), *([1] * (kernel.ndim - 2)))
        name = add_constant(model, "bias", bias.reshape(shape))
        plain, output = fresh(model, "unbiased"), node.output[0]
        inner = _renamed(node, plain)
        del inner.input[2:]
        replace_node(model, output, [inner, helper.make_node("Add", [plain, name], [output])])
        done = True
    return model if done else None


def _normalised(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """Every BatchNormalization as a Mul and an Add, its numbers taken together in float64."""
    done = False
    for node in main_nodes(model, "BatchNormalization"):
        held = [array_of(model, name) for name in node.input[1:5]]
        if len(node.output) > 1 or any(not is_floats(h) for h in held):
            continue
        scale, shift, mean, var = (h.astype(np.float64) for h in held if h is not None)
        gain = scale / np.sqrt(var + attribute_of(node, "epsilon", 1e-5))
        kind = held[0].dtype if held[0] is not None else np.float32
        shape = (1, -1, 1, 1)
        a = add_constant(model, "gain", gain.reshape(shape).astype(kind))
        b = add_constant(model, "shift", (shift - mean * gain).reshape(shape).astype(kind))
        middle = fresh(model, "scaled")
        replace_node(
            model,
            node.output[0],
            [
                helper.make_node("Mul", [node.input[0], a], [middle]),
                helper.make_node("Add", [middle, b], [node.output[0]]),
            ],
        )
        done = True
    return model if done and len(model.graph.input[0].type.tensor_type.shape.dim) == 4 else None


def _folded_scale(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:
    """The weights of one Conv times a number per channel, divided by it behind the Conv."""
    nodes = [n for n in main_nodes(model, "Conv") if is_floats(array_of(model, n.input[1]))]
    if not nodes:
        return None
    node = nodes[int(rng.integers(len(nodes)))]
    kernel = array_of(model, node.input[1])
    assert kernel is not None
    factor = rng.uniform(0.5, 2.0, len(kernel))
    shape = (-1, *([1] * (kernel.ndim - 1)))
    scaled = (kernel.astype(np.float64) * factor.reshape(shape)).astype(kernel.dtype)
    node.input[1] = add_constant(model, "kernel", scaled)
    if len(node.input) > 2 and node.input[2]:
        bias = array_of(model, node.input[2])
        if bias is None:
            return None
        scaled = (bias.astype(np.float64) * factor).astype(bias.dtype)
        node.input[2] = add_constant(model, "bias", scaled)
    shape = (1, -1, *([1] * (kernel.ndim - 2)))
    back = add_constant(model, "back", (1.0 / factor).reshape(shape).astype(kernel.dtype))
    output, middle = node.output[0], fresh(model, "grown")
    inner = _renamed(node, middle)
    replace_node(model, output, [inner, helper.make_node("Mul", [middle, back], [output])])
    return model


def _permuted(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:
    """The channels of one Conv in another order, put back behind it."""
    nodes = [n for n in main_nodes(model, "Conv") if is_floats(array_of(model, n.input[1]))]
    nodes = [n for n in nodes if attribute_of(n, "group", 1) == 1]
    if not nodes:
        return None
    node = nodes[int(rng.integers(len(nodes)))]
    kernel = array_of(model, node.input[1])
    assert kernel is not None
    order = rng.permutation(len(kernel))
    node.input[1] = add_constant(model, "kernel", kernel[order])
    if len(node.input) > 2 and node.input[2]:
        bias = array_of(model, node.input[2])
        if bias is None:
            return None
        node.input[2] = add_constant(model, "bias", bias[order])
    back = add_constant(model, "order", np.argsort(order).astype(np.int64))
    output, middle = node.output[0], fresh(model, "mixed")
    inner = _renamed(node, middle)
    gather = helper.make_node("Gather", [middle, back], [output], axis=1)
    replace_node(model, output, [inner, gather])
    return model


def _relu_as_max(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """Every Relu as a Max with zero."""
    kind = float_type(model)
    nodes = main_nodes(model, "Relu")
    if not nodes or kind is None or opset_of(model) < 8:
        return None
    zero = add_constant(model, "zero", np.zeros((), kind))
    for node in nodes:
        replace_node(
            model, node.output[0], [helper.make_node("Max", [node.input[0], zero], node.output)]
        )
    return model


def _leaky_as_max(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """Every LeakyRelu as the larger of x and slope * x."""
    kind = float_type(model)
    nodes = main_nodes(model, "LeakyRelu")
    if not nodes or kind is None or opset_of(model) < 8:
        return None
    for node in nodes:
        slope = add_constant(model, "slope", np.array(attribute_of(node, "alpha", 0.01), kind))
        middle = fresh(model, "sloped")
        x = node.input[0]
        replace_node(
            model,
            node.output[0],
            [
                helper.make_node("Mul", [x, slope], [middle]),
                helper.make_node("Max", [x, middle], node.output),
            ],
        )
    return model


def _division(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """Multiplication by the reciprocal for division by a number, and the other way."""
    done = False
    for node in main_nodes(model, "Mul", "Div"):
        held = array_of(model, node.input[1])
        if held is None or not is_floats(held) or not np.all(held):
            continue
        inverse = (1.0 / held.astype(np.float64)).astype(held.dtype)
        if not np.all(np.isfinite(inverse)) or np.any(np.abs(inverse) < 1e-3):
            continue
        node.input[1] = add_constant(model, "inverse", inverse)
        node.op_type = "Div" if node.op_type == "Mul" else "Mul"
        done = True
    return model if done else None


def _difference(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """The sum with what is negative for a difference."""
    done = False
    for node in main_nodes(model, "Sub"):
        held = array_of(model, node.input[1])
        if held is None or not is_floats(held):
            continue
        node.input[1] = add_constant(model, "negated", -held)
        node.op_type = "Add"
        done = True
    return model if done else None


def _pooled(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """A GlobalAveragePool as a mean over the image."""
    nodes = main_nodes(model, "GlobalAveragePool")
    if not nodes or opset_of(model) >= 18:
        return None
    for node in nodes:
        mean = helper.make_node("ReduceMean", node.input, node.output, axes=[2, 3], keepdims=1)
        replace_node(model, node.output[0], [mean])
    return model


def _gemm_apart(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """A Gemm as a MatMul and an Add."""
    done = False
    for node in main_nodes(model, "Gemm"):
        weights = array_of(model, node.input[1])
        plain = all(attribute_of(node, a, 1.0) == 1.0 for a in ("alpha", "beta"))
        if weights is None or not plain or attribute_of(node, "transA", 0) or len(node.input) < 3:
            continue
        turned = weights.T.copy() if attribute_of(node, "transB", 0) else weights
        name, middle = add_constant(model, "turned", turned), fresh(model, "product")
        replace_node(
            model,
            node.output[0],
            [
                helper.make_node("MatMul", [node.input[0], name], [middle]),
                helper.make_node("Add", [middle, node.input[2]], node.output),
            ],
        )
        done = True
    return model if done else None


def _widened(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """Activations computed in float64 between casts."""
    code = FLOAT if float_type(model) is np.float32 else FLOAT16
    nodes = main_nodes(model, "Relu", "Sigmoid", "Tanh", "Erf", "Exp")
    nodes = [n for n in nodes if n.op_type in {"Relu", "Sigmoid", "Tanh", "Exp"}]
    if not nodes or opset_of(model) < 13 or holds_type(model, onnx.TensorProto.BFLOAT16):
        return None
    for node in nodes:
        wide, result = fresh(model, "wide"), fresh(model, "result") + "_wide"
        before = helper.make_node("Cast", [node.input[0]], [wide], to=onnx.TensorProto.DOUBLE)
        after = helper.make_node("Cast", [result], [node.output[0]], to=code)
        inner = helper.make_node(node.op_type, [wide], [result])
        replace_node(model, node.output[0], [before, inner, after])
    return model


def _scaled_exactly(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:
    """The weights of one Conv or MatMul times 4, and its result times a quarter."""
    nodes = [
        n
        for n in main_nodes(model, "Conv", "MatMul")
        if is_floats(array_of(model, n.input[1])) and len(n.input) == 2
    ]
    if not nodes:
        return None
    node = nodes[int(rng.integers(len(nodes)))]
    weights = array_of(model, node.input[1])
    assert weights is not None
    node.input[1] = add_constant(model, "grown", weights * weights.dtype.type(0.25))
    four = add_constant(model, "four", np.array(4.0, weights.dtype))
    middle, output = fresh(model, "small"), node.output[0]
    inner = _renamed(node, middle)
    replace_node(model, output, [inner, helper.make_node("Mul", [middle, four], [output])])
    return model


def _unnamed(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto | None:  # noqa: ARG001
    """Nodes without names."""
    for node in main_nodes(model):
        node.name = ""
    return model


#: What to call each kind of right change -> how it is made.
RIGHT: Final[dict[str, Right]] = {
    "ours: portable": portable,
    "ours: contrib": contrib,
    "ours: contrib, undone": undone,
    "ours: opset raised": raised,
    "ours: respelled": respelled,
    "operands commuted": _commuted,
    "Identity inserted": _identities,
    "weights as Constant": _constants,
    "bias added apart": _bias_added,
    "normalisation as Mul, Add": _normalised,
    "scale folded and undone": _folded_scale,
    "channels permuted and back": _permuted,
    "Relu as Max": _relu_as_max,
    "LeakyRelu as Max": _leaky_as_max,
    "reciprocal for division": _division,
    "sum for difference": _difference,
    "mean for pooling": _pooled,
    "Gemm as MatMul, Add": _gemm_apart,
    "activation in float64": _widened,
    "weights times a power of 2": _scaled_exactly,
    "names of nodes dropped": _unnamed,
}
