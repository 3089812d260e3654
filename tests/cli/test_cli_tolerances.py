"""`validate` with tolerances of the user's, and again from metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from command_line import assert_wrong_use, run_apart, run_here
from onnx import TensorProto, helper, numpy_helper

import onnx_act

if TYPE_CHECKING:
    from pathlib import Path


def _scaled(path: Path, gain: float) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 32])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 32])
    node = helper.make_node("Mul", ["x", "k"], ["y"])
    weight = numpy_helper.from_array(np.array([gain], np.float32), "k")
    graph = helper.make_graph([node], "g", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    return [str(_scaled(tmp_path / "a.onnx", 1.0)), str(_scaled(tmp_path / "b.onnx", 1.01))]


def test_metrics_are_saved_and_judged_again(
    pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = tmp_path / "m.json"
    ran = run_here(capsys, "validate", *pair, "--save-metrics", metrics)
    assert ran.code == 1
    assert "times as far off as rounding explains" in " ".join(ran.out.split())
    for path in pair:
        onnx.save(onnx.ModelProto(), path)
    ran = run_here(capsys, "validate", "--rejudge", metrics, "--rtol", "0.011")
    assert ran.code == 0, ran
    assert "nothing was run" in ran.out
    ran = run_here(
        capsys, "validate", "--rejudge", metrics, "--rtol", "y:0.009", "--format", "json"
    )
    assert ran.code == 1
    output = ran.entry["equivalence"]["providers"][0]["outputs"][0]
    assert output["is_given"] is True
    assert output["tolerance"]["rtol"] == 0.009
    assert output["minimum_tolerance"] == pytest.approx(1 / 0.9, rel=1e-3)
    assert run_here(capsys, "validate", "--rejudge", metrics).code == 1


def test_the_verdict_says_how_outputs_are_apart(pair: list[str], tmp_path: Path) -> None:
    report = tmp_path / "r.md"
    assert run_apart("validate", *pair, "--rtol", "0.02", "--report", report).code == 0
    page = report.read_text()
    assert "x of what was given" in page
    for word in ("max rel", "ulp: median", "SQNR", "cosine", "top-1 agrees", "furthest at"):
        assert word in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--atol", "much"], "takes 1e-4 or OUTPUT:1e-4"),
        (["--atol", "z:1"], "no output 'z'"),
        (["--rejudge", "m.json"], "goes with no model"),
        (["--save-metrics", "{a}"], "would overwrite"),
    ],
)
def test_wrong_use_is_told(
    pair: list[str], arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [argument.format(a=pair[0]) for argument in arguments]
    assert_wrong_use(run_here(capsys, "validate", *pair, *given), told)


def test_a_candidate_is_missed(pair: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert_wrong_use(run_here(capsys, "validate", pair[0]), "--rejudge FILE")


def test_the_same_from_python(pair: list[str], tmp_path: Path) -> None:
    metrics = tmp_path / "m.json"
    report = onnx_act.validate(*pair, rtol={"y": 0.02}, save_metrics=metrics)
    assert report.exit_code == 0
    assert onnx_act.rejudge(metrics).exit_code == 0
    assert onnx_act.rejudge(metrics, atol=1e-6).exit_code == 1
    assert onnx_act.rejudge(metrics, atol={"y": 1e-6}, rtol=0.02).exit_code == 0
