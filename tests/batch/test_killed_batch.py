"""A batch that is killed at any moment: nothing half-written is seen, and it can be resumed."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import onnx
import pytest
from batch_models import save_model, start_batch, visible_files

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")

_OPTIONS = ("--jobs", "2", "--swap", "relu=leaky_relu", "--no-validate", "--no-bench")
_COUNT = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k in range(_COUNT):
        save_model(tmp_path / f"in/{k % 2}/{k}.onnx", seed=k, external=k % 2 == 0)
    (tmp_path / "scratch").mkdir()
    return tmp_path


def _batch(folder: Path) -> subprocess.Popen[bytes]:
    scratch = str(folder / "scratch")
    out = folder / "out"
    return start_batch(folder / "in", "--out-dir", out, *_OPTIONS, TMPDIR=scratch)


def _check_what_is_seen(out: Path) -> set[str]:
    """Every model that is there is whole; the names of what is neither model nor weights."""
    if not out.is_dir():
        return set()
    for path in out.rglob("*.onnx"):
        onnx.checker.check_model(path)
    return {n for n in visible_files(out) if not n.endswith((".onnx", ".onnx.data"))}


def _kill_and_resume(folder: Path, pause: float, kind: signal.Signals) -> None:
    out = folder / "out"
    with _batch(folder) as process:
        time.sleep(pause)
        process.send_signal(kind)
        process.wait(timeout=30)
    hidden = _check_what_is_seen(out)
    if kind is signal.SIGINT:
        assert process.returncode in {0, 130, -signal.SIGINT}
        assert not hidden
    else:
        # What its jobs had begun has a name that nobody takes for a result.
        assert all(re.search(r"(^|/)\..*\.tmp$", name) for name in hidden)
    with _batch(folder) as process:
        assert process.wait(timeout=120) == 0
    told = [json.loads(line) for line in (out / "outcomes.jsonl").read_text().splitlines()]
    names = sorted(os.path.relpath(t["path"], folder / "in") for t in told)
    assert names == sorted(f"{k % 2}/{k}.onnx" for k in range(_COUNT))
    assert all(t["outcome"] == "done" for t in told)
    assert _check_what_is_seen(out) == set()
    assert {n for n in visible_files(out) if n.endswith(".onnx")} == set(names)
    assert not [p for p in (folder / "scratch").iterdir() if p.name.startswith("onnx-act")]
    assert visible_files(folder / "in") == {n for k in range(_COUNT) for n in _files_of(k)}


def _files_of(k: int) -> list[str]:
    name = f"{k % 2}/{k}.onnx"
    return [name, f"{name}.weights"] if k % 2 == 0 else [name]


@pytest.mark.parametrize("pause", [1.1, 1.9, 2.6])
def test_killed(pause: float, folder: Path) -> None:
    _kill_and_resume(folder, pause, signal.SIGKILL)


def test_ctrl_c(folder: Path) -> None:
    _kill_and_resume(folder, 1.7, signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(63))
def test_killed_at_any_moment(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    kind = signal.SIGINT if seed % 5 == 4 else signal.SIGKILL
    _kill_and_resume(folder, rng.uniform(0.05, 4.0), kind)


def test_its_jobs_end_with_it(folder: Path) -> None:
    with _batch(folder) as process:
        deadline = time.monotonic() + 30
        while not (jobs := _jobs_of(process.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    deadline = time.monotonic() + 10
    while any(_is_running(pid) for pid in jobs):
        assert time.monotonic() < deadline, "a job goes on without its batch"
        time.sleep(0.05)


def _jobs_of(pid: int) -> list[int]:
    asked = ["ps", "--ppid", str(pid), "-o", "pid=,args="]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return [int(line.split()[0]) for line in told.splitlines() if "batch.worker" in line]


def _is_running(pid: int) -> bool:
    asked = ["ps", "-p", str(pid), "-o", "stat="]
    state = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return bool(state) and not state.startswith("Z")
