"""A conversion for CUDA: what is fused there, and the evidence from that provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
import pytest

import onnx_act
from onnx_act.runtime.session import CUDA
from onnx_act.runtime.target import provider_state

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.cuda


@pytest.fixture(scope="module", autouse=True)
def _needs_cuda() -> None:
    state = provider_state(CUDA)
    if not state.runs:
        pytest.skip(state.reason)


def _convert(model: Path, out: Path | None, **options: Any) -> dict[str, Any]:
    data = model.with_name("digits_test.npz")
    report = onnx_act.convert(model, out, data=data, **options)
    entry: dict[str, Any] = report.to_dict()["models"][0]
    assert report.exit_code == 0, entry["message"]
    return entry


def test_relu_is_fused_and_proved(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    entry = _convert(
        models / "digits_cnn_relu.onnx", out, fuse="contrib", providers=["cuda"], bench_seconds=1.0
    )
    rules = [c["rule"] for c in entry["changes"]]
    assert rules.count("fold_batch_normalization") == 4
    assert rules.count("fuse_conv_activation") == 4
    fused = [n for n in onnx.load(out).graph.node if n.op_type == "FusedConv"]
    assert {a.s for n in fused for a in n.attribute if a.name == "activation"} == {b"Relu"}
    (judged,) = entry["equivalence"]["providers"]
    assert judged["provider"] == CUDA
    assert judged["passed"] is True
    assert judged["candidate_elsewhere"] == []
    (latency,) = entry["latency"]
    assert latency["provider"] == CUDA
    assert 0 < latency["ratio"]["low"] <= latency["ratio"]["median"] <= latency["ratio"]["high"]
    stored = {p.key: p.value for p in onnx.load(out).metadata_props}
    assert stored["onnx_act.fused_for"] == "cuda"


def test_another_activation_is_not_fused_on_cuda(models: Path) -> None:
    """The CUDA kernel of FusedConv knows Relu alone; the CPU's knows LeakyRelu too."""
    options: dict[str, Any] = {"swap": {"relu": "leaky_relu"}, "fuse": "contrib", "bench": False}
    model = models / "digits_cnn_relu.onnx"
    on_cpu = _convert(model, None, providers=["cpu"], **options)
    assert [c["rule"] for c in on_cpu["changes"]].count("fuse_conv_activation") == 4
    on_cuda = _convert(model, None, providers=["cuda"], **options)
    assert "fuse_conv_activation" not in [c["rule"] for c in on_cuda["changes"]]
    refused = [r for r in on_cuda["refusals"] if r["rule"] == "fuse_conv_activation"]
    assert len(refused) == 4
    assert all("cuda" in r["reason"] for r in refused)


def test_fused_gemm_is_refused_on_cuda(models: Path, tmp_path: Path) -> None:
    """FusedGemm has no CUDA kernel."""
    options: dict[str, Any] = {"swap": {"gelu": "relu"}, "fuse": "contrib", "bench": False}
    model = models / "digits_mlp_gelu.onnx"
    on_cpu = _convert(model, None, providers=["cpu"], **options)
    assert any("FusedGemm" in c["after"] for c in on_cpu["changes"])
    on_cuda = _convert(model, tmp_path / "out.onnx", providers=["cuda"], **options)
    assert not any("FusedGemm" in c["after"] for c in on_cuda["changes"])
    assert any("FusedGemm" in r["reason"] or "cuda" in r["reason"] for r in on_cuda["refusals"])
    operators = [n.op_type for n in onnx.load(tmp_path / "out.onnx").graph.node]
    assert "FusedGemm" not in operators


def test_for_both_providers_only_what_both_take(models: Path) -> None:
    entry = _convert(
        models / "digits_cnn_relu.onnx",
        None,
        swap={"relu": "leaky_relu"},
        fuse="contrib",
        providers=["cpu", "cuda"],
        bench_seconds=1.0,
    )
    assert "fuse_conv_activation" not in [c["rule"] for c in entry["changes"]]
    providers = ["CPUExecutionProvider", CUDA]
    assert [p["provider"] for p in entry["equivalence"]["providers"]] == providers
    assert all(p["passed"] for p in entry["equivalence"]["providers"])
    assert [latency["provider"] for latency in entry["latency"]] == providers
