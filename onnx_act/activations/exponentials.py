"""Declarations: activations built on the exponential of x itself."""

from __future__ import annotations

import math
from typing import Final

from onnx_act.activations.activation import (
    Activation,
    Operator,
    Parameter,
    ParameterValue,
    Sampler,
    value_at,
)
from onnx_act.activations.primitives import exp, expm1, maximum, minimum, softplus

_FAR: Final = -1e6
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


ELU = Activation(
    "elu",
    lambda x, alpha: maximum(x, 0) + alpha * expm1(minimum(x, 0)),
    parameters=(Parameter("alpha", 1.0, _SATURATION),),
    operators=(Operator("Elu", 6, {"alpha": "alpha"}),),
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
    read_back=_read_selu,
)

CELU = Activation(
    "celu",
    lambda x, alpha: maximum(x, 0) + alpha * expm1(minimum(x, 0) / alpha),
    parameters=(Parameter("alpha", 1.0, _SATURATION, positive=True),),
    operators=(Operator("Celu", 12, {"alpha": "alpha"}),),
    read_back=_read_depth,
    note="With alpha 1 it is elu, and is recognised as that unless the operator says Celu.",
)

SOFTPLUS = Activation(
    "softplus",
    lambda x, beta: softplus(beta * x) / beta,
    parameters=(Parameter("beta", 1.0, "sharpness", positive=True),),
    operators=(Operator("Softplus", 1, requires={"beta": 1.0}),),
    read_back=_read_softplus,
)

LOGSIGMOID = Activation("logsigmoid", lambda x: -softplus(-x), aliases=("log_sigmoid",))

EXP = Activation(
    "exp",
    exp,
    operators=(Operator("Exp", 6),),
    aliases=("exponential",),
    index_only=True,
)
