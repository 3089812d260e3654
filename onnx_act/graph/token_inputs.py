"""The range that each integer input of a model must be fed from: tokens, indices, lengths, masks.

An integer input is followed through operators that hand its elements on, also into bodies of If,
Loop and Scan and into local functions, to those that can take certain numbers only: a Gather takes
no index beyond its table. What is found is a guess about what is fed, not a proof: that an input
is not bounded here says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.graph.constants import Constants
from onnx_act.graph.types import dtype_of, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_act.graph.model import OnnxModel

Bounds = tuple[int, int]

# Operators that only move the elements of their first input.
_FIRST: Final = frozenset(
    {
        "Cast",
        "Compress",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
_WHOLE: Final = frozenset(
    {
        ir.DataType.INT8,
        ir.DataType.INT16,
        ir.DataType.INT32,
        ir.DataType.INT64,
        ir.DataType.UINT8,
        ir.DataType.UINT16,
        ir.DataType.UINT32,
        ir.DataType.UINT64,
    }
)
_FLOATS: Final = frozenset(
    {ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
)
# Inputs that are sizes or counts: none of them may be negative, and 0 leaves nothing to judge.
_SIZES: Final = frozenset(
    {("ConstantOfShape", 0), ("Expand", 1), ("Tile", 1), ("Range", 1), ("Loop", 0), ("TopK", 1)}
)
_SIZE_BOUNDS: Final = (1, 9)
_FLAG: Final = (0, 1)
# Operators that take 8-bit integers as what they stand for, so that all of them make sense.
_QUANTIZED: Final = frozenset(
    {"DequantizeLinear", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
)
_BYTES: Final = frozenset({ir.DataType.UINT8, ir.DataType.INT8})
_EMBEDDINGS: Final = {0: 2, 1: 4, 8: 3}  # of com.microsoft EmbedLayerNormalization, by its tables
_BODIES: Final = frozenset({"If", "Loop", "Scan"})
_FARTHEST: Final = 100_000  # (value, offset) pairs that are followed for one input


def input_ranges(model: OnnxModel) -> dict[str, Bounds]:
    """The closed range that each integer input should be fed from, where something tells it.

    Args:
        model: a loaded model; it is read, not changed.

    Returns:
        Ranges by input name; what nothing bounds is not in it. Where an input goes to several
        places it is in the range that suits all of them, and not here when none does.
    """
    follower: _Follower | None = None
    found = {}
    for value in model.content.graph.inputs:
        dtype = dtype_of(value)
        if value.is_initializer() or value.name is None or dtype not in _WHOLE:
            continue
        follower = follower or _Follower(model)
        bounds = follower.bounds(value, dtype)
        if bounds is not None:
            found[value.name] = bounds
    return found


class _Follower:
    """Follows inputs through a model."""

    def __init__(self, model: OnnxModel) -> None:
        self._functions = model.content.functions
        self._constants = Constants(model)
        self._results = _results_of_bodies(model)

    def bounds(self, source: ir.Value, dtype: ir.DataType) -> Bounds | None:
        """The range that suits every place that an input reaches; None for any."""
        hard: list[Bounds] = []
        soft: list[Bounds] = []
        # Each value with what was added to the input on the way.
        pending = [(source, 0)]
        seen = set(pending)
        while pending and len(seen) < _FARTHEST:
            value, offset = pending.pop()
            onward = [(result, offset) for result in self._results.get(value, ())]
            for use in value.uses():
                limits = self._limits(use.node, use.idx)
                if limits is not None:
                    hard.append((max(limits[0] - offset, 0), limits[1] - offset))
                elif offset == 0:
                    soft.extend(self._likely(use.node, use.idx, dtype))
                onward.extend(self._onward(use.node, use.idx, offset))
            pending.extend(found for found in dict.fromkeys(onward) if found not in seen)
            seen.update(onward)
        return _intersection(hard, dtype) or _intersection(soft, dtype)

    def _limits(self, node: ir.Node, place: int) -> Bounds | None:
        """What an operator takes as its input at a place; None for anything."""
        if node.domain not in {"", "com.microsoft"}:
            return None
        match node.op_type, place:
            case (("Gather" | "GatherElements" | "ScatterElements" | "Scatter"), 1):
                return self._index(node.inputs[0], _attribute(node, "axis", 0))
            case "GatherBlockQuantized", 1:
                return self._index(node.inputs[0], _attribute(node, "gather_axis", 0))
            case (("GatherND" | "ScatterND"), 1):
                return self._index_of_several(node)
            case "OneHot", 0:
                return self._below(node.inputs[1])
            case "Equal", _:
                return self._classes(node.inputs[1 - place])
            case "EmbedLayerNormalization", (0 | 1 | 8):
                table = _EMBEDDINGS[place]
                return self._index(node.inputs[table] if table < len(node.inputs) else None, 0)
            case (("LSTM" | "GRU" | "RNN"), 4):
                steps = _dimension(node.inputs[0], 1 if _attribute(node, "layout", 0) == 1 else 0)
                return None if steps is None else (1, steps)
            case "TopK", 1:
                size = _dimension(node.inputs[0], _attribute(node, "axis", -1))
                return _SIZE_BOUNDS if size is None else (1, max(1, size))
        return _SIZE_BOUNDS if (node.op_type, place) in _SIZES else None

    def _likely(self, node: ir.Node, place: int, dtype: ir.DataType) -> Iterator[Bounds]:
        """What is usually fed to an operator that would take anything."""
        match node.op_type, place:
            case "Cast", 0:
                source, to = dtype_of(node.inputs[0]), dtype_of(node.outputs[0])
                if to is ir.DataType.BOOL:
                    yield _FLAG
                elif source is dtype and dtype in _BYTES and to in _FLOATS:
                    yield int(dtype.min), int(dtype.max)
            case "Sub", 1 if node.inputs[0] is not None:
                # 1 - mask, which every exporter of transformers writes.
                if self._constants.scalar(node.inputs[0]) == 1.0:
                    yield _FLAG
            case kind, 0 if kind in _QUANTIZED and dtype in _BYTES:
                yield int(dtype.min), int(dtype.max)

    def _onward(self, node: ir.Node, place: int, offset: int) -> Iterator[tuple[ir.Value, int]]:
        """Values that hold the elements of a node's input at a place, and what was added."""
        function = self._functions.get(node.op_identifier())
        if function is not None:
            inner = list(function.inputs)
            if place < len(inner):
                yield inner[place], offset
            return
        if node.domain not in {"", "ai.onnx"}:
            return
        kind = node.op_type
        if (kind in _FIRST and place == 0) or kind == "Concat":
            if dtype_of(node.outputs[0]) is not ir.DataType.BOOL:
                yield from ((value, offset) for value in node.outputs)
        elif kind == "Where" and place > 0:
            yield node.outputs[0], offset
        elif kind in {"Add", "Sub"}:
            added = self._added(node, place)
            if added is not None:
                yield node.outputs[0], offset + added
        elif kind in {"Loop", "Scan"}:
            body = node.attributes["body"].as_graph()
            first = 2 if kind == "Loop" else 0
            if place >= first and place < len(body.inputs):
                yield body.inputs[place], offset

    def _added(self, node: ir.Node, place: int) -> int | None:
        """The whole number that Add or Sub adds to its input; None where it is not one."""
        if node.op_type == "Sub" and place == 1:
            return None
        other = node.inputs[1 - place]
        number = None if other is None else self._constants.scalar(other)
        if number is None or number != int(number):
            return None
        return int(number) if node.op_type == "Add" else -int(number)

    def _index(self, table: ir.Value | None, axis: int) -> Bounds | None:
        size = _dimension(table, axis)
        return (0, size - 1) if size else None

    def _index_of_several(self, node: ir.Node) -> Bounds | None:
        """The indices of GatherND and ScatterND, bounded by the shortest axis that they go to."""
        count = _dimension(node.inputs[1], -1)
        skipped = _attribute(node, "batch_dims", 0)
        sizes = [_dimension(node.inputs[0], skipped + k) for k in range(count or 0)]
        known = [size for size in sizes if size]
        return (0, min(known) - 1) if known else None

    def _classes(self, value: ir.Value | None) -> Bounds | None:
        """What an input is compared with one by one, as one-hot coding is also written."""
        if value is None or not self._constants.is_constant(value):
            return None
        numbers = self._constants.array(value)
        if numbers is None or numbers.dtype.kind not in "iu" or len(np.unique(numbers)) < 2:
            return None
        return int(numbers.min()), int(numbers.max())

    def _below(self, depth: ir.Value | None) -> Bounds | None:
        number = None if depth is None else self._constants.scalar(depth)
        return (0, int(number) - 1) if number is not None and number >= 1 else None


def _intersection(bounds: list[Bounds], dtype: ir.DataType) -> Bounds | None:
    """What suits all of them and the element type; None when nothing does, or nothing is asked."""
    if not bounds:
        return None
    low = max(int(dtype.min), *(bound[0] for bound in bounds))
    high = min(int(dtype.max), *(bound[1] for bound in bounds))
    return (low, high) if low <= high else None


def _results_of_bodies(model: OnnxModel) -> dict[ir.Value, list[ir.Value]]:
    """For what a body returns, the values outside that it becomes."""
    found: dict[ir.Value, list[ir.Value]] = {}
    functions = model.content.functions
    for scope in model.scopes():
        if scope.parent is not None and scope.parent.op_type in _BODIES:
            # The first result of a Loop's body says whether to go on.
            inside = scope.graph.outputs[1 if scope.parent.op_type == "Loop" else 0 :]
            for value, result in zip(inside, scope.parent.outputs, strict=False):
                found.setdefault(value, []).append(result)
        for node in scope.graph if functions else ():
            function = functions.get(node.op_identifier())
            if function is not None:
                for value, result in zip(function.outputs, node.outputs, strict=False):
                    found.setdefault(value, []).append(result)
    return found


def _dimension(value: ir.Value | None, axis: int) -> int | None:
    """The size of an axis, which may be counted from the end; None where it is not known."""
    dims = shape_of(value)
    if dims is None or not -len(dims) <= axis < len(dims):
        return None
    size = dims[axis]
    return size if isinstance(size, int) else None


def _attribute(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    if attribute is None or attribute.is_ref():
        return default
    return attribute.as_int()
