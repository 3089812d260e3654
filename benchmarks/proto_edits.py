"""Reading and changing ONNX protos in place, for benchmarks that break models on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

FLOAT = onnx.TensorProto.FLOAT
FLOAT16 = onnx.TensorProto.FLOAT16
_CODES: dict[int, type[np.floating[Any]]] = {FLOAT: np.float32, FLOAT16: np.float16}


def graphs_in(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and every subgraph below it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from graphs_in(inner)


def nodes_of(model: onnx.ModelProto, *op_types: str) -> list[onnx.NodeProto]:
    """Nodes of some types, or all of them, in graphs and functions."""
    found = [n for g in graphs_in(model.graph) for n in g.node]
    found += [n for f in model.functions for n in f.node]
    return [n for n in found if not op_types or n.op_type in op_types]


def attribute_of(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of an attribute."""
    for attribute in node.attribute:
        if attribute.name == name:
            return helper.get_attribute_value(attribute)
    return default


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    """Give an attribute another value."""
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def tensors_of(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Every constant by the name of its value."""
    found = {t.name: t for g in graphs_in(model.graph) for t in g.initializer}
    for node in nodes_of(model, "Constant"):
        for attribute in node.attribute:
            if attribute.name == "value":
                found[node.output[0]] = attribute.t
    return found


def array_of(model: onnx.ModelProto, name: str) -> npt.NDArray[Any] | None:
    """A constant's numbers, writable; None where the value is none."""
    tensor = tensors_of(model).get(name)
    return None if tensor is None else numpy_helper.to_array(tensor).copy()


def set_array(model: onnx.ModelProto, name: str, array: npt.NDArray[Any]) -> None:
    """Give a constant other numbers of the same type."""
    tensor = tensors_of(model)[name]
    kept = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(array), kept))


def is_floats(array: npt.NDArray[Any] | None) -> bool:
    """Whether a constant is there and holds floats that numpy knows."""
    return array is not None and array.dtype.kind == "f" and array.size > 0


def opset_of(model: onnx.ModelProto) -> int:
    """The opset of the standard operators."""
    return max((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), default=1)


def fresh(model: onnx.ModelProto, stem: str) -> str:
    """A name that no value has."""
    taken = {n for node in nodes_of(model) for n in (*node.input, *node.output)}
    taken |= set(tensors_of(model)) | {v.name for v in model.graph.input}
    return next(n for i in range(len(taken) + 1) if (n := f"{stem}_{i}") not in taken)


def replace_node(model: onnx.ModelProto, output: str, others: Sequence[onnx.NodeProto]) -> None:
    """Put nodes in the place of the one that gives a value."""
    holders: list[onnx.GraphProto | onnx.FunctionProto] = [
        *graphs_in(model.graph),
        *model.functions,
    ]
    for holder in holders:
        kept = list(holder.node)
        for index, each in enumerate(kept):
            if output in each.output:
                del holder.node[:]
                holder.node.extend([*kept[:index], *others, *kept[index + 1 :]])
                return


def add_constant(model: onnx.ModelProto, stem: str, array: npt.NDArray[Any]) -> str:
    """Add an initializer to the main graph; its name."""
    name = fresh(model, stem)
    model.graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def main_nodes(model: onnx.ModelProto, *op_types: str) -> list[onnx.NodeProto]:
    """Nodes of the main graph of some types, or all of them."""
    return [n for n in model.graph.node if not op_types or n.op_type in op_types]


def float_type(model: onnx.ModelProto) -> Any:
    """The type of the model's first float input; None without one."""
    for value in model.graph.input:
        if value.type.tensor_type.elem_type in _CODES:
            return _CODES[value.type.tensor_type.elem_type]
    return None


def holds_type(model: onnx.ModelProto, code: int) -> bool:
    """Whether a model has constants, inputs, outputs or casts of a type."""
    return (
        any(t.data_type == code for t in tensors_of(model).values())
        or any(
            v.type.tensor_type.elem_type == code for v in (*model.graph.input, *model.graph.output)
        )
        or any(attribute_of(n, "to") == code for n in nodes_of(model, "Cast"))
    )


def retyped(model: onnx.ModelProto, source: int, target: int) -> onnx.ModelProto:
    """The same model with every float of one type turned into another; too large ones are cut."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    limits = np.finfo(_CODES[target])
    for graph in graphs_in(made.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type == source:
                value.type.tensor_type.elem_type = target
        for tensor in graph.initializer:
            _retype(tensor, source, target, limits)
    for node in nodes_of(made):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _retype(attribute.t, source, target, limits)
            if attribute.name in {"to", "dtype"} and attribute.i == source:
                attribute.i = target
    return made


def _retype(tensor: onnx.TensorProto, source: int, target: int, limits: Any) -> None:
    if tensor.data_type != source:
        return
    array = np.clip(numpy_helper.to_array(tensor), limits.min, limits.max)
    tensor.CopyFrom(numpy_helper.from_array(array.astype(_CODES[target]), tensor.name))
