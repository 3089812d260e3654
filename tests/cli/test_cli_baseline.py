"""`--baseline`: exit code 1 where the evidence got worse than in an earlier report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from command_line import assert_wrong_use, names_in, run_here

import onnx_act

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def model(models: Path) -> Path:
    return models / "digits_mlp_gelu.onnx"


def _edited(report: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """The report as it would have been, had an earlier run gone otherwise."""
    document = json.loads(report.read_text("utf-8"))
    edit(document["models"][0])
    report.write_text(json.dumps(document), "utf-8")
    return report


def _was_fast(entry: dict[str, Any]) -> None:
    entry["latency"][0]["ratio"].update(median=3.0, low=2.9, high=3.1)


def _was_exact(entry: dict[str, Any]) -> None:
    entry["equivalence"]["providers"][0]["outputs"][0]["minimum_tolerance"] = 0.2


def test_validate_against_its_own_report_and_a_better_one(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, again = tmp_path / "r.json", tmp_path / "again.json"
    assert run_here(capsys, "validate", model, model, "--report", report).code == 0
    options = ["--baseline", report, "--report", again, "--report", tmp_path / "r.junit.xml"]
    ran = run_here(capsys, "validate", model, model, *options)
    assert ran.code == 0, ran
    assert "against the baseline" in ran.out
    assert f"compared with {report}" in ran.out.replace("\n", " ")
    document = json.loads(again.read_text("utf-8"))
    assert document["baseline"]["path"] == str(report)
    kinds = [c["kind"] for c in document["models"][0]["baseline"]]
    assert kinds == ["verdict", "tolerance"]
    cases = ET.parse(tmp_path / "r.junit.xml").getroot().findall("testsuite/testcase")
    assert f"{model}: baseline: verdict on cpu" in [c.attrib["name"] for c in cases]


def test_a_candidate_that_needs_more_tolerance_than_it_did(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within a wide tolerance of the user's it passes: only beside the earlier report it fails."""
    report, other = tmp_path / "r.json", tmp_path / model.name
    onnx_act.swap(model, other, {"gelu": "gelu_tanh"}, validate=False)
    wide = ["--atol", "1"]
    assert run_here(capsys, "validate", model, model, *wide, "--report", report).code == 0
    assert run_here(capsys, "validate", model, other, *wide).code == 0
    ran = run_here(capsys, "validate", model, other, *wide, "--baseline", report)
    assert ran.code == 1
    said = " ".join(ran.out.split())
    assert "FAILED: tolerance needed on cpu by output logits: worse than the baseline" in said


def test_convert_writes_nothing_that_got_slower_than_it_was(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, out = tmp_path / "r.json", tmp_path / "out.onnx"
    step = ["convert", model, "-o", out, "--fuse", "--time", "0.3s"]
    assert run_here(capsys, *step, "--report", report).code == 0
    out.unlink()
    _edited(report, _was_fast)
    junit = tmp_path / "r.junit.xml"
    ran = run_here(capsys, *step, "--baseline", report, "--report", junit)
    assert ran.code == 1
    assert not out.exists()
    for part in ("speed-up on cpu: worse than the baseline", "then 3.000x", "at least 2.850x"):
        assert part in " ".join(ran.out.split()), ran.out
    failed = ET.parse(junit).getroot().findall("testsuite/testcase[failure]")
    assert [c.attrib["name"].removeprefix(f"{model}") for c in failed] == [
        "",
        ": baseline: speed-up on cpu",
    ]
    # A bound that allows it, or --force, writes it; forced, the exit code stays.
    wide = run_here(capsys, *step, "--baseline", report, "--baseline-bound", "speedup=80%")
    assert (wide.code, out.exists()) == (0, True)
    out.unlink()
    forced = run_here(capsys, *step, "--baseline", report, "--force")
    assert (forced.code, out.exists()) == (1, True)


def test_convert_without_measuring_says_so(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, out = tmp_path / "r.json", tmp_path / "out.onnx"
    step = ["convert", model, "-o", out, "--fuse", "--time", "0.3s"]
    run_here(capsys, *step, "--report", report)
    _edited(report, _was_fast)
    ran = run_here(capsys, *step, "--no-bench", "--baseline", report)
    assert ran.code == 0
    assert "speed-up on cpu was not compared: it was not measured now" in ran.out
    for option in ("--dry-run", "--no-validate --no-bench"):
        refused = run_here(capsys, *step, *option.split(), "--baseline", report)
        assert_wrong_use(refused, "gathers none")


def test_models_that_are_new_and_gone_are_said(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, folder = tmp_path / "r.json", tmp_path / "out"
    a, b, c = (models / f"digits_{name}.onnx" for name in ("mlp_gelu", "cnn_relu", "cnn_silu"))
    step = ["convert", "--out-dir", folder, "--no-bench"]
    assert run_here(capsys, *step, a, b, "--report", report).code == 0
    markdown = tmp_path / "r.md"
    ran = run_here(capsys, *step, a, c, "--baseline", report, "--report", markdown)
    assert ran.code == 0
    for text in (ran.out, markdown.read_text("utf-8")):
        said = " ".join(text.split())
        assert f"not in the baseline: {c}" in said
        assert f"in the baseline alone: {b}" in said
    assert_wrong_use(run_here(capsys, *step, c, "--baseline", report), "has nothing of")


def test_bench_compares_ratios(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "r.json"
    step = ["bench", model, model, "--time", "0.3s"]
    assert run_here(capsys, *step, "--report", report).code == 0
    _edited(report, _was_fast)
    ran = run_here(capsys, *step, "--baseline", report)
    assert ran.code == 1
    assert "WORSE" in ran.out
    alone = run_here(capsys, "bench", model, "--baseline", report)
    assert_wrong_use(alone, "times of two runs do not compare")


def test_what_cannot_be_a_baseline(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "r.json"
    run_here(capsys, "inspect", model, "--report", report)
    step = ["validate", model, model]
    ran = run_here(capsys, *step, "--baseline", report)
    assert_wrong_use(ran, "is a report of inspect, not of validate")
    newer = _edited(report, lambda _: None)
    newer.write_text(newer.read_text("utf-8").replace("onnx-act/inspect/1", "onnx-act/validate/9"))
    assert_wrong_use(run_here(capsys, *step, "--baseline", newer), "onnx-act/validate/9", "make a")
    assert_wrong_use(run_here(capsys, *step, "--baseline", tmp_path / "none"), "cannot read")
    assert_wrong_use(run_here(capsys, *step, "--baseline-bound", "speedup=5%"), "needs --baseline")
    wrong = run_here(capsys, *step, "--baseline", report, "--baseline-bound", "speadup=5%")
    assert_wrong_use(wrong, "did you mean speedup")


def test_a_baseline_is_never_overwritten(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "r.json"
    run_here(capsys, "validate", model, model, "--report", report)
    before = report.read_bytes()
    ran = run_here(capsys, "validate", model, model, "--baseline", report, "--report", report)
    assert_wrong_use(ran, "would overwrite the baseline")
    assert report.read_bytes() == before


def test_a_run_that_ends_in_an_error_leaves_its_report(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, out = tmp_path / "broken.onnx", tmp_path / "out.onnx"
    broken.write_bytes(b"no model")
    for command in (
        ["convert", broken, "-o", out],
        ["validate", model, broken],
        ["bench", broken, model],
    ):
        junit = tmp_path / f"{command[0]}.junit.xml"
        ran = run_here(capsys, *command, "--report", junit)
        assert_wrong_use(ran, code=3)
        (error,) = ET.parse(junit).getroot().findall("testsuite/testcase/error")
        assert error.attrib["type"] == "model"
        assert f"onnx-act: {error.attrib['message']}" == ran.err.strip()
    assert names_in(tmp_path) == {
        "broken.onnx",
        "convert.junit.xml",
        "validate.junit.xml",
        "bench.junit.xml",
    }


def test_a_provider_that_cannot_run_leaves_its_report(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        ["convert", model, model.with_name("digits_cnn_relu.onnx"), "--out-dir", tmp_path],
        ["validate", model, model],
        ["bench", model],
    ):
        junit = tmp_path / f"{command[0]}.junit.xml"
        ran = run_here(capsys, *command, "--provider", "coreml", "--report", junit)
        assert_wrong_use(ran, code=4, lines=len(ran.err.splitlines()))
        errors = ET.parse(junit).getroot().findall("testsuite/testcase/error")
        models = 2 if command[0] == "convert" else 1
        assert [e.attrib["type"] for e in errors] == ["provider"] * models


def test_from_python(model: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    options: dict[str, Any] = {"fuse": True, "bench_seconds": 0.3}
    first = onnx_act.convert(model, **options)
    report.write_text(json.dumps(first.to_dict()), "utf-8")
    assert onnx_act.convert(model, **options, baseline=report).exit_code == 0
    _edited(report, _was_fast)
    worse = onnx_act.convert(model, **options, baseline=report)
    assert worse.exit_code == 1
    assert worse.to_dict()["baseline"]["gone"] == []
    bounds = {"speedup": 0.9}
    wide = onnx_act.convert(model, **options, baseline=report, baseline_bounds=bounds)
    assert wide.exit_code == 0
    with pytest.raises(onnx_act.UsageError, match="needs baseline"):
        onnx_act.validate(model, model, baseline_bounds=bounds)
    with pytest.raises(onnx_act.UsageError, match="give other"):
        onnx_act.bench(model, baseline=report)


def test_from_python_validate_and_bench(model: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    report.write_text(json.dumps(onnx_act.validate(model, model).to_dict()), "utf-8")
    _edited(report, _was_exact)
    assert onnx_act.validate(model, model, baseline=report).exit_code == 0
    measured = onnx_act.bench(model, model, seconds=0.3).to_dict()
    report.write_text(json.dumps(measured), "utf-8")
    _edited(report, _was_fast)
    assert onnx_act.bench(model, model, seconds=0.3, baseline=report).exit_code == 1
