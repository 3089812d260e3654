"""Single faults, planted on purpose in a model that is right, each at a node that is known.

Every kind takes a proto that it may edit, one of its nodes and a source of random numbers, and
says whether it changed something. The names of values and nodes are left as they are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Plant = Callable[["Weights", onnx.NodeProto, np.random.Generator], bool]

_EXCHANGED: Final = {
    "Relu": ("LeakyRelu", "Softplus", "Elu"),
    "LeakyRelu": ("Relu", "Elu"),
    "PRelu": ("LeakyRelu",),
    "Elu": ("Selu", "Relu"),
    "Selu": ("Elu",),
    "Sigmoid": ("HardSigmoid",),
    "HardSigmoid": ("Sigmoid",),
    "Tanh": ("Softsign",),
    "Softplus": ("Relu",),
    "HardSwish": ("Relu",),
}
_DEFAULTS: Final = {
    ("LeakyRelu", "alpha"): 0.01,
    ("Elu", "alpha"): 1.0,
    ("Selu", "alpha"): 1.67326319217681884765625,
    ("Selu", "gamma"): 1.05070102214813232421875,
    ("HardSigmoid", "alpha"): 0.2,
    ("HardSigmoid", "beta"): 0.5,
}
_FACTORS: Final = (0.5, 0.9, 1.02, 1.5)


class Weights:
    """The constants of a proto, by the name of their value, with how often each is used."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._stored = {t.name: t for t in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self._stored[node.output[0]] = attribute.t
        self._uses = Counter(name for node in model.graph.node for name in node.input)

    def floats(self, node: onnx.NodeProto, place: int) -> np.ndarray[Any, Any] | None:
        """A float constant that this node alone uses; None where there is none."""
        name = node.input[place] if place < len(node.input) else ""
        if name not in self._stored or self._uses[name] != 1:
            return None
        array = numpy_helper.to_array(self._stored[name])
        return array.copy() if array.dtype.kind == "f" and array.size else None

    def put(self, node: onnx.NodeProto, place: int, array: np.ndarray[Any, Any]) -> None:
        """Give a constant other numbers."""
        name = node.input[place]
        self._stored[name].CopyFrom(numpy_helper.from_array(array, self._stored[name].name))


@dataclass(frozen=True, slots=True)
class Fault:
    """A planted fault: its kind, and the node it is at."""

    kind: str
    node: str
    output: str


def plant(
    model: onnx.ModelProto, kind: str, rng: np.random.Generator, tries: int = 30
) -> Fault | None:
    """Plant a fault of one kind at a node that is drawn; None where none takes it."""
    weights = Weights(model)
    types = _TYPES[kind]
    fitting = [n for n in model.graph.node if n.op_type in types and n.output[0]]
    for place in rng.permutation(len(fitting))[:tries]:
        node = fitting[int(place)]
        before = model.SerializeToString(deterministic=True)
        planted = KINDS[kind](weights, node, rng)
        if planted and model.SerializeToString(deterministic=True) != before:
            return Fault(kind, node.name, node.output[0])
    return None


def _attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    found = (a for a in node.attribute if a.name == name)
    return next((helper.get_attribute_value(a) for a in found), default)


def _set(node: onnx.NodeProto, name: str, value: Any) -> None:
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def _parameter(weights: Weights, node: onnx.NodeProto, rng: np.random.Generator) -> bool:
    """A parameter that is somewhat off."""
    factor = float(rng.choice(_FACTORS))
    for operator, name in _DEFAULTS:
        if operator == node.op_type:
            _set(node, name, factor * _attribute(node, name, _DEFAULTS[operator, name]))
            return True
    array = weights.floats(node, 1)
    if array is None or not array.any():
        return False
    weights.put(node, 1, (array * factor).astype(array.dtype))
    return True


def _exchange(_: Weights, node: onnx.NodeProto, rng: np.random.Generator) -> bool:
    """Another activation."""
    node.op_type = str(rng.choice(_EXCHANGED[node.op_type]))
    del node.attribute[:]
    del node.input[1:]
    return True


def _bias(weights: Weights, node: onnx.NodeProto, rng: np.random.Generator) -> bool:
    """The bias of one channel dropped."""
    bias = weights.floats(node, 2)
    if bias is None or not bias.any():
        return False
    bias[rng.choice(np.flatnonzero(bias))] = 0.0
    weights.put(node, 2, bias)
    return True


def _weight(weights: Weights, node: onnx.NodeProto, rng: np.random.Generator) -> bool:
    """One number of a weight changed."""
    weight = weights.floats(node, 1)
    if weight is None:
        return False
    place = int(rng.integers(weight.size))
    weight.flat[place] += weight.dtype.type(rng.choice((-1.0, 1.0)) * np.std(weight))
    weights.put(node, 1, weight)
    return True


def _order(_: Weights, node: onnx.NodeProto, __: np.random.Generator) -> bool:
    """Two operands exchanged."""
    first, second = node.input[0], node.input[1]
    if first == second:
        return False
    node.input[0], node.input[1] = second, first
    return True


def _axis(_: Weights, node: onnx.NodeProto, __: np.random.Generator) -> bool:
    """Another axis."""
    if node.op_type == "Transpose":
        perm = list(_attribute(node, "perm", []))
        if len(perm) < 2:
            return False
        perm[-1], perm[-2] = perm[-2], perm[-1]
        _set(node, "perm", perm)
        return True
    axis = _attribute(node, "axis", -1)
    _set(node, "axis", 1 if axis != 1 else 2)
    return True


def _padding(_: Weights, node: onnx.NodeProto, __: np.random.Generator) -> bool:
    """Padding on the other side."""
    pads = list(_attribute(node, "pads", []))
    if len(pads) != 4 or not pads[0]:
        return False
    _set(node, "pads", [pads[0] - 1, pads[1], pads[2] + 1, pads[3]])
    return True


def _epsilon(_: Weights, node: onnx.NodeProto, __: np.random.Generator) -> bool:
    """The default epsilon of another framework."""
    _set(node, "epsilon", 1e-3 if _attribute(node, "epsilon", 1e-5) < 1e-4 else 1e-5)
    return True


def _pool(_: Weights, node: onnx.NodeProto, __: np.random.Generator) -> bool:
    """Another pool."""
    if node.op_type == "MaxPool" and len(node.output) == 1:
        kept = [a for a in node.attribute if a.name in {"kernel_shape", "strides", "pads"}]
        del node.attribute[:]
        node.attribute.extend(kept)
        node.op_type = "AveragePool"
        return True
    if node.op_type == "GlobalAveragePool":
        node.op_type = "GlobalMaxPool"
        return True
    return False


KINDS: Final[dict[str, Plant]] = {
    "parameter off": _parameter,
    "activation exchanged": _exchange,
    "bias dropped in one channel": _bias,
    "one weight changed": _weight,
    "input order swapped": _order,
    "wrong axis": _axis,
    "padding on the other side": _padding,
    "other epsilon": _epsilon,
    "other pool": _pool,
}
_TYPES: Final = {
    "parameter off": {*(t for t, _ in _DEFAULTS), "PRelu", "Mul", "Div", "Add"},
    "activation exchanged": set(_EXCHANGED),
    "bias dropped in one channel": {"Conv", "ConvTranspose", "Gemm", "BatchNormalization"},
    "one weight changed": {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"},
    "input order swapped": {"Concat", "Sub", "Div", "Pow"},
    "wrong axis": {"Concat", "Softmax", "Transpose"},
    "padding on the other side": {"Conv", "MaxPool", "AveragePool"},
    "other epsilon": {"BatchNormalization", "InstanceNormalization", "LayerNormalization"},
    "other pool": {"MaxPool", "GlobalAveragePool"},
}


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node and every inner value has another name."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    kept = {v.name for v in (*graph.input, *graph.output)}
    names: dict[str, str] = {}
    for number, tensor in enumerate(graph.initializer):
        if tensor.name not in kept:
            names[tensor.name] = f"w{number}"
            tensor.name = names[tensor.name]
    for number, node in enumerate(graph.node):
        node.name = f"n{number}"
        _rename(node.input, names)
        for place, output in enumerate(node.output):
            if output and output not in kept:
                names[output] = f"v{number}_{place}"
        _rename(node.output, names)
    del graph.value_info[:]
    return copy


def _rename(values: Any, names: dict[str, str]) -> None:
    for place, name in enumerate(values):
        values[place] = names.get(name, name)


def generated(seed: int, blocks: int = 10) -> onnx.ModelProto:
    """A network of residual blocks with two activations each and a classifier behind them."""
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray[Any, Any]] = {}
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, array: Any) -> str:
        weights[name] = np.asarray(array, np.float32)
        return name

    def add(operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [name], name=f"node_{name}", **attributes))
        return name

    value = "x"
    for block in range(blocks):
        value = _block(rng, block, value, constant, add)
    pooled = add("GlobalAveragePool", [value], "pooled")
    flat = add("Flatten", [pooled], "flat")
    last = constant("w_last", rng.normal(0, 0.3, (8, 10)))
    add("Gemm", [flat, last, constant("b_last", rng.normal(0, 0.3, 10))], "y")
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 8, 12, 12])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 10])],
        list(_tensors(weights)),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _block(
    rng: np.random.Generator, block: int, value: str, constant: Callable[..., str], add: Any
) -> str:
    """Two convolutions, each normalised and activated, and what came in joined to them."""
    before = value
    for half in "ab":
        at = f"{block}{half}"
        weight = constant(f"w_{at}", rng.normal(0, 0.12, (8, 8, 3, 3)))
        bias = constant(f"b_{at}", rng.normal(0, 0.1, 8))
        value = add("Conv", [value, weight, bias], f"conv_{at}", pads=[1, 1, 1, 1])
        norm = [
            constant(f"{part}_{at}", rng.uniform(0.5, 1.5, 8) if part == "var" else of)
            for part, of in (
                ("scale", rng.uniform(0.7, 1.3, 8)),
                ("shift", rng.normal(0, 0.1, 8)),
                ("mean", rng.normal(0, 0.1, 8)),
                ("var", None),
            )
        ]
        value = add("BatchNormalization", [value, *norm], f"norm_{at}")
        value = _activation(rng, value, at, add)
    if block % 3 < 2:
        return str(add("Add" if block % 3 else "Sub", [value, before], f"sum_{block}"))
    both = add("Concat", [value, before], f"both_{block}", axis=1)
    mixer = constant(f"w_{block}", rng.normal(0, 0.25, (8, 16, 1, 1)))
    return str(add("Conv", [both, mixer], f"mixed_{block}"))


def _activation(rng: np.random.Generator, value: str, at: str, add: Any) -> str:
    match int(rng.integers(5)):
        case 0:
            return str(add("Relu", [value], f"act_{at}"))
        case 1:
            return str(add("LeakyRelu", [value], f"act_{at}", alpha=0.1))
        case 2:
            gate = add("Sigmoid", [value], f"gate_{at}")
            return str(add("Mul", [value, gate], f"act_{at}"))
        case 3:
            return str(add("Elu", [value], f"act_{at}", alpha=1.0))
        case _:
            soft = add("Softplus", [value], f"soft_{at}")
            curve = add("Tanh", [soft], f"tanh_{at}")
            return str(add("Mul", [value, curve], f"act_{at}"))


def _tensors(weights: dict[str, np.ndarray[Any, Any]]) -> Iterator[onnx.TensorProto]:
    return (numpy_helper.from_array(array, name) for name, array in weights.items())
