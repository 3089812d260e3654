"""Declarations: activations that level off on both sides, and what one leaves of x."""

from __future__ import annotations

from typing import Final

import numpy as np

from onnx_act.activations.activation import (
    Activation,
    Operator,
    Parameter,
    ParameterValue,
    Respelling,
    Sampler,
)
from onnx_act.activations.primitives import erf, hard_sigmoid, maximum, sigmoid, tanh

_STEP: Final = 2.0**-10


def _read_hard_sigmoid(f: Sampler) -> dict[str, ParameterValue] | None:
    low, middle, high = np.reshape(f(np.array([-_STEP, 0.0, _STEP])), (3, -1))[:, 0]
    if not 0.0 < middle < 1.0 or low == high:
        return None
    return {"alpha": float((high - low) / (2.0 * _STEP)), "beta": float(middle)}


SIGMOID = Activation("sigmoid", sigmoid, operators=(Operator("Sigmoid", 6),), aliases=("logistic",))

TANH = Activation("tanh", tanh, operators=(Operator("Tanh", 6),))

HARDSIGMOID = Activation(
    "hardsigmoid",
    hard_sigmoid,
    parameters=(
        Parameter("alpha", 1 / 6, "slope of the ramp"),
        Parameter("beta", 0.5, "height of the ramp at zero"),
    ),
    operators=(Operator("HardSigmoid", 6, {"alpha": "alpha", "beta": "beta"}),),
    read_back=_read_hard_sigmoid,
    note="The defaults are PyTorch's; the ONNX operator's own default slope is 0.2.",
)

SOFTSIGN = Activation("softsign", lambda x: x / (1 + abs(x)), operators=(Operator("Softsign", 1),))

RECTIFIED_TANH = Activation(
    "rectified_tanh",
    lambda x: maximum(tanh(x), 0),
    respellings=(Respelling("relu first", lambda x: tanh(maximum(x, 0))),),
)

TANHSHRINK = Activation("tanhshrink", lambda x: x - tanh(x), aliases=("tanh_shrink",))

ERF = Activation("erf", erf, operators=(Operator("Erf", 9),), index_only=True)
