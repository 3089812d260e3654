"""The float64 references against 50 digits, in both tails; NaN and the infinities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import pytest

from onnx_act.activations.catalogue import CATALOGUE, find, named
from onnx_act.activations.readings import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable

    Exact = Callable[[Any], Any]

mp = mpmath.mp.clone()
mp.dps = 50
ULP = 2.0**-52
SMALLEST_NORMAL = 2.3e-308


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def _softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x)) if x < 200 else x + mp.exp(-x)


def _normal_cdf(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2 if abs(x) < 100 else mp.mpf(int(x > 0))


def _tanh_gelu_argument(x: Any) -> Any:
    return 2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf(0.044715) * x**3)


def _selu(x: Any) -> Any:
    alpha, gamma = mp.mpf(1.6732632423543772), mp.mpf(1.0507009873554805)
    return gamma * (x if x > 0 else alpha * mp.expm1(x))


ORACLES: dict[str, Exact] = {
    "elu": lambda x: x if x > 0 else mp.expm1(x),
    "selu": _selu,
    "celu": lambda x: x if x > 0 else mp.expm1(x),
    "softplus": _softplus,
    "logsigmoid": lambda x: -_softplus(-x),
    "exp": mp.exp,
    "sigmoid": _sigmoid,
    "tanh": mp.tanh,
    "rectified_tanh": lambda x: max(mp.tanh(x), 0),
    "softsign": lambda x: x / (1 + abs(x)),
    "erf": mp.erf,
    "silu": lambda x: x * _sigmoid(x),
    "swish": lambda x: x * _sigmoid(x),
    "gelu": lambda x: x * _normal_cdf(x),
    "fast_gelu": lambda x: x * _sigmoid(_tanh_gelu_argument(x)),
    "mish": lambda x: x * mp.tanh(_softplus(x)),
}


def _grid() -> list[float]:
    magnitudes = np.concatenate(
        [np.logspace(-300, -10, 30), np.logspace(-9, 2.8, 150), [1e3, 1e6, 1e300]]
    )
    return [*(-magnitudes[::-1]).tolist(), 0.0, *magnitudes.tolist()]


def _bound(name: str, x: float) -> float:
    """The error in ulp that is allowed: 3, but where the function magnifies rounding of x itself.

    In the left tail of gelu the value falls like exp(-x^2/2), so that one rounding of x/sqrt(2)
    is x^2 of the value; of the tanh form likewise with the argument of its sigmoid.
    """
    if x < 0 and name == "gelu":
        return 3.0 + x * x
    if x < 0 and name == "fast_gelu":
        return 3.0 + 2.0 * float(abs(_tanh_gelu_argument(mp.mpf(x))))
    return 3.0


@pytest.mark.parametrize("name", ORACLES)
def test_references_hold_their_relative_error_in_both_tails(name: str) -> None:
    activation, preset = find(name)
    x = _grid()
    values = evaluate(activation.expression(preset), np.array(x))
    for point, value in zip(x, values.tolist(), strict=True):
        exact = ORACLES[name](mp.mpf(point))
        if SMALLEST_NORMAL < abs(exact) < 1.79e308:
            error = float(abs((mp.mpf(value) - exact) / exact)) / ULP
            assert error <= _bound(name, point), (point, value, error)
        elif abs(exact) <= SMALLEST_NORMAL:
            assert abs(value) <= SMALLEST_NORMAL
        else:
            assert math.isinf(value)


def test_tanhshrink_holds_its_absolute_error() -> None:
    # x - tanh(x) cancels around zero; its error stays below the last bit of x.
    x = _grid()
    values = evaluate(named("tanhshrink").expression(), np.array(x))
    for point, value in zip(x, values.tolist(), strict=True):
        exact = mp.mpf(point) - mp.tanh(mp.mpf(point))
        assert abs(mp.mpf(value) - exact) <= 2 * ULP * abs(point)


PIECEWISE: dict[str, Callable[[float], float]] = {
    "identity": lambda x: x,
    "relu": lambda x: max(x, 0.0),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "prelu": lambda x: x if x > 0 else 0.25 * x,
    "rrelu": lambda x: x if x > 0 else (1 / 8 + 1 / 3) / 2 * x,
    "hardtanh": lambda x: min(max(x, -1.0), 1.0),
    "threshold": lambda x: x if x > 1 else 0.0,
    "squared_relu": lambda x: max(x, 0.0) ** 2 if x < 1e150 else math.inf,
    "hardshrink": lambda x: x if abs(x) > 0.5 else 0.0,
    "softshrink": lambda x: x - 0.5 if x > 0.5 else x + 0.5 if x < -0.5 else 0.0,
    "hardsigmoid": lambda x: min(max(x / 6 + 0.5, 0.0), 1.0),
    "hardswish": lambda x: x * min(max(x / 6 + 0.5, 0.0), 1.0),
}


@pytest.mark.parametrize("name", PIECEWISE)
def test_piecewise_references_are_exact(name: str) -> None:
    x = np.array([*_grid(), -6, -3, -1, -0.5, 0.5, 1, 3, 6])
    expected = np.array([PIECEWISE[name](v) for v in x.tolist()])
    # One rounding where a slope or a sixth multiplies; at -3 half of one, of the size of the beta.
    np.testing.assert_allclose(
        evaluate(named(name).expression(), x), expected, rtol=4 * ULP, atol=4 * ULP
    )


def test_every_activation_has_an_oracle() -> None:
    assert {*ORACLES, *PIECEWISE, "tanhshrink", "fast_gelu"} == {
        *(a.name for a in CATALOGUE),
        "fast_gelu",
    }


# At -inf a gate of x is 0 * inf: like the same operators in a model, the reference says NaN.
AT_INFINITY: dict[str, tuple[float, float]] = {
    "identity": (-math.inf, math.inf),
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "leaky_relu": (-math.inf, math.inf),
    "prelu": (-math.inf, math.inf),
    "rrelu": (-math.inf, math.inf),
    "hardtanh": (-1.0, 1.0),
    "threshold": (0.0, math.inf),
    "squared_relu": (0.0, math.inf),
    "hardshrink": (-math.inf, math.inf),
    "softshrink": (-math.inf, math.inf),
    "elu": (-1.0, math.inf),
    "selu": (-1.7580993408473766, math.inf),
    "celu": (-1.0, math.inf),
    "softplus": (0.0, math.inf),
    "logsigmoid": (-math.inf, 0.0),
    "exp": (0.0, math.inf),
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "rectified_tanh": (0.0, 1.0),
    "tanhshrink": (-math.inf, math.inf),
    "softsign": (math.nan, math.nan),
    "erf": (-1.0, 1.0),
    "silu": (math.nan, math.inf),
    "swish": (math.nan, math.inf),
    "gelu": (math.nan, math.inf),
    "mish": (math.nan, math.inf),
    "hardswish": (math.nan, math.inf),
}


@pytest.mark.parametrize("activation", CATALOGUE, ids=lambda a: a.name)
def test_values_at_the_infinities(activation: Any) -> None:
    ends = evaluate(activation.expression(), np.array([-math.inf, math.inf]))
    np.testing.assert_allclose(ends, AT_INFINITY[activation.name], rtol=1e-15, equal_nan=True)


# Written as a condition that NaN fails, like the ONNX operators ThresholdedRelu and Shrink.
WITHOUT_NAN = frozenset({"threshold", "hardshrink"})


@pytest.mark.parametrize("activation", CATALOGUE, ids=lambda a: a.name)
def test_nan_stays_nan(activation: Any) -> None:
    value = float(evaluate(activation.expression(), np.array([math.nan]))[0])
    assert value == 0.0 if activation.name in WITHOUT_NAN else math.isnan(value)
