"""Whether two pieces of a graph are written alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt
    import onnx_ir as ir

#: How nodes compute something; equal for nodes that do it alike.
Fingerprint = tuple[object, ...]


def fingerprint(
    nodes: Iterable[ir.Node],
    x: ir.Value,
    array: Callable[[ir.Value], npt.NDArray[np.generic] | None],
) -> Fingerprint:
    """How some nodes compute something of `x`: equal for the same operators on the same operands.

    Args:
        nodes: in graph order; constants among them are operands.
        x: their variable.
        array: what a constant holds, None for a value that is none.

    Returns:
        Names, and whether a constant is a node or an initializer, do not enter.
    """
    places: dict[ir.Value, object] = {x: "x"}
    lines: list[object] = []
    for node in nodes:
        if node.op_type == "Constant" and node.domain == "":
            continue
        operands = [None if v is None else _operand(v, places, array) for v in node.inputs]
        attributes = sorted((a.name, _stored(a.value)) for a in node.attributes.values())
        for index, value in enumerate(node.outputs):
            places[value] = (len(lines), index)
        lines.append((node.domain, node.op_type, tuple(operands), tuple(attributes)))
    return tuple(lines)


def _stored(value: object) -> str:
    """An attribute as a file holds it: numbers in float32."""
    return str(np.float32(value)) if isinstance(value, float) else str(value)


def _operand(
    value: ir.Value,
    places: dict[ir.Value, object],
    array: Callable[[ir.Value], npt.NDArray[np.generic] | None],
) -> object:
    if value in places:
        return places[value]
    held = array(value)
    if held is None:
        return value.name
    # A number is the same whatever the rank of the tensor that holds it.
    shape = () if held.size == 1 else held.shape
    return (str(held.dtype), shape, np.ascontiguousarray(held).tobytes())
