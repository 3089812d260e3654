"""An activation by itself as a model, for no model in particular."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import onnx
import onnx_ir as ir

from onnx_act.graph.model import MAIN, Scope
from onnx_act.graph.probe_models import activation_probe

if TYPE_CHECKING:
    from onnx_act.activations.activation import Activation, Parameters
    from onnx_act.graph.lower import Lowering

# Old enough for every runtime that is supported; opsets are what decides on operators.
_IR_VERSION: Final = 8


def bare_model(
    lowering: Lowering,
    activation: Activation,
    parameters: Parameters,
    opset: int,
    *,
    dtype: str = "float32",
    size: int = 1024,
) -> bytes:
    """A serialised model of one activation, written as `lowering` says; see `activation_probe`.

    Args:
        lowering: how to write it.
        activation: what to write.
        parameters: all its parameters; of an array the first value is taken.
        opset: of the default domain.
        dtype: of the input and the output, as numpy calls it.
        size: how many elements it takes.

    Raises:
        LoweringUnavailableError: it cannot be written so at this opset or dtype.
    """
    graph = ir.Graph([], [], nodes=[], opset_imports={"": opset})
    scope = Scope(MAIN, graph, {"": opset})
    kind = _DTYPES[dtype]
    return activation_probe(lowering, activation, parameters, kind, scope, _IR_VERSION, size)


def newest_known_opset() -> int:
    """The newest opset of the default domain that the installed onnx knows."""
    return onnx.defs.onnx_opset_version()


_DTYPES: Final = {
    "float16": ir.DataType.FLOAT16,
    "bfloat16": ir.DataType.BFLOAT16,
    "float32": ir.DataType.FLOAT,
    "float64": ir.DataType.DOUBLE,
}
