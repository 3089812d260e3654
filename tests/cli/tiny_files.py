"""Small model files for the command line to fail on, or to succeed with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path


def conv_model(
    operator: str = "Relu", *, channels: int = 3, middle: bool = True
) -> onnx.ModelProto:
    """x -> Conv -> operator [-> MaxPool] -> y; with `channels` other than 3 no runtime can run it.

    Args:
        operator: the activation operator.
        channels: how many channels the weight is for; the input has 3.
        middle: whether something follows the activation, so that it makes no graph output.
    """
    weight = np.random.default_rng(0).standard_normal((4, channels, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node(operator, ["c"], ["a" if middle else "y"], name="act"),
    ]
    if middle:
        pool = helper.make_node("MaxPool", ["a"], ["y"], "pool", kernel_shape=[3, 3], pads=[1] * 4)
        nodes.append(pool)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path
