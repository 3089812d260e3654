"""Printed formulas are read back by Python and must be the function they print."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_act.activations.catalogue import CATALOGUE
from onnx_act.activations.differentiate import differentiate
from onnx_act.activations.formula import latex, number, text
from onnx_act.activations.primitives import (
    Expr,
    Op,
    X,
    apply,
    clip,
    constant,
    greater,
    maximum,
    minimum,
    parameter,
    where,
)
from onnx_act.activations.readings import evaluate

if TYPE_CHECKING:
    from onnx_act.activations.activation import Activation

EVERY = pytest.mark.parametrize("activation", CATALOGUE, ids=lambda a: a.name)
GRID = np.concatenate([np.linspace(-9.0, 9.0, 181), [-0.0, 1e-3, -1e-3]])
_erf = np.vectorize(math.erf)
NAMES: dict[str, Any] = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "tanh": np.tanh,
    "erf": _erf,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "softplus": lambda a: np.logaddexp(0, a),
    "Phi": lambda a: (1 + _erf(a / math.sqrt(2))) / 2,
    "max": np.maximum,
    "min": np.minimum,
    "clip": lambda a, low, high: np.minimum(np.maximum(a, low), high),
    "where": np.where,
    "pi": math.pi,
    "inf": math.inf,
    "x": GRID,
}


def _read(printed: str, **values: Any) -> Any:
    # A parameter may be called min or max: a name that no parenthesis follows is not a function.
    source = re.sub(r"\b(min|max)\b(?!\()", r"\1_", printed).replace("^", "**")
    values = {f"{k}_" if k in ("min", "max") else k: v for k, v in values.items()}
    with np.errstate(all="ignore"):
        return eval(source, {"__builtins__": {}}, {**NAMES, **values})


def _assert_reads(printed: str, root: Expr, **values: Any) -> None:
    expected = evaluate(root, GRID)
    actual = np.broadcast_to(_read(printed, **values), GRID.shape)
    finite = np.isfinite(expected)
    # Numbers are printed with seven digits.
    bound = 1e-5 * np.maximum(1.0, np.abs(expected[finite]))
    assert np.all(np.abs(actual[finite] - expected[finite]) <= bound), printed


def _choices(activation: Activation) -> list[dict[str, str]]:
    return [{p.name: c} for p in activation.parameters for c in p.choices] or [{}]


@EVERY
def test_the_printed_formula_is_the_function(activation: Activation) -> None:
    for choice in _choices(activation):
        root = activation.expression(choice)
        _assert_reads(text(root), root)


@EVERY
def test_the_formula_with_named_parameters_is_the_function(activation: Activation) -> None:
    for choice in _choices(activation):
        values = activation.bind(choice)
        _assert_reads(
            text(activation.open_expression(choice)), activation.expression(choice), **values
        )


@EVERY
def test_the_printed_derivative_reads_as_it_is(activation: Activation) -> None:
    for choice in _choices(activation):
        slope = differentiate(activation.expression(choice))
        _assert_reads(text(slope), slope)


UNARY = (Op.NEG, Op.ABS, Op.EXP, Op.TANH, Op.SIGMOID, Op.ERF, Op.NORMAL_CDF, Op.SOFTPLUS)
LEAF = st.one_of(
    st.just(X),
    st.sampled_from((0.5, 2.0, -3.0, 1 / 6, 1 / math.sqrt(2), math.sqrt(8 / math.pi), -1.0)).map(
        constant
    ),
)


def _grown(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.one_of(
        st.builds(apply, st.sampled_from(UNARY), inner),
        st.builds(
            apply,
            st.sampled_from((Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.MAXIMUM, Op.MINIMUM)),
            inner,
            inner,
        ),
        st.builds(lambda a, n: a**n, inner, st.sampled_from((2.0, 3.0))),
        st.builds(where, st.builds(greater, inner, inner), inner, inner),
        st.builds(clip, inner, st.just(-1.0), st.just(2.0)),
        st.builds(
            lambda a: apply(Op.HARD_SIGMOID, a, constant(0.2), constant(-0.5)),
            inner,
        ),
    )


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.recursive(LEAF, _grown, max_leaves=8))
def test_any_expression_reads_back_as_itself(root: Expr) -> None:
    x = GRID[::7]
    with np.errstate(all="ignore"):
        expected = evaluate(root, x)
        actual = np.broadcast_to(_read(text(root), x=x), x.shape)
    # Where a small error of a printed digit is not magnified without bound.
    nearby = evaluate(root, x * (1 + 1e-6) + 1e-9)
    with np.errstate(all="ignore"):
        scale = 1e-4 * (1 + np.abs(expected)) + 100 * np.abs(nearby - expected)
    usable = np.isfinite(expected) & np.isfinite(nearby) & (np.abs(expected) < 1e4)
    off = np.abs(actual - expected) > scale
    # A comparison may fall to the other side at single points.
    assert np.count_nonzero(off & usable) <= 2, text(root)


@pytest.mark.parametrize(
    ("root", "printed"),
    [
        (X - (X - 1), "x - (x - 1)"),
        (X / (X / 2), "x / (x / 2)"),
        (X / constant(1 / math.sqrt(2)), "x / (1/sqrt(2))"),
        (constant(1 / math.sqrt(2)) ** X, "(1/sqrt(2))^x"),
        (X / constant(1 / 6), "x / (1/6)"),
        (X / math.sqrt(8 / math.pi), "x / sqrt(8/pi)"),
        ((-X) ** 2, "(-x)^2"),
        (-(X**2), "-x^2"),
        (-(X + 1), "-(x + 1)"),
        ((X + 1) * (X - 1), "(x + 1) * (x - 1)"),
        (maximum(X, parameter("max")), "max(x, max)"),
        (clip(X, parameter("min"), parameter("max")), "clip(x, min, max)"),
        (minimum(maximum(0, X), 6), "clip(x, 0, 6)"),
    ],
    ids=str,
)
def test_parentheses_stand_where_they_are_needed(root: Expr, printed: str) -> None:
    assert text(root) == printed


def test_numbers_are_short() -> None:
    assert [number(v) for v in (0.0, -0.0, 1.0, 0.1, 1.6732632423543772, 1e-9, 2e20)] == [
        "0",
        "0",
        "1",
        "0.1",
        "1.673263",
        "1e-09",
        "2e+20",
    ]


@EVERY
def test_latex_is_balanced(activation: Activation) -> None:
    for choice in _choices(activation):
        for root in (activation.open_expression(choice), activation.expression(choice)):
            for source in (latex(root), latex(differentiate(root))):
                depth = 0
                for sign in re.findall(r"(?<!\\)[{}]", source):
                    depth += 1 if sign == "{" else -1
                    assert depth >= 0, source
                assert depth == 0, source
                assert source.count(r"\left") == source.count(r"\right")
                assert source.count(r"\begin{") == source.count(r"\end{")


def test_latex_of_a_negative_factor_is_not_a_subtraction() -> None:
    assert latex(X * -X) == r"x \, \left(-x\right)"
    assert latex(X * constant(-2.0)) == r"x \, \left(-2\right)"
