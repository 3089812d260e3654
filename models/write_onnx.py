"""Trained networks written as ONNX, node by node, so that every spelling is chosen here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from networks import CLASSES, SIDE, ConvBlock, DigitsCnn, LinearBlock, Network
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

OPSET = 17
IR_VERSION = 8
TRAINED_ON = "scikit-learn digits: UCI Optical Recognition of Handwritten Digits, test set"


class GraphWriter:
    """Collects nodes and initializers; each node's output value is named after the node."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}

    def constant(self, name: str, value: Tensor | NDArray[np.float32] | float) -> str:
        """Add an initializer (once for each name) and return its name."""
        array = value.detach().numpy() if isinstance(value, Tensor) else np.float32(value)
        self.initializers[name] = numpy_helper.from_array(np.asarray(array, np.float32), name)
        return name

    def node(
        self, op: str, name: str, inputs: Sequence[str], output: str = "", **attributes: Any
    ) -> str:
        """Add a node and return the name of its output."""
        output = output or f"{name}_output_0"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output


def write_activation(graph: GraphWriter, act: nn.Module, name: str, x: str) -> str:
    """Write one activation in the spelling this collection promises for it."""
    match act:
        case nn.ReLU():
            return graph.node("Relu", f"{name}/Relu", [x])
        case nn.SiLU():
            gate = graph.node("Sigmoid", f"{name}/Sigmoid", [x])
            return graph.node("Mul", f"{name}/Mul", [x, gate])
        case nn.Mish():
            soft = graph.node("Softplus", f"{name}/Softplus", [x])
            gate = graph.node("Tanh", f"{name}/Tanh", [soft])
            return graph.node("Mul", f"{name}/Mul", [x, gate])
        case nn.PReLU():
            slope = graph.constant(
                f"{name[1:].replace('/', '.')}.weight", act.weight.reshape(-1, 1, 1)
            )
            return graph.node("PRelu", f"{name}/PRelu", [x, slope])
        case nn.GELU(approximate="none"):
            root, one, half = (
                graph.constant(f"gelu.{label}", value)
                for label, value in (("sqrt2", math.sqrt(2)), ("one", 1.0), ("half", 0.5))
            )
            scaled = graph.node("Div", f"{name}/Div", [x, root])
            erf = graph.node("Erf", f"{name}/Erf", [scaled])
            gate = graph.node("Add", f"{name}/Add", [erf, one])
            product = graph.node("Mul", f"{name}/Mul", [x, gate])
            return graph.node("Mul", f"{name}/Mul_1", [product, half])
    raise TypeError(f"no spelling for {act!r}")


def write_conv_block(graph: GraphWriter, block: ConvBlock, index: int, x: str) -> str:
    """Write Conv, BatchNormalization (kept as its own node) and the activation."""
    name, key = f"/features/{index}", f"features.{index}"
    weights = [graph.constant(f"{key}.conv.weight", block.conv.weight)]
    if block.conv.bias is not None:
        weights.append(graph.constant(f"{key}.conv.bias", block.conv.bias))
    x = graph.node(
        "Conv",
        f"{name}/conv",
        [x, *weights],
        dilations=[1, 1],
        group=1,
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
        strides=[1, 1],
    )
    if (bn := block.bn) is not None:
        assert bn.running_mean is not None
        assert bn.running_var is not None
        statistics = [
            graph.constant(f"{key}.bn.{label}", value)
            for label, value in (
                ("weight", bn.weight),
                ("bias", bn.bias),
                ("running_mean", bn.running_mean),
                ("running_var", bn.running_var),
            )
        ]
        x = graph.node("BatchNormalization", f"{name}/bn", [x, *statistics], epsilon=bn.eps)
    return write_activation(graph, block.act, f"{name}/act", x)


def write_linear(graph: GraphWriter, linear: nn.Linear, name: str, x: str, output: str = "") -> str:
    """Write a linear layer as Gemm, the weight stored as PyTorch stores it (transB=1)."""
    key = name[1:].replace("/", ".")
    weight = graph.constant(f"{key}.weight", linear.weight)
    bias = graph.constant(f"{key}.bias", linear.bias)
    return graph.node("Gemm", name, [x, weight, bias], output, transB=1)


def to_onnx(name: str, network: Network) -> onnx.ModelProto:
    """The whole model: `image` [batch, 1, 8, 8] in, `logits` [batch, 10] out; checked."""
    graph = GraphWriter()
    x = "image"
    if not isinstance(network, DigitsCnn):
        x = graph.node("Flatten", "/flatten", [x], axis=1)
    for index, part in enumerate(network.features):
        match part:
            case ConvBlock():
                x = write_conv_block(graph, part, index, x)
            case nn.MaxPool2d():
                x = graph.node(
                    "MaxPool", f"/features/{index}/pool", [x], kernel_shape=[2, 2], strides=[2, 2]
                )
            case LinearBlock():
                x = write_linear(graph, part.linear, f"/features/{index}/linear", x)
                x = write_activation(graph, part.act, f"/features/{index}/act", x)
            case _:
                raise TypeError(f"no ONNX spelling for {part!r}")
    if isinstance(network, DigitsCnn):
        x = graph.node("Flatten", "/flatten", [x], axis=1)
    write_linear(graph, network.head, "/head", x, "logits")

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, name, [image], [logits], initializer=list(graph.initializers.values())
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="onnx-act models/make.py",
    )
    helper.set_model_props(
        model,
        {
            "trained_on": TRAINED_ON,
            "preprocessing": "pixel values 0..16 divided by 16",
            "license": "Apache-2.0",
        },
    )
    onnx.checker.check_model(model, full_check=True)
    return model
