"""BatchNormalization that a fold should have taken and did not, found without asking the folds.

Read from the bare protobuf, so that what a rule overlooks is not overlooked here for the same
reason. It may pass over one (constants that are computed, bodies of functions, shared weights),
and never names one that could not be folded: a name here is a defect.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from onnx import AttributeProto, TensorProto, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt
    import onnx

    Array = npt.NDArray[np.generic]
    Numbers = npt.NDArray[np.float64]

_LINEAR: Final = frozenset({"Conv", "ConvTranspose", "Gemm"})
_STANDARD: Final = frozenset({"", "ai.onnx"})
_FLOATS: Final = frozenset(
    {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
)
_EPSILON: Final = 1e-5
# Before this opset BatchNormalization is in training mode unless it says otherwise.
_INFERENCE_BY_DEFAULT: Final = 7


@dataclass(frozen=True, slots=True)
class _Scope:
    """One graph.

    Attributes:
        graph: the graph.
        constants: those of its own and of the graphs around it.
        producers: the node that makes a value, for the values of this graph.
        uses: how often this graph and those below it read a name.
        uses_anywhere: how often the whole model does.
    """

    graph: onnx.GraphProto
    constants: Mapping[str, TensorProto]
    producers: Mapping[str, onnx.NodeProto]
    uses: Counter[str]
    uses_anywhere: Counter[str]

    def array(self, name: str) -> Array | None:
        """What a constant of floats holds; None for anything else."""
        tensor = self.constants.get(name)
        known = tensor is not None and tensor.data_type in _FLOATS
        return numpy_helper.to_array(tensor) if tensor is not None and known else None


def left_behind(model: onnx.ModelProto) -> list[str]:
    """Where a BatchNormalization stands behind a linear operator that it could be folded into.

    Args:
        model: with its weights, as `onnx.load` gives it.

    Returns:
        The names of their results.
    """
    opset = max((o.version for o in model.opset_import if o.domain in _STANDARD), default=0)
    return [
        node.output[0]
        for scope in _scopes(model)
        for node in scope.graph.node
        if node.op_type == "BatchNormalization"
        and node.domain in _STANDARD
        and _is_in_inference(node, scope, opset)
        and _is_foldable(node, scope)
    ]


def _scopes(model: onnx.ModelProto) -> Iterator[_Scope]:
    anywhere = Counter(_read_names(model.graph))
    pending: list[tuple[onnx.GraphProto, dict[str, TensorProto]]] = [(model.graph, {})]
    while pending:
        graph, outer = pending.pop()
        constants = {**outer, **_constants(graph, model.ir_version)}
        producers = {name: node for node in graph.node for name in node.output if name}
        yield _Scope(graph, constants, producers, Counter(_read_names(graph)), anywhere)
        pending += [(inner, constants) for node in graph.node for inner in _subgraphs(node)]


def _constants(graph: onnx.GraphProto, ir_version: int) -> dict[str, TensorProto]:
    inputs = {value.name for value in graph.input}
    # Files of these versions list every initializer as an input without meaning that it is one.
    listed = all(tensor.name in inputs for tensor in graph.initializer)
    is_old = ir_version < 4 or (ir_version == 4 and listed)
    found = {t.name: t for t in graph.initializer if is_old or t.name not in inputs}
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in _STANDARD:
            values = [a.t for a in node.attribute if a.name == "value"]
            found.update(zip(node.output, values, strict=False))
    return found


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _read_names(graph: onnx.GraphProto) -> Iterator[str]:
    """Every name that the graph, or one below it, reads or gives back."""
    pending = [graph]
    while pending:
        current = pending.pop()
        yield from (value.name for value in current.output)
        for node in current.node:
            yield from node.input
            pending.extend(_subgraphs(node))


def _settings(node: onnx.NodeProto) -> dict[str, int]:
    return {a.name: a.i for a in node.attribute if a.type == AttributeProto.INT}


def _is_in_inference(node: onnx.NodeProto, scope: _Scope, opset: int) -> bool:
    """Whether it computes, per channel, an affine function of its input alone."""
    stated = _settings(node)
    return (
        (opset >= _INFERENCE_BY_DEFAULT or stated.get("is_test") == 1)
        and stated.get("training_mode", 0) == 0
        and stated.get("spatial", 1) == 1
        and not any(name and scope.uses[name] for name in node.output[1:])
    )


def _is_foldable(node: onnx.NodeProto, scope: _Scope) -> bool:
    """Whether a linear operator before it has weights that can take it in."""
    linear = scope.producers.get(node.input[0])
    if linear is None or linear.op_type not in _LINEAR or linear.domain not in _STANDARD:
        return False
    if scope.uses[node.input[0]] != 1:
        return False
    # A shared weight would be copied; how much a file may grow by that is the user's to say.
    if scope.uses_anywhere[linear.input[1]] != 1:
        return False
    weight = scope.array(linear.input[1])
    statistics = [scope.array(name) for name in node.input[1:5]]
    with_bias = len(linear.input) > 2 and linear.input[2] != ""
    bias = scope.array(linear.input[2]) if with_bias else np.zeros(1)
    numbers = [a.astype(np.float64) for a in (*statistics, bias) if a is not None]
    if weight is None or not weight.size or len(numbers) != 5:
        return False
    scale, shift, mean, variance, added = numbers
    channels = _channels(linear, weight.shape)
    if any(a.shape != (channels,) for a in numbers[:4]):
        return False
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), _EPSILON)
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + epsilon)
        return _stays_finite(weight, added, factor, shift - mean * factor)


def _channels(linear: onnx.NodeProto, shape: tuple[int, ...]) -> int:
    stated = _settings(linear)
    if linear.op_type == "Conv":
        return shape[0]
    if linear.op_type == "ConvTranspose":
        return shape[1] * stated.get("group", 1)
    return shape[0 if stated.get("transB") else 1]


def _stays_finite(weight: Array, bias: Numbers, factor: Numbers, shift: Numbers) -> bool:
    """Whether folded weights fit their dtype, with room to spare."""
    with np.errstate(all="ignore"):
        most = np.abs(factor).max()
        sums = np.abs(shift).max() + np.abs(bias).max() * most
        largest = np.maximum(np.abs(weight.astype(np.float64)).max() * most, sums)
        return bool(np.isfinite(np.asarray(largest).astype(weight.dtype).astype(np.float64)))
