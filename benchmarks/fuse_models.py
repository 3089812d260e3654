"""Networks that a runtime's own optimiser leaves something of, with seeded random weights.

Weights keep the spread of what passes near one, so that tails of activations are reached and
nothing vanishes or grows; statistics of normalisations are spread as those of trained networks.
At full size one run takes a few milliseconds on one thread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

_OPSET = 17
# The last Conv of a residual branch is the weaker: sums of many branches would grow otherwise.
_BRANCH_GAIN = 0.4


class Maker(Protocol):
    """Makes a network."""

    def __call__(self, *, small: bool) -> onnx.ModelProto:
        """The network, small or of the size to be measured."""


@dataclass
class Network:
    """A network under construction."""

    shape: list[int]
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, values: npt.ArrayLike, kind: type = np.float32) -> str:
        """An initializer."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def random(self, *shape: int, scale: float = 1.0) -> str:
        """An initializer of normal numbers."""
        return self.constant(self.rng.standard_normal(shape) * scale)

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """A node with one result."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=name, **attributes))
        return name

    def conv(
        self,
        x: str,
        inputs: int,
        outputs: int,
        *,
        pad: int = 1,
        stride: int = 1,
        size: int = 3,
        gain: float = 1.0,
    ) -> str:
        """A convolution without bias."""
        scale = gain * math.sqrt(2.0 / (inputs * size * size))
        weight = self.random(outputs, inputs, size, size, scale=scale)
        return self.op("Conv", x, weight, pads=[pad] * 4, strides=[stride] * 2)

    def norm(self, x: str, channels: int) -> str:
        """A BatchNormalization as training leaves it."""
        scale = self.constant(self.rng.uniform(0.5, 1.5, channels))
        shift, mean = (self.random(channels, scale=0.2) for _ in range(2))
        variance = self.constant(self.rng.uniform(0.5, 2.0, channels))
        return self.op("BatchNormalization", x, scale, shift, mean, variance)

    def dense(self, x: str, inputs: int, outputs: int) -> str:
        """MatMul and Add."""
        weight = self.random(inputs, outputs, scale=1.0 / math.sqrt(inputs))
        product = self.op("MatMul", x, weight)
        return self.op("Add", product, self.random(outputs, scale=0.1))

    def head(self, x: str, channels: int) -> str:
        """Pooling and a Gemm."""
        pooled = self.op("Flatten", self.op("GlobalAveragePool", x))
        weight = self.random(channels, 10, scale=1.0 / math.sqrt(channels))
        return self.op("Gemm", pooled, weight, self.random(10, scale=0.1))

    def model(self, result: str, opset: int = _OPSET) -> onnx.ModelProto:
        """The model that ends in `result`."""
        imports = [helper.make_opsetid("", opset)]
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)],
            self.weights,
        )
        oldest = helper.find_min_ir_version_for(imports)
        made = helper.make_model(graph, opset_imports=imports, ir_version=oldest)
        return onnx.shape_inference.infer_shapes(made)


def preactivation_resnet(*, small: bool) -> onnx.ModelProto:
    """BatchNormalization and Relu in front of every Conv, sums between."""
    side, width, blocks = (16, 16, 1) if small else (56, 32, 3)
    net = Network([1, 3, side, side])
    x = net.conv("x", 3, width)
    for stage in range(2):
        for block in range(blocks):
            grows = stage > 0 and block == 0
            inputs, outputs = (width, 2 * width) if grows else (width, width)
            stride = 2 if grows else 1
            a = net.op("Relu", net.norm(x, inputs))
            b = net.norm(net.conv(a, inputs, outputs, stride=stride), outputs)
            c = net.conv(net.op("Relu", b), outputs, outputs, gain=_BRANCH_GAIN)
            if grows:
                x = net.conv(a, inputs, outputs, pad=0, stride=2, size=1)
                width = outputs
            x = net.op("Add", c, x)
    x = net.op("Relu", net.norm(x, width))
    return net.model(net.head(x, width))


def normalised_mlp(*, small: bool) -> onnx.ModelProto:
    """Gemm, BatchNormalization, Relu, of several widths."""
    widths, rows = ([32, 48, 32], 4) if small else ([512, 768, 1024, 1024, 768, 512], 64)
    net = Network([rows, widths[0]])
    x = "x"
    for inputs, outputs in pairwise(widths):
        weight = net.random(outputs, inputs, scale=math.sqrt(2.0 / inputs))
        x = net.op("Gemm", x, weight, net.random(outputs, scale=0.1), transB=1)
        x = net.op("Relu", net.norm(x, outputs))
    return net.model(x)


def conv_relu_norm(*, small: bool) -> onnx.ModelProto:
    """Conv, Relu, BatchNormalization, with and without padding, and pooling at the end."""
    side, width = (20, 16) if small else (112, 32)
    net = Network([1, 3, side, side])
    x, inputs = "x", 3
    for k in range(3 if small else 8):
        x = net.norm(net.op("Relu", net.conv(x, inputs, width, pad=1 if k % 4 == 3 else 0)), width)
        inputs = width
        if k % 3 == 2:
            x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    return net.model(net.head(x, width))


def residual_leaky(*, small: bool) -> onnx.ModelProto:
    """Conv, BatchNormalization, sum, LeakyRelu."""
    side, width = (16, 16) if small else (56, 32)
    net = Network([1, 3, side, side])
    x = net.op("LeakyRelu", net.norm(net.conv("x", 3, width), width), alpha=0.1)
    for _ in range(1 if small else 4):
        a = net.op("LeakyRelu", net.norm(net.conv(x, width, width), width), alpha=0.1)
        b = net.norm(net.conv(a, width, width, gain=_BRANCH_GAIN), width)
        x = net.op("LeakyRelu", net.op("Add", b, x), alpha=0.1)
    return net.model(net.head(x, width))


def transformer_gelu(*, small: bool) -> onnx.ModelProto:
    """A transformer block whose GELU is spelled x * 0.7071, Erf, and so on."""
    return _transformer(_spelled_gelu, small=small)


def transformer_relu(*, small: bool) -> onnx.ModelProto:
    """The same block with Relu."""
    return _transformer(lambda net, x: net.op("Relu", x), small=small)


def _spelled_gelu(net: Network, x: str) -> str:
    inner = net.op("Erf", net.op("Mul", x, net.constant(0.70710678)))
    one = net.op("Add", inner, net.constant(1.0))
    return net.op("Mul", net.op("Mul", x, one), net.constant(0.5))


def _transformer(activation: Callable[[Network, str], str], *, small: bool) -> onnx.ModelProto:
    length, width, heads = (8, 16, 2) if small else (128, 256, 4)
    net = Network([1, length, width])
    x = "x"
    for _ in range(1 if small else 2):
        a = _layer_norm(net, x, width)
        each = width // heads
        parts = []
        for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
            split = net.constant([1, length, heads, each], np.int64)
            part = net.op("Reshape", net.dense(a, width, width), split)
            parts.append(net.op("Transpose", part, perm=order))
        q, k, v = parts
        scores = net.op("Div", net.op("MatMul", q, k), net.constant(math.sqrt(each)))
        mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), v)
        joined = net.op("Transpose", mixed, perm=[0, 2, 1, 3])
        flat = net.op("Reshape", joined, net.constant([1, length, width], np.int64))
        x = net.op("Add", x, net.dense(flat, width, width))
        hidden = activation(net, net.dense(_layer_norm(net, x, width), width, 4 * width))
        x = net.op("Add", x, net.dense(hidden, 4 * width, width))
    return net.model(x)


def _layer_norm(net: Network, x: str, width: int) -> str:
    scale = net.constant(net.rng.uniform(0.5, 1.5, width))
    return net.op("LayerNormalization", x, scale, net.random(width, scale=0.1), axis=-1)


#: Name -> what makes the network.
NETWORKS: dict[str, Maker] = {
    "pre-activation ResNet": preactivation_resnet,
    "Gemm+BatchNormalization MLP": normalised_mlp,
    "Conv-Relu-BatchNormalization net": conv_relu_norm,
    "residual LeakyRelu net": residual_leaky,
    "transformer, GELU spelled": transformer_gelu,
    "transformer, Relu": transformer_relu,
}
