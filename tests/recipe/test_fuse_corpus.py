"""Fusing every model of the corpus: what can be validated passes, and nothing raises."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import onnx_act

pytestmark = [pytest.mark.corpus, pytest.mark.slow]

_ROOT = Path(os.environ.get("ONNX_ACT_CORPUS", "no-corpus"))
_SOUND = ("trained", "exported", "convnets", "derived", "synthetic")
# Models that the CPU provider of the runtime does not run, fused or not, and why.
_NOT_RUNNABLE = {
    "convnets/convnet_relu__dynamo_op20_bf16.onnx": "bfloat16",
    "synthetic/ms_fused_conv_gelu.onnx": "GetFusedActivationAttr",
    "synthetic/newest_opset28.onnx": "IR version",
    "synthetic/no_value_info_shapes.onnx": "--shape",
}


def _names(*folders: str) -> list[str]:
    found = [p for f in folders for p in (_ROOT / f).glob("**/*.onnx")]
    return sorted(p.relative_to(_ROOT).as_posix() for p in found)


@pytest.mark.parametrize("name", _names(*_SOUND))
def test_fusing_keeps_what_a_model_computes(name: str, corpus: Path, tmp_path: Path) -> None:
    model, out = corpus / name, tmp_path / "out.onnx"
    before = model.read_bytes()
    report = onnx_act.fuse(model, out, fuse="contrib")
    (entry,) = report.to_dict()["models"]
    json.dumps(entry, allow_nan=False)
    assert model.read_bytes() == before
    if name in _NOT_RUNNABLE:
        assert report.exit_code == 1
        assert "the reference does not run" in entry["message"]
        assert _NOT_RUNNABLE[name] in entry["message"]
        assert not out.exists()
        return
    assert report.exit_code == 0, entry["message"]
    assert entry["equivalence"]["passed"] is True
    assert out.is_file()
    # Fused once, there is nothing left to fuse.
    again = onnx_act.fuse(out, None, fuse="contrib", dry_run=True)
    assert again.to_dict()["models"][0]["changes"] == []


def test_with_its_shape_given_the_model_runs(corpus: Path) -> None:
    model = corpus / "synthetic/no_value_info_shapes.onnx"
    assert onnx_act.fuse(model, None, fuse="contrib", shapes={"x": (1, 3, 8, 8)}).exit_code == 0


@pytest.mark.parametrize("name", _names("malformed"))
def test_a_malformed_model_is_answered(name: str, corpus: Path, tmp_path: Path) -> None:
    """It is refused by name, or it loads and then the evidence decides; it never raises a bug."""
    out = tmp_path / "out.onnx"
    refusal: onnx_act.ModelError | None = None
    try:
        code = onnx_act.fuse(corpus / name, out, fuse="contrib").exit_code
    except onnx_act.ModelError as error:
        refusal, code = error, error.exit_code
    if refusal is not None:
        assert code == 3
        assert Path(name).name in str(refusal)
        assert "\n" not in str(refusal).strip()
    assert code in {0, 1, 3}
    assert out.exists() == (code == 0)


def _held(path: Path) -> list[tuple[str, str]]:
    sites: list[dict[str, Any]] = onnx_act.inspect(path).to_dict()["models"][0]["sites"]
    rounded = [
        {k: round(v, 6) if isinstance(v, float) else v for k, v in s["parameters"].items()}
        for s in sites
    ]
    return sorted((s["activation"], str(p)) for s, p in zip(sites, rounded, strict=True))


@pytest.mark.parametrize("name", _names(*_SOUND))
def test_no_activation_is_lost_or_changed_by_fusing(
    name: str, corpus: Path, tmp_path: Path
) -> None:
    """What the fused model is found to hold is what the original holds."""
    out = tmp_path / "out.onnx"
    report = onnx_act.fuse(corpus / name, out, fuse="contrib", validate=False)
    (entry,) = report.to_dict()["models"]
    if any(c["rule"].startswith("remove_") for c in entry["changes"]):
        pytest.skip("redundant activations were removed on purpose")
    assert _held(out) == _held(corpus / name)
