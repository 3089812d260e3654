"""The noise floor of models whose inputs are tokens: their weights are moved instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from small_models import save

from onnx_act.evidence.baseline import equivalence_settings, measure_baseline
from onnx_act.evidence.equivalence import judge_equivalence
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


def _softsign_and_layers(path: Path, *, spelled: bool) -> Path:
    """Twelve layers, of which the first saturates on huge inputs and the others double numbers."""
    rng = np.random.default_rng(2)
    weights = {f"w{k}": (rng.standard_normal((16, 16)) / 2).astype(np.float32) for k in range(12)}
    first = [helper.make_node("Softsign", ["h0"], ["v0"])]
    if spelled:
        first = [
            helper.make_node("Abs", ["h0"], ["a"]),
            helper.make_node("Add", ["a", "one"], ["d"]),
            helper.make_node("Div", ["h0", "d"], ["v0"]),
        ]
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["h0"]), *first]
    for k in range(1, 12):
        nodes.append(helper.make_node("MatMul", [f"v{k - 1}", f"w{k}"], [f"h{k}"]))
        nodes.append(helper.make_node("Relu", [f"h{k}"], [f"v{k}" if k < 11 else "y"]))
    inputs = [("x", None, ("N", 16))]
    return save(path, nodes, {**weights, "one": np.ones(1, np.float32)}, inputs=inputs)


def test_layers_behind_one_that_huge_inputs_saturate_still_round(tmp_path: Path) -> None:
    reference = _softsign_and_layers(tmp_path / "a.onnx", spelled=True)
    candidate = _softsign_and_layers(tmp_path / "b.onnx", spelled=False)
    found = judge_equivalence(reference, candidate, threads=1)
    assert "huge" in found.feeds
    assert found.passed, found.reason
