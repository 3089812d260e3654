"""A model in which nothing is rounded to 16 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from onnx_act.graph.model import graphs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from onnx_act.graph.model import OnnxModel

_SHORT: Final = frozenset({onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})
_WIDE: Final = onnx.TensorProto.FLOAT


def widened(
    model: OnnxModel, most_bytes: int, weights: Mapping[str, npt.NDArray[np.float32]] | None = None
) -> bytes | None:
    """The model with float32 wherever it has float16 or bfloat16, and with the same numbers.

    Inputs and outputs are float32 then as well.

    Args:
        model: left as it is.
        most_bytes: the most that its weights may have.
        weights: numbers in the place of the main graph's weights of 16 bits, by name of the value,
            of the same shape.

    Returns:
        The serialised model; None where it is larger than that, has weights in other files, or
        holds nothing of 16 bits.
    """
    held = [v.const_value for s in model.scopes() for v in s.graph.initializers.values()]
    if any(isinstance(w, ir.ExternalTensor) for w in held):
        return None
    if sum(w.nbytes for w in held if w is not None) > most_bytes:
        return None
    proto = ir.to_proto(model.content)
    count = sum(_widen_values(graph) for graph in graphs_of(proto))
    tensors = list(_tensors(proto))
    short = [tensor for tensor in tensors if tensor.data_type in _SHORT]
    for tensor in short:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    moved = weights or {}
    for name, tensor in _named(proto.graph):
        if name in moved:
            tensor.CopyFrom(numpy_helper.from_array(moved[name], tensor.name))
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


def _named(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """The weights of one graph by the names of their values."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.HasField("t"):
                yield node.output[0], attribute.t
