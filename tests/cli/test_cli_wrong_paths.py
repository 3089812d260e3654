"""Files that cannot be read or must not be written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from command_line import Ran, assert_wrong_use, names_in, run_apart, run_here
from onnx import numpy_helper
from tiny_files import conv_model, save

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(conv_model(), tmp_path / "model.onnx")


def _fuse(capsys: Capture, model: Path | str, out: Path | str, *options: object) -> Ran:
    return run_here(capsys, "convert", model, "-o", out, "--fuse", "--no-bench", *options)


@pytest.mark.parametrize("content", [b"", b"hello, world\n" * 20, b"<html></html>", bytes(64)])
def test_a_file_that_is_no_model(content: bytes, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    out = tmp_path / "out.onnx"
    assert_wrong_use(_fuse(capsys, path, out), "not an ONNX model", code=3)
    assert_wrong_use(run_here(capsys, "inspect", path), "not an ONNX model", code=3)
    assert_wrong_use(run_here(capsys, "bench", path), "not an ONNX model", code=3)
    assert_wrong_use(run_here(capsys, "validate", path, path), "not an ONNX model", code=3)
    assert names_in(tmp_path) == {"model.onnx"}


@pytest.mark.parametrize("exists", [False, True])
def test_a_missing_model(exists: bool, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out.onnx"
    if exists:
        out.write_bytes(b"older")
    missing = tmp_path / "missing.onnx"
    assert_wrong_use(_fuse(capsys, missing, out), "missing.onnx", "no such file", code=3)
    assert_wrong_use(run_here(capsys, "inspect", missing), "no such file", code=3)
    assert not exists or out.read_bytes() == b"older"


def test_a_folder_for_a_model(tmp_path: Path, capsys: Capture) -> None:
    assert_wrong_use(_fuse(capsys, tmp_path, tmp_path / "out.onnx"), "is a folder", code=3)
    assert_wrong_use(run_here(capsys, "inspect", tmp_path), "is a folder", code=3)


def test_a_candidate_that_is_missing(model: Path, tmp_path: Path, capsys: Capture) -> None:
    ran = run_here(capsys, "validate", model, tmp_path / "missing.onnx")
    assert_wrong_use(ran, "missing.onnx", code=3)
    ran = run_here(capsys, "bench", model, tmp_path / "missing.onnx")
    assert_wrong_use(ran, "missing.onnx", code=3)


@pytest.mark.parametrize(
    "way", ["same", "relative", "dots", "symlink", "hardlink", "linked folder"]
)
def test_the_output_is_the_input(
    way: str, model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = model.read_bytes()
    other = tmp_path / "other.onnx"
    match way:
        case "same":
            out = str(model)
        case "relative":
            monkeypatch.chdir(tmp_path)
            out = "model.onnx"
        case "dots":
            (tmp_path / "sub").mkdir()
            out = f"{tmp_path}/sub/../model.onnx"
        case "symlink":
            other.symlink_to(model)
            out = str(other)
        case "hardlink":
            os.link(model, other)
            out = str(other)
        case _:
            (tmp_path / "link").symlink_to(tmp_path)
            out = str(tmp_path / "link" / "model.onnx")
    names = names_in(tmp_path)
    assert_wrong_use(_fuse(capsys, model, out), "input files are never written")
    assert_wrong_use(_fuse(capsys, model, out, "--force"), "input files are never written")
    assert_wrong_use(_fuse(capsys, model, out, "--dry-run"), "input files are never written")
    assert names_in(tmp_path) == names
    assert model.read_bytes() == before


def test_out_dir_is_the_folder_of_the_input(model: Path, tmp_path: Path, capsys: Capture) -> None:
    before = model.read_bytes()
    ran = run_here(capsys, "convert", model, "--out-dir", tmp_path, "--fuse")
    assert_wrong_use(ran, "input files are never written")
    assert model.read_bytes() == before


def test_the_output_is_a_weight_file_of_the_input(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / "model.onnx"
    onnx.save(
        conv_model(), path, save_as_external_data=True, location="model.bin", size_threshold=0
    )
    weights = folder / "model.bin"
    before = weights.read_bytes()
    assert before == numpy_helper.to_array(conv_model().graph.initializer[0]).tobytes()
    assert_wrong_use(_fuse(capsys, path, weights), "holds the weights", "never written")
    assert weights.read_bytes() == before
    assert names_in(folder) == {"model.onnx", "model.bin"}


def test_the_output_is_a_folder(model: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "sub").mkdir()
    assert_wrong_use(_fuse(capsys, model, tmp_path / "sub"), "is a folder", "file name")


def test_the_output_is_below_a_file(model: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert_wrong_use(_fuse(capsys, model, tmp_path / "file" / "out.onnx"), "cannot write")
    assert_wrong_use(
        run_here(capsys, "convert", model, "--out-dir", tmp_path / "file", "--fuse"), "cannot write"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for the superuser")
def test_the_output_folder_is_unwritable(model: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "sealed"
    folder.mkdir(mode=0o500)
    assert_wrong_use(_fuse(capsys, model, folder / "out.onnx"), "cannot write", "denied")


def test_folders_of_the_output_are_made(model: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "a" / "b" / "out.onnx"
    assert _fuse(capsys, model, out).code == 0
    assert out.is_file()


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("nowhere.npz", None, "no such file"),
        ("data.npz", b"not a zip", "data.npz"),
        ("data.csv", b"1,2,3", "data.csv"),
    ],
)
def test_data_that_cannot_be_read(
    name: str, content: bytes | None, part: str, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    data = tmp_path / name
    if content is not None:
        data.write_bytes(content)
    ran = _fuse(capsys, model, tmp_path / "out.onnx", "--data", data)
    assert_wrong_use(ran, part)
    assert not (tmp_path / "out.onnx").exists()


def test_data_for_another_model(model: Path, tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "data.npz"
    pictures = np.zeros((4, 3, 8, 8), np.float32)
    np.savez(data, left=pictures, right=pictures)
    assert_wrong_use(_fuse(capsys, model, tmp_path / "out.onnx", "--data", data), "left", "right")
    np.savez(data, x=pictures[:, :2])
    assert_wrong_use(_fuse(capsys, model, tmp_path / "out.onnx", "--data", data), "data.npz", "x")


def test_a_report_that_cannot_be_written(model: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("not a folder")
    report = tmp_path / "file" / "report.json"
    ran = run_here(capsys, "inspect", model, "--report", report)
    assert_wrong_use(ran, "cannot write", "report.json")


def test_through_a_shell(model: Path, tmp_path: Path) -> None:
    ran = run_apart("fuse", model.name, "./model.onnx", cwd=tmp_path)
    assert_wrong_use(ran, "input files are never written")
    assert_wrong_use(run_apart("fuse", "nowhere.onnx", "o.onnx", cwd=tmp_path), code=3)
    assert_wrong_use(run_apart("swap", "model.onnx", "o.onnx", "--swap", "relu=gleu", cwd=tmp_path))
    assert names_in(tmp_path) == {"model.onnx"}
