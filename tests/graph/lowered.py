"""An activation as a model of its own, written in a chosen way."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

import onnx
import onnx_ir as ir
from onnx import helper

from onnx_act.graph.lower import NodeEmitter, emit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_act.activations.activation import Activation, Parameters
    from onnx_act.graph.lower import Lowering

DTYPES: Final = (
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.DOUBLE,
)


def lowered_model(
    lowering: Lowering,
    activation: Activation,
    parameters: Parameters,
    dtype: ir.DataType,
    opset: int,
    *,
    shape: Sequence[int | str] = ("N",),
) -> onnx.ModelProto:
    """The model y = activation(x)."""
    x = ir.Value(name="x", type=ir.TensorType(dtype), shape=ir.Shape(shape))
    numbers = count()
    emitter = NodeEmitter(dtype, opset, lambda wanted: f"{wanted}.{next(numbers)}", "p")
    y = emit(lowering, activation, parameters, x, emitter)
    y.type, y.shape = ir.TensorType(dtype), ir.Shape(shape)
    imports = {"": opset, **{n.domain: 1 for n in emitter.nodes if n.domain}}
    graph = ir.Graph([x], [y], nodes=emitter.nodes, opset_imports=imports, name="lowered")
    opsets = [helper.make_opsetid(d, v) for d, v in imports.items()]
    version = helper.find_min_ir_version_for(opsets, ignore_unknown=True)
    return ir.to_proto(ir.Model(graph, ir_version=max(version, 4)))


def provenance_free_names(model: onnx.ModelProto) -> bool:
    """Whether no name occurs twice."""
    names = [o for n in model.graph.node for o in n.output]
    return len(names) == len(set(names))
