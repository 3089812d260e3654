"""Both derivatives, by dual numbers and as a formula, against finite differences; kinks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_act.activations.catalogue import CATALOGUE, find, named
from onnx_act.activations.differentiate import differentiate
from onnx_act.activations.formula import text
from onnx_act.activations.primitives import X, clip, constant, maximum, minimum
from onnx_act.activations.properties import describe
from onnx_act.activations.readings import derivative, evaluate

if TYPE_CHECKING:
    from onnx_act.activations.activation import Activation

POSITIVE = st.floats(0.05, 4.0)
SIGNED = st.floats(-3.0, 3.0)


@st.composite
def activations(draw: st.DrawFn) -> tuple[Activation, dict[str, Any]]:
    activation = draw(st.sampled_from(CATALOGUE))
    values: dict[str, Any] = {}
    for slot in activation.parameters:
        if slot.choices:
            values[slot.name] = draw(st.sampled_from(slot.choices))
        elif slot.positive or slot.name == "lambd":
            values[slot.name] = draw(POSITIVE)
        else:
            values[slot.name] = draw(SIGNED)
    if "min" in values:
        values["max"] = values["min"] + draw(POSITIVE)
    return activation, values


@settings(derandomize=True, deadline=None, max_examples=150)
@given(activations(), st.lists(st.floats(-25.0, 25.0), min_size=1, max_size=20))
def test_the_derivative_is_what_central_differences_give(
    chosen: tuple[Activation, dict[str, Any]], points: list[float]
) -> None:
    activation, values = chosen
    root = activation.expression(values)
    # At 0 the second derivative may jump, which central differences see.
    kinks = np.array([*describe(activation, values).kinks, 0.0])
    x = np.array(points)
    step = 1e-5
    x = x[np.min(np.abs(x[:, None] - kinks), axis=1) > 3 * step]
    difference = (evaluate(root, x + step) - evaluate(root, x - step)) / (2 * step)
    slope = derivative(root, x)
    # step^2 / 6 * f''' and the rounding of f, of which exp is the largest (e^25).
    size = np.maximum(1.0, np.abs(evaluate(root, x)))
    assert np.all(np.abs(slope - difference) <= 5e-7 * size)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(activations())
def test_the_printed_derivative_is_the_derivative(
    chosen: tuple[Activation, dict[str, Any]],
) -> None:
    activation, values = chosen
    root = activation.expression(values)
    x = np.concatenate([np.linspace(-20, 20, 801), describe(activation, values).kinks])
    if activation.name in ("hardsigmoid", "hardswish"):
        # Where the ramp ends is a matter of one rounding of alpha * x + beta.
        x = x[:801]
    expected = derivative(root, x)
    actual = evaluate(differentiate(root), x)
    assert np.all(np.abs(actual - expected) <= 1e-13 * np.maximum(1.0, np.abs(expected)))


AT_KINKS: list[tuple[str, dict[str, Any], float, float]] = [
    ("relu", {}, 0.0, 0.0),
    ("relu6", {}, 0.0, 0.0),
    ("relu6", {}, 6.0, 1.0),
    ("leaky_relu", {}, 0.0, 0.01),
    ("leaky_relu", {"negative_slope": 1.5}, 0.0, 1.5),
    ("leaky_relu", {"negative_slope": -1.5}, 0.0, -1.5),
    ("prelu", {"slope": 0.3}, 0.0, 0.3),
    ("hardtanh", {}, -1.0, 0.0),
    ("hardtanh", {}, 1.0, 1.0),
    ("threshold", {}, 1.0, 0.0),
    ("squared_relu", {}, 0.0, 0.0),
    ("hardshrink", {}, 0.5, 0.0),
    ("softshrink", {}, -0.5, 1.0),
    ("softshrink", {}, 0.5, 0.0),
    ("elu", {"alpha": 0.5}, 0.0, 0.5),
    ("selu", {}, 0.0, 1.7580993408473766),
    ("hardsigmoid", {"alpha": 0.25, "beta": 0.5}, -2.0, 0.0),
    ("hardsigmoid", {"alpha": 0.25, "beta": 0.5}, 2.0, 0.25),
    ("hardsigmoid", {"alpha": -0.25, "beta": 0.5}, -2.0, 0.0),
    ("hardsigmoid", {"alpha": -0.25, "beta": 0.5}, 2.0, -0.25),
    ("rectified_tanh", {}, 0.0, 0.0),
]


@pytest.mark.parametrize(("name", "values", "x", "slope"), AT_KINKS, ids=str)
def test_at_a_kink_the_derivative_is_the_left_one(
    name: str, values: dict[str, Any], x: float, slope: float
) -> None:
    root = named(name).expression(values)
    at = np.array([x])
    assert derivative(root, at)[0] == pytest.approx(slope, rel=1e-15)
    assert evaluate(differentiate(root), at)[0] == pytest.approx(slope, rel=1e-15)


@pytest.mark.parametrize("x", [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
def test_the_left_rule_holds_for_falling_operands_too(x: float) -> None:
    step = 1e-7
    for root in (
        maximum(-X, 0.5),
        minimum(-X, 0.5),
        maximum(0.5, X),
        minimum(0.5, X),
        clip(-X, -1, 1),
        maximum(X, -X),
        minimum(X, 2 * X),
        minimum(maximum(X * X, 1), 4),
        abs(-X),
        abs(X) * X,
        maximum(3 - X, X + 1),
        clip(2 - 2 * X, 0, 3),
        maximum(minimum(X, 1), -1),
        constant(2.0) / (1 + maximum(X, 0)),
    ):
        left = (evaluate(root, np.array([x])) - evaluate(root, np.array([x - step]))) / step
        slope = derivative(root, np.array([x]))
        printed = evaluate(differentiate(root), np.array([x]))
        assert slope == pytest.approx(left, abs=2e-6), root
        assert printed == pytest.approx(slope, abs=1e-14), root


PRINTED = {
    "relu": "where(x > 0, 1, 0)",
    "leaky_relu": "where(x > 0, 1, negative_slope)",
    "hardtanh": "where(x > max, 0, where(x > min, 1, 0))",
    "squared_relu": "where(x > 0, 2 * x, 0)",
    "elu": "where(x > 0, 1, alpha * exp(x))",
    "celu": "where(x > 0, 1, exp(x / alpha))",
    "softplus": "sigmoid(beta * x)",
    "logsigmoid": "sigmoid(-x)",
    "sigmoid": "sigmoid(x) * (1 - sigmoid(x))",
    "tanh": "1 - tanh(x)^2",
    "tanhshrink": "tanh(x)^2",
    "softsign": "1 / (1 + abs(x))^2",
    "erf": "2/sqrt(pi) * exp(-x^2)",
    "silu": "sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x))",
    "gelu": "Phi(x) + 1/sqrt(2*pi) * x * exp(-x^2 / 2)",
    "mish": "tanh(softplus(x)) + x * (1 - tanh(softplus(x))^2) * sigmoid(x)",
}


@pytest.mark.parametrize("name", PRINTED)
def test_printed_derivatives_read_like_a_textbook(name: str) -> None:
    activation, _ = find(name)
    assert text(differentiate(activation.open_expression())) == PRINTED[name]


def test_an_operation_that_no_declaration_uses_is_refused() -> None:
    with pytest.raises(ValueError, match="no derivative is known for pow"):
        differentiate(X**2.5)
