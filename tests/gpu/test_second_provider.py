"""Placement, fall-backs, latency and tuning on every provider beside the CPU that runs here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import onnx
import pytest
from onnx import TensorProto, helper, parser

import onnx_act
from onnx_act.cli.app import run
from onnx_act.runtime.session import CPU
from onnx_act.runtime.target import provider_states, short_name

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS = [s.name for s in provider_states() if s.runs and s.name != CPU]
_NONE = "no provider but the CPU runs here; install onnxruntime-openvino in its own environment"
pytestmark = [
    pytest.mark.skipif(not _OTHERS, reason=_NONE),
    pytest.mark.parametrize("provider", _OTHERS),
]

# OpenVINO and CUDA lack it; a provider that has it cannot be shown to fall back here.
_LACKED = "Unique"


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    """A convolution, and an operator behind it that the provider lacks."""
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[1,3,8,8] x) => (float[4,R] y)
        {{ c = Conv <pads = [1, 1, 1, 1]> (x, w) r = Relu (c) f = Flatten <axis = 2> (r)
           u = {_LACKED} <axis = 1> (f) s = Sigmoid (u) y = Mul (u, s) }}"""
    )
    for node in model.graph.node:
        node.name = f"the {node.op_type}"
    # The order of unique columns is decided by the first that differ: far apart, so that no
    # rounding changes it.
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 3, 3], [0.1 * k for k in range(108)])
    model.graph.initializer.append(weight)
    onnx.save(model, tmp_path / "torn.onnx")
    return tmp_path / "torn.onnx"


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """An input without ties."""
    import numpy as np  # noqa: PLC0415 - beside its only use

    values = np.linspace(-3.0, 5.0, 192, dtype=np.float32).reshape(1, 3, 8, 8)
    np.savez(tmp_path / "grid.npz", x=values)
    return tmp_path / "grid.npz"


def _of(report: Any, what: str) -> dict[str, Any]:
    entry: dict[str, Any] = report.to_dict()["models"][0]
    found: list[dict[str, Any]] = [p for p in entry["placement"] if p["model"] == what]
    return found[0]


def test_a_fall_back_is_found_and_sized(provider: str, torn: Path, grid: Path) -> None:
    report = onnx_act.validate(torn, torn, providers=[provider], data=grid)
    assert report.exit_code == 0, report.models[0].message
    placed = _of(report, "candidate")
    assert {"op_type": _LACKED, "name": f"the {_LACKED}", "provider": CPU} in placed["elsewhere"]
    assert placed["nodes"][CPU] == len(placed["elsewhere"])
    sizes = {value["name"]: value["bytes"] for value in placed["crossing"]}
    # What enters has 4 x 64 floats; of what leaves no column is lost, for none is repeated.
    assert sizes["f"] == 4 * 64 * 4
    assert set(sizes) <= {"f", "u", "r", "c"}
    assert placed["copied_bytes"] >= sizes["f"]


def test_strict_placement_fails_on_it_and_names_it(
    provider: str, torn: Path, grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = short_name(provider)
    asked = ["validate", str(torn), str(torn), "--data", str(grid), "--provider", name]
    assert run(asked) == 0
    capsys.readouterr()
    assert run([*asked, "--strict-placement", "--format", "json"]) == 1
    (entry,) = json.loads(capsys.readouterr().out)["models"]
    assert f"{_LACKED} 'the {_LACKED}'" in entry["message"]
    assert f"instead of {name} in the candidate" in entry["message"]
    out = torn.with_name("out.onnx")
    rewrite = ["fuse", str(torn), str(out), "--data", str(grid), "--provider", name]
    assert run([*rewrite, "--strict-placement"]) == 1
    assert not out.exists()
    assert run(rewrite) == 0
    assert out.exists()


def test_a_model_of_its_own_stays_there(provider: str, models: Path) -> None:
    model = models / "digits_cnn_silu.onnx"
    report = onnx_act.validate(model, model, providers=[provider], strict_placement=True)
    assert report.exit_code == 0, report.models[0].message
    placed = _of(report, "candidate")
    assert placed["elsewhere"] == []
    assert placed["copied_bytes"] == 0
    assert set(placed["nodes"]) == {provider}


def test_equivalence_parts_the_provider_from_the_change(provider: str, models: Path) -> None:
    model = models / "digits_mlp_gelu.onnx"
    report = onnx_act.validate(model, model, providers=[provider, "cpu"])
    assert report.exit_code == 0, report.models[0].message
    there, here = report.to_dict()["models"][0]["equivalence"]["providers"]
    (output,) = there["outputs"]
    assert output["provider_difference"]["elements"] > 0
    assert output["total_difference"]["elements"] > 0
    assert here["outputs"][0]["provider_difference"] is None


def test_latency_is_measured_on_each(
    provider: str, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = models / "digits_cnn_relu.onnx", models / "digits_cnn_silu.onnx"
    name = short_name(provider)
    asked = ["bench", str(one), str(other), "--time", "2s", "--provider", name]
    assert run([*asked, "--provider", "cpu"]) == 0
    text = capsys.readouterr().out
    rows = [line.split()[0] for line in text.splitlines() if line.split()[:1] in ([name], ["cpu"])]
    assert set(rows) == {name, "cpu"}
    report = onnx_act.bench(one, other, seconds=2.0, providers=[provider, "cpu"])
    measured = report.to_dict()["models"][0]["latency"]
    assert [m["provider"] for m in measured] == [provider, CPU]
    for each in measured:
        assert 0 < each["ratio"]["low"] <= each["ratio"]["median"] <= each["ratio"]["high"]
        assert each["a"]["median_s"] > 0


def test_tuning_holds_there(provider: str, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    report = onnx_act.tune(
        models / "digits_cnn_mish.onnx", out, budget=20.0, providers=[provider], threads=1
    )
    assert report.exit_code == 0, report.models[0].message
    assert out.exists()
    entry = report.to_dict()["models"][0]
    assert entry["equivalence"]["passed"] is True
    assert [v["provider"] for v in entry["equivalence"]["providers"]] == [provider]
    # Whatever was chosen was shown to be faster on that provider.
    if entry["changes"]:
        (measured,) = entry["latency"]
        assert measured["provider"] == provider
        assert measured["ratio"]["low"] > 1.0


def test_accuracy_is_that_of_the_provider(
    provider: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = short_name(provider)
    asked = ["catalog", "silu", "--accuracy", "--provider", name, "--format", "json"]
    assert run(asked) == 0
    document = json.loads(capsys.readouterr().out)
    told = document["activations"][0] if "activations" in document else document
    assert {way["provider"] for way in told["accuracy"]} == {provider}
