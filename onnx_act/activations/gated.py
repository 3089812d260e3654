"""Declarations: activations that multiply x by a gate of x itself."""

from __future__ import annotations

import math
from typing import Final

from onnx_act.activations.activation import (
    MICROSOFT,
    Activation,
    Operator,
    Parameter,
    Parameters,
    ParameterValue,
    Preset,
    Respelling,
    Sampler,
    value_at,
)
from onnx_act.activations.primitives import (
    Expr,
    erf,
    exp,
    hard_sigmoid,
    minimum,
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


def _mish_of_ratio(x: Expr) -> Expr:
    # tanh(log(1 + e)) = n / (n + 2) with n = (1 + e)^2 - 1 = e (e + 2), where nothing cancels;
    # where e or n is infinite, 2 / n is 0 and the result x.
    e = exp(x)
    return x / (1 + 2 / (e * (e + 2)))


def _mish_of_bounded(x: Expr) -> Expr:
    # At 20 the ratio is 1 in float32 and float64's e^40 far from overflow.
    e = exp(minimum(x, 20))
    n = e * (e + 2)
    return x * (n / (n + 2))


def _silu_of_scaled(x: Expr, beta: Expr) -> Expr:
    y = beta * x
    return y * sigmoid(y) * (1 / beta)


def _is_gated(parameters: Parameters) -> bool:
    return float(parameters["beta"]) != 0.0


def _is_exact_gelu(parameters: Parameters) -> bool:
    return parameters["approximate"] == "none"


def _is_tanh_gelu(parameters: Parameters) -> bool:
    return parameters["approximate"] == "tanh"


SILU = Activation(
    "silu",
    lambda x: x * sigmoid(x),
    operators=(
        Operator("Swish", 24, {"alpha": 1.0}),
        Operator("QuickGelu", 1, {"alpha": 1.0}, domain=MICROSOFT),
    ),
    respellings=(
        Respelling(
            "quotient",
            lambda x: x / (1 + exp(-x)),
            note="keeps the digits of the left tail, which runtimes' sigmoid has not",
        ),
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
    respellings=(
        Respelling(
            "scaled silu",
            _silu_of_scaled,
            _is_gated,
            note="runtimes have a faster kernel for silu than for other swishes",
        ),
        Respelling(
            "channelwise scaled silu",
            _silu_of_scaled,
            _is_gated,
            is_channelwise=True,
            note="the first factor goes into the convolution before, the second stays blocked",
        ),
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
    respellings=(
        Respelling(
            "erf",
            lambda x, _: x * (1 + erf(x / math.sqrt(2.0))) * 0.5,
            _is_exact_gelu,
            note="the form that exporters write and runtimes fuse",
        ),
        Respelling(
            "halved erf",
            lambda x, _: x * 0.5 * (1 + erf(x / math.sqrt(2.0))),
            _is_exact_gelu,
        ),
        Respelling(
            "tanh",
            lambda x, _: x * 0.5 * (1 + tanh(math.sqrt(2.0 / math.pi) * (x + _GELU_CUBIC * x**3))),
            _is_tanh_gelu,
            note="the form that exporters write and runtimes fuse",
        ),
    ),
    presets=(
        Preset("fast_gelu", {"approximate": "tanh"}),
        Preset("gelu_tanh", {"approximate": "tanh"}),
    ),
)

MISH = Activation(
    "mish",
    lambda x: x * tanh(softplus(x)),
    operators=(Operator("Mish", 18),),
    respellings=(
        Respelling("quotient", _mish_of_ratio, note="one exponential, exact in both tails"),
        Respelling("bounded", _mish_of_bounded, note="nothing overflows on the way"),
    ),
)

HARDSWISH = Activation(
    "hardswish",
    lambda x: x * hard_sigmoid(x, 1 / 6, 0.5),
    operators=(Operator("HardSwish", 14),),
    aliases=("hard_swish", "hard_silu"),
)
