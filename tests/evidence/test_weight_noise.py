"""The noise floor of models whose inputs are tokens: their weights are moved instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnx_act.evidence.baseline import equivalence_settings, measure_baseline
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.session import CPU, open_session

if TYPE_CHECKING:
    from pathlib import Path


def _model(path: Path, kind: int) -> Path:
    rng = np.random.default_rng(0)
    table = numpy_helper.from_array(rng.standard_normal((64, 16)).astype(np.float32), "table")
    matrix = numpy_helper.from_array(rng.standard_normal((16, 16)).astype(np.float32), "matrix")
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["e"]),
        helper.make_node("MatMul", ["e", "matrix"], ["y"]),
    ]
    if kind == TensorProto.FLOAT:
        nodes[:1] = [helper.make_node("Identity", ["x"], ["e"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, [4, 16] if kind == TensorProto.FLOAT else [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 16])],
        [table, matrix] if kind != TensorProto.FLOAT else [matrix],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def _noise(path: Path) -> float:
    baseline = measure_baseline(path, equivalence_settings(CPU, 1), FeedRequest(), most=2)
    return baseline.floor("y").rms


def test_tokens_do_not_hide_what_a_rounding_error_does(tmp_path: Path) -> None:
    of_tokens = _noise(_model(tmp_path / "tokens.onnx", TensorProto.INT64))
    of_floats = _noise(_model(tmp_path / "floats.onnx", TensorProto.FLOAT))
    # Both are one product of numbers that moved by one unit in the last place.
    assert of_tokens > 0
    assert 0.1 < of_tokens / of_floats < 10


def test_given_weights_take_the_place_of_the_initializers(tmp_path: Path) -> None:
    path = _model(tmp_path / "m.onnx", TensorProto.INT64)
    zeros = np.zeros((16, 16), np.float32)
    session = open_session(path, weights={"matrix": zeros})
    (y,) = session.run({"x": np.arange(4)})
    np.testing.assert_array_equal(y, zeros[:4])
