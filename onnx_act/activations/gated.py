"""Declarations: activations that multiply x by a gate of x itself."""

from __future__ import annotations

import math
from typing import Final

from onnx_act.activations.activation import (
    MICROSOFT,
    Activation,
    Operator,
    Parameter,
    ParameterValue,
    Preset,
    Sampler,
    value_at,
)
from onnx_act.activations.primitives import (
    Expr,
    hard_sigmoid,
    normal_cdf,
    sigmoid,
    softplus,
    tanh,
)

# Hendrycks and Gimpel, Gaussian Error Linear Units, 2016, section 2.
_GELU_CUBIC: Final = 0.044715


def _gelu(x: Expr, approximate: str) -> Expr:
    if approximate == "none":
        return x * normal_cdf(x)
    # (1 + tanh u) / 2 is written as sigmoid(2u), which keeps the left tail.
    return x * sigmoid(math.sqrt(8.0 / math.pi) * (x + _GELU_CUBIC * (x * x * x)))


def _read_swish(f: Sampler) -> dict[str, ParameterValue] | None:
    # f(x)/x is the sigmoid of beta*x: read where that is neither flat nor half.
    for x in (1.0, 0.1, 10.0, 0.01, 100.0):
        gate = value_at(f, x) / x
        if 0.0 < gate < 1.0:
            logit = math.log(gate / (1.0 - gate))
            if 0.05 < abs(logit) < 8.0:
                return {"beta": logit / x}
    return None


SILU = Activation(
    "silu",
    lambda x: x * sigmoid(x),
    operators=(
        Operator("Swish", 24, {"alpha": 1.0}),
        Operator("QuickGelu", 1, {"alpha": 1.0}, domain=MICROSOFT),
    ),
)

SWISH = Activation(
    "swish",
    lambda x, beta: x * sigmoid(beta * x),
    parameters=(Parameter("beta", 1.0, "sharpness", aliases=("alpha",)),),
    operators=(
        Operator("Swish", 24, {"alpha": "beta"}),
        Operator("QuickGelu", 1, {"alpha": "beta"}, domain=MICROSOFT),
    ),
    read_back=_read_swish,
    presets=(Preset("quick_gelu", {"beta": 1.702}),),
    note="With beta 1 it is silu, and is recognised as that.",
)

GELU = Activation(
    "gelu",
    _gelu,
    parameters=(
        Parameter("approximate", "none", "which of the two GELUs", choices=("none", "tanh")),
    ),
    operators=(
        Operator("Gelu", 20, {"approximate": "approximate"}),
        Operator("Gelu", 1, requires={"approximate": "none"}, domain=MICROSOFT),
        Operator("FastGelu", 1, requires={"approximate": "tanh"}, domain=MICROSOFT),
    ),
    presets=(
        Preset("fast_gelu", {"approximate": "tanh"}),
        Preset("gelu_tanh", {"approximate": "tanh"}),
    ),
)

MISH = Activation("mish", lambda x: x * tanh(softplus(x)), operators=(Operator("Mish", 18),))

HARDSWISH = Activation(
    "hardswish",
    lambda x: x * hard_sigmoid(x, 1 / 6, 0.5),
    operators=(Operator("HardSwish", 14),),
    aliases=("hard_swish", "hard_silu"),
)
