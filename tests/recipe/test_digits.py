"""The models of this repository, converted on their own test images, with accuracy."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import onnx_act

if TYPE_CHECKING:
    from pathlib import Path

# model, swap, sites, accuracy of 450 before
CONVERSIONS = [
    ("digits_cnn_relu", "relu=leaky_relu:negative_slope=0.01", 4, 448),
    ("digits_cnn_silu", "silu=hardswish", 4, 448),
    ("digits_cnn_mish", "mish=silu", 4, 448),
    ("digits_cnn_prelu", "prelu=leaky_relu:negative_slope=0.2", 4, 448),
    ("digits_mlp_gelu", "gelu=gelu:approximate=tanh", 2, 444),
]


def _right_answers(model: Path, data: Path) -> int:
    with np.load(data) as stored:
        images, labels = stored["image"], stored["labels"]
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": images})
    return int((np.asarray(logits).argmax(axis=1) == labels).sum())


@pytest.mark.parametrize(("name", "swap", "count", "right"), CONVERSIONS)
def test_swapped_and_fused_on_real_images(
    name: str, swap: str, count: int, right: int, models: Path, tmp_path: Path
) -> None:
    model, data, out = models / f"{name}.onnx", models / "digits_test.npz", tmp_path / "out.onnx"
    report = onnx_act.convert(model, out, swap=[swap], fuse="contrib", bench=False, data=data)
    entry: Any = report.to_dict()["models"][0]
    assert report.exit_code == 0, entry["message"]
    assert len(entry["sites"]) == count
    rules = [c["rule"] for c in entry["changes"]]
    assert rules.count("swap_activation") == count
    assert entry["equivalence"]["passed"] is True
    assert set(entry["equivalence"]["feeds"]) == {"data"}
    (drift,) = entry["drift"]["outputs"]
    assert entry["drift"]["rows"] == 450
    before, after = drift["accuracy_before"], drift["accuracy_after"]
    assert (before["agreed"], before["total"]) == (right, 450)
    # Counted again by a script that knows nothing of the report.
    assert (after["agreed"], after["total"]) == (_right_answers(out, data), 450)
    assert _right_answers(model, data) == right
    assert after["low"] <= after["rate"] <= after["high"]
    # Top-1 agreement bounds how far accuracy can have moved.
    top1 = drift["difference"]["top1"]
    assert abs(after["agreed"] - right) <= top1["total"] - top1["agreed"]


@pytest.mark.parametrize(
    ("name", "operators", "folded"),
    [
        ("digits_cnn_relu", {"FusedConv": 4}, 4),
        ("digits_cnn_silu", {"QuickGelu": 4}, 0),
        ("digits_cnn_mish", {}, 4),
        ("digits_cnn_prelu", {}, 0),
        ("digits_mlp_gelu", {"Gelu": 2}, 0),
    ],
)
def test_only_fused(
    name: str, operators: dict[str, int], folded: int, models: Path, tmp_path: Path
) -> None:
    model, data, out = models / f"{name}.onnx", models / "digits_test.npz", tmp_path / "out.onnx"
    report = onnx_act.fuse(model, out, fuse="contrib", data=data)
    (entry,) = report.to_dict()["models"]
    assert report.exit_code == 0, entry["message"]
    rules = [c["rule"] for c in entry["changes"]]
    assert rules.count("fold_batch_normalization") == folded
    assert "drift" not in entry
    fused = Counter(n.op_type for n in onnx.load(out).graph.node if n.domain == "com.microsoft")
    assert fused == operators
    assert sum(rule.startswith("fuse_") for rule in rules) == fused.total()
    # What has no fused kernel is refused with a reason for each site, not passed over.
    assert fused.total() + len(entry["refusals"]) >= len(entry["sites"])
    assert all(r["reason"] for r in entry["refusals"])
    assert _right_answers(out, data) == _right_answers(model, data)


def test_accuracy_that_is_lost_is_shown(models: Path) -> None:
    """ReLU exchanged for SiLU without training again costs accuracy, and the report says so."""
    model, data = models / "digits_cnn_relu.onnx", models / "digits_test.npz"
    (entry,) = onnx_act.swap(model, None, {"relu": "silu"}, data=data).to_dict()["models"]
    (drift,) = entry["drift"]["outputs"]
    assert drift["accuracy_before"]["agreed"] == 448
    assert 380 <= drift["accuracy_after"]["agreed"] <= 420
    assert drift["difference"]["sqnr_db"] < 10
    assert drift["difference"]["cosine"] < 0.99


def test_latency_is_measured_against_the_original(models: Path) -> None:
    model, data = models / "digits_cnn_relu.onnx", models / "digits_test.npz"
    report = onnx_act.convert(model, None, fuse="contrib", data=data, bench_seconds=0.3)
    ((latency,),) = [e["latency"] for e in report.to_dict()["models"]]
    ratio = latency["ratio"]
    assert 0.05 < ratio["low"] <= ratio["median"] <= ratio["high"] < 20
    assert latency["a"]["count"] > 10
    assert latency["b"]["count"] > 10
