"""A report never overwrites a model, its weights, or any file that is no report."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from onnx_act.cli.app import run

if TYPE_CHECKING:
    from pathlib import Path


def _swap(source: Path, out: Path, report: Path) -> int:
    options = ["--swap", "relu=leaky_relu", "--no-validate", "--report", str(report)]
    return run(["swap", str(source), str(out), *options])


@pytest.mark.parametrize("suffix", [".md", ".json"])
def test_neither_input_nor_output_nor_another_file(
    models: Path, tmp_path: Path, suffix: str
) -> None:
    source = tmp_path / f"model{suffix}"
    shutil.copy(models / "digits_cnn_relu.onnx", source)
    linked = tmp_path / f"linked{suffix}"
    linked.hardlink_to(source)
    other = tmp_path / f"other{suffix}"
    other.write_text("precious")
    content = source.read_bytes()
    out = tmp_path / f"out{suffix}"
    for report in (source, linked, other, out):
        assert _swap(source, out, report) == 2
        assert not out.exists()
    assert run(["inspect", str(source), "--report", str(source)]) == 2
    assert source.read_bytes() == content
    assert other.read_text() == "precious"


@pytest.mark.parametrize("suffix", [".md", ".json"])
def test_an_earlier_report_is_replaced(models: Path, tmp_path: Path, suffix: str) -> None:
    report = tmp_path / f"report{suffix}"
    report.touch()
    for _ in range(2):
        assert _swap(models / "digits_cnn_relu.onnx", tmp_path / "out.onnx", report) == 0
        assert report.stat().st_size > 100
