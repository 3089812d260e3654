"""A few facts about a model as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from onnx_act.graph.types import dtype_of

if TYPE_CHECKING:
    from onnx_act.graph.model import OnnxModel


def count_nodes(model: OnnxModel) -> int:
    """Nodes in every scope, Constant nodes left out: they are how a weight is stored."""
    return sum(n.op_type != "Constant" for s in model.scopes() for n in s.graph)


def measure_depth(model: OnnxModel) -> int:
    """Operators on the longest path of the deepest scope; at least 1."""
    longest = 1
    for scope in model.scopes():
        depth: dict[ir.Value, int] = {}
        for node in scope.graph:
            here = 1 + max((depth.get(v, 0) for v in node.inputs if v is not None), default=0)
            depth.update(dict.fromkeys(node.outputs, here))
            longest = max(longest, here)
    return longest


def coarsest_float(model: OnnxModel) -> str | None:
    """The coarsest float type that any value has; None when none is known."""
    order = (ir.DataType.BFLOAT16, ir.DataType.FLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE)
    names = {
        ir.DataType.BFLOAT16: "bfloat16",
        ir.DataType.FLOAT16: "float16",
        ir.DataType.FLOAT: "float32",
        ir.DataType.DOUBLE: "float64",
    }
    seen = {dtype_of(v) for s in model.scopes() for n in s.graph for v in n.outputs}
    return next((names[d] for d in order if d in seen), None)
