"""A few facts about a model as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import onnx_ir as ir

from onnx_act.graph.types import dtype_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from onnx_act.graph.model import OnnxModel

# Those that numpy knows by itself.
_MOVABLE: Final = frozenset({ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16})


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


def float_weights(model: OnnxModel, most_bytes: int) -> dict[str, npt.NDArray[np.generic]]:
    """The initializers of the main graph that hold several floats, by name.

    Args:
        model: the model; external weights are mapped, not read.
        most_bytes: those that come first are taken, as many as fit.
    """
    found: dict[str, npt.NDArray[np.generic]] = {}
    for name, value in model.content.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.dtype not in _MOVABLE or not tensor.shape.dims:
            continue
        most_bytes -= tensor.nbytes
        if most_bytes < 0:
            break
        found[name] = tensor.numpy()
    return found
