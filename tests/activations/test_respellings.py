"""Every respelling against the activation's own formula, in float64: the same function exactly
where `suits` says so.

The tolerance. Each side rounds at most a dozen times, half an ulp or, in an exponential, logarithm
or tangent, one ulp each time, and no step magnifies what came before: eight ulp are enough where
nothing cancels. Where a formula subtracts numbers near each other, as the ONNX operator of the
same activation does (e^x - 1 near zero, 1 + erf on the far left), what was rounded before, in
units in the last place of those numbers, stays as an absolute error.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnx_act.activations.activation import Respelling
from onnx_act.activations.catalogue import CATALOGUE, named
from onnx_act.activations.folding import fold_constants, spread_factors
from onnx_act.activations.primitives import exp
from onnx_act.activations.readings import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from onnx_act.activations.activation import Activation, Parameters, ParameterValue

    Array = npt.NDArray[np.float64]
    Scale = Callable[[Parameters, Array], Array]

ULPS = 8.0
EPSILON = 2.0**-52
# Below this float64 has fewer digits, or none.
NEARLY_NOTHING = 1e-300
SPECIAL = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1e30, -1e30, 1e300, -1e300)

SLOPES = (0.01, 0.25, 0.9999, 1.0, 1.5, 20.0, 0.0, -0.1, -3.0)


def _each(name: str, *values: ParameterValue) -> tuple[dict[str, ParameterValue], ...]:
    return tuple({name: value} for value in values)


VALUES: dict[str, tuple[dict[str, ParameterValue], ...]] = {
    "elu": _each("alpha", 1.0, 0.3, 1e-3, 0.0, -0.5, 1.001, 1.7, 30.0),
    "celu": _each("alpha", 1.0, 0.3, 0.05, 1.7, 30.0),
    "selu": (
        {},
        {"alpha": 1.0, "gamma": 1.0},
        {"alpha": 0.5, "gamma": 2.0},
        {"alpha": 3.0, "gamma": 0.25},
        {"alpha": 0.0, "gamma": 1.5},
        {"alpha": -1.0, "gamma": 1.0},
        {"alpha": 1.0, "gamma": -1.0},
        {"alpha": 0.5, "gamma": 0.0},
    ),
    "softplus": _each("beta", 1.0, 0.1, 0.7, 3.0, 50.0),
    "swish": _each("beta", 1.0, 1.702, 0.1, 30.0, -1.0, 0.0),
    "gelu": _each("approximate", "none", "tanh"),
    "leaky_relu": _each("negative_slope", *SLOPES),
    "prelu": _each(
        "slope",
        *SLOPES,
        np.array([[0.1], [0.25], [0.9]]),
        np.array([[0.1], [-0.25], [1.0]]),
        np.array([[0.1], [0.25], [1.5]]),
        np.array([[0.1], [0.0], [0.5]]),
    ),
}


def _of_expm1(parameters: Parameters, x: Array) -> Array:
    # e^x is rounded near 1, and the difference is multiplied by the depth of the tail.
    depth = float(parameters["alpha"]) * float(parameters.get("gamma", 1.0))
    return np.full_like(x, abs(depth))


def _of_gate(_: Parameters, x: Array) -> Array:
    # 1 + erf is rounded near 0 from numbers near 1, and multiplied by x.
    return np.abs(x)


def _of_softplus(parameters: Parameters, x: Array) -> Array:
    # Without the correction the logarithm is that of 1 + u as rounded.
    return np.full_like(x, 1.0 / float(parameters.get("beta", 1.0)))


# What cancels: (activation, respelling) -> the numbers in whose last places it errs.
CANCELLING: dict[tuple[str, str], Scale] = {
    **{("elu", k): _of_expm1 for k in ("maximum", "clipped maximum", "ramp")},
    **{("selu", k): _of_expm1 for k in ("ramp", "two relus")},
    **{("celu", k): _of_expm1 for k in ("maximum", "ramp")},
    **{("gelu", k): _of_gate for k in ("erf", "halved erf", "tanh")},
    **{(a, "plain maximum"): _of_softplus for a in ("softplus", "logsigmoid")},
}


def _cases() -> list[tuple[str, int, str]]:
    return [
        (a.name, i, r.name)
        for a in CATALOGUE
        for i in range(len(VALUES.get(a.name, ({},))))
        for r in a.respellings
    ]


def _look_up(name: str, case: int, key: str) -> tuple[Activation, Parameters, Respelling]:
    activation = named(name)
    (respelling,) = (r for r in activation.respellings if r.name == key)
    return activation, activation.bind(VALUES.get(name, ({},))[case]), respelling


def _grid() -> Array:
    """Both signs; dense where activations bend, and by orders of magnitude into both tails."""
    magnitudes = np.concatenate(
        [
            np.linspace(0.0, 20.0, 8001)[1:],
            np.linspace(0.0, 800.0, 4001)[1:],
            np.geomspace(1e-300, 1e-12, 200),
            np.geomspace(1e-12, 1e4, 4000),
        ]
    )
    return np.concatenate([-magnitudes[::-1], magnitudes])


def _faults(activation: Activation, parameters: Parameters, respelling: Respelling) -> list[str]:
    """Where the respelling is not the function, up to rounding; at most a few places."""
    x = np.concatenate([_grid(), np.array(SPECIAL)])
    expected = evaluate(activation.expression(parameters), x)
    got = evaluate(activation.expression(parameters, respelling), x)
    with np.errstate(all="ignore"):
        allowed = ULPS * EPSILON * np.abs(expected) + NEARLY_NOTHING
        cancelling = CANCELLING.get((activation.name, respelling.name))
        if cancelling is not None:
            allowed = allowed + 2 * EPSILON * cancelling(parameters, x)
        is_close = np.abs(got - expected) <= allowed
    # Where the formula itself has no value, at an infinity, another may have one.
    is_right = is_close | (got == expected) | np.isnan(expected)
    is_right &= ~(np.isnan(got) & ~np.isnan(expected)) & ~(np.isnan(x) & ~np.isnan(got))
    wrong = np.argwhere(~is_right)
    return [
        f"f({np.broadcast_to(x, got.shape)[tuple(at)]!r}) = {expected[tuple(at)]!r}, "
        f"not {got[tuple(at)]!r}"
        for at in wrong[:3]
    ]


@pytest.mark.parametrize(("name", "case", "key"), _cases())
def test_it_suits_exactly_where_it_is_the_same_function(name: str, case: int, key: str) -> None:
    activation, parameters, respelling = _look_up(name, case, key)
    faults = _faults(activation, parameters, respelling)
    if respelling.suits(parameters):
        assert not faults, faults
    else:
        assert faults, "it is refused although it is the same function"


@pytest.mark.parametrize(("name", "case", "key"), _cases())
def test_what_is_written_is_the_formula(name: str, case: int, key: str) -> None:
    """Constants are computed beforehand, and factors spread over channels: the same numbers."""
    activation, parameters, respelling = _look_up(name, case, key)
    expression = activation.expression(parameters, respelling)
    x = np.resize(np.concatenate([_grid(), np.array(SPECIAL)]), (3, 1, 4000))
    slope = parameters.get("slope")
    if isinstance(slope, np.ndarray):
        expression = activation.expression({"slope": slope[:, :, None]}, respelling)
    expected = evaluate(expression, x)
    folded = fold_constants(expression)
    for written in (folded, spread_factors(folded, 3)):
        np.testing.assert_array_equal(evaluate(written, x), expected)


def test_every_cancellation_that_is_allowed_is_of_a_respelling() -> None:
    declared = {(a.name, r.name) for a in CATALOGUE for r in a.respellings}
    assert set(CANCELLING) <= declared


def test_every_condition_is_met_and_not_met_here() -> None:
    """A condition that is always or never true in these cases would not be tested by them."""
    answers: dict[tuple[str, str], set[bool]] = {}
    for name, case, key in _cases():
        _, parameters, respelling = _look_up(name, case, key)
        answers.setdefault((name, key), set()).add(respelling.suits(parameters))
    assert all(True in found for found in answers.values())
    conditional = {k for k, found in answers.items() if False in found}
    assert {("elu", "maximum"), ("gelu", "erf"), ("prelu", "two slopes")} <= conditional


def test_names_are_unique_and_not_those_of_other_ways() -> None:
    for activation in CATALOGUE:
        names = [r.name for r in activation.respellings]
        assert len(names) == len(set(names))
        assert not {"formula", *(o.op_type for o in activation.operators)} & set(names)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        # Off by nine ulp; without the left tail; NaN where the function is infinite.
        ("silu", Respelling("nine ulp", lambda x: x / (1 + exp(-x)) * (1 + 9 * EPSILON))),
        (
            "mish",
            Respelling("lost tail", lambda x: x * (1 - 2 / (1 + (1 + exp(x)) * (1 + exp(x))))),
        ),
        ("silu", Respelling("overflow", lambda x: x * exp(x) / (1 + exp(x)))),
    ],
)
def test_what_is_wrong_is_found(name: str, wrong: Respelling) -> None:
    activation = named(name)
    assert _faults(activation, activation.bind(), wrong)
