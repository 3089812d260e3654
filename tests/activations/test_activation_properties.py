"""Properties that are computed from a declaration against the facts that everybody knows."""

from __future__ import annotations

import json
import math
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnx_act.activations.catalogue import CATALOGUE, find, named
from onnx_act.activations.properties import Monotonic, Properties, Range, Saturating, describe
from onnx_act.errors import UsageError

if TYPE_CHECKING:
    from onnx_act.activations.activation import Activation

EVERY = pytest.mark.parametrize("activation", CATALOGUE, ids=lambda a: a.name)
# name: range as text, monotonic, smooth, zero-centred, saturating.
FACTS: dict[str, tuple[str, str, bool, bool, str]] = {
    "identity": ("(-inf, inf)", "increasing", True, True, "none"),
    "relu": ("[0, inf)", "increasing", False, False, "left"),
    "relu6": ("[0, 6]", "increasing", False, False, "both"),
    "leaky_relu": ("(-inf, inf)", "increasing", False, True, "none"),
    "prelu": ("(-inf, inf)", "increasing", False, True, "none"),
    "rrelu": ("(-inf, inf)", "increasing", False, True, "none"),
    "hardtanh": ("[-1, 1]", "increasing", False, True, "both"),
    "threshold": ("[0, inf)", "increasing", False, False, "left"),
    "squared_relu": ("[0, inf)", "increasing", True, False, "left"),
    "hardshrink": ("(-inf, inf)", "increasing", False, True, "none"),
    "softshrink": ("(-inf, inf)", "increasing", False, True, "none"),
    "elu": ("(-1, inf)", "increasing", True, True, "left"),
    "selu": ("(-1.7581, inf)", "increasing", False, True, "left"),
    "celu": ("(-1, inf)", "increasing", True, True, "left"),
    "softplus": ("(0, inf)", "increasing", True, False, "left"),
    "logsigmoid": ("(-inf, 0)", "increasing", True, False, "right"),
    "exp": ("(0, inf)", "increasing", True, False, "left"),
    "sigmoid": ("(0, 1)", "increasing", True, False, "both"),
    "hardsigmoid": ("[0, 1]", "increasing", False, False, "both"),
    "tanh": ("(-1, 1)", "increasing", True, True, "both"),
    "rectified_tanh": ("[0, 1)", "increasing", False, False, "both"),
    "tanhshrink": ("(-inf, inf)", "increasing", True, True, "none"),
    "softsign": ("(-1, 1)", "increasing", True, True, "both"),
    "erf": ("(-1, 1)", "increasing", True, True, "both"),
    "silu": ("[-0.27846, inf)", "no", True, True, "left"),
    "swish": ("[-0.27846, inf)", "no", True, True, "left"),
    "gelu": ("[-0.16997, inf)", "no", True, True, "left"),
    "mish": ("[-0.30884, inf)", "no", True, True, "left"),
    "hardswish": ("[-0.375, inf)", "no", False, True, "left"),
}


@EVERY
def test_properties_are_the_known_ones(activation: Activation) -> None:
    bounds, monotonic, is_smooth, is_zero_centred, saturating = FACTS[activation.name]
    found = describe(activation)
    assert str(found.range) == bounds
    assert found.monotonic == monotonic
    assert found.is_smooth is is_smooth
    assert found.is_zero_centred is is_zero_centred
    assert found.saturating == saturating
    assert found.is_bounded is ("inf" not in bounds)
    assert found.is_continuous is (activation.name not in ("threshold", "hardshrink"))


@pytest.mark.parametrize(
    ("name", "minimum"),
    [
        ("gelu", -0.16997120747990369),
        ("fast_gelu", -0.17004075057125412),
        ("silu", -0.27846454276107380),
        ("mish", -0.30884341301725041),
        ("hardswish", -0.375),
        ("quick_gelu", -0.27846454276107380 / 1.702),
    ],
)
def test_minima_have_eleven_digits(name: str, minimum: float) -> None:
    activation, preset = find(name)
    found = describe(activation, preset).range
    assert found.low == pytest.approx(minimum, rel=1e-11)
    assert found.low_is_attained


KINKS: list[tuple[str, dict[str, Any], tuple[float, ...]]] = [
    ("relu", {}, (0.0,)),
    ("relu6", {}, (0.0, 6.0)),
    ("hardtanh", {"min": -2.5, "max": 0.3}, (-2.5, 0.3)),
    ("hardtanh", {"min": -1000, "max": 1000}, (-1000.0, 1000.0)),
    ("hardtanh", {"min": 0, "max": math.inf}, (0.0,)),
    ("leaky_relu", {"negative_slope": 1.0}, ()),
    ("threshold", {"threshold": -0.7, "value": -0.7}, (-0.7,)),
    ("threshold", {"threshold": 0.2, "value": 3.0}, (0.2,)),
    ("hardshrink", {"lambd": 0.0}, ()),
    ("softshrink", {"lambd": 0.3}, (-0.3, 0.3)),
    ("hardsigmoid", {}, (-3.0, 3.0)),
    ("hardsigmoid", {"alpha": 0.2}, (-2.5, 2.5)),
    ("hardsigmoid", {"alpha": -0.2}, (-2.5, 2.5)),
    ("hardswish", {}, (-3.0, 3.0)),
    ("elu", {"alpha": 0.5}, (0.0,)),
    ("elu", {"alpha": 1.0}, ()),
    ("celu", {"alpha": 1e-4}, ()),
    ("softsign", {}, ()),
    ("squared_relu", {}, ()),
]


@pytest.mark.parametrize(("name", "values", "kinks"), KINKS, ids=str)
def test_kinks_are_found_exactly(
    name: str, values: dict[str, Any], kinks: tuple[float, ...]
) -> None:
    assert describe(named(name), values).kinks == pytest.approx(kinks, abs=1e-12)


RANGES: list[tuple[str, dict[str, Any], str]] = [
    ("celu", {"alpha": 1e-4}, "(-0.0001, inf)"),
    ("elu", {"alpha": 0.5}, "(-0.5, inf)"),
    ("elu", {"alpha": -1.0}, "[0, inf)"),
    ("elu", {"alpha": 0.0}, "[0, inf)"),
    ("leaky_relu", {"negative_slope": -0.5}, "[0, inf)"),
    ("swish", {"beta": -1.0}, "(-inf, 0.27846]"),
    ("swish", {"beta": 100.0}, "[-0.00278, inf)"),
    ("hardsigmoid", {"beta": 1e-9}, "[0, 1]"),
    ("hardtanh", {"min": 2.0, "max": 2.0}, "[2, 2]"),
    ("hardtanh", {"min": -math.inf, "max": 2.0}, "(-inf, 2]"),
    ("threshold", {"threshold": 1.0, "value": 5.0}, "(1, inf)"),
    ("threshold", {"threshold": -1.0, "value": -2.0}, "[-2, inf)"),
    ("threshold", {"threshold": 0.5, "value": 0.5}, "[0.5, inf)"),
    ("hardshrink", {"lambd": 2.0}, "(-inf, inf)"),
    ("softplus", {"beta": 30.0}, "(0, inf)"),
    ("selu", {"alpha": 1.0, "gamma": 2.0}, "(-2, inf)"),
]


@pytest.mark.parametrize(("name", "values", "bounds"), RANGES, ids=str)
def test_ranges_follow_the_parameters(name: str, values: dict[str, Any], bounds: str) -> None:
    assert str(describe(named(name), values).range) == bounds


def test_other_directions_are_told_apart() -> None:
    assert describe(named("hardsigmoid"), {"alpha": -0.2}).monotonic is Monotonic.DECREASING
    assert describe(named("hardtanh"), {"min": 1, "max": 1}).monotonic is Monotonic.CONSTANT
    assert describe(named("leaky_relu"), {"negative_slope": -0.1}).monotonic is Monotonic.NO
    assert describe(named("swish"), {"beta": -1.0}).saturating is Saturating.RIGHT


def test_limits_are_those_of_the_function_and_not_of_float64() -> None:
    # x * Phi(x) at -inf is NaN in float64; its limit is zero.
    assert describe(named("gelu")).limit_left == 0.0
    assert describe(named("softsign")).limit_right == 1.0
    assert describe(named("squared_relu")).limit_right == math.inf


@EVERY
def test_properties_are_plain_data(activation: Activation) -> None:
    found = describe(activation)
    document = found.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert set(document) == set(Properties.__slots__)
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_range_prints_its_open_ends() -> None:
    assert str(Range(-1.0, 1.5, low_is_attained=False, high_is_attained=True)) == "(-1, 1.5]"
    assert Range(0.0, math.inf, low_is_attained=True, high_is_attained=False).to_dict() == {
        "low": 0.0,
        "high": "inf",
        "low_is_attained": True,
        "high_is_attained": False,
        "text": "[0, inf)",
    }


def test_an_array_of_parameters_has_no_one_set_of_properties() -> None:
    with pytest.raises(UsageError, match="prelu has properties only with one number"):
        describe(named("prelu"), {"slope": np.array([0.1, 0.2])})
