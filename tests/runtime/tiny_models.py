"""Small models that the tests of `runtime` build and run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from collections.abc import Sequence


def one_node(
    op_type: str,
    *,
    dtype: int = TensorProto.FLOAT,
    shape: Sequence[Any] = (1, 4),
    opset: int = 13,
    **attributes: Any,
) -> bytes:
    node = helper.make_node(op_type, ["x"], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "p",
        [helper.make_tensor_value_info("x", dtype, list(shape))],
        [helper.make_tensor_value_info("y", dtype, list(shape))],
    )
    return model_of(graph, opset)


def model_of(graph: onnx.GraphProto, opset: int = 13) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(model.SerializeToString())
