"""What a computed shape is made of: numbers, and dimensions of values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_act.graph.types import shape_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_act.graph.constants import Constants

    Dimension = tuple[ir.Value, int]
    Entry = int | Dimension


def shape_entries(shape: ir.Value, constants: Constants) -> list[Entry] | None:
    """The entries of a vector of sizes, in order.

    Args:
        shape: a vector of integers.
        constants: of its model.

    Returns:
        For each entry a number, or a value and which of its dimensions it is, counted from 0;
        None where something else is computed than exporters write for that.
    """
    if constants.is_constant(shape):
        array = constants.array(shape)
        return None if array is None or array.ndim != 1 else [int(n) for n in array]
    node = shape.producer()
    if node is None or node.domain != "" or not node.inputs or node.inputs[0] is None:
        return None
    match node.op_type:
        case "Concat":
            found: list[Entry] = []
            for value in node.inputs:
                part = None if value is None else shape_entries(value, constants)
                if part is None:
                    return None
                found += part
            return found
        case "Unsqueeze":
            scalar = node.inputs[0].producer()
            taken = None if scalar is None else taken_dimensions(scalar, constants)
            return None if taken is None or len(taken) != 1 else [*taken]
        case "Gather" | "Slice":
            taken = taken_dimensions(node, constants)
            return None if taken is None else [*taken]
    return None


def taken_dimensions(node: ir.Node, constants: Constants) -> list[Dimension] | None:
    """The dimensions that a Gather or a Slice takes from the shape of a value, in order.

    Returns:
        None where it does not, or where it is not clear which.
    """
    if node.domain != "":
        return None
    source = _source_of(node.inputs[0])
    dims = shape_of(source)
    if source is None or dims is None:
        return None
    given = [None if v is None else constants.array(v) for v in node.inputs[1:]]
    places: list[int]
    if node.op_type == "Gather":
        if given[0] is None or given[0].ndim > 1 or node.attributes.get_int("axis", 0) != 0:
            return None
        places = [int(k) for k in given[0].ravel()]
    elif node.op_type == "Slice" and len(given) >= 2:
        if any(a is None or a.size != 1 for a in given):
            return None
        start, end, axis, step = ([int(a.flat[0]) for a in given if a is not None] + [0, 1])[:4]
        if len(given) == 3:
            step = 1
        if axis not in {0, -1} or step != 1:
            return None
        places = list(range(len(dims))[start:end])
    else:
        return None
    if any(not -len(dims) <= k < len(dims) for k in places):
        return None
    return [(source, k % len(dims)) for k in places]


def _source_of(value: ir.Value | None) -> ir.Value | None:
    """The value whose whole shape this is."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "Shape" or node.domain != "":
        return None
    return None if {"start", "end"} & node.attributes.keys() else node.inputs[0]
