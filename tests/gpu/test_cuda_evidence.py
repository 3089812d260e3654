"""What evidence from a CUDA device has beside that of other providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

import onnx_act
from onnx_act.runtime.binding import bound_run
from onnx_act.runtime.devices import nvidia_devices
from onnx_act.runtime.session import CPU, CUDA, SessionSettings, open_session
from onnx_act.runtime.target import provider_state

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.cuda


@pytest.fixture(scope="module", autouse=True)
def _needs_cuda() -> None:
    state = provider_state(CUDA)
    if not state.runs:
        pytest.skip(state.reason)


@pytest.fixture
def matmul(tmp_path: Path) -> Path:
    """A product that is large enough for TF32 to be seen: its error goes with 2**-11."""
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[64,512] x) => (float[64,512] y) { m = MatMul (x, w) y = Relu (m) }"""
    )
    weight = np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_both_settings_are_reported(matmul: Path) -> None:
    report = onnx_act.validate(matmul, matmul, providers=["cuda"], strict_placement=True)
    assert report.exit_code == 0, report.models[0].message
    entry = report.to_dict()["models"][0]
    for part in ("equivalence", "production"):
        (judged,) = entry[part]["providers"]
        assert judged["provider"] == CUDA
        assert judged["passed"] is True
    exact, fast = (
        entry[part]["providers"][0]["outputs"][0]["provider_difference"]["max_abs"]
        for part in ("equivalence", "production")
    )
    # A sum of 512 products of N(0, 1): rounding in float32 keeps below this, TF32's does not.
    assert exact < 2.0**-24 * 512 * 16
    assert fast >= exact


def test_memory_and_placement_are_told(matmul: Path) -> None:
    report = onnx_act.validate(matmul, matmul, providers=["cuda"])
    placed = report.to_dict()["models"][0]["placement"]
    assert all(p["nodes"] == {CUDA: 2} for p in placed)
    assert all(p["device_bytes"] is None or p["device_bytes"] > 512 * 512 * 4 for p in placed)
    assert all((device.memory_bytes or 1) > 0 for device in nvidia_devices())


def test_a_bound_run_waits_for_the_device(matmul: Path) -> None:
    feed = {"x": np.random.default_rng(1).standard_normal((64, 512)).astype(np.float32)}
    options = (("use_tf32", "0"),)
    there = open_session(matmul, SessionSettings(CUDA, provider_options=options))
    (wanted,) = open_session(matmul, SessionSettings(CPU)).run(feed)
    bound_run(there, feed, ["y"], "cuda")()
    (found,) = there.run(feed)
    assert np.abs(found - wanted).max() < 2.0**-24 * 512 * 16
