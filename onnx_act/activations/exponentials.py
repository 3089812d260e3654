"""Declarations: activations built on the exponential of x itself."""

from __future__ import annotations

import math
from typing import Final

from onnx_act.activations.activation import (
    Activation,
    Operator,
    Parameter,
    Parameters,
    ParameterValue,
    Respelling,
    Sampler,
    value_at,
)
from onnx_act.activations.primitives import (
    Expr,
    exp,
    expm1,
    hard_sigmoid,
    log,
    maximum,
    minimum,
    softplus,
    tanh,
)

_FAR: Final = -1e6
# From here on log(1 + e^x) is x, to half an ulp of float64, and e^x is far from overflow.
_LINEAR: Final = 40.0
_SATURATION: Final = "depth of the left tail"
# Klambauer et al., Self-Normalizing Neural Networks, 2017, appendix; as in torch.nn.SELU.
_SELU_ALPHA: Final = 1.6732632423543772848170429916717
_SELU_GAMMA: Final = 1.0507009873554804934193349852946


def _read_depth(f: Sampler) -> dict[str, ParameterValue]:
    return {"alpha": -value_at(f, _FAR)}


def _read_selu(f: Sampler) -> dict[str, ParameterValue] | None:
    gamma, depth = value_at(f, 1.0), -value_at(f, _FAR)
    # Without a left tail it is a scaled relu: a multiplication, which nobody means as selu.
    return {"alpha": depth / gamma, "gamma": gamma} if gamma > 0 and depth != 0 else None


def _read_softplus(f: Sampler) -> dict[str, ParameterValue] | None:
    middle = value_at(f, 0.0)
    return {"beta": math.log(2.0) / middle} if middle > 0 else None


def _is_shallow(parameters: Parameters) -> bool:
    """Whether alpha (e^x - 1) is nowhere below x left of zero."""
    return float(parameters["alpha"]) <= 1.0


def _are_positive(parameters: Parameters) -> bool:
    return float(parameters["alpha"]) > 0.0 and float(parameters["gamma"]) > 0.0


def _half_expm1_of_tanh(x: Expr) -> Expr:
    # (1 + t) / (1 - t) = e^x with t = tanh(x / 2), so that e^x - 1 = 2 t / (1 - t): small where x
    # is, and no difference of numbers near each other for x <= 0.
    t = tanh(x * 0.5)
    return t / (1 - t)


def _depth(e: Expr) -> Expr:
    # 1 - e^x left of zero and 0 right of it; the difference is as exact as that of e^x - 1.
    return hard_sigmoid(e, -1, 1)


def _log1p(u: Expr) -> Expr:
    # log of the rounded 1 + u, and what the rounding took; the next term is below u 2^-24 in
    # float32 and u 2^-53 in float64.
    s = 1 + u
    return log(s) + (u - (s - 1)) / s


ELU = Activation(
    "elu",
    lambda x, alpha: maximum(x, 0) + alpha * expm1(minimum(x, 0)),
    parameters=(Parameter("alpha", 1.0, _SATURATION),),
    operators=(Operator("Elu", 6, {"alpha": "alpha"}),),
    respellings=(
        Respelling(
            "maximum",
            lambda x, alpha: maximum(x, (exp(minimum(x, 0)) - 1) * alpha),
            _is_shallow,
        ),
        Respelling(
            "clipped maximum",
            lambda x, alpha: maximum(x, (minimum(exp(x), 1) - 1) * alpha),
            _is_shallow,
        ),
        Respelling(
            "ramp",
            lambda x, alpha: maximum(x, 0) - alpha * _depth(exp(x)),
            note="right for every alpha",
        ),
        Respelling(
            "tanh",
            lambda x, alpha: maximum(x, _half_expm1_of_tanh(minimum(x, 0)) * (2 * alpha)),
            _is_shallow,
            note="keeps the digits near zero",
        ),
    ),
    read_back=_read_depth,
)

SELU = Activation(
    "selu",
    lambda x, alpha, gamma: gamma * (maximum(x, 0) + alpha * expm1(minimum(x, 0))),
    parameters=(
        Parameter("alpha", _SELU_ALPHA, "depth of the left tail before scaling"),
        Parameter("gamma", _SELU_GAMMA, "slope right of zero", aliases=("scale",)),
    ),
    operators=(Operator("Selu", 6, {"alpha": "alpha", "gamma": "gamma"}),),
    respellings=(
        Respelling(
            "ramp",
            lambda x, alpha, gamma: gamma * maximum(x, 0) - (alpha * gamma) * _depth(exp(x)),
        ),
        Respelling(
            "two relus",
            lambda x, alpha, gamma: (
                maximum(gamma * x, 0) - maximum(alpha * gamma - alpha * gamma * exp(x), 0)
            ),
            _are_positive,
            note="fewer passes than a sum, and an absolute error a little larger near zero",
        ),
        Respelling(
            "tanh",
            lambda x, alpha, gamma: (
                gamma * maximum(x, 0) + _half_expm1_of_tanh(minimum(x, 0)) * (2 * alpha * gamma)
            ),
            note="keeps the digits near zero",
        ),
    ),
    read_back=_read_selu,
)

CELU = Activation(
    "celu",
    lambda x, alpha: maximum(x, 0) + alpha * expm1(minimum(x, 0) / alpha),
    parameters=(Parameter("alpha", 1.0, _SATURATION, positive=True),),
    operators=(Operator("Celu", 12, {"alpha": "alpha"}),),
    respellings=(
        Respelling(
            "maximum",
            lambda x, alpha: maximum(x, (exp(minimum(x, 0) / alpha) - 1) * alpha),
        ),
        Respelling(
            "ramp",
            lambda x, alpha: maximum(x, 0) - alpha * _depth(exp(x / alpha)),
        ),
        Respelling(
            "tanh",
            lambda x, alpha: maximum(x, _half_expm1_of_tanh(minimum(x, 0) / alpha) * (2 * alpha)),
            note="keeps the digits near zero",
        ),
    ),
    read_back=_read_depth,
    note="With alpha 1 it is elu, and is recognised as that unless the operator says Celu.",
)

SOFTPLUS = Activation(
    "softplus",
    lambda x, beta: softplus(beta * x) / beta,
    parameters=(Parameter("beta", 1.0, "sharpness", positive=True),),
    operators=(Operator("Softplus", 1, requires={"beta": 1.0}),),
    respellings=(
        Respelling(
            "logarithm",
            lambda x, beta: maximum(x, 0) + _log1p(exp(-abs(beta * x))) / beta,
            note="nothing overflows, and both tails keep their digits",
        ),
        Respelling(
            "maximum",
            lambda x, beta: maximum(x, _log1p(exp(minimum(beta * x, _LINEAR))) / beta),
            note="two operators fewer, and both tails keep their digits",
        ),
        Respelling(
            "plain maximum",
            lambda x, beta: maximum(x, log(1 + exp(minimum(beta * x, _LINEAR))) / beta),
            note="loses the digits of the left tail",
        ),
    ),
    read_back=_read_softplus,
)

LOGSIGMOID = Activation(
    "logsigmoid",
    lambda x: -softplus(-x),
    respellings=(
        Respelling(
            "logarithm",
            lambda x: -(maximum(-x, 0) + _log1p(exp(-abs(x)))),
            note="nothing overflows, and both tails keep their digits",
        ),
        Respelling(
            "maximum",
            lambda x: -maximum(-x, _log1p(exp(minimum(-x, _LINEAR)))),
            note="two operators fewer, and both tails keep their digits",
        ),
        Respelling(
            "plain maximum",
            lambda x: -maximum(-x, log(1 + exp(minimum(-x, _LINEAR)))),
            note="loses the digits of the right tail",
        ),
    ),
    aliases=("log_sigmoid",),
)

EXP = Activation(
    "exp",
    exp,
    operators=(Operator("Exp", 6),),
    aliases=("exponential",),
    index_only=True,
)
