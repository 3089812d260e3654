"""Every provider beside the CPU that really runs here, on models that are really trained.

With ONNX Runtime alone there is none. CONTRIBUTING.md says how to run this with OpenVINO.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

import onnx_act
from onnx_act.runtime.session import CPU
from onnx_act.runtime.target import provider_states, short_name

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS = [s.name for s in provider_states() if s.runs and s.name != CPU]
_NONE = "no provider but the CPU runs here; install onnxruntime-openvino in its own environment"
pytestmark = pytest.mark.skipif(not _OTHERS, reason=_NONE)


def _convert(model: Path, provider: str, **options: Any) -> dict[str, Any]:
    report = onnx_act.convert(model, None, providers=[provider, "cpu"], **options)
    entry: dict[str, Any] = report.to_dict()["models"][0]
    assert report.exit_code == 0, entry["message"]
    return entry


@pytest.mark.parametrize("provider", _OTHERS)
@pytest.mark.parametrize(
    ("model", "swap"),
    [
        ("digits_cnn_relu.onnx", {}),
        ("digits_cnn_relu.onnx", {"relu": "leaky_relu:negative_slope=0.1"}),
        ("digits_cnn_silu.onnx", {"silu": "hardswish"}),
        ("digits_cnn_mish.onnx", {"mish": "silu"}),
        ("digits_cnn_prelu.onnx", {"prelu": "relu"}),
        ("digits_mlp_gelu.onnx", {"gelu": "relu"}),
    ],
)
def test_a_conversion_holds_on_both(
    models: Path, provider: str, model: str, swap: dict[str, str]
) -> None:
    entry = _convert(models / model, provider, swap=swap, fuse="contrib", bench_seconds=0.5)
    assert [v["provider"] for v in entry["equivalence"]["providers"]] == [provider, CPU]
    assert all(v["passed"] for v in entry["equivalence"]["providers"])
    assert [m["provider"] for m in entry["latency"]] == [provider, CPU]
    assert {c["provider"] for c in entry.get("checks", ())} in (
        set(),
        {short_name(provider), "cpu"},
    )


@pytest.mark.parametrize("provider", _OTHERS)
def test_a_wrong_candidate_fails_there_too(models: Path, provider: str) -> None:
    report = onnx_act.validate(
        models / "digits_cnn_relu.onnx", models / "digits_cnn_silu.onnx", providers=[provider]
    )
    assert report.exit_code == 1


@pytest.mark.parametrize("provider", _OTHERS)
@pytest.mark.parametrize(
    "activation",
    ["Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "HardSigmoid", "Softplus", "Tanh"],
)
def test_what_is_fused_is_right_there_or_left(
    provider: str, activation: str, tmp_path: Path
) -> None:
    """OpenVINO (1.24.1) runs a FusedGemm with Elu, and computes something else."""
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[4,16] x) => (float[4,16] y) {{ d = Gemm (x, W, B) y = {activation} (d) }}"""
    )
    rng = np.random.default_rng(0)
    model.graph.initializer.extend(
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("W", (16, 16)), ("B", (16,)))
    )
    onnx.save(model, tmp_path / "m.onnx")
    report = onnx_act.fuse(tmp_path / "m.onnx", None, fuse="contrib", providers=[provider, "cpu"])
    entry = report.to_dict()["models"][0]
    assert report.exit_code == 0, entry["message"]
    told = [*entry["changes"], *entry["refusals"]]
    assert [t["rule"] for t in told] == ["fuse_gemm_activation"]
