"""The measure of accuracy: what it finds wrong, and what the installed runtime makes of the
respellings.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnx_act.activations.activation import Respelling
from onnx_act.activations.catalogue import CATALOGUE, named
from onnx_act.activations.primitives import exp, sigmoid, where
from onnx_act.activations.primitives import greater as is_greater
from onnx_act.evidence.accuracy import (
    NO_DIGIT,
    Accuracy,
    WrittenForm,
    accuracy_grid,
    measure_accuracies,
)
from onnx_act.evidence.written_ways import Exactness, MeasuredWays, WayKind, measure_ways
from onnx_act.graph.bare_models import bare_model
from onnx_act.graph.lower import ExpressionLowering

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx_act.activations.primitives import Expr

OPSET = 20
ULP = 2.0**-23
# What loses digits for speed, and says so in its note; all others must be as exact.
APPROXIMATE = {
    ("softplus", "plain maximum"),
    ("logsigmoid", "plain maximum"),
    ("selu", "two relus"),
    # Not with prelu's default slope: a quarter of a number has all its digits.
    ("leaky_relu", "two slopes"),
}
RIGHT = Accuracy(median_ulp=0.5, p99_ulp=2.0, max_abs=1e-6, wrong_at=("-inf",))


def _measured(name: str, formula: Callable[[Expr], Expr], dtype: str = "float32") -> Accuracy:
    """The accuracy of a formula that says it is `name`, at its default parameters."""
    activation = named(name)
    parameters = activation.bind()
    lowering = ExpressionLowering(
        "made up", Respelling("made up", lambda x, *_: formula(x), is_channelwise=False)
    )
    model = bare_model(lowering, activation, parameters, OPSET, dtype=dtype)
    (found,) = measure_accuracies([WrittenForm(name, parameters, model)])
    assert isinstance(found, Accuracy), found
    return found


@cache
def _ways(name: str) -> MeasuredWays:
    return measure_ways(name, named(name).bind())


def test_the_grid_is_symmetric_and_reaches_both_tails() -> None:
    grid = accuracy_grid()
    np.testing.assert_array_equal(grid, -grid[::-1])
    assert (grid.min(), grid.max()) == (-100.0, 100.0)
    assert np.abs(grid).min() <= 1e-6
    assert np.all(np.diff(grid) >= 0)
    # Dense enough that no bend falls between two points, and both far tails are a share of it.
    assert np.diff(grid[np.abs(grid) <= 20]).max() < 0.01
    assert np.diff(grid).max() < 0.05
    for tail in (grid < -20, grid > 20):
        assert np.mean(tail) > 0.05
    assert len(accuracy_grid(800)) == pytest.approx(800, rel=0.01)


def test_what_is_exact_has_no_error() -> None:
    found = _measured("identity", lambda x: x * 1.0)
    assert found == Accuracy(median_ulp=0.0, p99_ulp=0.0, max_abs=0.0, wrong_at=())


def test_another_function_is_found_out() -> None:
    found = _measured("silu", lambda x: x * sigmoid(1.01 * x))
    assert found.p99_ulp > 1e5
    assert found.max_abs > 1e-3
    tail = _measured("silu", lambda x: where(is_greater(x, -10), x * sigmoid(x), 0))
    assert tail.p99_ulp >= NO_DIGIT
    assert tail.max_abs < 1e-3


def test_an_error_of_three_ulp_is_three_ulp() -> None:
    found = _measured("identity", lambda x: x * (1 + 3 * ULP))
    # Relative to the last place an error is between one and two times as large as to the value.
    assert 2.9 <= found.median_ulp <= 6.0
    assert 5.0 <= found.p99_ulp <= 6.1
    assert found.wrong_at == ()
    assert found.max_abs == pytest.approx(300 * ULP, rel=0.1)


def test_an_error_on_one_input_of_a_thousand_is_in_the_largest_only() -> None:
    spike = _measured("identity", lambda x: where(is_greater(abs(x - 50), 0.05), x, x + 1))
    assert spike.p99_ulp == 0.0
    assert spike.max_abs == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("wrong_at", "formula"),
    [
        # x - x is NaN at both infinities, and 0 elsewhere.
        (("inf", "-inf"), lambda x: x + (x - x)),
        (("inf",), lambda x: x + 0 * where(is_greater(x, 0), x - x, 0)),
        (("1e30",), lambda x: where(is_greater(abs(x - 1e30), 1e28), x, 0 * x)),
        (("0", "-0"), lambda x: x + 0 / x),
    ],
)
def test_a_special_input_with_another_result(
    wrong_at: tuple[str, ...], formula: Callable[[Expr], Expr]
) -> None:
    found = _measured("identity", formula)
    assert found.wrong_at == wrong_at
    assert found.p99_ulp <= 1.5


def test_nan_that_does_not_come_through() -> None:
    found = _measured("identity", lambda x: where(is_greater(x, 0), x, 0) - abs(0 * x))
    assert "nan" not in found.wrong_at
    lost = _measured("relu", lambda x: where(is_greater(x, 0), x, 0))
    assert lost.wrong_at == ("nan",)
    assert lost.p99_ulp == 0.0


def test_nan_in_the_tail_is_no_digit() -> None:
    found = _measured("silu", lambda x: x * exp(x) / (1 + exp(x)))
    assert math.isinf(found.max_abs)
    assert found.p99_ulp >= NO_DIGIT
    assert found.to_dict()["max_abs"] is None


def test_float16() -> None:
    """An ulp is one of the dtype, and what float16 cannot hold is rightly infinite."""
    exact = _measured("silu", lambda x: x / (1 + exp(-x)), "float16")
    assert 0.0 < exact.p99_ulp <= 2.0
    assert exact.max_abs > 1e-3
    squared = _measured("squared_relu", lambda x: x * where(is_greater(x, 0), x, 0), "float16")
    assert squared.p99_ulp <= 0.5
    assert not {"inf", "1e30"} & set(squared.wrong_at)
    off = _measured("identity", lambda x: x * (1 + 3 * 2.0**-10), "float16")
    assert 2.5 <= off.median_ulp <= 6.5


def test_a_model_that_does_not_run_says_why() -> None:
    form = WrittenForm("relu", {}, b"not a model")
    (found,) = measure_accuracies([form])
    assert isinstance(found, str)
    assert found


@pytest.mark.parametrize(
    ("other", "is_worse"),
    [
        (RIGHT, False),
        (replace(RIGHT, p99_ulp=2.5), True),
        (replace(RIGHT, p99_ulp=1.5), False),
        (replace(RIGHT, wrong_at=()), False),
        (replace(RIGHT, wrong_at=("nan",)), True),
        (replace(RIGHT, wrong_at=("-inf", "nan"), p99_ulp=0.0), True),
    ],
)
def test_worse(other: Accuracy, is_worse: bool) -> None:
    assert other.is_worse_than(RIGHT) is is_worse


def test_without_any_digit_one_is_as_bad_as_another() -> None:
    lost = replace(RIGHT, p99_ulp=NO_DIGIT)
    assert not replace(lost, p99_ulp=math.inf).is_worse_than(lost)
    assert lost.is_worse_than(RIGHT)


RESPELLED = [a.name for a in CATALOGUE if a.respellings]


@pytest.mark.parametrize("name", RESPELLED)
def test_respellings_are_as_exact_as_the_operator(name: str) -> None:
    ways = _ways(name).ways
    (reference,) = (w.accuracy for w in ways if w.exactness is Exactness.REFERENCE)
    assert reference is not None
    respelled = {way.key: way for way in ways if way.kind is WayKind.RESPELLING}
    suiting = [r for r in named(name).respellings if r.suits(named(name).bind())]
    assert set(respelled) == {r.name for r in suiting}
    for key, way in respelled.items():
        assert way.accuracy is not None, way
        # Also what is approximate is right to six digits of the largest numbers around it.
        assert way.accuracy.max_abs < 2e-5
        if (name, key) in APPROXIMATE:
            assert way.exactness is Exactness.APPROXIMATE, way
            continue
        # Where e^x - 1 leaves few digits, kernels of different processors differ by a few percent.
        allowed = replace(reference, p99_ulp=reference.p99_ulp * 1.05 + 0.1)
        assert not way.accuracy.is_worse_than(allowed), way


@pytest.mark.parametrize("name", RESPELLED)
def test_one_way_is_the_reference_and_it_is_a_standard_one(name: str) -> None:
    found = _ways(name)
    (reference,) = (way for way in found.ways if way.exactness is Exactness.REFERENCE)
    assert reference.kind in {WayKind.OPERATOR, WayKind.FORMULA}
    operators = [o for o in named(name).operators if not o.is_contrib()]
    assert reference.kind is (WayKind.OPERATOR if operators else WayKind.FORMULA)
    assert found.opset >= OPSET


def test_mish_of_one_exponential_keeps_both_tails() -> None:
    (quotient,) = (way for way in _ways("mish").ways if way.key == "quotient")
    assert quotient.accuracy is not None
    assert quotient.accuracy.p99_ulp <= 3.0
    assert set(quotient.accuracy.wrong_at) <= {"-inf"}


@pytest.mark.parametrize("name", ["elu", "celu", "selu"])
def test_tanh_keeps_the_digits_near_zero_that_the_operator_loses(name: str) -> None:
    ways = {way.key: way.accuracy for way in _ways(name).ways}
    tanh, operator = ways["tanh"], ways[named(name).operators[0].op_type]
    assert tanh is not None
    assert operator is not None
    assert tanh.p99_ulp <= 3.0
    assert operator.p99_ulp > 1000.0


def test_a_way_that_the_runtime_cannot_run_is_listed_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Below opset 24 there is no Swish; the other ways are measured against the formula."""
    monkeypatch.setattr("onnx_act.evidence.written_ways._best_opset", lambda *_: OPSET)
    ways = {way.key: way for way in measure_ways("silu", {}).ways}
    assert ways["Swish"].accuracy is None
    assert ways["Swish"].exactness is None
    assert ways["Swish"].reason == "exists since opset 24"
    assert ways["formula"].exactness is Exactness.REFERENCE
