"""Which values are constant, and what they hold.

Constant is: an initializer that no caller can override, the output of a Constant node, and what
deterministic operators compute of those alone (Expand, Reshape, Unsqueeze, Cast, arithmetic ...).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from onnx_act.graph.types import dtype_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnx_act.graph.model import OnnxModel

# Operators that exporters leave between a constant and its use. Each is cheap and deterministic.
_FOLDED: Final = frozenset(
    {
        "Abs",
        "Add",
        "Cast",
        "CastLike",
        "Concat",
        "ConstantOfShape",
        "Div",
        "Exp",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Log",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Pow",
        "Reciprocal",
        "Reshape",
        "Shape",
        "Slice",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
# A constant subgraph that makes more elements than this is left alone: no activation needs it.
_MOST_ELEMENTS: Final = 1 << 22


class Constants:
    """The constants of one model, evaluated when asked and remembered."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self._known: dict[ir.Value, npt.NDArray[np.generic] | None] = {}
        self._constant: dict[ir.Value, bool] = {}
        self._fixed: dict[ir.Value, bool] = {}

    def is_constant(self, value: ir.Value) -> bool:
        """Whether the value is computed of constants alone."""
        return self._is_made_of_constants(value, self._constant, by_type=False)

    def is_fixed(self, value: ir.Value) -> bool:
        """Whether the value is the same in every run.

        Unlike a constant it may read the type of something that is not: CastLike makes that of a
        constant, in whatever dtype its neighbour has.
        """
        return self._is_made_of_constants(value, self._fixed, by_type=True)

    def _is_made_of_constants(
        self, value: ir.Value, verdicts: dict[ir.Value, bool], *, by_type: bool
    ) -> bool:
        known = verdicts.get(value)
        if known is not None:
            return known
        # Iterative: a chain of constant operators may be long.
        stack = [value]
        while stack:
            current = stack[-1]
            if current in verdicts:
                stack.pop()
                continue
            verdict = self._shallow(current)
            if verdict is None:
                node = current.producer()
                assert node is not None
                read = [v for v in node.inputs if v is not None]
                if by_type and node.op_type == "CastLike" and dtype_of(read[-1]) is not None:
                    read = read[:1]
                open_inputs = [v for v in read if v not in verdicts]
                if open_inputs:
                    stack.extend(open_inputs)
                    continue
                verdict = all(verdicts[v] for v in read)
            verdicts[current] = verdict
            stack.pop()
        return verdicts[value]

    def _shallow(self, value: ir.Value) -> bool | None:
        """The verdict where the producer's inputs do not matter; None where they do."""
        if value.is_initializer():
            return not self._model.is_overridable(value)
        node = value.producer()
        if node is None:
            return False
        if node.op_type == "Constant" and node.domain == "":
            return not any(a.is_ref() for a in node.attributes.values())
        folds = node.domain == "" and node.op_type in _FOLDED and node.inputs
        if not folds or any(a.is_ref() for a in node.attributes.values()):
            return False
        return None

    def shape(self, value: ir.Value) -> tuple[int, ...] | None:
        """The shape of a constant, without reading it where it is stored."""
        if value.const_value is not None:
            return tuple(int(d) for d in value.const_value.shape)  # type: ignore[arg-type]
        array = self.array(value)
        return None if array is None else array.shape

    def dtype(self, value: ir.Value) -> ir.DataType | None:
        """The element type of a constant."""
        return dtype_of(value)

    def array(self, value: ir.Value) -> npt.NDArray[np.generic] | None:
        """What a value holds, in its own dtype; None when the value is not fixed.

        A stored weight is read as a memory map where it is external.
        """
        if value not in self._known:
            self._known[value] = self._evaluate(value)
        return self._known[value]

    def floats(self, value: ir.Value) -> npt.NDArray[np.float64] | None:
        """What a numeric constant holds, as float64."""
        array = self.array(value)
        if array is None or array.dtype.kind in "OSU":
            return None
        return array.astype(np.float64)

    def scalar(self, value: ir.Value) -> float | None:
        """The number that a constant holds in each of its elements; None when they differ."""
        shape = self.shape(value) if self.is_constant(value) else None
        if shape is None or not 0 < math.prod(shape) <= _MOST_ELEMENTS:
            return None
        array = self.floats(value)
        if array is None:
            return None
        first = array.flat[0]
        return float(first) if bool(np.all(array == first)) else None

    def _evaluate(self, value: ir.Value) -> npt.NDArray[np.generic] | None:
        if not self.is_fixed(value):
            return None
        if value.const_value is not None:
            return np.asarray(value.const_value.numpy())
        node = value.producer()
        assert node is not None
        if node.op_type == "Constant":
            return _constant_node(node)
        inputs = [None if v is None else self.array(v) for v in node.inputs]
        if node.op_type == "CastLike" and inputs[-1] is None:
            like = dtype_of(node.inputs[-1])
            inputs[-1] = None if like is None else np.zeros(1, like.numpy())
        if any(i is None for i, v in zip(inputs, node.inputs, strict=True) if v is not None):
            return None
        return _run_node(node, inputs, value, self._opset(node))

    def _opset(self, node: ir.Node) -> int:
        # A node's graph may be a function body with imports of its own; the highest import of the
        # model is right for the operators folded here, whose meaning did not change.
        graph = node.graph
        imports = graph.opset_imports if graph is not None else {}
        return imports.get("", self._model.content.opset_imports.get("", 13))


def _constant_node(node: ir.Node) -> npt.NDArray[np.generic] | None:
    """What a Constant node holds; None for sparse and string values."""
    for name, attribute in node.attributes.items():
        match name:
            case "value":
                return np.asarray(attribute.as_tensor().numpy())
            case "value_float" | "value_floats":
                return np.asarray(attribute.value, dtype=np.float32)
            case "value_int" | "value_ints":
                return np.asarray(attribute.value, dtype=np.int64)
    return None


def _run_node(
    node: ir.Node,
    inputs: list[npt.NDArray[np.generic] | None],
    wanted: ir.Value,
    opset: int,
) -> npt.NDArray[np.generic] | None:
    """One constant node by onnx's reference evaluator; None when it cannot."""
    proto = ir.to_proto(node)
    names = [f"i{k}" if array is not None else "" for k, array in enumerate(inputs)]
    del proto.input[:], proto.output[:]
    proto.input.extend(names)
    proto.output.extend(f"o{k}" for k in range(len(node.outputs)))
    graph = onnx.helper.make_graph(
        [proto],
        "constant",
        [onnx.ValueInfoProto(name=n) for n in names if n],
        [onnx.ValueInfoProto(name=n) for n in proto.output],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    feeds = {n: a for n, a in zip(names, inputs, strict=True) if a is not None}
    if sum(a.size for a in feeds.values()) > _MOST_ELEMENTS:
        return None
    try:
        results = list(ReferenceEvaluator(model).run(None, feeds))
    except Exception:  # noqa: BLE001 - an evaluator that gives up means: not known to be constant
        return None
    result = np.asarray(results[node.outputs.index(wanted)])
    return result if result.size <= _MOST_ELEMENTS else None
