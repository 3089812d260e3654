"""The default mode of fusing, for real: what the runtime does itself, what pays, what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper, parser

import onnx_act

if TYPE_CHECKING:
    from pathlib import Path

_CONV = "c = Conv <pads = [1, 1, 1, 1]> (x, W)"


def _fused(
    body: str, folder: Path, opset: int = 17, **weights: float
) -> tuple[dict[str, Any], list[str]]:
    ir_version = 8 if opset < 20 else 10
    model = parser.parse_model(
        f"""<ir_version: {ir_version}, opset_import: ["" : {opset}]>
        g (float[1,16,48,48] x) => (float[1,16,48,48] y) {{ {_CONV} {body} }}"""
    )
    rng = np.random.default_rng(0)
    kernel = (rng.standard_normal((16, 16, 3, 3)) * 0.1).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(kernel, "W"))
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array(v, np.float32), n) for n, v in weights.items()
    )
    onnx.save(model, folder / "model.onnx")
    report = onnx_act.fuse(folder / "model.onnx", folder / "out.onnx")
    assert report.exit_code == 0
    entry: dict[str, Any] = report.to_dict()["models"][0]
    written = onnx.load(folder / "out.onnx")
    return entry, [n.op_type for n in written.graph.node]


def test_what_the_runtime_fuses_itself_is_left_to_it(tmp_path: Path) -> None:
    entry, operators = _fused("y = Relu (c)", tmp_path)
    assert operators == ["Conv", "Relu"]
    (left,) = [r for r in entry["refusals"] if r["left_to_runtime"]]
    assert left["rule"] == "fuse_conv_activation"
    assert "when the runtime loads the model" in left["reason"]


def test_a_hardswish_in_four_operators_becomes_one(tmp_path: Path) -> None:
    body = "a = Add (c, t) b = Clip (a, z, s) m = Mul (c, b) y = Div (m, s)"
    entry, operators = _fused(body, tmp_path, t=3.0, z=0.0, s=6.0)
    assert [c["rule"] for c in entry["changes"]] == ["raise_activation"]
    assert operators == ["Conv", "HardSwish"]


def test_silu_is_not_raised_to_an_operator_that_the_runtime_expands(tmp_path: Path) -> None:
    entry, operators = _fused("s = Sigmoid (c) y = Mul (c, s)", tmp_path, opset=24)
    assert "Swish" not in operators
    assert entry["changes"] == []
    told = [r["reason"] for r in entry["refusals"] if r["rule"] == "raise_activation"]
    assert len(told) == 1


def test_a_swish_operator_becomes_what_the_runtime_runs_as_one(tmp_path: Path) -> None:
    entry, operators = _fused("y = Swish (c)", tmp_path, opset=24)
    assert [c["rule"] for c in entry["changes"]] == ["fuse_quick_gelu"]
    assert operators == ["Conv", "QuickGelu"]
