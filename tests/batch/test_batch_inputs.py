"""Folders, patterns and files: which models are meant, and where their results go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onnx_act.batch.inputs import collect_inputs, is_pattern
from onnx_act.errors import UsageError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for name in ("a.onnx", "x/a.onnx", "x/y/b.ONNX", "x/notes.txt", ".hidden.onnx", ".git/c.onnx"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def _places(named: list[Path], out: Path | None = None) -> list[str]:
    return [each.place.as_posix() for each in collect_inputs(named, out)]


def test_the_tree_below_a_folder_is_kept(tree: Path) -> None:
    assert _places([tree]) == ["a.onnx", "x/a.onnx", "x/y/b.ONNX"]


def test_the_tree_below_a_pattern_is_kept(tree: Path) -> None:
    assert _places([tree / "*.onnx"]) == ["a.onnx"]
    assert _places([tree / "**" / "a.onnx"]) == ["a.onnx", "x/a.onnx"]
    assert _places([tree / "x" / "*" / "*"]) == ["y/b.ONNX"]
    # A folder that a pattern matches stands for what is below it.
    assert _places([tree / "?"]) == ["x/a.onnx", "x/y/b.ONNX"]


def test_a_file_whose_name_looks_like_a_pattern(tree: Path) -> None:
    odd = tree / "a[1].onnx"
    odd.write_bytes(b"")
    assert not is_pattern(odd)
    assert _places([odd]) == ["a[1].onnx"]
    assert is_pattern(tree / "a[2].onnx")


def test_a_file_named_twice_is_one_input(tree: Path) -> None:
    assert _places([tree, tree / "x" / "a.onnx", tree / "x" / ".." / "a.onnx"]) == [
        "a.onnx",
        "x/a.onnx",
        "x/y/b.ONNX",
    ]


def test_results_are_no_inputs(tree: Path) -> None:
    out = tree / "out"
    out.mkdir()
    (out / "a.onnx").write_bytes(b"")
    assert _places([tree], out) == ["a.onnx", "x/a.onnx", "x/y/b.ONNX"]
    assert _places([tree / "**" / "*.onnx"], out) == ["a.onnx", "x/a.onnx"]


def test_what_is_wrong(tree: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match=r"there is no \.onnx file below"):
        collect_inputs([empty], None)
    with pytest.raises(UsageError, match="nothing matches"):
        collect_inputs([tree / "*.pb"], None)
    with pytest.raises(UsageError, match=r"two models of one name .* --out-dir"):
        collect_inputs([tree / "a.onnx", tree / "x" / "a.onnx"], tmp_path / "out")
    with pytest.raises(UsageError, match="input files are never written"):
        collect_inputs([tree / "a.onnx"], tree)
    with pytest.raises(UsageError, match="input files are never written"):
        # The result of the one would be the other.
        collect_inputs([tree / "x" / "a.onnx", tree / "x/y/b.ONNX"], tree / "x" / "y" / "..")


def test_a_link_to_a_folder_is_not_followed(tree: Path) -> None:
    (tree / "x" / "loop").symlink_to(tree, target_is_directory=True)
    assert _places([tree]) == ["a.onnx", "x/a.onnx", "x/y/b.ONNX"]


def test_a_link_to_a_model_is_an_input_of_its_own(tree: Path, tmp_path: Path) -> None:
    (tree / "b.onnx").symlink_to("a.onnx")
    (tree / "loop.onnx").symlink_to("loop.onnx")
    (tree / "dangling.onnx").symlink_to("nowhere.onnx")
    assert _places([tree], tree / "out") == [
        "a.onnx",
        "b.onnx",
        "dangling.onnx",
        "loop.onnx",
        "x/a.onnx",
        "x/y/b.ONNX",
    ]
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.onnx").symlink_to(tree / "a.onnx")
    with pytest.raises(UsageError, match="input files are never written"):
        collect_inputs([tmp_path / "links"], tree)


def test_no_result_leaves_its_folder(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    with pytest.raises(UsageError, match=r"no \.\. behind a wildcard"):
        collect_inputs([Path("x/*/../../*.onnx")], tree / "out")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_in_a_folder_is_no_model(tree: Path) -> None:
    os.mkfifo(tree / "b.onnx")
    assert _places([tree]) == ["a.onnx", "x/a.onnx", "x/y/b.ONNX"]
    assert _places([tree / "*.onnx"]) == ["a.onnx"]
