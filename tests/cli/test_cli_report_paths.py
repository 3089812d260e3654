"""A report never overwrites a model, its weights, or any file that is no report."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from onnx_act.cli.app import run

if TYPE_CHECKING:
    from collections.abc import Callable


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


def test_a_place_that_cannot_be_written_is_said_before_the_work(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.onnx"
    (tmp_path / "file").touch()
    for report in (tmp_path / "file" / "a.json", out / "a.json", tmp_path / f"{'a' * 300}.md"):
        assert _swap(models / "digits_cnn_relu.onnx", out, report) == 2
        assert f"cannot write --report {report}: " in capsys.readouterr().err
        assert not out.exists()
    assert {p.name for p in tmp_path.iterdir()} == {"file"}


def test_looking_whether_a_place_can_be_written_leaves_nothing(
    models: Path, tmp_path: Path
) -> None:
    report = tmp_path / "new" / "folder" / "a.json"
    earlier = tmp_path / "earlier.md"
    earlier.write_text("# onnx-act swap")
    options = ["--swap", "nothing=at_all", "--report", str(report), "--report", str(earlier)]
    source = str(models / "digits_cnn_relu.onnx")
    assert run(["swap", source, str(tmp_path / "out.onnx"), *options]) == 2
    assert list(tmp_path.iterdir()) == [earlier]
    assert earlier.read_text() == "# onnx-act swap"


def test_a_report_is_there_whole_or_as_it_was(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "a.json"
    report.write_text('{"schema": "onnx-act/inspect/1"}')
    write_bytes = Path.write_bytes

    def interrupted(path: Path, data: bytes) -> int:
        write_bytes(path, data[: len(data) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    source = str(models / "digits_cnn_relu.onnx")
    assert run(["inspect", source, "--report", str(report)]) == 130
    assert report.read_text() == '{"schema": "onnx-act/inspect/1"}'
    assert list(tmp_path.iterdir()) == [report]


def test_a_file_that_nothing_can_replace_is_written_all_the_same(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "mounted.json"
    report.touch()
    busy: Callable[..., Path] = _is_busy
    monkeypatch.setattr(Path, "replace", busy)
    assert run(["inspect", str(models / "digits_cnn_relu.onnx"), "--report", str(report)]) == 0
    assert '"onnx-act/inspect/1"' in report.read_text("utf-8")
    assert list(tmp_path.iterdir()) == [report]


def _is_busy(path: Path, target: Path) -> Path:
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path), None, str(target))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere paths are text")
def test_a_path_that_is_not_text(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / os.fsdecode(b"bad\xff.onnx")
    shutil.copy(models / "digits_cnn_relu.onnx", source)
    reports = [tmp_path / f"a{suffix}" for suffix in (".json", ".md", ".html", ".junit.xml")]
    options = [text for path in reports for text in ("--report", str(path))]
    assert run(["inspect", str(source), *options]) == 3
    assert "not UTF-8" in capsys.readouterr().err
    for path in reports:
        text = path.read_text("utf-8")
        # Markdown writes a backslash as two.
        assert "bad\\udcff.onnx" in text.replace("\\\\", "\\")
