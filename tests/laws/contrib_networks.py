"""Random small networks of what contrib operators compute, with the same bounds as all networks.

Sums with a Conv's result, products by a matrix over the last axis, biases in front of a GELU, and
SiLU, swish and GELU in several spellings: some in forms that no rule may touch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from hypothesis import strategies as st
from random_networks import ACTIVATIONS, OPSETS, Network, Value

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, np.dtype[Any]]

_ROUNDING: Final = 4 * float(np.finfo(np.float32).eps)
# Kernels of erf, tanh and sigmoid agree to a few ulp of 1, and their result is multiplied by x.
_KERNEL: Final = 4e-6
# Beyond this opset the operators Gelu and Swish exist.
_GELU: Final = 20
_SWISH: Final = 24
_SIDE: Final = 5
#: What is written of each activation, beyond plain operators.
SPELLINGS: Final = ("operator", "expression", "commuted")


class ContribNetwork(Network):
    """A network under construction with what contrib operators compute."""

    __slots__ = ()

    def last(self, x: Value) -> int:
        """The last dimension."""
        return _SIDE if x.is_image else x.channels

    def product(self, x: Value, *, bias: str, first: bool) -> Value:
        """MatMul by a square constant over the last axis, and what is added to it."""
        length = self.last(x)
        drawn = self.rng.uniform(-1, 1, (length, length))
        drawn /= np.max(np.abs(drawn).sum(0))
        made = self.node("MatMul", [x.name, self.weight(drawn)], x)
        gain = float(np.max(np.abs(drawn).sum(0)))
        value = self._product(x, x.channels, np.array([gain]), length, None, made)
        return self.shift(value, bias=bias, first=first)

    def shift(self, x: Value, *, bias: str, first: bool) -> Value:
        """A constant added: a vector along the last axis, or one that is no bias of it."""
        length = self.last(x)
        shapes = {"vector": (length,), "number": (), "one": (1,), "row": (1, length)}
        if bias == "none":
            return x
        drawn = self.rng.uniform(-1, 1, shapes[bias])
        operands = [x.name, self.weight(drawn)]
        name = self.node("Add", operands[::-1] if first else operands, x)
        top = x.magnitude + 1
        return self._add(Value(name, x.channels, x.is_image, top, x.error + _ROUNDING * top))

    def gelu(self, x: Value, approximate: str, spelling: str) -> Value:
        """x times the normal distribution, or times its approximation by tanh."""
        if spelling == "operator" and self.opset >= _GELU:
            name = self.node("Gelu", [x.name], x, approximate=approximate)
        elif approximate == "none":
            name = self._gelu_by_erf(x, commuted=spelling == "commuted")
        else:
            name = self._gelu_by_tanh(x, commuted=spelling == "commuted")
        return self._gated(x, name, 1.13)

    def _gelu_by_erf(self, x: Value, *, commuted: bool) -> str:
        if commuted:
            scaled = self.node("Mul", [self._number(math.sqrt(0.5)), x.name], x)
        else:
            scaled = self.node("Div", [x.name, self._number(math.sqrt(2.0))], x)
        erf = self.node("Erf", [scaled], x)
        return self._halved(x, erf, commuted=commuted)

    def _gelu_by_tanh(self, x: Value, *, commuted: bool) -> str:
        if commuted:
            cube = self.node("Pow", [x.name, self._number(3.0)], x)
        else:
            square = self.node("Mul", [x.name, x.name], x)
            cube = self.node("Mul", [square, x.name], x)
        small = self.node("Mul", [cube, self._number(0.044715)], x)
        inner = self.node("Add", [x.name, small], x)
        scaled = self.node("Mul", [self._number(math.sqrt(2 / math.pi)), inner], x)
        return self._halved(x, self.node("Tanh", [scaled], x), commuted=commuted)

    def _halved(self, x: Value, inner: str, *, commuted: bool) -> str:
        """x * (1 + inner) / 2."""
        lifted = self.node("Add", [inner, self._number(1.0)], x)
        half = self._number(0.5)
        if commuted:
            return self.node("Mul", [x.name, self.node("Mul", [half, lifted], x)], x)
        return self.node("Mul", [self.node("Mul", [x.name, lifted], x), half], x)

    def swish(self, x: Value, beta: float, spelling: str) -> Value:
        """x * sigmoid(beta x)."""
        if spelling == "operator" and self.opset >= _SWISH:
            return self._gated(x, self.node("Swish", [x.name], x, alpha=beta), 1.1)
        inner = x.name
        if beta != 1.0:
            inner = self.node("Mul", [x.name, self._number(beta)], x)
        if spelling == "commuted":
            risen = self.node("Exp", [self.node("Neg", [inner], x)], x)
            below = self.node("Add", [self._number(1.0), risen], x)
            return self._gated(x, self.node("Div", [x.name, below], x), 1.1)
        gate = self.node("Sigmoid", [inner], x)
        return self._gated(x, self.node("Mul", [gate, x.name], x), 1.1)

    def _gated(self, x: Value, name: str, steep: float) -> Value:
        error = steep * x.error + _KERNEL * max(1.0, x.magnitude)
        return self._add(Value(name, x.channels, x.is_image, x.magnitude, error))

    def _number(self, value: float) -> str:
        return self.weight(np.array(value))


@st.composite
def contrib_networks(draw: st.DrawFn, longest: int = 6) -> ContribNetwork:
    """Chains and branches of what contrib operators compute, and of what they nearly do."""
    network = ContribNetwork(
        draw(st.sampled_from((*OPSETS, _SWISH))),
        np.random.default_rng(draw(st.integers(0, 1 << 20))),
    )
    network.start(draw(st.sampled_from([2, 4, 16])))
    for _ in range(draw(st.integers(1, longest))):
        step = _STEPS[draw(st.sampled_from(sorted(_STEPS)))]
        step(draw, network, _recent(draw, network))
    used = {name for node in network._nodes for name in node.input}
    middle = {
        draw(st.integers(0, len(network.values) - 1))
        for _ in range(draw(st.sampled_from([0, 0, 0, 1])))
    }
    network.outputs = [
        v for k, v in enumerate(network.values) if k and (v.name not in used or k in middle)
    ]
    return network


def _recent(draw: st.DrawFn, network: ContribNetwork) -> Value:
    """The last value, for the most part."""
    last = len(network.values) - 1
    return network.values[last if draw(st.integers(0, 3)) else draw(st.integers(0, last))]


def _residual(draw: st.DrawFn, network: ContribNetwork, x: Value) -> None:
    if not x.is_image:
        _product(draw, network, x)
        return
    groups = draw(st.sampled_from([1, 1, 2, x.channels]))
    made = network.convolve(
        x, x.channels, group=groups, side=draw(st.sampled_from([1, 3])),
        bias=draw(st.booleans()), shared=draw(st.booleans()), transposed=False,
    )  # fmt: skip
    others = [v for v in network.values if v.is_image and v.channels == made.channels]
    other = draw(st.sampled_from(others))
    pair = (made, other) if draw(st.booleans()) else (other, made)
    total = network.add(*pair)
    if draw(st.integers(0, 5)):
        network.activate(total, draw(st.sampled_from(sorted(ACTIVATIONS))))


def _product(draw: st.DrawFn, network: ContribNetwork, x: Value) -> None:
    made = network.product(x, bias=draw(_BIASES), first=draw(st.booleans()))
    network.activate(made, draw(st.sampled_from(sorted(ACTIVATIONS))))


def _biased_gelu(draw: st.DrawFn, network: ContribNetwork, x: Value) -> None:
    if draw(st.booleans()):
        x = network.product(x, bias="none", first=False)
    x = network.shift(x, bias=draw(_BIASES), first=draw(st.booleans()))
    network.gelu(x, draw(st.sampled_from(["none", "tanh"])), draw(st.sampled_from(SPELLINGS)))


def _swish(draw: st.DrawFn, network: ContribNetwork, x: Value) -> None:
    beta = draw(st.sampled_from([1.0, 1.0, 1.702, 0.5, -1.25]))
    network.swish(x, beta, draw(st.sampled_from(SPELLINGS)))


def _pool(_: st.DrawFn, network: ContribNetwork, x: Value) -> None:
    if x.is_image:
        network.pool(x)


_BIASES: Final = st.sampled_from(["vector", "vector", "vector", "number", "one", "row", "none"])
_STEPS: Final[dict[str, Callable[[st.DrawFn, ContribNetwork, Value], None]]] = {
    "biased_gelu": _biased_gelu,
    "pool": _pool,
    "product": _product,
    "residual": _residual,
    "residual_again": _residual,
    "swish": _swish,
}
