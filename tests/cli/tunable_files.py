"""Small model files that tuning can make faster, or cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper, parser

if TYPE_CHECKING:
    from pathlib import Path

CHANNELS, SIDE = 8, 24


def stack_model(
    operator: str, *, count: int = 3, opset: int = 18, free: bool = False
) -> onnx.ModelProto:
    """Convolutions with an activation between each two; with `free` its sizes are not stated."""
    body = "c0 = Conv <pads = [1, 1, 1, 1]> (x, W) "
    for k in range(count):
        body += f"a{k} = {operator} (c{k}) c{k + 1} = Conv <pads = [1, 1, 1, 1]> (a{k}, W) "
    dims = f"N,{CHANNELS},H,V" if free else f"1,{CHANNELS},{SIDE},{SIDE}"
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[{dims}] x) => (float[{dims}] c{count}) {{ {body} }}"""
    )
    assert isinstance(model, onnx.ModelProto)
    weight = np.random.default_rng(0).normal(0, 0.1, (CHANNELS, CHANNELS, 3, 3))
    model.graph.initializer.append(numpy_helper.from_array(weight.astype(np.float32), "W"))
    return model


def tiny_model(operator: str) -> onnx.ModelProto:
    """Activations of four numbers, where calling an operator costs more than what it does."""
    body, last = "", "x"
    for k in range(8):
        body += f"a{k} = {operator} ({last}) m{k} = MatMul (a{k}, W) "
        last = f"m{k}"
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[1,4] x) => (float[1,4] {last}) {{ {body} }}"""
    )
    assert isinstance(model, onnx.ModelProto)
    weight = np.random.default_rng(0).normal(0, 0.4, (4, 4))
    model.graph.initializer.append(numpy_helper.from_array(weight.astype(np.float32), "W"))
    return model


def save(model: onnx.ModelProto, path: Path, *, weights_apart: bool = False) -> Path:
    onnx.save(
        model,
        path,
        save_as_external_data=weights_apart,
        location="weights.bin" if weights_apart else None,
        size_threshold=16,
    )
    return path
