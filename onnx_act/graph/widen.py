"""A model in which nothing is rounded to 16 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from onnx_act.graph.model import graphs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_act.graph.model import OnnxModel

_SHORT: Final = frozenset({onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})
_WIDE: Final = onnx.TensorProto.FLOAT


def widened(model: OnnxModel, most_bytes: int) -> bytes | None:
    """The model with float32 wherever it has float16 or bfloat16, and with the same numbers.

    Inputs and outputs are float32 then as well.

    Args:
        model: left as it is.
        most_bytes: the most that its weights may have.

    Returns:
        The serialised model; None where it is larger than that, has weights in other files, or
        holds nothing of 16 bits.
    """
    weights = [v.const_value for s in model.scopes() for v in s.graph.initializers.values()]
    if any(isinstance(w, ir.ExternalTensor) for w in weights):
        return None
    if sum(w.nbytes for w in weights if w is not None) > most_bytes:
        return None
    proto = ir.to_proto(model.content)
    count = sum(_widen_values(graph) for graph in graphs_of(proto))
    tensors = list(_tensors(proto))
    short = [tensor for tensor in tensors if tensor.data_type in _SHORT]
    for tensor in short:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for node in _nodes(proto):
        for attribute in node.attribute:
            if attribute.name in {"to", "dtype"} and attribute.i in _SHORT:
                attribute.i = _WIDE
                count += 1
    return proto.SerializeToString() if count or short else None


def _widen_values(graph: onnx.GraphProto) -> int:
    count = 0
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type in _SHORT:
            value.type.tensor_type.elem_type = _WIDE
            count += 1
    return count


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in graphs_of(proto):
        yield from graph.node
    for function in proto.functions:
        yield from function.node


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for graph in graphs_of(proto):
        yield from graph.initializer
    for node in _nodes(proto):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
