"""The networks of the fusing benchmark, small: folded, fused, and the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

import onnx_act
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.session import CPU, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType


@pytest.fixture
def networks(script: Callable[[str], ModuleType]) -> dict[str, onnx.ModelProto]:
    made = script("fuse_models").NETWORKS
    return {name: make(small=True) for name, make in made.items()}


@pytest.mark.parametrize("mode", ["portable", "contrib"])
def test_the_networks_are_fused_and_stay_the_same(
    networks: dict[str, onnx.ModelProto], mode: str, tmp_path: Path
) -> None:
    changed: dict[str, set[str]] = {}
    for name, model in networks.items():
        onnx.checker.check_model(model, full_check=True)
        source, target = tmp_path / "net.onnx", tmp_path / "out.onnx"
        onnx.save(model, source)
        (entry,) = onnx_act.fuse(source, target, fuse=mode).models
        assert entry.exit_code == 0, (name, entry.message)
        told = entry.to_dict()
        assert told["equivalence"]["passed"] is True
        changed[name] = {c["rule"] for c in told["changes"]}
    # Each was made to have something that runtimes leave undone.
    assert "fold_batch_normalization" in changed["Gemm+BatchNormalization MLP"]
    assert "fold_batch_normalization_forward" in changed["Conv-Relu-BatchNormalization net"]
    if mode == "contrib":
        assert "fuse_conv_residual" in changed["residual LeakyRelu net"]
        assert "fuse_bias_gelu" in changed["transformer, GELU spelled"]
        assert "fuse_matmul_activation" in changed["transformer, Relu"]


def test_nothing_vanishes_or_grows_in_them(
    networks: dict[str, onnx.ModelProto], tmp_path: Path
) -> None:
    """Of a network whose result is nearly zero, anything would seem equivalent."""
    for name, model in networks.items():
        source = tmp_path / "net.onnx"
        onnx.save(model, source)
        session = open_session(source, SessionSettings(CPU, threads=1))
        feed = feeds_for(session, FeedRequest(count=1)).feeds[0]
        spread = np.std(feed["x"])
        (result,) = session.run(feed, [session.tensor_outputs[0].name])
        assert 0.25 < np.std(result) / spread < 4.0, name
