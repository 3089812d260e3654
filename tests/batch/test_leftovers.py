"""What was left behind by processes that are gone, and only that, is removed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from onnx_act.batch.leftovers import make_scratch, remove_stale, remove_stale_scratch
from onnx_act.graph.store import machine_mark

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def _staged(folder: Path, pid: int, mark: str) -> list[Path]:
    stem = folder / f".a.onnx.{pid}-{mark}01234567"
    made = [stem.with_name(stem.name + end) for end in (".tmp", ".data.tmp")]
    for path in made:
        path.write_bytes(b"part")
    return made


def test_of_a_process_that_nobody_waited_for(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        # It has closed what it had open, such as a lock; that it is gone is not noticed before
        # somebody waits for it.
        assert process.stdout.read() == b""
        left = _staged(tmp_path, process.pid, machine_mark())
        deadline = time.monotonic() + 60
        while any(path.exists() for path in left):
            assert time.monotonic() < deadline
            remove_stale([tmp_path])
        assert process.returncode is None


def test_of_others_nothing(tmp_path: Path) -> None:
    other = "0000" if machine_mark() != "0000" else "1111"
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    kept = [
        *_staged(tmp_path, os.getpid(), machine_mark()),
        *_staged(tmp_path, process.pid, other),
    ]
    gone = _staged(tmp_path, process.pid, machine_mark())
    remove_stale([tmp_path])
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)


def test_scratch_of_this_process_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine = make_scratch()
    stale = tmp_path / mine.name.replace(f"-{os.getpid()}-", "-0999999999-")
    stale.mkdir()
    remove_stale_scratch()
    assert mine.is_dir()
    assert not stale.exists()
