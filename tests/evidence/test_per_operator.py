from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper
from small_models import save

from onnx_act.evidence.per_operator import PerOperator, by_operator, measure_operators
from onnx_act.graph.model import load_model
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.profile import ProfiledNode
from onnx_act.runtime.session import CPU, OptimizationLevel

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_act.evidence.per_operator import OperatorTimes

ALL, NONE = OptimizationLevel.ALL, OptimizationLevel.DISABLE


def _measured(path: Path, folder: Path, level: OptimizationLevel = ALL) -> OperatorTimes:
    return measure_operators(
        load_model(path), folder, provider=CPU, threads=1, feeds=FeedRequest(batch=256), level=level
    )


def _dense(path: Path, activation: str, *, opset: int = 17) -> Path:
    """A product, an activation that the runtime leaves alone, and another product."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node(activation, ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    w = np.random.default_rng(0).normal(0, 0.1, (64, 64)).astype(np.float32)
    return save(path, nodes, {"w": w}, inputs=[("x", None, ("N", 64))], opset=opset)


def test_time_is_summed_by_operator(tmp_path: Path) -> None:
    times = _measured(_dense(tmp_path / "a.onnx", "Softplus"), tmp_path)
    counts = {o.op_type: o.count for o in times.operators}
    assert counts == {"MatMul": 2, "Softplus": 1}
    assert sum(o.share for o in times.operators) == pytest.approx(1.0)
    assert sum(o.time_s for o in times.operators) == pytest.approx(times.time_s)
    assert times.operators[0].time_s >= times.operators[-1].time_s > 0.0
    (softplus,) = (o for o in times.operators if o.op_type == "Softplus")
    assert times.activation_share == pytest.approx(softplus.share)
    assert (times.sites, times.unknown_sites, times.layout_count) == (1, 0, 0)
    assert times.kernels == ()
    document = json.loads(json.dumps(PerOperator(CPU, 1, ALL, times, None).to_dict()))
    assert document["level"] == "all"
    assert document["a"]["operators"][0]["time_s"] > 0.0


def test_what_is_not_known_is_not_called_nothing(tmp_path: Path) -> None:
    """ONNX Runtime runs Mish-18 as several operators, under names of its own."""
    times = _measured(_dense(tmp_path / "a.onnx", "Mish", opset=18), tmp_path)
    assert times.activation_share is None
    assert (times.sites, times.unknown_sites) == (1, 1)


def test_the_level_decides_what_runs(tmp_path: Path) -> None:
    """An activation behind a product with a bias is taken into it, but not unoptimised."""
    w = np.random.default_rng(0).normal(0, 0.1, (64, 64)).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Gemm", ["r", "w", "b"], ["y"]),
    ]
    weights = {"w": w, "b": w[0]}
    path = save(tmp_path / "a.onnx", nodes, weights, inputs=[("x", None, ("N", 64))])
    plain = {o.op_type for o in _measured(path, tmp_path, NONE).operators}
    loaded = {o.op_type for o in _measured(path, tmp_path).operators}
    assert "Relu" in plain
    assert "Relu" not in loaded


def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    path = _dense(tmp_path / "a.onnx", "Softplus")
    before = path.read_bytes()
    model = load_model(path)
    names = [node.name for node in model.content.graph]
    measure_operators(model, tmp_path, provider=CPU, threads=1, feeds=FeedRequest())
    assert [node.name for node in model.content.graph] == names
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]


def test_sums_of_what_a_profile_lists() -> None:
    nodes = [ProfiledNode("a", "Conv", 2.0), ProfiledNode("b", "Relu", 1.0)]
    nodes += [ProfiledNode("c", "Relu", 5.0)]
    found = by_operator(nodes)
    assert [(o.op_type, o.count, o.time_s, o.share) for o in found] == [
        ("Relu", 2, 6.0, 0.75),
        ("Conv", 1, 2.0, 0.25),
    ]
    assert by_operator([]) == ()
