"""New activations against their float64 reference: what passes, and what must not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnx_act.evidence.site_reference import ActivationProbe, check_activations, probe_grid
from onnx_act.runtime.session import CPU

_SIZE = 501


def _probe(
    activation: str, body: str, dtype: str = "float", **parameters: float
) -> ActivationProbe:
    text = (
        f'<ir_version: 8, opset_import: ["" : 17]> '
        f"g ({dtype}[1,{_SIZE}] x) => ({dtype}[1,{_SIZE}] y) "
        f"<float c = {{1}}, float limit = {{60000}}, float minus = {{-1000}}> {{ {body} }}"
    )
    model = onnx.parser.parse_model(text).SerializeToString()
    return ActivationProbe(activation, parameters, body, model, 1)


@pytest.mark.parametrize("dtype", ["float", "float16"])
@pytest.mark.parametrize(
    ("activation", "body", "parameters"),
    [
        ("relu", "y = Relu(x)", {}),
        ("silu", "s = Sigmoid(x) y = Mul(x, s)", {}),
        ("leaky_relu", "y = LeakyRelu <alpha = 0.1> (x)", {"negative_slope": 0.1}),
        ("exp", "y = Exp(x)", {}),  # leaves the range of both dtypes within the grid
    ],
)
def test_the_right_function_passes(
    activation: str, body: str, parameters: dict[str, float], dtype: str
) -> None:
    (check,) = check_activations([_probe(activation, body, dtype, **parameters)], [CPU])
    assert check.passed, check


@pytest.mark.parametrize("dtype", ["float", "float16"])
@pytest.mark.parametrize(
    ("activation", "body", "parameters"),
    [
        ("leaky_relu", "y = LeakyRelu <alpha = 0.12> (x)", {"negative_slope": 0.1}),
        ("relu", "y = LeakyRelu <alpha = 0.02> (x)", {}),
        ("hardsigmoid", "y = HardSigmoid <alpha = 0.2> (x)", {"alpha": 1 / 6, "beta": 0.5}),
        ("silu", "y = Sigmoid(x)", {}),
        ("exp", "e = Exp(x) y = Neg(e)", {}),
    ],
)
def test_another_function_fails(
    activation: str, body: str, parameters: dict[str, float], dtype: str
) -> None:
    (check,) = check_activations([_probe(activation, body, dtype, **parameters)], [CPU])
    assert not check.passed, check


_ONE = "one = CastLike(c, x)"
# 1 / x tells the two zeros apart.
_IS_MINUS_ZERO = "o = Sub(one, one) z = Equal(x, o) i = Div(one, x) n = Less(i, o) is = And(n, z)"
_DIFFERENT = [
    ("relu", "y = Relu(x)", {}, ()),
    ("elu", "y = Elu(x)", {"alpha": 1.0}, ()),
    ("silu", "s = Sigmoid(x) y = Mul(x, s)", {}, ()),
    # Where x is NaN neither branch of a Shrink is taken, and the result is zero.
    ("softshrink", "y = Shrink <bias = 0.5, lambd = 0.5> (x)", {"lambd": 0.5}, ("nan",)),
    # Right on the grid, but not where there is no number, or beyond the largest.
    ("relu", f"{_ONE} f = IsNaN(x) r = Relu(x) y = Where(f, one, r)", {}, ("nan",)),
    ("relu", "big = CastLike(limit, x) r = Relu(x) y = Min(r, big)", {}, ("inf",)),
    (
        "exp",
        f"{_ONE} low = CastLike(minus, x) f = Less(x, low) e = Exp(x) y = Where(f, one, e)",
        {},
        ("-inf",),
    ),
    ("tanh", f"{_ONE} {_IS_MINUS_ZERO} t = Tanh(x) y = Where(is, one, t)", {}, ("-0.0",)),
]


@pytest.mark.parametrize("dtype", ["float", "float16"])
@pytest.mark.parametrize(("activation", "body", "parameters", "differs_at"), _DIFFERENT)
def test_where_it_differs_is_told_and_not_judged(
    activation: str,
    body: str,
    parameters: dict[str, float],
    differs_at: tuple[str, ...],
    dtype: str,
) -> None:
    (check,) = check_activations([_probe(activation, body, dtype, **parameters)], [CPU])
    assert check.passed, check
    assert check.differs_at == differs_at
    assert check.to_dict()["differs_at"] == list(differs_at)


@pytest.mark.parametrize("kind", ["FusedConv", "FusedGemm"])
def test_neighbours_in_a_fused_operator_are_no_difference(kind: str) -> None:
    """Zero times infinity is NaN, but in the products of other channels."""
    shape, kernel = ([1, 4, 126], [1]) if kind == "FusedConv" else ([126, 4], [])
    text = f"""<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float{shape} x) => (float{shape} y)
        {{ y = com.microsoft.{kind} <activation = "Relu"> (x, w) }}"""
    model = onnx.parser.parse_model(text)
    identity = np.eye(4, dtype=np.float32).reshape(4, 4, *kernel)
    model.graph.initializer.append(onnx.numpy_helper.from_array(identity, "w"))
    probe = ActivationProbe("relu", {}, kind, model.SerializeToString(), 1)
    (check,) = check_activations([probe], [CPU])
    assert check.passed, check
    assert check.differs_at == ()


def test_the_grid_reaches_both_tails_and_zero() -> None:
    grid = probe_grid(_SIZE)
    assert grid.size == _SIZE
    assert 0.0 in grid
    assert grid.min() == -100.0
    assert grid.max() == 100.0
    assert np.count_nonzero(np.abs(grid) < 1) > 20
