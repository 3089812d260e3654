"""A reader that stops reading changes neither the verdict nor what stderr says."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tiny_files import conv_model, save

if TYPE_CHECKING:
    from pathlib import Path


def _unread(*arguments: object) -> tuple[int, str]:
    with subprocess.Popen(
        [sys.executable, "-m", "onnx_act", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()
    return process.returncode, complaint


@pytest.mark.parametrize("output", ["text", "json"])
def test_nobody_reads(output: str, tmp_path: Path) -> None:
    one = save(conv_model(), tmp_path / "one.onnx")
    other = save(conv_model("Elu"), tmp_path / "other.onnx")
    assert _unread("catalog", "--format", output) == (0, "")
    assert _unread("inspect", one, "--format", output) == (0, "")
    assert _unread("validate", one, other, "--format", output) == (1, "")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes them here")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_streams_that_are_closed(closed: str, tmp_path: Path) -> None:
    model = save(conv_model(), tmp_path / "one.onnx")
    asked = (
        f"{sys.executable} -m onnx_act convert {model} -o {tmp_path}/out.onnx --no-bench {closed}"
    )
    ran = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert "bug" not in ran.stderr
    assert (tmp_path / "out.onnx").exists()
