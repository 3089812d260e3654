"""Ctrl-C: a conversion that is broken off leaves nothing behind, neither files nor processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from command_line import names_in
from tiny_files import conv_model, save

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _wait_until_gone(group: int) -> None:
    """A child that was just starting ends when it finds nobody to answer to."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("a process of the interrupted command goes on")


@pytest.mark.parametrize(("pause", "older"), [(0.0, False), (0.3, True), (1.5, False)])
def test_ctrl_c(pause: float, older: bool, tmp_path: Path) -> None:
    work, scratch = tmp_path / "work", tmp_path / "scratch"
    work.mkdir()
    scratch.mkdir()
    model = save(conv_model(), work / "model.onnx")
    before = model.read_bytes()
    out = work / "out.onnx"
    if older:
        out.write_bytes(b"older")
    there = names_in(work)
    options = ["--swap", "relu=leaky_relu", "--fuse", "--time", "60s", "--format", "json"]
    with subprocess.Popen(
        [sys.executable, "-m", "onnx_act", "convert", model, "-o", out, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
        start_new_session=True,
    ) as process:
        # The result is staged: from now on there is something to leave behind.
        _wait_for(lambda: any(n.startswith(".out.onnx") for n in names_in(work)), process)
        time.sleep(pause)
        os.killpg(process.pid, signal.SIGINT)
        said, complaint = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == ""
    assert complaint.splitlines() == ["onnx-act: interrupted"]
    assert names_in(work) == there
    # Of ours: ONNX Runtime may keep a file there for itself.
    assert not [name for name in names_in(scratch) if name.startswith("onnx-act")]
    assert model.read_bytes() == before
    assert not older or out.read_bytes() == b"older"
    _wait_until_gone(process.pid)
