"""What is read from the runtime's profile, on events that are made up."""

from __future__ import annotations

from typing import Any

import pytest

from onnx_act.runtime.profile import _kernels, _nodes


def _event(name: str, op: str, microseconds: float, category: str = "Node") -> dict[str, Any]:
    return {"cat": category, "name": name, "dur": microseconds, "args": {"op_name": op}}


def test_kernels_of_a_device_are_told_apart_from_what_the_host_waits_for() -> None:
    events: list[dict[str, Any]] = []
    for _ in range(4):
        events += [
            _event("conv1_kernel_time", "Conv", 20),
            _event("implicit_gemm", "Conv", 300, "Kernel"),
            _event("implicit_gemm", "Conv", 100, "Kernel"),
            _event("relu", "Relu", 50, "Kernel"),
            {"cat": "Session", "name": "model_run", "dur": 900},
        ]
    (node,) = _nodes(events, 4)
    assert (node.name, node.op_type) == ("conv1", "Conv")
    assert node.seconds == pytest.approx(20e-6)
    kernels = _kernels(events, 4)
    assert [(k.name, k.op_type) for k in kernels] == [("implicit_gemm", "Conv"), ("relu", "Relu")]
    assert [k.seconds for k in kernels] == [pytest.approx(400e-6), pytest.approx(50e-6)]


def test_the_first_runs_do_not_count() -> None:
    events = [_event("a_kernel_time", "Relu", d) for d in (900, 500, 10, 12, 11)]
    assert [n.seconds for n in _nodes(events, 5)] == [pytest.approx(11e-6)]


def test_a_profile_without_a_device_has_no_kernels() -> None:
    assert _kernels([_event("a_kernel_time", "Relu", 1)], 1) == ()
    assert _nodes([{"cat": "Node"}, {"name": "x_kernel_time"}], 1) == ()
