"""The shapes of a model's values once its inputs have sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir

from onnx_act.graph.types import infer_types, without_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_act.graph.model import OnnxModel


def concrete_shapes(
    model: OnnxModel, inputs: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """The shape of every value of the main graph that follows from the inputs' shapes.

    Args:
        model: not touched.
        inputs: the shape of each input, by name.

    Returns:
        Shapes by the name of the value; values whose shape depends on data are not in it.
    """
    proxy = without_weights(ir.to_proto(model.content))
    # What the file declares may hold for other sizes than these.
    del proxy.graph.value_info[:]
    for info in proxy.graph.input:
        dims = inputs.get(info.name)
        if dims is not None:
            element = info.type.tensor_type.elem_type
            info.CopyFrom(onnx.helper.make_tensor_value_info(info.name, element, dims))
    for info in proxy.graph.output:
        info.type.tensor_type.ClearField("shape")
    inferred = infer_types(proxy)
    if inferred is None:
        return {}
    graph = inferred.graph
    found: dict[str, tuple[int, ...]] = {}
    for info in (*graph.input, *graph.value_info, *graph.output):
        tensor = info.type.tensor_type
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            found[info.name] = tuple(d.dim_value for d in tensor.shape.dim)
    return found
