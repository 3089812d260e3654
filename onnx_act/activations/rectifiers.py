"""Declarations: activations that are linear in pieces."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

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
from onnx_act.activations.primitives import clip, greater, maximum, where

if TYPE_CHECKING:
    from collections.abc import Callable

_FAR: Final = 1e6
# Beyond every bound that anybody writes down, and far from overflow.
_BEYOND: Final = 1e30
_SLOPE: Final = "slope left of zero"


def _read_slope(f: Sampler) -> dict[str, ParameterValue] | None:
    slope = -value_at(f, -1.0)
    # A slope of -1 is the absolute value: arithmetic, which nobody means as an activation.
    return None if slope == -1.0 else {"negative_slope": slope}


def _read_slopes(f: Sampler) -> dict[str, ParameterValue] | None:
    values = -f(np.array([-1.0]))[0]
    if np.ndim(values) == 0:
        return None if values == -1.0 else {"slope": float(values)}
    return {"slope": np.asarray(values)}


def _read_bounds(f: Sampler) -> dict[str, ParameterValue]:
    low, high = value_at(f, -_BEYOND), value_at(f, _BEYOND)
    return {
        "min": -math.inf if low == -_BEYOND else low,
        "max": math.inf if high == _BEYOND else high,
    }


def _first_true(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The point in [low, high] from which on `holds`, to the last bit of float64."""
    for _ in range(120):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _read_threshold(f: Sampler) -> dict[str, ParameterValue] | None:
    value = value_at(f, -_FAR)
    if value_at(f, _FAR) != _FAR or value == -_FAR:
        return None
    # Half of the way from the constant part: the jump, or the crossing when there is none.
    # The ends are odd, so that no midpoint is `value` itself, where the identity crosses it.
    edge = _first_true(lambda x: value_at(f, x) != value, -1e4 - 1 / 3, 1e4 + math.pi)
    # Halving comes ever closer to zero and never there.
    return {"threshold": 0.0 if abs(edge) < 1e-24 else edge, "value": value}


def _read_hardshrink(f: Sampler) -> dict[str, ParameterValue] | None:
    if value_at(f, 1e-30) != 0.0 or value_at(f, 1e4) == 0.0:
        return None
    return {"lambd": _first_true(lambda x: value_at(f, x) != 0.0, 0.0, 1e4)}


def _read_softshrink(f: Sampler) -> dict[str, ParameterValue] | None:
    shift = 64.0 - value_at(f, 64.0)
    return {"lambd": shift} if 0.0 <= shift < 64.0 else None


def _at_most_one(parameters: Parameters) -> bool:
    """Whether no slope is above 1, where the line left of zero lies above the identity.

    Nor 0, which makes NaN of infinity.
    """
    slopes = np.asarray(next(iter(parameters.values())), np.float64)
    return bool(np.all((slopes <= 1.0) & (slopes != 0.0)))


def _between_zero_and_one(parameters: Parameters) -> bool:
    """Whether neither a slope nor what it leaves of 1 is 0, which makes NaN of infinity."""
    slopes = np.asarray(next(iter(parameters.values())), np.float64)
    return bool(np.all((slopes > 0.0) & (slopes < 1.0)))


_SLOPED_RESPELLINGS: Final = (
    Respelling(
        "two relus",
        lambda x, slope: maximum(x, 0) + (-slope) * maximum(-1 * x, 0),
        is_channelwise=True,
        note="stays in the blocked layout behind a convolution, as exact as the operator",
    ),
    Respelling("maximum", lambda x, slope: maximum(x, slope * x), _at_most_one),
    Respelling(
        "channelwise maximum",
        lambda x, slope: maximum(x, slope * x),
        _at_most_one,
        is_channelwise=True,
    ),
    Respelling(
        "two slopes",
        lambda x, slope: slope * x + (1 - slope) * maximum(x, 0),
        _between_zero_and_one,
        is_channelwise=True,
        note="rounds right of zero, where the function does not",
    ),
)

IDENTITY = Activation(
    "identity",
    lambda x: x,
    operators=(Operator("Identity", 1),),
    aliases=("linear",),
    index_only=True,
)

RELU = Activation("relu", lambda x: maximum(x, 0), operators=(Operator("Relu", 6),))

RELU6 = Activation(
    "relu6",
    lambda x: clip(x, 0, 6),
    operators=(Operator("Clip", 6, {"min": 0.0, "max": 6.0}),),
)

LEAKY_RELU = Activation(
    "leaky_relu",
    lambda x, negative_slope: where(greater(x, 0), x, negative_slope * x),
    parameters=(Parameter("negative_slope", 0.01, _SLOPE, aliases=("alpha", "slope")),),
    operators=(Operator("LeakyRelu", 6, {"alpha": "negative_slope"}),),
    respellings=_SLOPED_RESPELLINGS,
    read_back=_read_slope,
)

PRELU = Activation(
    "prelu",
    lambda x, slope: where(greater(x, 0), x, slope * x),
    parameters=(Parameter("slope", 0.25, _SLOPE, per_channel=True, aliases=("weight", "alpha")),),
    operators=(Operator("PRelu", 7, inputs=("slope",)),),
    respellings=_SLOPED_RESPELLINGS,
    read_back=_read_slopes,
    note="The slope is one number, or one per channel or element.",
)

RRELU = Activation(
    "rrelu",
    lambda x, lower, upper: where(greater(x, 0), x, (lower + upper) / 2 * x),
    parameters=(
        Parameter("lower", 1 / 8, "least random slope"),
        Parameter("upper", 1 / 3, "greatest random slope"),
    ),
    operators=(
        Operator(
            "LeakyRelu",
            6,
            {"alpha": lambda p: (float(p["lower"]) + float(p["upper"])) / 2},
        ),
    ),
    note="At inference it is leaky_relu with the mean slope, and is recognised as that.",
)

THRESHOLD = Activation(
    "threshold",
    lambda x, threshold, value: where(greater(x, threshold), x, value),
    parameters=(
        Parameter("threshold", 1.0, "where the identity begins", aliases=("theta", "alpha")),
        Parameter("value", 0.0, "value below the threshold"),
    ),
    operators=(Operator("ThresholdedRelu", 10, {"alpha": "threshold"}, requires={"value": 0.0}),),
    read_back=_read_threshold,
    aliases=("thresholdedrelu",),
)

HARDTANH = Activation(
    "hardtanh",
    clip,
    parameters=(
        Parameter("min", -1.0, "lower bound", aliases=("min_val", "min_value")),
        Parameter("max", 1.0, "upper bound", aliases=("max_val", "max_value")),
    ),
    operators=(Operator("Clip", 6, {"min": "min", "max": "max"}),),
    read_back=_read_bounds,
    aliases=("clip", "clamp"),
)

SQUARED_RELU = Activation(
    "squared_relu",
    lambda x: maximum(x, 0) * maximum(x, 0),
    aliases=("relu2", "relu_squared"),
)

HARDSHRINK = Activation(
    "hardshrink",
    lambda x, lambd: where(greater(abs(x), lambd), x, 0),
    parameters=(Parameter("lambd", 0.5, "width of the zero zone", aliases=("threshold",)),),
    operators=(Operator("Shrink", 9, {"lambd": "lambd", "bias": 0.0}),),
    read_back=_read_hardshrink,
)

SOFTSHRINK = Activation(
    "softshrink",
    lambda x, lambd: x - clip(x, -lambd, lambd),
    parameters=(Parameter("lambd", 0.5, "width of the zero zone", aliases=("threshold",)),),
    operators=(Operator("Shrink", 9, {"lambd": "lambd", "bias": "lambd"}),),
    read_back=_read_softshrink,
)
