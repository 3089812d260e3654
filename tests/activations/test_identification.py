"""Identification: what a declaration builds is found again, with its parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_act.activations.catalogue import CATALOGUE, find, named
from onnx_act.activations.identify import Affine, Identified, Unidentified, identify
from onnx_act.activations.primitives import (
    ArraySource,
    Expr,
    Op,
    X,
    apply,
    array,
    clip,
    constant,
    constant_value,
    erf,
    exp,
    expm1,
    greater,
    maximum,
    minimum,
    rebuild,
    sigmoid,
    softplus,
    tanh,
    where,
)

if TYPE_CHECKING:
    from onnx_act.activations.activation import Activation

TYPED = 5e-5
DTYPES: dict[str, tuple[Any, float]] = {
    "double": (np.float64, TYPED),
    "float": (np.float32, TYPED),
    "float16": (np.float16, 2.0**-11),
    "bfloat16": (ml_dtypes.bfloat16, 2.0**-8),
}


def _apart_from(*special: float) -> Any:
    """Two typed digits, at or well away from the values that make it another activation."""

    def is_clear(v: float) -> bool:
        return all(v == s or abs(v - s) >= 0.06 for s in special)

    return st.integers(-300, 300).map(lambda n: n / 100).filter(is_clear)


POSITIVE = _apart_from(0.0, 1.0).filter(lambda v: v > 0.05)
SLOPE = _apart_from(0.0, 1.0, 0.01).filter(lambda v: v != -1.0)
DRAWN: dict[str, dict[str, Any]] = {
    "leaky_relu": {"negative_slope": SLOPE},
    "prelu": {"slope": SLOPE},
    "rrelu": {"lower": POSITIVE, "upper": POSITIVE},
    "threshold": {"threshold": _apart_from(0.0), "value": _apart_from(0.0)},
    "hardtanh": {"min": _apart_from(0.0).filter(lambda v: v <= 0), "max": POSITIVE},
    "hardshrink": {"lambd": POSITIVE},
    "softshrink": {"lambd": POSITIVE},
    "elu": {"alpha": _apart_from(0.0, 1.0)},
    "selu": {"alpha": _apart_from(1.0).filter(lambda v: abs(v) > 0.05), "gamma": POSITIVE},
    "celu": {"alpha": POSITIVE},
    "softplus": {"beta": POSITIVE},
    "swish": {"beta": _apart_from(0.0, 1.0).filter(lambda v: v != 0)},
    "hardsigmoid": {
        "alpha": st.integers(5, 200).map(lambda n: n / 100),
        "beta": st.integers(5, 95).map(lambda n: n / 100),
    },
}


@st.composite
def activations(draw: st.DrawFn) -> tuple[Activation, dict[str, Any]]:
    activation = draw(st.sampled_from(CATALOGUE))
    drawn = DRAWN.get(activation.name, {})
    values = {k: draw(strategy) for k, strategy in drawn.items()}
    for slot in activation.parameters:
        if slot.choices:
            values[slot.name] = draw(st.sampled_from(slot.choices))
        elif draw(st.booleans()):
            values.setdefault(slot.name, slot.default)
    return activation, activation.bind(values)


def _canonical(name: str, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The entry that names a function which several entries can write."""
    match name, values:
        case "prelu", {"slope": slope}:
            return _canonical("leaky_relu", {"negative_slope": slope})
        case "rrelu", {"lower": low, "upper": high}:
            return _canonical("leaky_relu", {"negative_slope": (low + high) / 2})
        case "leaky_relu", {"negative_slope": 0.0}:
            return "relu", {}
        case "leaky_relu", {"negative_slope": 1.0}:
            return "identity", {}
        case "elu", {"alpha": 0.0}:
            return "relu", {}
        case "celu", {"alpha": 1.0}:
            return "elu", {"alpha": 1.0}
        case "selu", {"alpha": alpha, "gamma": 1.0}:
            return "elu", {"alpha": alpha}
        case "swish", {"beta": 1.0}:
            return "silu", {}
        case "hardtanh", {"min": 0.0, "max": 6.0}:
            return "relu6", {}
        case "hardtanh" | "threshold", {"min": 0.0, "max": math.inf} | {
            "threshold": 0.0,
            "value": 0.0,
        }:
            return "relu", {}
        case "threshold", {"threshold": t, "value": v} if t == v:
            return "hardtanh", {"min": t, "max": math.inf}
    return name, values


def _stored(root: Expr, dtype: str) -> Expr:
    """`root` with its constants rounded as a model of this dtype stores them."""
    kind, uncertainty = DTYPES[dtype]

    def rounded(leaf: Expr) -> Expr:
        value = constant_value(leaf)
        return leaf if value is None else constant(float(kind(value)), uncertainty)

    return rebuild(root, rounded)


def _check(root: Expr, name: str, values: dict[str, Any], tolerance: float) -> None:
    found = identify(root)
    assert isinstance(found, Identified), found
    expected_name, expected = _canonical(name, values)
    assert found.activation.name == expected_name
    assert set(found.parameters) == set(expected)
    for key, value in expected.items():
        if isinstance(value, str):
            assert found.parameters[key] == value
        else:
            assert found.parameters[key] == pytest.approx(value, rel=tolerance, abs=1e-12)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(activations())
def test_an_exact_declaration_is_found_with_its_parameters(
    chosen: tuple[Activation, dict[str, Any]],
) -> None:
    activation, values = chosen
    _check(activation.expression(values), activation.name, values, 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(derandomize=True, deadline=None, max_examples=120)
@given(activations())
def test_it_is_found_with_constants_as_a_model_stores_them(
    dtype: str, chosen: tuple[Activation, dict[str, Any]]
) -> None:
    activation, values = chosen
    root = _stored(activation.expression(values), dtype)
    _check(root, activation.name, values, 3 * DTYPES[dtype][1])


@pytest.mark.parametrize("activation", CATALOGUE, ids=lambda a: a.name)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_default_is_found_in_every_dtype(activation: Activation, dtype: str) -> None:
    values = activation.bind()
    root = _stored(activation.expression(), dtype)
    _check(root, activation.name, values, 3 * DTYPES[dtype][1])


CANONICAL: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("prelu", {"slope": 0.3}, "leaky_relu", {"negative_slope": 0.3}),
    ("rrelu", {"lower": 0.1, "upper": 0.3}, "leaky_relu", {"negative_slope": 0.2}),
    ("leaky_relu", {"negative_slope": 0}, "relu", {}),
    ("leaky_relu", {"negative_slope": 1}, "identity", {}),
    ("swish", {"beta": 1}, "silu", {}),
    ("celu", {"alpha": 1}, "elu", {"alpha": 1.0}),
    ("selu", {"alpha": 0.7, "gamma": 1}, "elu", {"alpha": 0.7}),
    ("hardtanh", {"min": 0, "max": 6}, "relu6", {}),
    ("hardtanh", {"min": 0, "max": math.inf}, "relu", {}),
    ("hardtanh", {"min": -math.inf, "max": math.inf}, "identity", {}),
    ("hardtanh", {"min": -math.inf, "max": 2}, "hardtanh", {"min": -math.inf, "max": 2.0}),
    ("threshold", {"threshold": 0, "value": 0}, "relu", {}),
    ("threshold", {"threshold": -1, "value": -1}, "hardtanh", {"min": -1.0, "max": math.inf}),
    ("threshold", {"threshold": -1, "value": 0}, "threshold", {"threshold": -1, "value": 0}),
    ("threshold", {"threshold": 20, "value": -7}, "threshold", {"threshold": 20, "value": -7}),
    ("threshold", {"threshold": -1e3, "value": 0}, "threshold", {"threshold": -1e3, "value": 0}),
    ("elu", {"alpha": 0}, "relu", {}),
    ("hardshrink", {"lambd": 100}, "hardshrink", {"lambd": 100.0}),
    ("hardtanh", {"min": -300, "max": 300}, "hardtanh", {"min": -300.0, "max": 300.0}),
    ("swish", {"beta": 1.702}, "swish", {"beta": 1.702}),
    ("swish", {"beta": -1.0}, "swish", {"beta": -1.0}),
    ("gelu", {"approximate": "tanh"}, "gelu", {"approximate": "tanh"}),
]


@pytest.mark.parametrize(("name", "given_values", "expected", "values"), CANONICAL, ids=str)
def test_functions_with_several_names_have_one_canonical_name(
    name: str, given_values: dict[str, Any], expected: str, values: dict[str, Any]
) -> None:
    found = identify(named(name).expression(given_values))
    assert isinstance(found, Identified)
    assert found.activation.name == expected
    assert found.parameters == pytest.approx(values)


SQRT2 = math.sqrt(2.0)
SPELLINGS: list[tuple[str, Expr, str, dict[str, Any]]] = [
    ("sigmoid by exp", 1 / (1 + exp(-X)), "sigmoid", {}),
    ("sigmoid by tanh", 0.5 * tanh(0.5 * X) + 0.5, "sigmoid", {}),
    ("sigmoid, the other one", 1 - sigmoid(-X), "sigmoid", {}),
    ("silu by division", X / (1 + exp(-X)), "silu", {}),
    ("tanh by exp", (exp(X) - exp(-X)) / (exp(X) + exp(-X)), "tanh", {}),
    ("tanh by sigmoid", 2 * sigmoid(2 * X) - 1, "tanh", {}),
    ("mish by exp", X * tanh(apply(Op.LOG, 1 + exp(X))), "mish", {}),
    ("gelu by erf", 0.5 * X * (1 + erf(X / SQRT2)), "gelu", {"approximate": "none"}),
    (
        "gelu by typed erf",
        X * (0.5 * (erf(X * constant(0.70711, TYPED)) + 1)),
        "gelu",
        {"approximate": "none"},
    ),
    (
        "gelu by tanh",
        0.5 * X * (1 + tanh(constant(0.7978846, TYPED) * (X + constant(0.044715, TYPED) * X**3))),
        "gelu",
        {"approximate": "tanh"},
    ),
    ("hardswish", X * clip(X + 3, 0, 6) / 6, "hardswish", {}),
    ("hardswish by relu6", X * (minimum(maximum(X + 3, 0), 6) * (1 / 6)), "hardswish", {}),
    ("relu by where", where(greater(X, 0), X, 0), "relu", {}),
    ("relu by abs", (X + abs(X)) / 2, "relu", {}),
    ("leaky by max", maximum(X, 0.1 * X), "leaky_relu", {"negative_slope": 0.1}),
    ("leaky by relu", maximum(X, 0) - 0.1 * maximum(-X, 0), "leaky_relu", {"negative_slope": 0.1}),
    ("elu by exp", where(greater(X, 0), X, exp(X) - 1), "elu", {"alpha": 1.0}),
    ("elu by min", maximum(X, 0) + minimum(expm1(X), 0), "elu", {"alpha": 1.0}),
    ("logsigmoid", apply(Op.LOG, sigmoid(X)), "logsigmoid", {}),
    ("softplus", X + softplus(-X), "softplus", {"beta": 1.0}),
    ("squared relu", maximum(X, 0) ** 2, "squared_relu", {}),
    ("softsign", X / (abs(X) + 1), "softsign", {}),
    ("tanhshrink", X - tanh(X), "tanhshrink", {}),
    ("softshrink", maximum(X - 0.5, 0) - maximum(-X - 0.5, 0), "softshrink", {"lambd": 0.5}),
    ("relu6 twice", clip(clip(X, 0, 6), -1, 6), "relu6", {}),
]


@pytest.mark.parametrize(("root", "name", "values"), [s[1:] for s in SPELLINGS], ids=str)
def test_other_spellings_are_the_same_function(
    root: Expr, name: str, values: dict[str, Any]
) -> None:
    found = identify(root)
    assert isinstance(found, Identified), found
    assert found.activation.name == name
    assert found.parameters == pytest.approx(values)


def test_the_operator_decides_between_names_of_one_function() -> None:
    celu = identify(named("celu").expression(), "Celu")
    assert isinstance(celu, Identified)
    assert celu.activation.name == "celu"
    silu = identify(named("swish").expression(), "Swish")
    assert isinstance(silu, Identified)
    assert silu.activation.name == "silu"


def test_a_threshold_of_zero_is_read_as_zero() -> None:
    found = identify(named("threshold").expression({"threshold": 0.0, "value": -2.5}))
    assert isinstance(found, Identified)
    assert found.parameters == {"threshold": 0.0, "value": -2.5}


def test_slopes_per_channel_are_found() -> None:
    slopes = np.array([[[0.1]], [[-0.5]], [[0.0]], [[1.0]]])
    found = identify(named("prelu").expression({"slope": slopes}))
    assert isinstance(found, Identified)
    assert found.activation.name == "prelu"
    slope = found.parameters["slope"]
    assert isinstance(slope, np.ndarray)
    np.testing.assert_allclose(slope, slopes, atol=1e-12)


def test_a_function_per_channel_that_is_no_prelu_is_not_found() -> None:
    scales = array(ArraySource("scales", (3,), lambda: np.array([0.5, 1.0, 2.0])))
    assert identify(X * sigmoid(scales * X)) == Unidentified()
    assert identify(maximum(X, 0) + scales) == Unidentified()
    assert identify(X * scales + 1) == Affine()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_slope_that_is_not_finite_is_no_prelu(value: float) -> None:
    slopes = array(ArraySource(f"slopes with {value}", (2,), lambda: np.array([0.5, value])))
    assert identify(where(greater(X, 0), X, slopes * X)) == Unidentified()


@pytest.mark.parametrize(
    "root", [X * 2, X + 1, -X, 2 - X / 3, maximum(X, X) * 3, constant(4.0) + 0 * X], ids=str
)
def test_affine_functions_are_arithmetic(root: Expr) -> None:
    assert identify(root) == Affine()


def test_aliases_and_presets_are_found_as_the_activation_they_name() -> None:
    for activation in CATALOGUE:
        for preset in activation.presets:
            again, values = find(preset.name)
            found = identify(again.expression(values))
            assert isinstance(found, Identified)
            assert found.activation is activation
            assert found.parameters == pytest.approx(dict(preset.values))
