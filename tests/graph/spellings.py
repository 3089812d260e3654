"""Ways to write every activation of the catalogue as ONNX nodes.

Each is written by hand from the literature or from what an exporter emits, not from the program's
own declarations: that is what makes them a test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from onnx import TensorProto
from spelling_parts import (
    Build,
    above,
    clip_of,
    cubic,
    cubic_by_products,
    gelu_erf,
    half_gate,
    mish_rational,
    one_plus_exp,
    relu6_of_shifted,
    tanh_by_exp,
)
from spellings_with_parameters import MS, PARAMETRIC


@dataclass(frozen=True)
class Spelling:
    """One way to write one activation.

    Attributes:
        name: what it is found as.
        label: how it is written.
        build: writes it.
        parameters: what is found.
        opset: that it needs.
    """

    name: str
    label: str
    build: Build
    parameters: dict[str, object] = field(default_factory=dict)
    opset: int = 20

    def __str__(self) -> str:
        return f"{self.name}: {self.label}"


RECTIFIERS: tuple[tuple[str, str, Build], ...] = (
    ("relu", "Relu", lambda s, x: s("Relu", x)),
    ("relu", "Max(x, 0)", lambda s, x: s("Max", x, 0.0)),
    ("relu", "Clip(x, 0)", lambda s, x: s("Clip", x, s.constant(0.0, ()))),
    ("relu", "Where(x > 0, x, 0)", lambda s, x: s("Where", s("Greater", x, 0.0), x, 0.0)),
    ("relu", "Where(x < 0, 0, x)", lambda s, x: s("Where", s("Less", x, 0.0), 0.0, x)),
    ("relu", "Where(0 <= x, x, 0)", lambda s, x: s("Where", s("LessOrEqual", 0.0, x), x, 0.0)),
    (
        "relu",
        "Where(not x > 0, 0, x)",
        lambda s, x: s("Where", s("Not", s("Greater", x, 0.0)), 0.0, x),
    ),
    ("relu", "x * (x > 0)", lambda s, x: s("Mul", x, above(s, x, 0.0))),
    ("relu", "(x + |x|) / 2", lambda s, x: s("Div", s("Add", x, s("Abs", x)), 2.0)),
    ("relu", "x - Min(x, 0)", lambda s, x: s("Sub", x, s("Min", x, 0.0))),
    ("relu", "x + Relu(-x)", lambda s, x: s("Sum", x, s("Relu", s("Neg", x)))),
    ("relu", "-Min(-x, 0)", lambda s, x: s("Neg", s("Min", s("Neg", x), 0.0))),
    ("relu", "LeakyRelu 0", lambda s, x: s("LeakyRelu", x, alpha=0.0)),
    ("relu", "ThresholdedRelu 0", lambda s, x: s("ThresholdedRelu", x, alpha=0.0)),
    ("relu6", "Clip", clip_of(0, 6)),
    ("relu6", "Min(Max(x, 0), 6)", lambda s, x: s("Min", s("Max", x, 0.0), 6.0)),
    ("relu6", "Min(Relu(x), 6)", lambda s, x: s("Min", s("Relu", x), 6.0)),
    ("relu6", "Max(Min(x, 6), 0)", lambda s, x: s("Max", s("Min", x, 6.0), 0.0)),
    (
        "relu6",
        "Relu(x) - Relu(x - 6)",
        lambda s, x: s("Sub", s("Relu", x), s("Relu", s("Sub", x, 6.0))),
    ),
    ("squared_relu", "r * r", lambda s, x: s("Mul", r := s("Relu", x), r)),
    ("squared_relu", "Pow(r, 2)", lambda s, x: s("Pow", s("Relu", x), 2.0)),
    ("squared_relu", "x * Relu(x)", lambda s, x: s("Mul", x, s("Relu", x))),
    ("squared_relu", "Max(x, 0) * x", lambda s, x: s("Mul", s("Max", x, 0.0), x)),
)

SMOOTH: tuple[tuple[str, str, Build], ...] = (
    ("sigmoid", "Sigmoid", lambda s, x: s("Sigmoid", x)),
    ("sigmoid", "1 / (1 + e^-x)", lambda s, x: s("Div", 1.0, one_plus_exp(s, s("Neg", x)))),
    (
        "sigmoid",
        "Reciprocal(1 + e^-x)",
        lambda s, x: s("Reciprocal", one_plus_exp(s, s("Mul", x, -1.0))),
    ),
    ("sigmoid", "e^x / (1 + e^x)", lambda s, x: s("Div", e := s("Exp", x), s("Add", e, 1.0))),
    (
        "sigmoid",
        "Tanh(x / 2) / 2 + 1/2",
        lambda s, x: s("Add", s("Mul", s("Tanh", s("Mul", x, 0.5)), 0.5), 0.5),
    ),
    ("sigmoid", "1 - Sigmoid(-x)", lambda s, x: s("Sub", 1.0, s("Sigmoid", s("Neg", x)))),
    ("tanh", "Tanh", lambda s, x: s("Tanh", x)),
    (
        "tanh",
        "2 Sigmoid(2x) - 1",
        lambda s, x: s("Sub", s("Mul", s("Sigmoid", s("Mul", x, 2.0)), 2.0), 1.0),
    ),
    ("tanh", "by exponentials", tanh_by_exp),
    (
        "tanh",
        "1 - 2 / (e^2x + 1)",
        lambda s, x: s("Sub", 1.0, s("Div", 2.0, one_plus_exp(s, s("Mul", x, 2.0)))),
    ),
    ("rectified_tanh", "Max(Tanh(x), 0)", lambda s, x: s("Max", s("Tanh", x), 0.0)),
    ("rectified_tanh", "Relu(Tanh(x))", lambda s, x: s("Relu", s("Tanh", x))),
    ("rectified_tanh", "Tanh(Relu(x))", lambda s, x: s("Tanh", s("Relu", x))),
    ("tanhshrink", "x - Tanh(x)", lambda s, x: s("Sub", x, s("Tanh", x))),
    ("tanhshrink", "x + -Tanh(x)", lambda s, x: s("Add", s("Neg", s("Tanh", x)), x)),
    ("softsign", "Softsign", lambda s, x: s("Softsign", x)),
    ("softsign", "x / (1 + |x|)", lambda s, x: s("Div", x, s("Add", s("Abs", x), 1.0))),
    (
        "softsign",
        "x * Reciprocal(1 + |x|)",
        lambda s, x: s("Mul", x, s("Reciprocal", s("Add", 1.0, s("Abs", x)))),
    ),
    ("logsigmoid", "Log(Sigmoid(x))", lambda s, x: s("Log", s("Sigmoid", x))),
    ("logsigmoid", "-Softplus(-x)", lambda s, x: s("Neg", s("Softplus", s("Neg", x)))),
    ("logsigmoid", "x - Softplus(x)", lambda s, x: s("Sub", x, s("Softplus", x))),
    (
        "logsigmoid",
        "-Log(1 + e^-x)",
        lambda s, x: s("Neg", s("Log", one_plus_exp(s, s("Neg", x)))),
    ),
    (
        "logsigmoid",
        "Min(x, 0) - Log(1 + e^-|x|)",
        lambda s, x: s("Sub", s("Min", x, 0.0), s("Log", one_plus_exp(s, s("Neg", s("Abs", x))))),
    ),
)

GATED: tuple[tuple[str, str, Build], ...] = (
    ("silu", "x * Sigmoid(x)", lambda s, x: s("Mul", x, s("Sigmoid", x))),
    ("silu", "x / (1 + e^-x)", lambda s, x: s("Div", x, one_plus_exp(s, s("Neg", x)))),
    ("silu", "QuickGelu alpha 1", lambda s, x: s("QuickGelu", x, domain=MS, alpha=1.0)),
    (
        "silu",
        "x * (Tanh(x / 2) + 1) / 2",
        lambda s, x: s("Mul", s("Mul", x, 0.5), s("Add", s("Tanh", s("Div", x, 2.0)), 1.0)),
    ),
    ("mish", "Mish", lambda s, x: s("Mish", x)),
    ("mish", "x * Tanh(Softplus(x))", lambda s, x: s("Mul", x, s("Tanh", s("Softplus", x)))),
    (
        "mish",
        "x * Tanh(Log(1 + e^x))",
        lambda s, x: s("Mul", x, s("Tanh", s("Log", one_plus_exp(s, x)))),
    ),
    ("mish", "x * n / (n + 2)", mish_rational),
    ("hardswish", "HardSwish", lambda s, x: s("HardSwish", x)),
    (
        "hardswish",
        "x * HardSigmoid",
        lambda s, x: s("Mul", x, s("HardSigmoid", x, alpha=1 / 6, beta=0.5)),
    ),
    (
        "hardswish",
        "x * Relu6(x + 3) / 6",
        lambda s, x: s("Div", s("Mul", x, relu6_of_shifted(s, x)), 6.0),
    ),
    (
        "hardswish",
        "x * (Relu6(x + 3) * (1/6))",
        lambda s, x: s("Mul", x, s("Mul", relu6_of_shifted(s, x), 1 / 6)),
    ),
    (
        "hardswish",
        "x / 6 * Clip(x + 3, 0, 6)",
        lambda s, x: s("Mul", s("Div", x, 6.0), clip_of(0, 6)(s, s("Add", x, 3.0))),
    ),
    (
        "hardswish",
        "x * Clip(x / 6 + 1/2, 0, 1)",
        lambda s, x: s("Mul", x, clip_of(0, 1)(s, s("Add", s("Div", x, 6.0), 0.5))),
    ),
)

GELU_ERF: tuple[tuple[str, Build], ...] = (
    ("Gelu", lambda s, x: s("Gelu", x)),
    ("Gelu of com.microsoft", lambda s, x: s("Gelu", x, domain=MS)),
    ("x * 1/2 * g", lambda s, x: s("Mul", s("Mul", x, 0.5), gelu_erf(s, x))),
    ("x * g * 1/2", lambda s, x: s("Mul", s("Mul", x, gelu_erf(s, x)), 0.5)),
    ("x * (1/2 * g)", lambda s, x: s("Mul", x, s("Mul", 0.5, gelu_erf(s, x)))),
    ("x * g / 2", lambda s, x: s("Div", s("Mul", x, gelu_erf(s, x)), 2.0)),
    ("x / 2 * g", lambda s, x: s("Mul", s("Div", x, 2.0), gelu_erf(s, x))),
    (
        "x * (Erf(x * 0.7071) / 2 + 1/2)",
        lambda s, x: s("Mul", x, s("Add", s("Mul", s("Erf", s("Mul", x, 0.7071)), 0.5), 0.5)),
    ),
    (
        "h + h * Erf(x / 1.4142), h = x / 2",
        lambda s, x: s("Add", h := s("Mul", x, 0.5), s("Mul", h, s("Erf", s("Div", x, 1.4142)))),
    ),
    (
        "1 - Erf(-x / sqrt 2)",
        lambda s, x: s(
            "Mul",
            s("Mul", x, 0.5),
            s("Sub", 1.0, s("Erf", s("Mul", x, -0.7071067811865476))),
        ),
    ),
    (
        "divisor Sqrt(2)",
        lambda s, x: s(
            "Mul", s("Add", s("Erf", s("Div", x, s("Sqrt", 2.0))), 1.0), s("Mul", x, 0.5)
        ),
    ),
)

GELU_TANH: tuple[tuple[str, Build], ...] = (
    ("Gelu tanh", lambda s, x: s("Gelu", x, approximate="tanh")),
    ("FastGelu", lambda s, x: s("FastGelu", x, domain=MS)),
    ("Pow(x, 3)", lambda s, x: s("Mul", s("Mul", x, 0.5), half_gate(s, cubic(s, x)))),
    ("x*x*x", lambda s, x: s("Mul", 0.5, s("Mul", x, half_gate(s, cubic_by_products(s, x))))),
    (
        "x * (1 + c x^2)",
        lambda s, x: s(
            "Mul",
            s("Mul", x, 0.5),
            half_gate(s, s("Mul", x, s("Add", s("Mul", s("Mul", x, x), 0.044715), 1.0))),
        ),
    ),
    (
        "x * Sigmoid(1.59577 u)",
        lambda s, x: s("Mul", x, s("Sigmoid", s("Mul", cubic(s, x), math.sqrt(8 / math.pi)))),
    ),
    (
        "constant 0.7978845608",
        lambda s, x: s(
            "Div",
            s("Mul", x, s("Add", 1.0, s("Tanh", s("Mul", 0.7978845608, cubic(s, x))))),
            2.0,
        ),
    ),
)

NEWER: tuple[Spelling, ...] = (
    Spelling("silu", "Swish", lambda s, x: s("Swish", x), {}, 24),
    Spelling("swish", "Swish 1.5", lambda s, x: s("Swish", x, alpha=1.5), {"beta": 1.5}, 24),
)

SPELLINGS: tuple[Spelling, ...] = (
    *(Spelling(*entry) for entry in (*RECTIFIERS, *SMOOTH, *GATED)),
    *(Spelling("gelu", label, b, {"approximate": "none"}) for label, b in GELU_ERF),
    *(Spelling("gelu", label, b, {"approximate": "tanh"}) for label, b in GELU_TANH),
    *(Spelling(name, label, b, given) for name, label, given, b in PARAMETRIC),
    *NEWER,
)

#: Half a unit in the last place of a stored constant, relatively.
HALF_ULP: dict[int, float] = {
    TensorProto.FLOAT: 2.0**-24,
    TensorProto.DOUBLE: 2.0**-53,
    TensorProto.FLOAT16: 2.0**-11,
    TensorProto.BFLOAT16: 2.0**-8,
}
