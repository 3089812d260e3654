"""Small models on disk, and conversions of them that are watched while they are under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

from onnx_act.recipe.convert import convert_model
from onnx_act.recipe.request import ConversionRequest
from onnx_act.recipe.swap_steps import SwapStep
from onnx_act.rewrite.fuse_mode import FuseMode
from onnx_act.rewrite.swap_request import parse_swap

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_act.report.document import ModelEntry

_SIDE = 32


def save_dense(path: Path, opset: int = 13, *, weights_apart: bool = False) -> Path:
    """x @ w -> Relu -> @ w, with its weight in the file or in `weights.bin` beside it."""
    text = f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[N,{_SIDE}] x) => (float[N,{_SIDE}] y)
        {{ h = MatMul(x, w) a = Relu(h) y = MatMul(a, w) }}"""
    model = parser.parse_model(text)
    weight = np.random.default_rng(0).normal(0, 0.3, (_SIDE, _SIDE)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    onnx.save(
        model,
        path,
        save_as_external_data=weights_apart,
        location="weights.bin" if weights_apart else None,
        size_threshold=16,
    )
    return path


def save_recurrent(path: Path, functions: list[str]) -> Path:
    """One RNN, of one direction for each function, whose result is scaled."""
    ways, hidden = len(functions), 2
    rng = np.random.default_rng(0)
    shapes = {"w": (ways, hidden, 2), "r": (ways, hidden, hidden)}
    graph = helper.make_graph(
        [
            helper.make_node(
                "RNN",
                ["x", "w", "r"],
                ["h"],
                hidden_size=hidden,
                activations=functions,
                direction="bidirectional" if ways == 2 else "forward",
            ),
            helper.make_node("Mul", ["h", "half"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [5, "N", 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [5, ways, "N", hidden])],
        [
            numpy_helper.from_array(np.array(0.5, np.float32), "half"),
            *(
                numpy_helper.from_array(rng.normal(0, 0.3, s).astype(np.float32), k)
                for k, s in shapes.items()
            ),
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def convert(
    model: Path,
    out: Path | None,
    *swaps: str,
    fuse: bool = False,
    seen: dict[str, list[str]] | None = None,
    **options: Any,
) -> ModelEntry:
    """Convert without measuring.

    Args:
        model: what.
        out: to where.
        swaps: as `--swap` takes them.
        fuse: whether to fold and fuse as well.
        seen: gets the files beside the model at every step, by what the step is called.
        options: fields of the request.
    """
    request = ConversionRequest(
        swap=(SwapStep(tuple(parse_swap(text) for text in swaps)),) if swaps else (),
        fuse=FuseMode.AUTO if fuse else FuseMode.NONE,
        bench=False,
        **options,
    )

    def look(step: str) -> None:
        if seen is not None:
            seen[step] = sorted(p.name for p in model.parent.iterdir())

    return convert_model(model, out, request, look)
