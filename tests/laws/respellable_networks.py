"""Random small networks of activations that can be written in several ways, with error bounds.

Beside every value stand a bound on its magnitude and a bound on how far two evaluations of it may
be apart that differ in the order of sums and in how an activation is written: products have rows
whose magnitudes sum to one, so that they keep errors, and an activation magnifies them by its
steepest slope and adds what a kernel of its dtype is off by.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from onnx_act.runtime.probe import can_run

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, np.dtype[Any]]

#: |x| is below it on every input.
REACH: Final = 8.0
#: Opset -> the IR version that a network of it has: the oldest that allows it, so that up to
#: opset 8 weights are inputs as well.
OPSETS: Final = {8: 3, 9: 4, 11: 6, 13: 7, 15: 8, 18: 8, 20: 9, 22: 10, 24: 11}
#: dtype -> what a kernel is off by, relative to its largest value or to 1: a few ulp of 1, as
#: far apart as ONNX Runtime's own kernels of one function are.
KERNEL: Final = {"float16": 8e-3, "float32": 4e-6, "float64": 4e-14}


@dataclass(frozen=True, slots=True)
class Form:
    """One spelling of an activation, as exporters write it.

    Attributes:
        name: the catalogue's name.
        since: the first opset that has it.
        steep: Lipschitz constant.
        write: adds its nodes behind a value and names the result.
        only: the only dtype that its operator has, "" for all.
    """

    name: str
    since: int
    steep: float
    write: Callable[[Network, Value], str]
    only: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """A value: its name, channels, whether it is an image, its two bounds, and its stem: values of
    one stem are functions of one another, element by element."""

    name: str
    channels: int
    is_image: bool
    magnitude: float
    error: float
    stem: int = 0


@dataclass(slots=True)
class Network:
    """A network under construction.

    Attributes:
        dtype: of every value.
        opset: of the default domain.
        activated: the outputs of activations.
    """

    dtype: str
    opset: int
    rng: np.random.Generator
    values: list[Value] = field(default_factory=list)
    activated: list[Value] = field(default_factory=list)
    _nodes: list[onnx.NodeProto] = field(default_factory=list)
    _weights: dict[str, Array] = field(default_factory=dict)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self._nodes)}"
        made = helper.make_node(kind, list(inputs), [name], f"n{len(self._nodes)}", **attributes)
        self._nodes.append(made)
        return name

    def weight(self, values: Any) -> str:
        name = f"w{len(self._weights)}"
        self._weights[name] = np.asarray(values).astype(self.dtype)
        return name

    def add(self, value: Value) -> Value:
        self.values.append(value)
        return value

    def activate(self, x: Value, form: Form) -> None:
        name = form.write(self, x)
        top = form.steep * x.magnitude + 1
        error = form.steep * x.error + 2 * KERNEL[self.dtype] * max(1.0, top)
        made = Value(name, x.channels, x.is_image, top, error, x.stem)
        self.activated.append(self.add(made))

    def product(self, x: Value, channels: int) -> None:
        shape = (channels, x.channels, 3, 3) if x.is_image else (channels, x.channels)
        drawn = self.rng.uniform(-1, 1, shape)
        drawn /= np.abs(drawn).reshape(channels, -1).sum(1).max()
        inputs = [x.name, self.weight(drawn), self.weight(self.rng.uniform(-1, 1, channels))]
        if x.is_image:
            name = self.node("Conv", *inputs, kernel_shape=[3, 3], pads=[1] * 4)
        else:
            name = self.node("Gemm", *inputs, transB=1)
        top = x.magnitude + 1
        error = x.error + KERNEL[self.dtype] * top
        self.add(Value(name, channels, x.is_image, top, error, len(self._nodes)))

    def sum(self, x: Value, other: Value) -> None:
        name = self.node("Add", x.name, other.name)
        top = x.magnitude + other.magnitude
        error = x.error + other.error + KERNEL[self.dtype] * top
        self.add(Value(name, x.channels, x.is_image, top, error, len(self._nodes)))

    def proto(self) -> onnx.ModelProto:
        code = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))

        def info(name: str, shape: Any) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, code, shape)

        first = self.values[0]
        plane = (5, 5) if first.is_image else ()
        inputs = [info("x", ["N", first.channels, *plane])]
        version = OPSETS[self.opset]
        if version < 4:
            inputs += [info(k, v.shape) for k, v in self._weights.items()]
        used = {name for node in self._nodes for name in node.input}
        left = [v for v in self.values if v.name not in used]
        graph = helper.make_graph(
            self._nodes,
            "network",
            inputs,
            [info(v.name, ["N", v.channels, *plane]) for v in left],
            [numpy_helper.from_array(v, k) for k, v in self._weights.items()],
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=version)
        onnx.checker.check_model(model, full_check=True)
        return model

    def bound(self, name: str) -> float:
        """How far two evaluations of a value may be apart."""
        return next(v.error for v in self.values if v.name == name)


def feeds_for(network: Network) -> list[Array]:
    """Two inputs, symmetric about zero: one around it, one that reaches the bound."""
    x = network.values[0]
    rng = np.random.default_rng(1)
    shape = (2, x.channels, 5, 5) if x.is_image else (16, x.channels)
    drawn = (rng.standard_normal(shape), rng.uniform(-REACH, REACH, shape))
    return [np.clip(d, -REACH, REACH).astype(network.dtype) for d in drawn]


def _operator(kind: str, **attributes: float) -> Callable[[Network, Value], str]:
    return lambda net, x: net.node(kind, x.name, **attributes)


def _spelled_mish(net: Network, x: Value) -> str:
    return net.node("Mul", x.name, net.node("Tanh", net.node("Softplus", x.name)))


def _gate(beta: float) -> Callable[[Network, Value], str]:
    def write(net: Network, x: Value) -> str:
        inner = x.name if beta == 1 else net.node("Mul", x.name, net.weight(beta))
        return net.node("Mul", x.name, net.node("Sigmoid", inner))

    return write


def _spelled_gelu(net: Network, x: Value) -> str:
    bend = net.node("Erf", net.node("Div", x.name, net.weight(np.sqrt(2.0))))
    gate = net.node("Add", bend, net.weight(1.0))
    return net.node("Mul", net.node("Mul", x.name, gate), net.weight(0.5))


def _prelu(low: float, high: float, *, per_channel: bool = True) -> Callable[[Network, Value], str]:
    def write(net: Network, x: Value) -> str:
        count = x.channels if per_channel else 1
        shape = (count, 1, 1) if x.is_image and per_channel else (count,)
        return net.node("PRelu", x.name, net.weight(np.linspace(low, high, count).reshape(shape)))

    return write


#: What the networks are made of: slopes of both signs and beyond one, depths of both signs.
FORMS: Final = (
    Form("elu", 6, 1.0, _operator("Elu")),
    Form("elu", 6, 1.0, _operator("Elu", alpha=0.25)),
    Form("elu", 6, 1.75, _operator("Elu", alpha=1.75)),
    Form("celu", 12, 1.0, _operator("Celu", alpha=0.5), "float32"),
    Form("celu", 12, 1.0, _operator("Celu", alpha=2.0), "float32"),
    Form("selu", 6, 1.8, _operator("Selu")),
    Form("selu", 6, 1.0, _operator("Selu", alpha=0.5, gamma=0.75)),
    Form("softplus", 1, 1.0, _operator("Softplus")),
    Form("mish", 18, 1.1, _operator("Mish")),
    Form("mish", 7, 1.1, _spelled_mish),
    Form("silu", 7, 1.1, _gate(1.0)),
    Form("swish", 7, 1.1, _gate(1.75)),
    Form("swish", 7, 1.1, _gate(-0.5)),
    Form("gelu", 9, 1.2, _spelled_gelu),
    Form("gelu", 20, 1.2, _operator("Gelu")),
    Form("leaky_relu", 6, 1.0, _operator("LeakyRelu", alpha=0.125)),
    Form("leaky_relu", 6, 1.0, _operator("LeakyRelu", alpha=-0.5)),
    Form("leaky_relu", 6, 1.5, _operator("LeakyRelu", alpha=1.5)),
    Form("prelu", 7, 1.0, _prelu(0.125, 0.875)),
    Form("prelu", 7, 1.0, _prelu(-0.5, 0.75)),
    Form("prelu", 7, 1.5, _prelu(0.25, 1.5)),
    Form("hardswish", 14, 1.5, _operator("HardSwish")),
)


@cache
def _runs(dtype: str, opset: int, form: int) -> bool:
    if FORMS[form].since > opset or FORMS[form].only not in {"", dtype}:
        return False
    network = Network(dtype, opset, np.random.default_rng(0))
    x = network.add(Value("x", 2, is_image=False, magnitude=1.0, error=0.0))
    network.activate(x, FORMS[form])
    return can_run(network.proto().SerializeToString()).ok


@st.composite
def networks(draw: st.DrawFn, longest: int = 4) -> Network:
    """Chains of products, activations and sums, of one dtype and one opset."""
    dtype = draw(st.sampled_from(["float32", "float32", "float32", "float16", "float64"]))
    network = Network(
        dtype,
        draw(st.sampled_from(sorted(OPSETS))),
        np.random.default_rng(draw(st.integers(0, 1 << 20))),
    )
    # ONNX Runtime's CPU has no Conv of doubles.
    is_image = dtype != "float64" and draw(st.booleans())
    x = Value("x", draw(st.sampled_from([2, 4])), is_image, REACH, 0.0)
    network.add(x)
    fitting = [k for k in range(len(FORMS)) if _runs(dtype, network.opset, k)]
    for _ in range(draw(st.integers(1, longest))):
        if draw(st.integers(0, 2)):
            network.product(network.values[-1], draw(st.sampled_from([2, 4])))
        network.activate(network.values[-1], FORMS[draw(st.sampled_from(fitting))])
        last = network.values[-1]
        # A sum of two functions of one value is another function of that: no site of its own.
        alike = [v for v in network.values if v.channels == last.channels and v.stem != last.stem]
        if alike and not draw(st.integers(0, 3)):
            network.sum(last, draw(st.sampled_from(alike)))
    return network
