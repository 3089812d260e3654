"""MatMul, bias and activation as one Gemm: right at every level, for any number of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from fusion_levels import check_at_all_levels, model_of
from onnx import helper
from rewrite_trials import normal, outputs, run

from onnx_act.rewrite.fuse_matmul_activation import FuseMatMulActivation

_ACTIVATIONS: dict[str, dict[str, Any]] = {
    "Relu": {},
    "LeakyRelu": {"alpha": 0.125},
    "Elu": {"alpha": 0.5},
    "Selu": {},
    "Celu": {"alpha": 0.5},
    "Sigmoid": {},
    "HardSigmoid": {"alpha": 0.25, "beta": 0.5},
    "Softplus": {},
    "Softsign": {},
    "Tanh": {},
    "ThresholdedRelu": {"alpha": 0.75},
}
RULE = FuseMatMulActivation()


def _dense(activation: str, shape: list[int | str], **attributes: Any) -> onnx.ModelProto:
    inner = shape[-1]
    assert isinstance(inner, int)
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["c"], "dense"),
        helper.make_node("Add", ["c", "B"], ["s"]),
        helper.make_node(activation, ["s"], ["y"], **attributes),
    ]
    weights = {"W": normal(inner, 5) / 9, "B": normal(5, seed=1)}
    return model_of(nodes, shape, [*shape[:-1], 5], weights)


@pytest.mark.parametrize("activation", _ACTIVATIONS)
@pytest.mark.parametrize("shape", [["N", 3, 8], ["N", 8]], ids=["rank3", "rank2"])
def test_every_activation_at_all_levels(activation: str, shape: list[int | str]) -> None:
    before = _dense(activation, shape, **_ACTIVATIONS[activation])
    check_at_all_levels(RULE, before, {"x": normal(2, *(int(d) for d in shape[1:]))})


@pytest.mark.parametrize(
    ("shape", "fed"),
    [
        ([2, 3, 8], (2, 3, 8)),
        ([2, "L", 8], (2, 7, 8)),
        (["N", 3, 2, 8], (4, 3, 2, 8)),
        ([2, 3, "L", 4, 8], (2, 3, 5, 4, 8)),
        ([1, 1, 8], (1, 1, 8)),
        (["N", 1, 8], (0, 1, 8)),
        (["N", 3, 8], (0, 3, 8)),
        (["N", 8], (0, 8)),
    ],
)
def test_every_layout_at_all_levels(shape: list[int | str], fed: tuple[int, ...]) -> None:
    check_at_all_levels(RULE, _dense("Relu", shape), {"x": normal(*fed)})


def test_the_reshapes_meet_between_layers() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["c"], "dense"),
        helper.make_node("Add", ["c", "B"], ["s"]),
        helper.make_node("Relu", ["s"], ["a"]),
        helper.make_node("MatMul", ["a", "W"], ["d"], "again"),
        helper.make_node("Add", ["B", "d"], ["t"]),
        helper.make_node("Tanh", ["t"], ["y"]),
    ]
    weights = {"W": normal(8, 8) / 9, "B": normal(8, seed=1)}
    before = model_of(nodes, ["N", 3, 8], ["N", 3, 8], weights)
    trial = check_at_all_levels(RULE, before, {"x": normal(2, 3, 8)}, changes=2)
    assert trial.operators == ["Reshape", "FusedGemm", "Reshape"] * 2


def test_one_file_serves_every_batch() -> None:
    before = _dense("Relu", ["N", 3, 8])
    after = run([RULE], before).proto
    for rows in (0, 1, 5):
        x = normal(rows, 3, 8, seed=rows)
        np.testing.assert_allclose(
            outputs(after, {"x": x})[0], outputs(before, {"x": x})[0], rtol=0, atol=1e-5
        )
