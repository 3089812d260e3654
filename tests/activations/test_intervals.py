"""Arithmetic of intervals, and what activations do to them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_act.activations.catalogue import find
from onnx_act.activations.intervals import (
    EVERYTHING,
    NOT_NEGATIVE,
    Interval,
    is_identity_on,
    joined,
    magnitude,
    negated,
    signs_of,
    signs_of_product,
    signs_of_quotient,
    signs_of_sum,
    signs_on,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx_act.activations.primitives import Expr

_INF: Final = math.inf
_NUMBERS: Final = st.floats(allow_nan=False, width=32)


@st.composite
def _with_a_number(draw: st.DrawFn) -> tuple[Interval, np.float32]:
    low, number, high = sorted(draw(st.lists(_NUMBERS, min_size=3, max_size=3)))
    # Of equal zeros the order is not that of their signs: -0.0 is in an interval from 0.
    return Interval(low, high), np.float32(number)


def _holds(interval: Interval, number: np.float32) -> bool:
    return bool(np.isnan(number)) or interval.low <= float(number) <= interval.high


@pytest.mark.parametrize(
    ("of_intervals", "of_numbers"),
    [
        (signs_of_sum, np.add),
        (lambda a, b: signs_of_sum(a, negated(b)), np.subtract),
        (signs_of_product, np.multiply),
        (signs_of_quotient, np.divide),
        (joined, np.minimum),
        (lambda a, _: magnitude(a), lambda x, _: np.abs(x)),
        (lambda a, _: signs_of(a), lambda x, _: np.rint(x)),
    ],
    ids=["sum", "difference", "product", "quotient", "either", "magnitude", "sign"],
)
@given(one=_with_a_number(), other=_with_a_number())
def test_results_of_numbers_are_in_the_result_of_their_intervals(
    of_intervals: Callable[[Interval, Interval], Interval],
    of_numbers: Callable[[np.float32, np.float32], np.float32],
    one: tuple[Interval, np.float32],
    other: tuple[Interval, np.float32],
) -> None:
    with np.errstate(all="ignore"):
        number = of_numbers(one[1], other[1])
    assert _holds(of_intervals(one[0], other[0]), number)


def test_signs_are_all_that_arithmetic_hands_on() -> None:
    assert signs_of_sum(Interval(1, 2), Interval(3, 4)) == NOT_NEGATIVE
    assert signs_of_sum(Interval(-1, 2), Interval(1, 4)) == NOT_NEGATIVE
    assert signs_of_sum(Interval(-1, 2), Interval(0.5, 4)) == EVERYTHING
    assert signs_of_product(Interval(-2, -1), Interval(-_INF, 0)) == NOT_NEGATIVE
    assert signs_of_product(Interval(0, 0), EVERYTHING) == Interval(0, 0)
    assert signs_of_quotient(Interval(0, 1), Interval(1e-6, _INF)) == NOT_NEGATIVE
    assert signs_of_quotient(Interval(0, 1), NOT_NEGATIVE) == EVERYTHING


def _formula(name: str, **parameters: float) -> Expr:
    activation, preset = find(name)
    return activation.expression({**preset, **parameters})


@pytest.mark.parametrize(
    ("formula", "interval", "wanted"),
    [
        (_formula("relu"), NOT_NEGATIVE, True),
        (_formula("relu"), Interval(-1e-30, _INF), False),
        (_formula("elu"), NOT_NEGATIVE, True),
        (_formula("elu"), EVERYTHING, False),
        (_formula("celu", alpha=3), NOT_NEGATIVE, True),
        (_formula("selu"), NOT_NEGATIVE, False),
        (_formula("leaky_relu"), Interval(0.5, 3), True),
        (_formula("relu6"), Interval(0, 6), True),
        (_formula("relu6"), Interval(0, 6.000001), False),
        (_formula("hardtanh"), Interval(-1, 0.5), True),
        (_formula("hardtanh"), Interval(-1.5, 0.5), False),
        # Of NaN it makes 0.
        (_formula("threshold", threshold=-1), NOT_NEGATIVE, False),
        # To the last digit of float64, and not further.
        (_formula("softplus"), Interval(50, 60), False),
        (_formula("softplus"), Interval(50, 50), False),
        (_formula("gelu"), Interval(10, 20), False),
        (_formula("hardswish"), Interval(3, 9), False),
        (_formula("tanh"), Interval(0, 0), False),
    ],
)
def test_where_an_activation_is_the_identity(
    formula: Expr, interval: Interval, wanted: bool
) -> None:
    assert is_identity_on(formula, interval) == wanted


@pytest.mark.parametrize(
    ("formula", "interval", "wanted"),
    [
        (_formula("sigmoid"), EVERYTHING, NOT_NEGATIVE),
        (_formula("softplus"), EVERYTHING, NOT_NEGATIVE),
        (_formula("gelu"), EVERYTHING, EVERYTHING),
        (_formula("gelu"), NOT_NEGATIVE, NOT_NEGATIVE),
        (_formula("gelu"), Interval(-2, -1), Interval(-_INF, 0)),
        (_formula("tanh"), Interval(-_INF, 0), Interval(-_INF, 0)),
        (_formula("threshold", threshold=-1e-9), EVERYTHING, EVERYTHING),
        (_formula("threshold", threshold=1), EVERYTHING, NOT_NEGATIVE),
        (_formula("elu", alpha=-1), EVERYTHING, NOT_NEGATIVE),
        (_formula("softsign"), Interval(0, 0), Interval(0, 0)),
    ],
)
def test_the_signs_of_an_activation(formula: Expr, interval: Interval, wanted: Interval) -> None:
    assert signs_on(formula, interval) == wanted
