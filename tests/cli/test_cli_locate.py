"""`validate --locate`, and what a verdict says of what was exercised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from command_line import run_here
from onnx import TensorProto, helper

import onnx_act

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


def _network(path: Path, first: str = "Relu", second: str = "HardSwish") -> Path:
    """x, an activation, times a half, another activation."""
    half = helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5])
    nodes = [
        helper.make_node(first, ["x"], ["a"], name="first"),
        helper.make_node("Mul", ["a", "half"], ["m"], name="halve"),
        helper.make_node("Sub", ["m", "x"], ["d"], name="less"),
        helper.make_node(second, ["d"], ["y"], name="second"),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 6]) for n in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], [half])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def _spelled(path: Path) -> Path:
    """The same with Relu as Max(x, 0)."""
    model = onnx.load(_network(path))
    model.graph.initializer.append(helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]))
    model.graph.node[0].CopyFrom(helper.make_node("Max", ["x", "zero"], ["a"], name="first"))
    onnx.save(model, path)
    return path


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return _network(tmp_path / "reference.onnx")


def test_where_they_part(reference: Path, tmp_path: Path, capsys: Capture) -> None:
    candidate = _network(tmp_path / "candidate.onnx", second="Elu")
    ran = run_here(capsys, "validate", reference, candidate, "--locate")
    assert ran.code == 1
    assert "the models part at 'y', the result of hardswish" in ran.out
    assert "candidate: elu (Elu 'second')" in ran.out
    assert "FAILED: not equivalent" in ran.out


def test_as_json(reference: Path, tmp_path: Path, capsys: Capture) -> None:
    candidate = _network(tmp_path / "candidate.onnx", first="LeakyRelu")
    ran = run_here(capsys, "validate", reference, candidate, "--locate", "--format", "json")
    assert ran.code == 1
    found = ran.entry["locate"]
    assert found["parts"]
    first = found["first"]
    assert (first["value"], first["activation"]) == ("a", "relu")
    assert first["nodes"] == [{"name": "first", "op_type": "Relu", "provenance": {}}]
    assert first["candidate_nodes"][0]["op_type"] == "LeakyRelu"
    assert first["aligned_by"] == "name"
    # A slope of 0.01 is a hundredth of the input off.
    assert first["max_abs"] == pytest.approx(abs(first["candidate"] - first["reference"]))
    assert "coverage" not in ran.entry


def test_nothing_parts(reference: Path, tmp_path: Path, capsys: Capture) -> None:
    candidate = _spelled(tmp_path / "candidate.onnx")
    ran = run_here(capsys, "validate", reference, candidate, "--locate")
    assert ran.code == 0
    assert "nothing parts: the models are equivalent" in ran.out


def test_without_the_option_nothing_is_looked_for(
    reference: Path, tmp_path: Path, capsys: Capture
) -> None:
    candidate = _network(tmp_path / "candidate.onnx", second="Elu")
    ran = run_here(capsys, "validate", reference, candidate, "--format", "json")
    assert ran.code == 1
    assert "locate" not in ran.entry


def test_a_candidate_with_one_more_output(tmp_path: Path, reference: Path, capsys: Capture) -> None:
    model = onnx.load(_network(tmp_path / "other.onnx"))
    model.graph.node[3].op_type = "Abs"
    extra = helper.make_tensor_value_info("extra", TensorProto.FLOAT, ["N", 6])
    model.graph.node.append(helper.make_node("Neg", ["x"], ["extra"]))
    model.graph.output.append(extra)
    onnx.save(model, tmp_path / "other.onnx")
    ran = run_here(capsys, "validate", reference, tmp_path / "other.onnx", "--locate")
    assert ran.code == 1
    assert "the models part at 'y'" in ran.out


def test_in_markdown(reference: Path, tmp_path: Path, capsys: Capture) -> None:
    candidate = _network(tmp_path / "candidate.onnx", second="Elu")
    page = tmp_path / "report.md"
    run_here(capsys, "validate", reference, candidate, "--locate", "--report", page)
    text = page.read_text()
    assert "### Where they part" in text
    assert "- the models part at 'y', the result of hardswish" in text


def test_from_python(reference: Path, tmp_path: Path) -> None:
    candidate = _network(tmp_path / "candidate.onnx", second="Elu")
    (entry,) = onnx_act.validate(reference, candidate, locate=True).models
    assert entry.to_dict()["locate"]["first"]["value"] == "y"


def _fed(tmp_path: Path, low: float, high: float) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.linspace(low, high, 48, dtype=np.float32).reshape(8, 6))
    return path


def test_a_part_that_was_not_exercised_is_in_the_headline(
    reference: Path, tmp_path: Path, capsys: Capture
) -> None:
    candidate = _spelled(tmp_path / "candidate.onnx")
    data = _fed(tmp_path, 0.5, 4.0)
    ran = run_here(capsys, "validate", reference, candidate, "--data", data)
    assert ran.code == 0
    assert "PASSED on what was exercised" in ran.out
    assert "left tail of relu was not exercised at the site that was looked at" in ran.out


def test_all_that_was_exercised(reference: Path, tmp_path: Path, capsys: Capture) -> None:
    candidate = _spelled(tmp_path / "candidate.onnx")
    data = _fed(tmp_path, -4.0, 4.0)
    ran = run_here(capsys, "validate", reference, candidate, "--data", data, "--format", "json")
    assert ran.code == 0
    coverage = ran.entry["coverage"]
    assert coverage["is_complete"]
    (site,) = coverage["sites"]
    assert (site["site"], site["activation"]) == ("a", "relu")
    assert [p["elements"] for p in site["parts"]] == [24, 24]


def test_a_conversion_tells_it_too(reference: Path, tmp_path: Path, capsys: Capture) -> None:
    data = _fed(tmp_path, 0.5, 4.0)
    out = tmp_path / "out.onnx"
    ran = run_here(capsys, "swap", reference, out, "--swap", "relu=gelu", "--data", data)
    assert ran.code == 0
    assert f"PASSED on what was exercised; wrote {out}" in ran.out
    assert "left tail of relu was not exercised" in ran.out
