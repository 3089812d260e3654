"""What is written, and when nothing is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import onnx
import pytest
from command_line import names_in, run_here
from failing_conversions import spoil_weights
from tiny_files import conv_model, save

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(conv_model(), tmp_path / "model.onnx")


def test_what_is_written_is_the_result_and_nothing_else(
    model: Path, tmp_path: Path, capsys: Capture
) -> None:
    before = model.read_bytes()
    ran = run_here(capsys, "fuse", model, tmp_path / "out.onnx", "--fuse=contrib")
    assert ran.code == 0
    assert f"PASSED; wrote {tmp_path / 'out.onnx'}" in ran.out
    assert names_in(tmp_path) == {"model.onnx", "out.onnx"}
    assert model.read_bytes() == before
    assert [n.op_type for n in onnx.load(tmp_path / "out.onnx").graph.node] == [
        "FusedConv",
        "MaxPool",
    ]


def test_an_older_output_is_replaced(model: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out.onnx"
    out.write_bytes(b"older")
    assert run_here(capsys, "fuse", model, out).code == 0
    onnx.checker.check_model(out)


@pytest.mark.parametrize("older", [False, True])
def test_a_dry_run_writes_nothing(
    older: bool, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out.onnx"
    if older:
        out.write_bytes(b"older")
    there = names_in(tmp_path)
    options = ("--swap", "relu=silu", "--fuse", "--dry-run")
    ran = run_here(capsys, "convert", model, "-o", out, *options)
    assert ran.code == 0
    assert "relu -> silu" in ran.out
    assert "nothing was written" in ran.out
    ran = run_here(capsys, "convert", model, *options, "--format", "json")
    assert ran.code == 0
    assert ran.entry["output"] is None
    assert ran.entry["changes"]
    assert "equivalence" not in ran.entry
    assert "latency" not in ran.entry
    assert names_in(tmp_path) == there
    assert not older or out.read_bytes() == b"older"


@pytest.mark.parametrize("older", [False, True])
def test_a_result_that_is_not_equivalent_is_not_written(
    older: bool, model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_weights(monkeypatch)
    out = tmp_path / "out.onnx"
    if older:
        out.write_bytes(b"older")
    there = names_in(tmp_path)
    ran = run_here(capsys, "fuse", model, out)
    assert ran.code == 1
    assert "FAILED: not equivalent: on cpu: output 'y'" in ran.out
    assert "nothing was written" in ran.out
    assert names_in(tmp_path) == there
    assert not older or out.read_bytes() == b"older"


def test_force_writes_what_failed_and_says_so(
    model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_weights(monkeypatch)
    out = tmp_path / "out.onnx"
    ran = run_here(capsys, "fuse", model, out, "--force")
    assert ran.code == 1
    assert "FAILED: not equivalent" in ran.out
    assert f"wrote {out}" in ran.out
    assert names_in(tmp_path) == {"model.onnx", "out.onnx"}
    onnx.checker.check_model(out)

    entry = run_here(capsys, "fuse", model, out, "--force", "--format", "json").entry
    assert entry["exit_code"] == 1
    assert entry["output"] == str(out)
    assert entry["message"].startswith("not equivalent")
    assert entry["equivalence"]["passed"] is False


def test_without_validation_nothing_is_judged(
    model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_weights(monkeypatch)
    ran = run_here(capsys, "fuse", model, tmp_path / "out.onnx", "--no-validate")
    assert ran.code == 0
    assert "DONE (not validated); wrote" in ran.out


@pytest.mark.parametrize("force", [False, True])
def test_a_model_that_does_not_run_cannot_be_validated(
    force: bool, tmp_path: Path, capsys: Capture
) -> None:
    model = save(conv_model(channels=5), tmp_path / "model.onnx")
    options = ["--force"] if force else []
    ran = run_here(capsys, "fuse", model, tmp_path / "out.onnx", *options)
    assert ran.code == 1
    assert "it could not be validated: the reference does not run" in ran.out
    assert ran.err == ""
    assert names_in(tmp_path) == ({"model.onnx", "out.onnx"} if force else {"model.onnx"})


def test_nothing_to_do_is_no_error(tmp_path: Path, capsys: Capture) -> None:
    model = save(conv_model("Softplus"), tmp_path / "model.onnx")
    entry = run_here(capsys, "fuse", model, tmp_path / "out.onnx", "--format", "json").entry
    assert entry["exit_code"] == 0
    assert entry["changes"] == []
    assert any("nothing to fold or fuse" in note for note in entry["notes"])
    same = onnx.load(tmp_path / "out.onnx").graph
    assert [n.op_type for n in same.node] == ["Conv", "Softplus", "MaxPool"]


def test_reports_beside_the_result(model: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "reports"
    ran = run_here(
        capsys, "fuse", model, tmp_path / "out.onnx", "--fuse=contrib", "--format", "json",
        "--report", folder / "report.json", "--report", folder / "report.md",
    )  # fmt: skip
    assert ran.code == 0
    assert json.loads((folder / "report.json").read_text("utf-8")) == ran.document
    markdown = (folder / "report.md").read_text("utf-8")
    assert markdown.startswith("# onnx-act fuse\n")
    assert "| 1 | fuse_conv_activation | Conv, Relu -> FusedConv[Relu] |" in markdown
    assert names_in(folder) == {"report.json", "report.md"}


def test_a_report_is_written_when_the_evidence_fails(
    model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_weights(monkeypatch)
    report = tmp_path / "report.json"
    assert run_here(capsys, "fuse", model, tmp_path / "out.onnx", "--report", report).code == 1
    (entry,) = json.loads(report.read_text("utf-8"))["models"]
    assert entry["outcome"] == "failed"
    assert names_in(tmp_path) == {"model.onnx", "report.json"}


def test_weights_outside_the_model_are_not_rewritten(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(
        conv_model(), path, save_as_external_data=True, location="model.bin", size_threshold=0
    )
    weights = tmp_path / "model.bin"
    before = (weights.stat().st_mtime_ns, weights.read_bytes())
    ran = run_here(capsys, "fuse", path, tmp_path / "out.onnx")
    assert ran.code == 0
    assert "model.bin; keep" in " ".join(ran.out.split())
    assert (weights.stat().st_mtime_ns, weights.read_bytes()) == before
    assert names_in(tmp_path) == {"model.onnx", "model.bin", "out.onnx"}

    # Elsewhere it is complete by itself.
    apart = tmp_path / "apart" / "out.onnx"
    assert run_here(capsys, "fuse", path, apart).code == 0
    assert names_in(apart.parent) == {"out.onnx", "out.onnx.data"}
    weights.unlink()
    assert run_here(capsys, "validate", apart, apart).code == 0
