"""Tiny models that ask a runtime whether it can run something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.graph.lower import ExpressionLowering, NodeEmitter, emit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from onnx_act.activations.activation import Activation, Parameters, ParameterValue
    from onnx_act.graph.lower import Lowering
    from onnx_act.graph.model import Scope

_SIDE: Final = 4


def activation_probe(
    lowering: Lowering,
    activation: Activation,
    parameters: Parameters,
    dtype: ir.DataType,
    scope: Scope,
    ir_version: int,
    size: int = _SIDE,
) -> bytes:
    """A model of one activation of `x`, [1, size], written as `lowering` says.

    Per-channel parameters stand as their first value: kernels do not depend on how many there are.
    A lowering with one factor per channel stands behind a convolution that changes nothing, with
    `x` of [1, channels, 1, size / channels], rounded up: that is the place it is made for.

    Raises:
        LoweringUnavailableError: it cannot be written so at this opset or dtype.
    """
    simple = simple_parameters(parameters)
    emitter = NodeEmitter(dtype, scope.opset(), _numbered(), "probe")
    channels = lowering.channels if isinstance(lowering, ExpressionLowering) else None
    if channels is None:
        x = place = _value("x", dtype, (1, size))
    else:
        x = _value("x", dtype, (1, channels, 1, -(-size // channels)))
        place = emitter.op("Conv", x, emitter.constant(np.ones((channels, 1, 1, 1))))
        emitter.nodes[-1].attributes["group"] = ir.AttrInt64("group", channels)
    y = emit(lowering, activation, simple, place, emitter)
    y.type, y.shape = ir.TensorType(dtype), x.shape
    return graph_probe([x], [y], emitter.nodes, scope, ir_version)


def simple_parameters(parameters: Parameters) -> dict[str, ParameterValue]:
    """Parameters with arrays as their first value."""
    return {k: float(v.flat[0]) if isinstance(v, np.ndarray) else v for k, v in parameters.items()}


def node_probe(
    node: ir.Node,
    shapes: Sequence[tuple[int, ...] | None],
    dtype: ir.DataType,
    scope: Scope,
    ir_version: int,
) -> bytes:
    """A model of one node, fed with inputs of these shapes; None leaves one out."""
    inputs = [
        None if shape is None else _value(f"i{k}", dtype, shape) for k, shape in enumerate(shapes)
    ]
    outputs = [ir.Value(name="y", type=ir.TensorType(dtype))]
    probe = ir.Node(
        node.domain, node.op_type, inputs, list(node.attributes.values()), outputs=outputs
    )
    given = [v for v in inputs if v is not None]
    return graph_probe(given, outputs, [probe], scope, ir_version)


def weighted_probe(
    node: ir.Node,
    shape: tuple[int, ...],
    weight: npt.NDArray[np.float64],
    dtype: ir.DataType,
    scope: Scope,
    ir_version: int,
) -> bytes:
    """A model of one node from `x`, of `shape`, to `y` of the same, with a constant weight."""
    x = _value("x", dtype, shape)
    emitter = NodeEmitter(dtype, scope.opset(), _numbered(), "probe")
    inputs = [x, emitter.constant(weight)]
    y = _value("y", dtype, shape)
    probe = ir.Node(node.domain, node.op_type, inputs, list(node.attributes.values()), outputs=[y])
    return graph_probe([x], [y], [*emitter.nodes, probe], scope, ir_version)


def _value(name: str, dtype: ir.DataType, shape: tuple[int, ...]) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape))


def _numbered() -> Callable[[str], str]:
    count = iter(range(1_000_000))
    return lambda wanted: f"{wanted}_{next(count)}"


def graph_probe(
    inputs: list[ir.Value],
    outputs: list[ir.Value],
    nodes: list[ir.Node],
    scope: Scope,
    ir_version: int,
) -> bytes:
    """A model of these nodes in the opsets of a scope."""
    imports = dict(scope.opsets)
    imports.update({n.domain: 1 for n in nodes if n.domain and n.domain not in imports})
    graph = ir.Graph(inputs, outputs, nodes=nodes, opset_imports=imports, name="probe")
    # Before IR 4 the only difference is how initializers are declared, and there are none here.
    model = ir.Model(graph, ir_version=max(ir_version, 4))
    serialised: bytes = ir.to_proto(model).SerializeToString()
    return serialised
