"""The networks of the fusing benchmark, small: folded, fused, and the same."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest

import onnx_act

if TYPE_CHECKING:
    from collections.abc import Iterator

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, onnx.ModelProto]]:
    monkeypatch.syspath_prepend(str(_BENCHMARKS))
    module = importlib.import_module("fuse_models")
    yield {name: make(small=True) for name, make in module.NETWORKS.items()}
    sys.modules.pop("fuse_models", None)


@pytest.mark.parametrize("mode", ["portable", "contrib"])
def test_the_networks_are_fused_and_stay_the_same(
    networks: dict[str, onnx.ModelProto], mode: str, tmp_path: Path
) -> None:
    changed: dict[str, set[str]] = {}
    for name, model in networks.items():
        onnx.checker.check_model(model, full_check=True)
        source = tmp_path / "net.onnx"
        onnx.save(model, source)
        (entry,) = onnx_act.fuse(source, tmp_path / "out.onnx", fuse=mode).models
        assert entry.exit_code == 0, (name, entry.message)
        changed[name] = {c["rule"] for c in entry.to_dict()["changes"]}
    # Each was made to have something that runtimes leave undone.
    assert "fold_batch_normalization" in changed["Gemm+BatchNormalization MLP"]
    assert "fold_batch_normalization_forward" in changed["Conv-Relu-BatchNormalization net"]
    if mode == "contrib":
        assert "fuse_conv_residual" in changed["residual LeakyRelu net"]
        assert "fuse_bias_gelu" in changed["transformer, GELU spelled"]
        assert "fuse_matmul_activation" in changed["transformer, Relu"]
