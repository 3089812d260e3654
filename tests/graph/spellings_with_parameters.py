"""Ways to write the activations that have parameters."""

from __future__ import annotations

import math

import numpy as np
from spelling_parts import (
    Build,
    above,
    clip_of,
    expm1,
    guarded_softplus,
    inside,
    one_plus_exp,
    outside,
    relu6_of_shifted,
    softshrink_by_where,
)

MS = "com.microsoft"
SLOPES = np.array([-0.2, 0.05, 0.25, 0.6]).reshape(4, 1, 1)
SELU_A, SELU_G = 1.6732632423543772, 1.0507009873554805

PARAMETRIC: tuple[tuple[str, str, dict[str, object], Build], ...] = (
    (
        "leaky_relu",
        "LeakyRelu",
        {"negative_slope": 0.1},
        lambda s, x: s("LeakyRelu", x, alpha=0.1),
    ),
    ("leaky_relu", "LeakyRelu default", {"negative_slope": 0.01}, lambda s, x: s("LeakyRelu", x)),
    (
        "leaky_relu",
        "Max(x, a x)",
        {"negative_slope": 0.1},
        lambda s, x: s("Max", x, s("Mul", x, 0.1)),
    ),
    (
        "leaky_relu",
        "Max(x, x / 5)",
        {"negative_slope": 0.2},
        lambda s, x: s("Max", x, s("Div", x, 5.0)),
    ),
    (
        "leaky_relu",
        "Min(x, 2 x)",
        {"negative_slope": 2.0},
        lambda s, x: s("Min", x, s("Mul", x, 2.0)),
    ),
    (
        "leaky_relu",
        "Where",
        {"negative_slope": 0.3},
        lambda s, x: s("Where", s("Greater", x, 0.0), x, s("Mul", x, 0.3)),
    ),
    (
        "leaky_relu",
        "Relu(x) - a Relu(-x)",
        {"negative_slope": 0.3},
        lambda s, x: s("Sub", s("Relu", x), s("Mul", s("Relu", s("Neg", x)), 0.3)),
    ),
    (
        "leaky_relu",
        "0.55 x + 0.45 |x|",
        {"negative_slope": 0.1},
        lambda s, x: s("Add", s("Mul", x, 0.55), s("Mul", s("Abs", x), 0.45)),
    ),
    ("prelu", "PRelu", {"slope": SLOPES}, lambda s, x: s("PRelu", x, s.constant(SLOPES))),
    ("prelu", "PRelu of a number", {"slope": 0.3}, lambda s, x: s("PRelu", x, 0.3)),
    (
        "prelu",
        "Relu(x) - s Relu(-x)",
        {"slope": SLOPES},
        lambda s, x: s("Sub", s("Relu", x), s("Mul", s.constant(SLOPES), s("Relu", s("Neg", x)))),
    ),
    (
        "prelu",
        "Relu(x) + -s Relu(-x)",
        {"slope": SLOPES},
        lambda s, x: s(
            "Add", s("Relu", x), s("Mul", s("Relu", s("Neg", x)), s("Neg", s.constant(SLOPES)))
        ),
    ),
    (
        "prelu",
        "Where",
        {"slope": SLOPES},
        lambda s, x: s("Where", s("Greater", x, 0.0), x, s("Mul", s.constant(SLOPES), x)),
    ),
    (
        "prelu",
        "Max(x, 0) + s Min(x, 0)",
        {"slope": SLOPES},
        lambda s, x: s("Add", s("Max", x, 0.0), s("Mul", s("Min", x, 0.0), s.constant(SLOPES))),
    ),
    ("hardtanh", "Clip", {"min": -1.0, "max": 1.0}, clip_of(-1, 1)),
    ("hardtanh", "Clip 2", {"min": -2.0, "max": 2.0}, clip_of(-2, 2)),
    (
        "hardtanh",
        "Min(Max)",
        {"min": -1.0, "max": 1.0},
        lambda s, x: s("Min", s("Max", x, -1.0), 1.0),
    ),
    (
        "hardtanh",
        "Max(Min) uneven",
        {"min": -0.5, "max": 3.0},
        lambda s, x: s("Max", s("Min", x, 3.0), -0.5),
    ),
    ("hardtanh", "open above", {"min": -0.4, "max": math.inf}, lambda s, x: s("Max", x, -0.4)),
    (
        "threshold",
        "ThresholdedRelu",
        {"threshold": 1.5, "value": 0.0},
        lambda s, x: s("ThresholdedRelu", x, alpha=1.5),
    ),
    (
        "threshold",
        "Where",
        {"threshold": 1.0, "value": 0.0},
        lambda s, x: s("Where", s("Greater", x, 1.0), x, 0.0),
    ),
    (
        "threshold",
        "Where with a value",
        {"threshold": 0.5, "value": -2.0},
        lambda s, x: s("Where", s("Greater", x, 0.5), x, -2.0),
    ),
    (
        "threshold",
        "x * (x > 1)",
        {"threshold": 1.0, "value": 0.0},
        lambda s, x: s("Mul", above(s, x, 1.0), x),
    ),
    ("hardshrink", "Shrink", {"lambd": 0.5}, lambda s, x: s("Shrink", x, bias=0.0, lambd=0.5)),
    (
        "hardshrink",
        "Where(|x| > l, x, 0)",
        {"lambd": 0.5},
        lambda s, x: s("Where", s("Greater", s("Abs", x), 0.5), x, 0.0),
    ),
    (
        "hardshrink",
        "Where(x > l or x < -l, x, 0)",
        {"lambd": 0.5},
        lambda s, x: s("Where", outside(s, x, 0.5), x, 0.0),
    ),
    (
        "hardshrink",
        "Where(x > -l and x < l, 0, x)",
        {"lambd": 0.5},
        lambda s, x: s("Where", inside(s, x, 0.5), 0.0, x),
    ),
    ("softshrink", "Shrink", {"lambd": 0.5}, lambda s, x: s("Shrink", x, bias=0.5, lambd=0.5)),
    (
        "softshrink",
        "x - Clip(x, -l, l)",
        {"lambd": 0.5},
        lambda s, x: s("Sub", x, clip_of(-0.5, 0.5)(s, x)),
    ),
    (
        "softshrink",
        "Relu(x - l) - Relu(-x - l)",
        {"lambd": 0.5},
        lambda s, x: s("Sub", s("Relu", s("Sub", x, 0.5)), s("Relu", s("Sub", s("Neg", x), 0.5))),
    ),
    (
        "softshrink",
        "Sign(x) Relu(|x| - l)",
        {"lambd": 1.0},
        lambda s, x: s("Mul", s("Sign", x), s("Relu", s("Sub", s("Abs", x), 1.0))),
    ),
    ("softshrink", "nested Where", {"lambd": 0.5}, softshrink_by_where),
    ("elu", "Elu", {"alpha": 0.7}, lambda s, x: s("Elu", x, alpha=0.7)),
    (
        "elu",
        "Where(x > 0, x, a (e^x - 1))",
        {"alpha": 0.7},
        lambda s, x: s("Where", s("Greater", x, 0.0), x, s("Mul", expm1(s, x), 0.7)),
    ),
    (
        "elu",
        "Relu(x) + a (e^Min(x, 0) - 1)",
        {"alpha": 1.0},
        lambda s, x: s("Add", s("Relu", x), expm1(s, s("Min", x, 0.0))),
    ),
    (
        "elu",
        "Relu(x) - a Relu(1 - e^x)",
        {"alpha": 1.5},
        lambda s, x: s("Sub", s("Relu", x), s("Mul", s("Relu", s("Sub", 1.0, s("Exp", x))), 1.5)),
    ),
    ("celu", "Celu", {"alpha": 2.0}, lambda s, x: s("Celu", x, alpha=2.0)),
    ("celu", "Celu 1", {"alpha": 1.0}, lambda s, x: s("Celu", x)),
    (
        "celu",
        "Max(x, 0) + Min(a (e^(x/a) - 1), 0)",
        {"alpha": 2.0},
        lambda s, x: s(
            "Add",
            s("Max", x, 0.0),
            s("Min", s("Mul", expm1(s, s("Div", x, 2.0)), 2.0), 0.0),
        ),
    ),
    ("selu", "Selu", {"alpha": SELU_A, "gamma": SELU_G}, lambda s, x: s("Selu", x)),
    (
        "selu",
        "g Elu(a)",
        {"alpha": SELU_A, "gamma": SELU_G},
        lambda s, x: s("Mul", s("Elu", x, alpha=SELU_A), SELU_G),
    ),
    (
        "selu",
        "g Where(x > 0, x, a e^x - a)",
        {"alpha": SELU_A, "gamma": SELU_G},
        lambda s, x: s(
            "Mul",
            SELU_G,
            s(
                "Where",
                s("Greater", x, 0.0),
                x,
                s("Sub", s("Mul", s("Exp", x), SELU_A), SELU_A),
            ),
        ),
    ),
    ("softplus", "Softplus", {"beta": 1.0}, lambda s, x: s("Softplus", x)),
    ("softplus", "Log(1 + e^x)", {"beta": 1.0}, lambda s, x: s("Log", one_plus_exp(s, x))),
    (
        "softplus",
        "Relu(x) + Log(1 + e^-|x|)",
        {"beta": 1.0},
        lambda s, x: s("Add", s("Relu", x), s("Log", one_plus_exp(s, s("Neg", s("Abs", x))))),
    ),
    (
        "softplus",
        "-Log(Sigmoid(-x))",
        {"beta": 1.0},
        lambda s, x: s("Neg", s("Log", s("Sigmoid", s("Neg", x)))),
    ),
    (
        "softplus",
        "Softplus(2x) / 2",
        {"beta": 2.0},
        lambda s, x: s("Div", s("Softplus", s("Mul", x, 2.0)), 2.0),
    ),
    (
        "softplus",
        "Where(x > 20, x, Softplus(x)), as torch guards it",
        {"beta": 1.0},
        lambda s, x: s("Where", s("Greater", x, 20.0), x, s("Softplus", x)),
    ),
    (
        "softplus",
        "Where(2x > 20, x, Softplus(2x) / 2)",
        {"beta": 2.0},
        lambda s, x: guarded_softplus(s, x, 2.0),
    ),
    (
        "softplus",
        "Where(0.1x > 20, x, 10 Softplus(0.1x))",
        {"beta": 0.1},
        lambda s, x: guarded_softplus(s, x, 0.1),
    ),
    (
        "softplus",
        "Log(1 + e^2x) / 2",
        {"beta": 2.0},
        lambda s, x: s("Mul", s("Log", one_plus_exp(s, s("Mul", x, 2.0))), 0.5),
    ),
    (
        "hardsigmoid",
        "HardSigmoid default",
        {"alpha": 0.2, "beta": 0.5},
        lambda s, x: s("HardSigmoid", x),
    ),
    (
        "hardsigmoid",
        "Clip(a x + b, 0, 1)",
        {"alpha": 0.2, "beta": 0.5},
        lambda s, x: clip_of(0, 1)(s, s("Add", s("Mul", x, 0.2), 0.5)),
    ),
    (
        "hardsigmoid",
        "Relu6(x + 3) / 6",
        {"alpha": 1 / 6, "beta": 0.5},
        lambda s, x: s("Div", relu6_of_shifted(s, x), 6.0),
    ),
    (
        "hardsigmoid",
        "Max(Min(x / 4 + 1/2, 1), 0)",
        {"alpha": 0.25, "beta": 0.5},
        lambda s, x: s("Max", s("Min", s("Add", s("Div", x, 4.0), 0.5), 1.0), 0.0),
    ),
    (
        "swish",
        "x * Sigmoid(1.702 x)",
        {"beta": 1.702},
        lambda s, x: s("Mul", x, s("Sigmoid", s("Mul", x, 1.702))),
    ),
    (
        "swish",
        "x / (1 + e^-1.5x)",
        {"beta": 1.5},
        lambda s, x: s("Div", x, one_plus_exp(s, s("Mul", x, -1.5))),
    ),
    ("swish", "QuickGelu default", {"beta": 1.702}, lambda s, x: s("QuickGelu", x, domain=MS)),
)
