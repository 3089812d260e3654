"""Random small networks, each with a bound on how far two evaluations of it may be apart.

Beside every value stand a bound on its magnitude and a bound on the distance of two float32
evaluations of it that differ in the order of sums, in the rounding of weights, and in which of two
kernels computes a transcendental function. Both follow from the operators, by the usual forward
analysis in the maximum norm: tolerances are derived from scale and depth, and not chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, np.dtype[Any]]

#: |x| is below it on every input.
REACH: Final = 8.0
# Half an ulp, a few times: weights rounded once more, sums in another order, fused or not.
_ROUNDING: Final = 4 * float(np.finfo(np.float32).eps)
# Kernels of exp and its kin agree to a few ulp of 1 (ONNX Runtime's differ between its levels).
_KERNEL: Final = 2e-6
OPSETS: Final = (9, 10, 11, 12, 13, 14, 15, 17, 18, 20, 22)
#: Operator -> (Lipschitz constant, bound of its values beyond that of x, is computed exactly).
ACTIVATIONS: Final[dict[str, tuple[float, float, bool]]] = {
    "Relu": (1, 0, True),
    "LeakyRelu": (1, 0, True),
    "Clip": (1, 6, True),
    "HardSigmoid": (1, 1, False),
    "Sigmoid": (1, 1, False),
    "Tanh": (1, 0, False),
    "Elu": (1, 1, False),
    "Selu": (1.8, 2, False),
    "Softplus": (1, 1, False),
    "Softsign": (1, 0, False),
}
_NUMBERS: Final[dict[str, dict[str, float]]] = {
    "LeakyRelu": {"alpha": 0.125},
    "HardSigmoid": {"alpha": 0.25, "beta": 0.5},
}


@dataclass(frozen=True, slots=True)
class Value:
    """A value: its name, channels, whether it is an image, and its two bounds."""

    name: str
    channels: int
    is_image: bool
    magnitude: float
    error: float


@dataclass(slots=True)
class Network:
    """A network under construction, and what came of it.

    Attributes:
        opset: of the default domain.
        values: every value so far.
        outputs: those that the model returns.
    """

    opset: int
    rng: np.random.Generator
    values: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    _nodes: list[onnx.NodeProto] = field(default_factory=list)
    _weights: dict[str, Array] = field(default_factory=dict)

    def start(self, channels: int) -> None:
        self.values.append(Value("x", channels, is_image=True, magnitude=REACH, error=0.0))

    def proto(self, *, ir_version: int = 8, lists_weights: bool = False) -> onnx.ModelProto:
        """The model; with `lists_weights` every weight is an input too, as before IR 4."""
        x = self.values[0]
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", x.channels, 5, 5])]
        if lists_weights:
            inputs += [
                helper.make_tensor_value_info(k, TensorProto.FLOAT, v.shape)
                for k, v in self._weights.items()
            ]
        outputs = [
            helper.make_tensor_value_info(
                v.name, TensorProto.FLOAT, ["N", v.channels, *((5, 5) if v.is_image else ())]
            )
            for v in self.outputs
        ]
        weights = [numpy_helper.from_array(v, k) for k, v in self._weights.items()]
        graph = helper.make_graph(self._nodes, "network", inputs, outputs, weights)
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
        onnx.checker.check_model(model, full_check=True)
        return model

    def weight(self, array: Array) -> str:
        name = f"w{len(self._weights)}"
        self._weights[name] = array.astype(np.float32)
        return name

    def again(self, shape: tuple[int, ...]) -> str | None:
        """A weight of this shape that is already there."""
        return next((k for k, v in self._weights.items() if v.shape == shape), None)

    def node(self, kind: str, inputs: list[str], like: Value, **attributes: Any) -> str:
        name = f"v{len(self._nodes)}"
        made = helper.make_node(kind, inputs, [name], f"n{len(self._nodes)}", **attributes)
        self._nodes.append(made)
        assert like.channels > 0
        return name

    def _add(self, value: Value) -> Value:
        self.values.append(value)
        return value

    def activate(self, x: Value, kind: str) -> Value:
        steep, beyond, exact = ACTIVATIONS[kind]
        inputs, attributes = [x.name], dict(_NUMBERS.get(kind, {}))
        if kind == "Clip" and self.opset >= 11:
            inputs += [self.weight(np.array(0.0)), self.weight(np.array(6.0))]
        elif kind == "Clip":
            attributes = {"min": 0.0, "max": 6.0}
        name = self.node(kind, inputs, x, **attributes)
        top = steep * x.magnitude + beyond
        error = steep * x.error + (0.0 if exact else _KERNEL * max(1.0, top))
        return self._add(Value(name, x.channels, x.is_image, top, error))

    def gate(self, x: Value) -> Value:
        """x * sigmoid(x)."""
        sigmoid = self.node("Sigmoid", [x.name], x)
        name = self.node("Mul", [x.name, sigmoid], x)
        error = 1.1 * x.error + _KERNEL * max(1.0, x.magnitude)
        return self._add(Value(name, x.channels, x.is_image, x.magnitude, error))

    def add(self, x: Value, other: Value) -> Value:
        name = self.node("Add", [x.name, other.name], x)
        top = x.magnitude + other.magnitude
        error = x.error + other.error + _ROUNDING * top
        return self._add(Value(name, x.channels, x.is_image, top, error))

    def normalise(self, x: Value) -> Value:
        scale, bias, mean = self.rng.uniform(-2, 2, (3, x.channels))
        variance = self.rng.uniform(0.25, 4, x.channels)
        inputs = [x.name, *(self.weight(v) for v in (scale, bias, mean, variance))]
        name = self.node("BatchNormalization", inputs, x, epsilon=1e-3)
        factor = float(np.max(np.abs(scale) / np.sqrt(variance)))
        top = factor * (x.magnitude + 2) + 2
        error = factor * x.error + _ROUNDING * top
        return self._add(Value(name, x.channels, x.is_image, top, error))

    def pool(self, x: Value) -> Value:
        pooled = self.node("GlobalAveragePool", [x.name], x)
        name = self.node("Flatten", [pooled], x)
        error = x.error + 25 * _ROUNDING * x.magnitude
        return self._add(
            Value(name, x.channels, is_image=False, magnitude=x.magnitude, error=error)
        )

    def _product(
        self, x: Value, channels: int, gains: Array, fan: int, bias: Array | None, name: str
    ) -> Value:
        top = float(np.max(gains)) * x.magnitude
        top += 0.0 if bias is None else float(np.max(np.abs(bias)))
        # What is folded may have scaled the sum: its rounding goes with the sum of magnitudes.
        error = float(np.max(gains)) * x.error + (fan + 2) * _ROUNDING * top
        return self._add(Value(name, channels, x.is_image, top, error))

    def _fresh_or_again(self, shape: tuple[int, ...], rows: Callable[[Array], Array], *,
                        shared: bool) -> tuple[str, Array]:  # fmt: skip
        found = self.again(shape) if shared else None
        if found is None:
            drawn = self.rng.uniform(-1, 1, shape)
            found = self.weight(drawn / np.max(rows(np.abs(drawn))))
        return found, rows(np.abs(self._weights[found].astype(np.float64)))

    def convolve(
        self, x: Value, channels: int, *, group: int, side: int, bias: bool, shared: bool,
        transposed: bool,
    ) -> Value:  # fmt: skip
        inner = x.channels // group
        shape = (x.channels, channels // group) if transposed else (channels, inner)
        axes = (0, 2, 3) if transposed else (1, 2, 3)
        name, gains = self._fresh_or_again(
            (*shape, side, side), lambda a: a.sum(axes), shared=shared
        )
        inputs, added = [x.name, name], None
        if bias:
            added = self.rng.uniform(-1, 1, channels)
            inputs.append(self.weight(added))
        made = self.node(
            "ConvTranspose" if transposed else "Conv",
            inputs, x, group=group, kernel_shape=[side, side], pads=[side // 2] * 4,
        )  # fmt: skip
        return self._product(x, channels, gains, x.channels * side * side, added, made)

    def multiply(
        self, x: Value, channels: int, *, alpha: float, beta: float, by_row: bool, bias: bool,
        shared: bool,
    ) -> Value:  # fmt: skip
        shape = (channels, x.channels) if by_row else (x.channels, channels)
        axis = 1 if by_row else 0
        name, gains = self._fresh_or_again(shape, lambda a: a.sum(axis), shared=shared)
        inputs, added = [x.name, name], None
        if bias or self.opset < 11:
            added = self.rng.uniform(-1, 1, [(channels,), (1, channels), (1,)][channels % 3])
            inputs.append(self.weight(added))
            added = beta * added
        made = self.node("Gemm", inputs, x, alpha=alpha, beta=beta, transB=int(by_row))
        return self._product(x, channels, alpha * gains, x.channels, added, made)


@st.composite
def networks(draw: st.DrawFn, longest: int = 8) -> Network:
    """Chains and branches of products, normalisations, activations and sums."""
    network = Network(
        draw(st.sampled_from(OPSETS)), np.random.default_rng(draw(st.integers(0, 1 << 20)))
    )
    network.start(draw(st.sampled_from([2, 4])))
    for _ in range(draw(st.integers(1, longest))):
        _step(draw, network, network.values[_any_of(draw, network, newest=True)])
    used = {name for node in network._nodes for name in node.input}
    middle = {_any_of(draw, network) for _ in range(draw(st.sampled_from([0, 0, 1, 2])))}
    network.outputs = [
        v for k, v in enumerate(network.values) if k and (v.name not in used or k in middle)
    ]
    return network


def _any_of(draw: st.DrawFn, network: Network, *, newest: bool = False) -> int:
    """The position of a value, for the most part the last one when `newest`."""
    last = len(network.values) - 1
    return last if newest and draw(st.integers(0, 3)) else draw(st.integers(0, last))


def _step(draw: st.DrawFn, network: Network, x: Value) -> None:
    match draw(
        st.sampled_from(["block", "block", "block", "block", "again", "gate", "add", "pool"])
    ):
        case "block":
            made = _product(draw, network, x)
            for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2]))):
                made = network.normalise(made)
            if draw(st.integers(0, 3)):
                network.activate(made, draw(st.sampled_from(sorted(ACTIVATIONS))))
        case "again":
            for kinds in (["Relu", "Sigmoid", "LeakyRelu"], ["Relu", "Clip", "LeakyRelu"]):
                x = network.activate(x, draw(st.sampled_from(kinds)))
        case "gate":
            network.gate(x)
        case "pool" if x.is_image:
            network.pool(x)
        case _:
            fitting = [
                v for v in network.values if v.channels == x.channels and v.is_image == x.is_image
            ]
            network.add(x, draw(st.sampled_from(fitting)))


def _product(draw: st.DrawFn, network: Network, x: Value) -> Value:
    channels = draw(st.sampled_from([2, 4]))
    if x.is_image:
        return network.convolve(
            x, channels, group=draw(st.sampled_from([1, 1, 2])), side=draw(st.sampled_from([1, 3])),
            bias=draw(st.booleans()), shared=draw(st.booleans()),
            transposed=draw(st.sampled_from([False, False, True])),
        )  # fmt: skip
    return network.multiply(
            x, channels, alpha=draw(st.sampled_from([1.0, 0.5])),
            beta=draw(st.sampled_from([1.0, 2.0])), by_row=draw(st.booleans()),
            bias=draw(st.booleans()), shared=draw(st.booleans()),
        )  # fmt: skip


def feeds_for(network: Network) -> list[Array]:
    """Two inputs, symmetric about zero: one around it, one that reaches the bound."""
    x = network.values[0]
    rng = np.random.default_rng(1)
    drawn = (rng.standard_normal, lambda s: rng.uniform(-REACH, REACH, s))
    shape = (2, x.channels, 5, 5)
    return [np.clip(f(shape), -REACH, REACH).astype(np.float32) for f in drawn]
