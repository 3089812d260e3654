"""Several models at once: each has its entry, and the exit code is that of the worst."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from command_line import assert_wrong_use, names_in, run_here
from tiny_files import conv_model, save

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
JSON = ("--format", "json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inputs = tmp_path / "in"
    inputs.mkdir()
    save(conv_model(), inputs / "relu.onnx")
    save(conv_model("Elu"), inputs / "elu.onnx")
    save(conv_model(middle=False), inputs / "output.onnx")
    save(conv_model(channels=5), inputs / "unrunnable.onnx")
    (inputs / "text.onnx").write_text("hello")
    return inputs


def test_inspect_shows_them_in_order(folder: Path, capsys: Capture) -> None:
    ran = run_here(capsys, "inspect", folder / "relu.onnx", folder / "elu.onnx")
    assert ran.code == 0
    assert ran.out.index("relu.onnx") < ran.out.index("elu.onnx")

    paths = [folder / n for n in ("relu.onnx", "text.onnx", "elu.onnx", "missing.onnx")]
    ran = run_here(capsys, "inspect", *paths, *JSON)
    assert ran.code == 3
    entries = ran.document["models"]
    assert [e["path"] for e in entries] == [str(p) for p in paths]
    assert [e["outcome"] for e in entries] == ["done", "failed", "done", "failed"]
    assert [len(e.get("sites", [])) for e in entries] == [1, 0, 1, 0]


def test_each_gets_its_result(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    results = tmp_path / "results"
    models = (folder / "relu.onnx", folder / "elu.onnx")
    ran = run_here(capsys, "convert", *models, "--out-dir", results, "--fuse", "--no-bench", *JSON)
    assert ran.code == 0
    outputs = [e["output"] for e in ran.document["models"]]
    assert outputs == [str(results / "relu.onnx"), str(results / "elu.onnx")]
    assert names_in(results) == {"relu.onnx", "elu.onnx"}


@pytest.mark.parametrize(
    ("bad", "outcome", "code", "message"),
    [
        ("text.onnx", "failed", 3, "not an ONNX model"),
        ("missing.onnx", "failed", 3, "no such file"),
        ("elu.onnx", "refused", 2, "no relu in the model; it has 1 elu"),
        ("output.onnx", "refused", 2, "every site that was asked for was refused"),
        ("unrunnable.onnx", "failed", 1, "could not be validated"),
    ],
)
def test_one_that_fails_does_not_end_the_others(
    bad: str, outcome: str, code: int, message: str, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    results = tmp_path / "results"
    models = (folder / bad, folder / "relu.onnx")
    options = ("--swap", "relu=silu", "--no-bench", *JSON)
    ran = run_here(capsys, "convert", *models, "--out-dir", results, *options)
    assert ran.code == code
    first, second = ran.document["models"]
    assert (first["outcome"], first["exit_code"], first["output"]) == (outcome, code, None)
    assert message in first["message"]
    assert (second["outcome"], second["exit_code"]) == ("done", 0)
    assert names_in(results) == {"relu.onnx"}


def test_two_models_of_one_name(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    other = tmp_path / "other"
    other.mkdir()
    save(conv_model("Elu"), other / "relu.onnx")
    results = tmp_path / "results"
    models = (folder / "relu.onnx", other / "relu.onnx")
    ran = run_here(capsys, "convert", *models, "--out-dir", results, "--fuse")
    assert_wrong_use(ran, "one name", "--out-dir")
    assert not results.exists()


def test_the_text_has_a_verdict_for_each(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    models = (folder / "text.onnx", folder / "elu.onnx", folder / "relu.onnx")
    options = ("--out-dir", tmp_path / "results", "--swap", "relu=silu", "--no-bench")
    ran = run_here(capsys, "convert", *models, *options)
    assert ran.code == 3
    said = ran.out
    assert said.index("FAILED: ") < said.index("REFUSED: no relu") < said.index("PASSED; wrote")
