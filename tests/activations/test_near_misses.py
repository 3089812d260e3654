"""Functions that look like an activation and are not it: the worst bug would be to believe them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_act.activations.catalogue import CATALOGUE
from onnx_act.activations.identify import Identified, identify
from onnx_act.activations.primitives import (
    Expr,
    Op,
    X,
    apply,
    clip,
    constant,
    constants_of,
    erf,
    exp,
    expm1,
    greater,
    hard_sigmoid,
    maximum,
    minimum,
    normal_cdf,
    rebuild,
    sigmoid,
    softplus,
    tanh,
    where,
)
from onnx_act.activations.readings import evaluate

if TYPE_CHECKING:
    from onnx_act.activations.activation import Activation

# Constants in float32 with the digits of a careless author.
SQRT2 = constant(math.sqrt(2.0), 5e-5)
CUBIC = constant(0.044715, 5e-5)
OUTER = constant(math.sqrt(2.0 / math.pi), 5e-5)


def typed(value: float) -> Expr:
    return constant(value, 5e-5)


def _tanh_gelu(outer: Expr = OUTER, cubic: Expr = CUBIC) -> Expr:
    return 0.5 * X * (1 + tanh(outer * (X + cubic * (X * X * X))))


NEAR_MISSES: list[tuple[str, Expr]] = [
    ("gelu with a divisor of 1.3", 0.5 * X * (1 + erf(X / typed(1.3)))),
    ("gelu with a divisor of 1.407, 0.5 % off", 0.5 * X * (1 + erf(X / typed(1.4071)))),
    ("gelu with a divisor of 1.4284, 1 % off", 0.5 * X * (1 + erf(X / typed(1.4284)))),
    ("gelu with a divisor of 2", 0.5 * X * (1 + erf(X / 2))),
    ("gelu without the half", X * (1 + erf(X / SQRT2))),
    ("gelu with a half too much", 0.5 * X * (0.5 + erf(X / SQRT2))),
    ("gelu with a minus", 0.5 * X * (1 - erf(X / SQRT2))),
    ("gelu shifted", X * normal_cdf(X - 0.1)),
    ("gelu lifted", X * normal_cdf(X) + typed(0.02)),
    ("gelu of two x", X * normal_cdf(2 * X)),
    ("tanh gelu without its cube", 0.5 * X * (1 + tanh(OUTER * X))),
    ("tanh gelu with a square for the cube", 0.5 * X * (1 + tanh(OUTER * (X + CUBIC * X * X)))),
    ("tanh gelu with 0.05 in the cube", _tanh_gelu(cubic=typed(0.05))),
    ("tanh gelu with 0.0447 cubed less 2 %", _tanh_gelu(cubic=typed(0.0438))),
    ("tanh gelu with 0.79 outside", _tanh_gelu(outer=typed(0.79))),
    ("tanh gelu with 0.81 outside", _tanh_gelu(outer=typed(0.81))),
    ("sigmoid squared", sigmoid(X) * sigmoid(X)),
    ("sigmoid times its own gate", sigmoid(X) * (1 - sigmoid(X))),
    ("sigmoid with 1.01 above", typed(1.01) / (1 + exp(-X))),
    ("sigmoid with 1.1 below", 1 / (typed(1.1) + exp(-X))),
    ("sigmoid of 1.005 x", sigmoid(typed(1.005) * X)),
    ("sigmoid shifted", sigmoid(X + typed(0.05))),
    ("sigmoid lowered", sigmoid(X) - 0.5),
    ("sigmoid of minus x", sigmoid(-X)),
    ("silu with a wrong operand", (X + typed(0.1)) * sigmoid(X)),
    ("silu twice", X * sigmoid(X) * sigmoid(X)),
    ("silu of the absolute value", X * sigmoid(abs(X))),
    ("silu lifted", X * sigmoid(X) + typed(0.01)),
    ("silu scaled", typed(1.02) * (X * sigmoid(X))),
    ("silu scaled in both places", typed(1.1) * (X * sigmoid(typed(0.9) * X))),
    ("x squared sigmoid", X * X * sigmoid(X)),
    ("mish without its log", X * tanh(exp(X))),
    ("mish with 2 for 1", X * tanh(apply(Op.LOG, 2 + exp(X)))),
    ("mish with a sigmoid for the tanh", X * sigmoid(softplus(X))),
    ("mish with a soft beta", X * tanh(softplus(typed(1.05) * X))),
    ("hardswish with 2.9 for 3", X * clip(X + typed(2.9), 0, 6) / 6),
    ("hardswish with 5.9 for 6", X * clip(X + 3, 0, typed(5.9)) / 6),
    ("hardswish over 5", X * clip(X + 3, 0, 6) / 5),
    ("hardswish of the keras slope", X * hard_sigmoid(X, 0.2, 0.5)),
    ("hardswish without its floor", X * minimum(X + 3, 6) / 6),
    ("hardswish squared", X * X * hard_sigmoid(X, 1 / 6, 0.5)),
    ("tanh of 1.01 x", tanh(typed(1.01) * X)),
    ("tanh scaled", typed(1.7159) * tanh(X * (2 / 3))),
    ("tanh lifted", tanh(X) + 1),
    ("tanhshrink the wrong way", X + tanh(X)),
    ("tanhshrink of a half", X - 0.5 * tanh(X)),
    ("hard sigmoid without its ceiling", maximum(X / 6 + 0.5, 0)),
    ("hard sigmoid to 1.1", clip(X / 6 + 0.5, 0, typed(1.1))),
    ("softplus lifted", softplus(X) - math.log(2.0)),
    ("softplus over another beta", softplus(2 * X) / 3),
    ("softplus of a squared x", softplus(X * X)),
    ("softplus that is cut at 15", where(greater(X, 15), X, softplus(X))),
    ("logsigmoid of 2x", -softplus(-2 * X)),
    ("softsign with 1.1", X / (typed(1.1) + abs(X))),
    ("softsign of the square", X / (1 + X * X)),
    ("elu that jumps", where(greater(X, 0), X, exp(X) - typed(0.99))),
    ("elu whose exp is steeper", maximum(X, 0) + expm1(typed(1.05) * minimum(X, 0))),
    ("celu with two alphas", maximum(X, 0) + 0.5 * expm1(minimum(X, 0) / typed(0.6))),
    ("elu without its right side", expm1(minimum(X, 0))),
    ("relu lifted", maximum(X, 0) + typed(0.1)),
    ("relu scaled", typed(1.1) * maximum(X, 0)),
    ("relu of minus x", maximum(-X, 0)),
    ("relu cubed", maximum(X, 0) * maximum(X, 0) * maximum(X, 0)),
    ("relu shifted", maximum(X - typed(0.01), 0)),
    ("the absolute value", abs(X)),
    ("leaky with a kink at 0.1", where(greater(X, typed(0.1)), X, 0.2 * X)),
    ("leaky that is bounded", clip(maximum(X, 0.1 * X), -4, 50)),
    ("leaky whose right side is scaled", where(greater(X, 0), typed(1.05) * X, 0.1 * X)),
    ("a clip of 2x", clip(2 * X, -1, 1)),
    ("a clip of a shifted x", clip(X + 1, 0, 6)),
    ("a lifted relu6", clip(X, 0, 6) + typed(0.5)),
    ("hardshrink on one side", where(greater(X, 0.5), X, 0)),
    ("softshrink with two widths", maximum(X - 0.5, 0) - maximum(-X - typed(0.6), 0)),
    ("erf of x over 1.01", erf(X / typed(1.01))),
    ("exp of minus x", exp(-X)),
    ("exp minus a little", exp(X) - typed(0.01)),
    ("a gaussian", exp(-(X * X))),
    ("a sine", apply(Op.SIN, X)),
    ("snake", X + apply(Op.SIN, X) * apply(Op.SIN, X)),
    ("a step", where(greater(X, 0), 1, 0)),
    ("relu that is wrong far out", minimum(maximum(X, 0), 90_000)),
    ("identity that is wrong far left", maximum(X, -50_000)),
    ("relu that is infinite at 0", maximum(X, 0) + 0 * apply(Op.ABS, 1 / X)),
    ("tanh that is infinite on the left", minimum(tanh(X), constant(math.inf) / X)),
    ("identity with a mask of -inf", where(greater(X, 0), X, -math.inf)),
    ("identity with the lowest float as a mask", where(greater(X, 0), X, -3.4028235e38)),
    ("exp that is infinite", where(greater(X, 1.4), math.inf, exp(X))),
    ("nothing but NaN", X * (constant(math.inf) - math.inf)),
    ("nothing but infinity", maximum(X, math.inf)),
    ("silu that is cut off", minimum(X * sigmoid(X), 40)),
]
# Of those, the ones that are another entry of the catalogue, to be found as that and no other.
REALLY = {
    "tanh gelu without its cube": "swish",
    "hardshrink on one side": "threshold",
    "identity with a mask of -inf": "threshold",
    "identity with the lowest float as a mask": "threshold",
    "relu that is wrong far out": "hardtanh",
    "identity that is wrong far left": "hardtanh",
}


def test_there_are_enough_of_them() -> None:
    assert len(NEAR_MISSES) >= 60
    assert len({name for name, _ in NEAR_MISSES}) == len(NEAR_MISSES)


@pytest.mark.parametrize(("name", "root"), NEAR_MISSES, ids=[n for n, _ in NEAR_MISSES])
def test_near_misses_are_not_identified(name: str, root: Expr) -> None:
    found = identify(root)
    if isinstance(found, Identified):
        assert found.activation.name == REALLY.get(name), found
        _assert_same_function(root, found)


def _assert_same_function(root: Expr, found: Identified) -> None:
    x = np.concatenate([np.linspace(-30, 30, 6001), -np.logspace(1, 6, 60), np.logspace(1, 6, 60)])
    expected = evaluate(found.activation.expression(found.parameters), x)
    actual = evaluate(root, x)
    with np.errstate(invalid="ignore"):
        same = (np.abs(actual - expected) <= 2e-4 * np.maximum(1.0, np.abs(x))) | (
            actual == expected
        )
    assert np.all(same | ~np.isfinite(actual))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.sampled_from(CATALOGUE),
    st.sampled_from((-0.1, -0.05, -0.02, -0.005, 0.005, 0.02, 0.05, 0.1)),
    st.integers(0, 9),
)
def test_what_is_found_after_a_constant_moved_is_the_moved_function(
    activation: Activation, change: float, which: int
) -> None:
    root = activation.expression()
    leaves = constants_of(root)
    if not leaves:
        return
    target = leaves[which % len(leaves)]
    assert isinstance(target.payload, tuple)
    value = target.payload[0]
    moved = constant(value * (1 + change) if value else change, 5e-5)
    found = identify(rebuild(root, lambda leaf: moved if leaf is target else leaf))
    if isinstance(found, Identified):
        _assert_same_function(rebuild(root, lambda n: moved if n is target else n), found)
