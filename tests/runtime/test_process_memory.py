from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.memory import measure_memory, peak_memory
from onnx_act.runtime.session import SessionSettings

if TYPE_CHECKING:
    from pathlib import Path

_ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


def _with_weights(path: Path, megabytes: int) -> Path:
    rows = megabytes * 1_000_000 // 4000
    weights = numpy_helper.from_array(np.ones((1000, rows), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weights],
    )
    opsets = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    return path


@_ON_LINUX
def test_a_model_with_large_weights_needs_as_much_memory(tmp_path: Path) -> None:
    settings = SessionSettings(threads=1)
    small, large = (
        run_isolated(measure_memory, _with_weights(tmp_path / f"{n}.onnx", n), settings)
        for n in (1, 100)
    )
    assert small is not None
    assert large is not None
    for memory in (small, large):
        assert 0 < memory.model_bytes < memory.peak_bytes
    # The file, the weights and their packed copy: one of them at the very least.
    assert large.model_bytes - small.model_bytes > 90_000_000


@_ON_LINUX
def test_the_peak_never_falls() -> None:
    before = peak_memory()
    ballast = np.ones(4_000_000)
    after = peak_memory()
    assert before is not None
    assert after is not None
    assert after >= before > 1_000_000
    del ballast
    last = peak_memory()
    assert last is not None
    assert last >= after


@pytest.mark.parametrize("text", ["", "VmRSS:\t  12 kB\n", "VmHWM:\n", "VmHWM: many kB\n"])
def test_a_system_that_does_not_tell(text: str, tmp_path: Path) -> None:
    status = tmp_path / "status"
    assert peak_memory(status) is None
    status.write_text(text)
    assert peak_memory(status) is None


def test_how_linux_tells_it(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t 999 kB\nVmHWM:\t  12 kB\nVmRSS:\t 7 kB\n")
    assert peak_memory(status) == 12 * 1024
