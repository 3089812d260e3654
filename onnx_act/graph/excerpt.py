"""A few adjacent nodes of a model as a model of their own, to be measured.

Names, and the numbers in large constants, are replaced by standard ones: neither matters to how
long a runtime takes, and what was measured for one layer then answers for all of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import onnx_ir as ir

from onnx_act.graph.model import OnnxModel, load_model
from onnx_act.graph.types import dtype_of, shape_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_act.graph.constants import Constants

# A constant of more elements is a weight or a bias, whose numbers do not matter.
_SMALL: Final = 16
_MOST_BYTES: Final = 1 << 28
# What stands for a dimension that the model leaves open: one row, and a side of 64.
_OPEN_BATCH: Final = 1
_OPEN_SIDE: Final = 64


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some nodes of a model, standing alone.

    Attributes:
        model: to be edited at will.
    """

    model: OnnxModel

    def serialised(self) -> bytes:
        """The model as it is now."""
        proto: bytes = ir.to_proto(self.model.content).SerializeToString()
        return proto


def excerpt(nodes: Sequence[ir.Node], model: OnnxModel, constants: Constants) -> Excerpt | str:
    """`nodes` with what they read as inputs and constants, and what others read as outputs.

    Args:
        nodes: in graph order, all in one graph; at least one.
        model: that they are part of.
        constants: its constants.

    Returns:
        Or why it cannot be made: the type of something is not known, or it is too large.
    """
    inside = set(nodes)
    names: dict[ir.Value, str] = {}
    inputs: list[onnx.ValueInfoProto] = []
    weights: list[onnx.TensorProto] = []
    total = 0
    for node in nodes:
        if any(
            a.type in {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS} or a.is_ref()
            for a in node.attributes.values()
        ):
            return "an attribute of it is not known here"
        for value in node.inputs:
            if value is None or value in names or value.producer() in inside:
                continue
            names[value] = f"v{len(names)}"
            if constants.is_constant(value):
                array = constants.array(value)
                if array is None:
                    return f"{value.name} is a constant that is not evaluated"
                total += array.nbytes
                weights.append(_weight(array, names[value]))
                continue
            info = _input(value, names[value])
            if info is None:
                return f"the type of {value.name} is not known"
            total += _bytes(info)
            inputs.append(info)
    if total > _MOST_BYTES:
        return f"it takes {total / 2**20:.0f} MB"
    for node in nodes:
        names.update({v: f"v{len(names) + k}" for k, v in enumerate(node.outputs)})
    used = [v for n in nodes for v in n.outputs if _leaves(v, inside)]
    outputs = []
    for value in used:
        dtype = dtype_of(value)
        if dtype is None:
            return f"the type of {value.name} is not known"
        outputs.append(onnx.helper.make_tensor_value_info(names[value], int(dtype), None))
    graph = onnx.helper.make_graph(
        [_renamed(n, names) for n in nodes], "excerpt", inputs, outputs, weights
    )
    opsets = [onnx.helper.make_opsetid(d, v) for d, v in sorted(_opsets(nodes[0], model).items())]
    # Before IR version 4 every weight has to be an input as well, and nothing else differs.
    proto = onnx.helper.make_model(
        graph, opset_imports=opsets, ir_version=max(model.content.ir_version, 4)
    )
    return Excerpt(load_model(proto))


def _leaves(value: ir.Value, inside: set[ir.Node]) -> bool:
    return value.is_graph_output() or any(u.node not in inside for u in value.uses())


def _opsets(node: ir.Node, model: OnnxModel) -> dict[str, int]:
    graph = node.graph
    found = dict(model.content.opset_imports)
    if graph is not None:
        found.update(graph.opset_imports)
    return found


def _renamed(node: ir.Node, names: dict[ir.Value, str]) -> onnx.NodeProto:
    proto = ir.to_proto(node)
    assert isinstance(proto, onnx.NodeProto)
    proto.ClearField("metadata_props")
    proto.ClearField("doc_string")
    proto.ClearField("name")
    del proto.input[:], proto.output[:]
    proto.input.extend("" if v is None else names[v] for v in node.inputs)
    proto.output.extend(names[v] if v.name else "" for v in node.outputs)
    return proto


def _input(value: ir.Value, name: str) -> onnx.ValueInfoProto | None:
    dtype, dims = dtype_of(value), shape_of(value)
    if dtype is None or dims is None:
        return None
    sizes = [
        d if isinstance(d, int) else (_OPEN_SIDE if k else _OPEN_BATCH) for k, d in enumerate(dims)
    ]
    return onnx.helper.make_tensor_value_info(name, int(dtype), sizes)


def _bytes(info: onnx.ValueInfoProto) -> int:
    tensor = info.type.tensor_type
    item = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
    size: int = item
    for dim in tensor.shape.dim:
        size *= dim.dim_value
    return size


def _weight(
    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], name: str
) -> onnx.TensorProto:
    if array.size > _SMALL and array.dtype.kind not in "biuOSU":
        rng = np.random.default_rng(0)
        array = (rng.standard_normal(array.shape) * 0.1).astype(array.dtype)
    return onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
