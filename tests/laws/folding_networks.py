"""Random networks of linear operators with affine nodes around them, for the laws of folding."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

Draw = st.DrawFn

_ARITHMETIC = ("Mul", "Add", "Sub", "from", "Div")
_ACTIVATIONS = ("Relu", "LeakyRelu", "PRelu", "Sigmoid")
#: Numbers that are stored exactly in every float type.
_EXACT = (-4.0, -2.0, -1.5, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)


@dataclass
class FoldingNetwork:
    """A network under construction.

    Attributes:
        image: whether values are images, else matrices.
        double: whether it computes in float64 (matrices only), else in float32.
        opset: of the model.
        shape: of the current value, without its first dimension.
    """

    image: bool
    double: bool
    opset: int
    shape: tuple[int, ...]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    values: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    @property
    def current(self) -> str:
        return self.values[-1][0]

    def weight(self, draw: Draw, shape: tuple[int, ...], *, positive: bool = False) -> str:
        """A new constant, or one of this shape that is there already."""
        same = [n for n, w in self.weights.items() if w.shape == shape and not positive]
        if same and draw(st.integers(0, 5)) == 0:
            return draw(st.sampled_from(same))
        numbers = [n for n in _EXACT if n > 0] if positive else list(_EXACT)
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        name = f"w{len(self.weights)}"
        self.weights[name] = rng.choice(numbers, shape)
        return name

    def put(
        self, op_type: str, *inputs: str, shape: tuple[int, ...] | None = None, **attrs: object
    ) -> None:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attrs))  # type: ignore[arg-type]
        self.values.append((name, self.shape if shape is None else shape))
        self.shape = self.values[-1][1]

    def proto(self, *, magnitudes: bool = False) -> onnx.ModelProto:
        """The model; or one that bounds what passes through it on |x|."""
        kind = TensorProto.DOUBLE if self.double else TensorProto.FLOAT
        nodes = [_bounding(n) for n in self.nodes] if magnitudes else self.nodes
        dtype = np.float64 if self.double else np.float32
        stored = {n: np.abs(w) if magnitudes else w for n, w in self.weights.items()}
        first, shapes = self.values[0], dict(self.values)
        outputs = [v[0] for v in self.values[1:]] if magnitudes else self.outputs
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", kind, ["N", *first[1]])],
            [helper.make_tensor_value_info(n, kind, ["N", *shapes[n]]) for n in outputs],
            [numpy_helper.from_array(w.astype(dtype), n) for n, w in stored.items()],
        )
        imports = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=imports, ir_version=8)


def _bounding(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node that computes a bound of the sizes of what `node` computes, of bounds."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    if made.op_type == "Sub":
        made.op_type = "Add"
    elif made.op_type in {"LeakyRelu", "PRelu", "Relu"}:
        # No slope is larger than 4.
        made.op_type = "PRelu" if made.op_type == "PRelu" else "Identity"
        del made.attribute[:]
        if made.op_type == "PRelu":
            made.op_type = "Sum"
    return made


def _step(draw: Draw, net: FoldingNetwork) -> None:
    kinds = ["linear", "linear", "arithmetic", "arithmetic", "norm", "activation", "residual"]
    kind = draw(st.sampled_from([*kinds, "pool"] if net.image else kinds))
    if kind == "linear":
        (_conv if net.image else _dense)(draw, net)
    elif kind == "arithmetic":
        _arithmetic(draw, net)
    elif kind == "norm":
        _norm(draw, net)
    elif kind == "activation":
        _activation(draw, net)
    elif kind == "pool" and min(net.shape[1:]) >= 2:
        smaller = (net.shape[0], *(d - 1 for d in net.shape[1:]))
        net.put("MaxPool", net.current, shape=smaller, kernel_shape=[2, 2])
    elif kind == "residual":
        fitting = [n for n, s in net.values if s == net.shape]
        net.put("Add", net.current, draw(st.sampled_from(fitting)))


def _conv(draw: Draw, net: FoldingNetwork) -> None:
    inputs, side = net.shape[0], min(net.shape[1:])
    groups = draw(st.sampled_from([1, 2, inputs]))
    outputs = 2 * draw(st.integers(1, 2))
    if inputs % groups or outputs % groups:
        groups = 1
    kernel = draw(st.sampled_from([1, 3] if side >= 3 else [1]))
    pad = draw(st.sampled_from([0, 1])) if kernel == 3 else 0
    transposed = draw(st.integers(0, 4)) == 0
    each = (inputs, outputs // groups) if transposed else (outputs, inputs // groups)
    given = [net.current, net.weight(draw, (*each, kernel, kernel))]
    if draw(st.booleans()):
        given.append(net.weight(draw, (outputs,)))
    change = kernel - 1 - 2 * pad
    spatial = tuple(d + change if transposed else d - change for d in net.shape[1:])
    net.put(
        "ConvTranspose" if transposed else "Conv",
        *given,
        shape=(outputs, *spatial),
        group=groups,
        pads=[pad] * 4,
    )


def _dense(draw: Draw, net: FoldingNetwork) -> None:
    inputs, outputs = net.shape[0], draw(st.integers(1, 4))
    if draw(st.booleans()):
        net.put("MatMul", net.current, net.weight(draw, (inputs, outputs)), shape=(outputs,))
        if draw(st.booleans()):
            pair = [net.current, net.weight(draw, (outputs,))]
            net.put("Add", *(reversed(pair) if draw(st.booleans()) else pair))
        return
    turned = draw(st.booleans())
    given = [net.current, net.weight(draw, (outputs, inputs) if turned else (inputs, outputs))]
    if net.opset >= 11 and draw(st.booleans()):
        given.append(net.weight(draw, draw(st.sampled_from([(outputs,), (1, outputs), (1,)]))))
    elif net.opset < 11:
        given.append(net.weight(draw, (outputs,)))
    net.put(
        "Gemm",
        *given,
        shape=(outputs,),
        transB=int(turned),
        alpha=draw(st.sampled_from([0.5, 1.0, 2.0])),
        beta=draw(st.sampled_from([0.5, 1.0, 2.0])),
    )


def _arithmetic(draw: Draw, net: FoldingNetwork) -> None:
    kind = draw(st.sampled_from(_ARITHMETIC))
    channels = (net.shape[0], *(1,) * (len(net.shape) - 1))
    shape = draw(st.sampled_from([(), (1,), channels, (1, *channels)]))
    constant = net.weight(draw, shape, positive=kind == "Div")
    if kind == "from":
        net.put("Sub", constant, net.current)
    elif kind in {"Mul", "Add"} and draw(st.booleans()):
        net.put(kind, constant, net.current)
    else:
        net.put(kind, net.current, constant)


def _norm(draw: Draw, net: FoldingNetwork) -> None:
    channels = (net.shape[0],)
    given = [net.weight(draw, channels) for _ in range(3)]
    variance = net.weight(draw, channels, positive=True)
    net.put("BatchNormalization", net.current, *given, variance, epsilon=2.0**-10)


def _activation(draw: Draw, net: FoldingNetwork) -> None:
    kind = draw(st.sampled_from(_ACTIVATIONS if not net.double else ("Relu", "Sigmoid")))
    if kind == "PRelu":
        shape = (net.shape[0], *(1,) * (len(net.shape) - 1))
        net.put("PRelu", net.current, net.weight(draw, shape))
    elif kind == "LeakyRelu":
        net.put(kind, net.current, alpha=draw(st.sampled_from([0.25, 0.5])))
    else:
        net.put(kind, net.current)


@st.composite
def folding_networks(draw: Draw, longest: int = 8) -> FoldingNetwork:
    """Networks of a few steps, whose last value is an output, and perhaps one before it."""
    image = draw(st.booleans())
    double = not image and draw(st.booleans())
    opset = draw(st.sampled_from([9, 11, 13, 14, 17, 20]))
    shape = (2, 4, 4) if image else (draw(st.integers(1, 4)),)
    net = FoldingNetwork(image, double, opset, shape)
    net.values.append(("x", shape))
    for _ in range(draw(st.integers(2, longest))):
        _step(draw, net)
    if len(net.values) == 1:
        net.put("Identity", "x")
    names = [n for n, _ in net.values[1:]]
    net.outputs = [names[-1]]
    if len(names) > 1 and draw(st.integers(0, 3)) == 0:
        net.outputs.insert(0, draw(st.sampled_from(names[:-1])))
    return net
