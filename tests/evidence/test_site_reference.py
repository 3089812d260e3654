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
        f"g ({dtype}[1,{_SIZE}] x) => ({dtype}[1,{_SIZE}] y) {{ {body} }}"
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


def test_the_grid_reaches_both_tails_and_zero() -> None:
    grid = probe_grid(_SIZE)
    assert grid.size == _SIZE
    assert 0.0 in grid
    assert grid.min() == -100.0
    assert grid.max() == 100.0
    assert np.count_nonzero(np.abs(grid) < 1) > 20
