"""Graphs that look like an activation and are none, or are another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from graph_sketch import PLAIN, Sketch, Style, parsed
from onnx import TensorProto, helper

if TYPE_CHECKING:
    import onnx

Write = Callable[[Sketch], "str | tuple[str, ...]"]


@dataclass(frozen=True)
class Lookalike:
    """One trap.

    Attributes:
        imitates: the activation that is not there.
        label: what makes it another.
        write: writes it down; the values it returns are graph outputs.
        found: the names of the sites that are there instead.
    """

    imitates: str
    label: str
    write: Write
    found: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.imitates}: {self.label}"

    def model(self, style: Style = PLAIN) -> onnx.ModelProto:
        sketch = Sketch(style)
        outputs = self.write(sketch)
        return sketch.model(*((outputs,) if isinstance(outputs, str) else outputs))


def _gelu(s: Sketch, *, divisor: float = math.sqrt(2), one: float = 1.0, half: float = 0.5) -> str:
    gate = s("Add", s("Erf", s("Div", "x", divisor)), one)
    return s("Mul", s("Mul", "x", gate), half)


def _gelu_tanh(
    s: Sketch, *, cubic: float = 0.044715, power: float = 3.0, scale: float = 0.7978845608
) -> str:
    inner = s("Add", "x", s("Mul", s("Pow", "x", power), cubic))
    return s("Mul", s("Mul", "x", 0.5), s("Add", s("Tanh", s("Mul", inner, scale)), 1.0))


def _sides(s: Sketch, high: float, low: float) -> tuple[str, str]:
    return s("Greater", "x", high), s("Less", "x", low)


def _either(s: Sketch, high: float, low: float) -> str:
    return s("Or", *_sides(s, high, low))


def _hardswish(s: Sketch, *, shift: float = 3.0, top: float = 6.0, divisor: float = 6.0) -> str:
    clipped = s("Clip", s("Add", "x", shift), s.constant(0.0, ()), s.constant(top, ()))
    return s("Div", s("Mul", "x", clipped), divisor)


def _other(s: Sketch) -> str:
    return s.input("t", ("N", 4, 3, 2))


def _inner_output(s: Sketch) -> tuple[str, str]:
    gate = s("Sigmoid", "x")
    return s("Mul", "x", gate), gate


def _inner_used(s: Sketch) -> tuple[str, str]:
    gate = s("Sigmoid", "x")
    return s("Mul", "x", gate), s("MatMul", gate, _other(s))


def _inner_captured(s: Sketch) -> tuple[str, str]:
    gate = s("Sigmoid", "x")
    branches: dict[str, Any] = {
        name: helper.make_graph(
            [helper.make_node("Identity", [gate], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )
        for name in ("then_branch", "else_branch")
    }
    condition = s.input("c", (), TensorProto.BOOL)
    return s("Mul", "x", gate), s("If", condition, **branches)


def _clip_of_input(s: Sketch) -> str:
    return s("Clip", "x", s.constant(0.0, ()), s.input("high", ()))


def _clip_of_computed(s: Sketch) -> str:
    return s("Clip", "x", s.constant(0.0, ()), s("ReduceMax", "x", keepdims=0))


def _overridable(s: Sketch) -> str:
    slope = s.constant(0.1, ())
    s.input(slope, ())
    return s("Max", "x", s("Mul", "x", slope))


def _overridable_bound(s: Sketch) -> str:
    high = s.constant(6.0, ())
    s.input(high, ())
    return s("Clip", "x", s.constant(0.0, ()), high)


def _slope_of_input(s: Sketch) -> str:
    return s("PRelu", "x", s.input("slope", (4, 1, 1)))


def _slope_of_x(s: Sketch) -> str:
    return s("PRelu", "x", s("ReduceMean", "x", keepdims=1))


def _bigger(s: Sketch) -> str:
    # x of shape [N, 4, 3, 2] against [2, 1, 1, 1, 1]: five dimensions come out.
    return s("Max", "x", s("Mul", "x", s.constant(0.1, (1, 1, 1, 1, 1))))


def _batched(s: Sketch) -> str:
    return s("Max", "x", s.constant(np.zeros((7, 1, 1, 1))))


def _channel_steps(s: Sketch) -> str:
    return s("Max", "x", s.constant(np.arange(4.0).reshape(4, 1, 1)))


def _silu_per_channel(s: Sketch) -> str:
    beta = s.constant(np.array([1.0, 1.0, 1.0, 1.2]).reshape(4, 1, 1))
    return s("Mul", "x", s("Sigmoid", s("Mul", "x", beta)))


def _on_integers(s: Sketch) -> str:
    cast = s("Cast", "x", to=TensorProto.INT32)
    return s("Cast", s("Max", cast, s("Neg", cast)), to=TensorProto.FLOAT)


def _through_integers(s: Sketch) -> str:
    rounded = s("Cast", "x", to=TensorProto.INT64)
    return s("Mul", s("Cast", rounded, to=TensorProto.FLOAT), s("Sigmoid", "x"))


def _transposed_gate(s: Sketch) -> str:
    return s("Mul", "x", s("Transpose", s("Sigmoid", "x"), perm=[0, 1, 2, 3]))


LOOKALIKES: tuple[Lookalike, ...] = (
    Lookalike("silu", "GLU", lambda s: s("Mul", _other(s), s("Sigmoid", "x")), ("sigmoid",)),
    Lookalike("silu", "Tanh gate", lambda s: s("Mul", "x", s("Tanh", "x")), ("tanh",)),
    Lookalike("silu", "Sigmoid(-x)", lambda s: s("Mul", "x", s("Sigmoid", s("Neg", "x")))),
    Lookalike("silu", "x + Sigmoid(x)", lambda s: s("Add", "x", s("Sigmoid", "x"))),
    Lookalike("silu", "x^2 Sigmoid(x)", lambda s: s("Mul", s("Mul", "x", "x"), s("Sigmoid", "x"))),
    Lookalike("silu", "the gate is an output", _inner_output, ("sigmoid",)),
    Lookalike("silu", "the gate is used elsewhere", _inner_used, ("sigmoid",)),
    Lookalike("silu", "an If captures the gate", _inner_captured, ("sigmoid",)),
    Lookalike("silu", "x is rounded on the way", _through_integers, ("sigmoid",)),
    Lookalike("silu", "the gate is transposed", _transposed_gate, ("sigmoid",)),
    Lookalike("swish", "beta per channel", _silu_per_channel),
    Lookalike("silu", "x / (1 + e^x)", lambda s: s("Div", "x", s("Add", s("Exp", "x"), 1.0))),
    Lookalike(
        "silu", "(1 + e^-x) / x", lambda s: s("Div", s("Add", s("Exp", s("Neg", "x")), 1.0), "x")
    ),
    Lookalike("gelu", "divisor 1.3", lambda s: _gelu(s, divisor=1.3)),
    Lookalike("gelu", "divisor 1 % off", lambda s: _gelu(s, divisor=1.01 * math.sqrt(2))),
    Lookalike("gelu", "factor for divisor", lambda s: _gelu(s, divisor=1 / math.sqrt(2))),
    Lookalike("gelu", "one 1 % off", lambda s: _gelu(s, one=1.01)),
    Lookalike("gelu", "half 1 % off", lambda s: _gelu(s, half=0.505)),
    Lookalike("gelu", "not halved", lambda s: _gelu(s, half=1.0)),
    Lookalike("gelu", "minus one", lambda s: _gelu(s, one=-1.0)),
    Lookalike("gelu", "Pow(x, 2)", lambda s: _gelu_tanh(s, power=2.0)),
    Lookalike("gelu", "Pow(x, 3.1)", lambda s: _gelu_tanh(s, power=3.1)),
    Lookalike("gelu", "cubic term 0.04", lambda s: _gelu_tanh(s, cubic=0.04)),
    Lookalike("gelu", "cubic term 1 % off", lambda s: _gelu_tanh(s, cubic=0.0451622)),
    Lookalike("gelu", "cubic term negative", lambda s: _gelu_tanh(s, cubic=-0.044715)),
    Lookalike("gelu", "scale 1 % off", lambda s: _gelu_tanh(s, scale=0.8058)),
    Lookalike(
        "hardswish",
        "HardSigmoid at its default slope",
        lambda s: s("Mul", "x", s("HardSigmoid", "x")),
    ),
    Lookalike("hardswish", "shift 2", lambda s: _hardswish(s, shift=2.0)),
    Lookalike("hardswish", "top 1 % off", lambda s: _hardswish(s, top=6.06)),
    Lookalike("hardswish", "divisor 1 % off", lambda s: _hardswish(s, divisor=6.06)),
    Lookalike(
        "hardswish",
        "of another value",
        lambda s: s("Mul", _other(s), s("HardSigmoid", "x", alpha=1 / 6)),
        ("hardsigmoid",),
    ),
    Lookalike("relu", "Min(x, 0)", lambda s: s("Min", "x", 0.0), ("hardtanh",)),
    Lookalike("relu", "Max(x, -0.01)", lambda s: s("Max", "x", -0.01), ("hardtanh",)),
    Lookalike(
        "relu",
        "Where the wrong way round",
        lambda s: s("Where", s("Greater", "x", 0.0), 0.0, "x"),
        ("hardtanh",),
    ),
    Lookalike(
        "relu",
        "a tensor of zeros",
        lambda s: s("Max", "x", s.input("zeros", ("N", 4, 3, 2))),
    ),
    Lookalike("relu", "max of two values", lambda s: s("Max", "x", _other(s))),
    Lookalike("relu", "another operator set's Relu", lambda s: s("Relu", "x", domain="my.ops")),
    Lookalike("relu", "a bound per channel", _channel_steps),
    Lookalike("relu", "the constant widens x", _batched),
    Lookalike("relu6", "Clip(0, 6.06)", lambda s: s("Min", s("Relu", "x"), 6.06), ("hardtanh",)),
    Lookalike("relu6", "the bound is an input", _clip_of_input),
    Lookalike("relu6", "the bound is computed", _clip_of_computed),
    Lookalike("relu6", "the bound can be overridden", _overridable_bound),
    Lookalike("relu6", "Min(Relu(x), t)", lambda s: s("Min", s("Relu", "x"), _other(s)), ("relu",)),
    Lookalike("leaky_relu", "the slope can be overridden", _overridable),
    Lookalike("leaky_relu", "the constant adds a dimension", _bigger),
    Lookalike("leaky_relu", "|x|", lambda s: s("Max", "x", s("Neg", "x"))),
    Lookalike("leaky_relu", "|x| of integers", _on_integers),
    Lookalike("leaky_relu", "a line", lambda s: s("Add", "x", s("Mul", "x", 0.1))),
    Lookalike("leaky_relu", "of an affine x", lambda s: s("Max", "x", s("Add", "x", -1.0))),
    Lookalike("prelu", "the slope is an input", _slope_of_input),
    Lookalike("prelu", "the slope is computed of x", _slope_of_x),
    Lookalike(
        "softplus", "Log(2 + e^x)", lambda s: s("Log", s("Add", s("Exp", "x"), 2.0)), ("unknown",)
    ),
    Lookalike("softplus", "Log(1 - e^x)", lambda s: s("Log", s("Sub", 1.0, s("Exp", "x")))),
    Lookalike(
        "softplus",
        "Softplus(2x) / 3",
        lambda s: s("Div", s("Softplus", s("Mul", "x", 2.0)), 3.0),
        ("softplus",),
    ),
    Lookalike(
        "softplus",
        "Where(x > 19, x, Softplus(x))",
        lambda s: s("Where", s("Greater", "x", 19.0), "x", s("Softplus", "x")),
        ("softplus",),
    ),
    Lookalike(
        "hardshrink",
        "Where(x > 0.5 or x < -0.4, x, 0)",
        lambda s: s("Where", _either(s, 0.5, -0.4), "x", 0.0),
    ),
    Lookalike(
        "hardshrink",
        "Where(x > 0.5 and x < -0.5, x, 0)",
        lambda s: s("Where", s("And", *_sides(s, 0.5, -0.5)), "x", 0.0),
    ),
    Lookalike(
        "hardshrink",
        "Where(x > 0.5 xor x < 0.6, x, 0)",
        lambda s: s("Where", s("Xor", *_sides(s, 0.5, 0.6)), "x", 0.0),
    ),
    Lookalike("mish", "x * Tanh(e^x)", lambda s: s("Mul", "x", s("Tanh", s("Exp", "x")))),
    Lookalike(
        "mish",
        "x * Softplus(Tanh(x))",
        lambda s: s("Mul", "x", s("Softplus", s("Tanh", "x"))),
    ),
    Lookalike(
        "mish",
        "of another value",
        lambda s: s("Mul", _other(s), s("Tanh", s("Softplus", "x"))),
    ),
    Lookalike("tanhshrink", "Tanh(x) - x", lambda s: s("Sub", s("Tanh", "x"), "x"), ("tanh",)),
    Lookalike("softsign", "x / (2 + |x|)", lambda s: s("Div", "x", s("Add", s("Abs", "x"), 2.0))),
    Lookalike("softsign", "(1 + |x|) / x", lambda s: s("Div", s("Add", s("Abs", "x"), 1.0), "x")),
    Lookalike("softsign", "x / (1 + x)", lambda s: s("Div", "x", s("Add", "x", 1.0))),
    Lookalike("sigmoid", "1 / (1 + e^x)", lambda s: s("Reciprocal", s("Add", s("Exp", "x"), 1.0))),
    Lookalike(
        "sigmoid",
        "1 / (2 + e^-x)",
        lambda s: s("Reciprocal", s("Add", s("Exp", s("Neg", "x")), 2.0)),
    ),
    Lookalike("tanh", "Tanh(x) * 1.01", lambda s: s("Mul", s("Tanh", "x"), 1.01), ("tanh",)),
    Lookalike("squared_relu", "Pow(Relu(x), 3)", lambda s: s("Pow", s("Relu", "x"), 3.0)),
    Lookalike(
        "squared_relu",
        "Relu(x) * Relu(-x)",
        lambda s: s("Mul", s("Relu", "x"), s("Relu", s("Neg", "x"))),
    ),
    Lookalike("squared_relu", "x * x", lambda s: s("Mul", "x", "x")),
    Lookalike("elu", "e^x - 1", lambda s: s("Sub", s("Exp", "x"), 1.0)),
    Lookalike(
        "elu",
        "Relu(x) + e^Min(x, 0)",
        lambda s: s("Add", s("Relu", "x"), s("Exp", s("Min", "x", 0.0))),
    ),
    Lookalike("selu", "scaled relu", lambda s: s("Mul", s("Relu", "x"), 1.05), ("relu",)),
    Lookalike(
        "hardshrink",
        "Where(x > 0.5, x, -x)",
        lambda s: s("Where", s("Greater", "x", 0.5), "x", s("Neg", "x")),
    ),
    Lookalike(
        "hardshrink",
        "Where(x > 1/2 and x < 8, x, 0)",
        lambda s: s("Where", s("And", s("Greater", "x", 0.5), s("Less", "x", 8.0)), "x", 0.0),
        ("unknown",),
    ),
    Lookalike(
        "hardshrink",
        "where the cast x is not zero",
        lambda s: s("Where", s("Or", s("Cast", "x", to=9), s("Greater", "x", 8.0)), "x", 0.5),
    ),
    Lookalike(
        "softshrink",
        "Shrink with another bias",
        lambda s: s("Shrink", "x", bias=0.4, lambd=0.5),
        ("unknown",),
    ),
    Lookalike(
        "hardsigmoid",
        "Clip(x / 4 + 1/2, 0, 2)",
        lambda s: s(
            "Clip", s("Add", s("Div", "x", 4.0), 0.5), s.constant(0.0, ()), s.constant(2.0, ())
        ),
    ),
)


def bound_computed_of_a_number() -> onnx.ModelProto:
    """Clip(x, 0, 4 - x) of one number x: the bound is a function of x, not a constant."""
    sketch = Sketch(shape=())
    bound = sketch("Sub", 4.0, "x")
    return sketch.model(sketch("Clip", "x", sketch.constant(0.0, ()), bound))


def bump_far_from_every_constant() -> onnx.ModelProto:
    """Relu(x) and a bump 0.3 high between x = 15.27 and x = 15.45, where no constant points."""
    sketch = Sketch()
    distance = sketch("Abs", sketch("Sub", sketch("Mul", "x", 3.3), 50.7))
    bump = sketch("Relu", sketch("Sub", 0.3, distance))
    return sketch.model(sketch("Add", sketch("Relu", "x"), bump))


def function_called_relu() -> onnx.ModelProto:
    """A local function of another domain that is called Relu and is none."""
    return parsed(
        """<ir_version: 8, opset_import: ["": 17, "my.ops": 1]>
        g (float[N, 4] x) => (float[N, 4] y) { y = my.ops.Relu(x) }
        <domain: "my.ops", opset_import: ["": 17]>
        Relu (a) => (b) { c = Neg(a)  d = Exp(c)  b = Sub(a, d) }"""
    )
