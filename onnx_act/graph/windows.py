"""Where the windows of a pooling operator may lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Sequence


def windows_hold_input(node: ir.Node) -> bool:
    """Whether every window of a pooling operator holds at least one value of the input.

    The maximum of a window in the padding is minus infinity. False also where it cannot be told.

    Args:
        node: a MaxPool, of which `kernel_shape` says how many dimensions it pools.
    """
    if any(a.is_ref() for a in node.attributes.values()):
        return False
    kernel = _integers(node, "kernel_shape")
    if not kernel:
        return False
    strides = _integers(node, "strides") or [1] * len(kernel)
    dilations = _integers(node, "dilations") or [1] * len(kernel)
    pads = _integers(node, "pads") or [0] * 2 * len(kernel)
    if not len(kernel) == len(strides) == len(dilations) == len(pads) / 2:
        return False
    is_dilated = any(d != 1 for d in dilations)
    kind = node.attributes.get("auto_pad")
    if kind is not None and kind.as_string() in {"SAME_UPPER", "SAME_LOWER"}:
        # One window starts at every stride within the input, and padding is shorter than it. With
        # gaps in a window the input may lie in one of them.
        return not is_dilated
    if kind is not None and kind.as_string() == "VALID":
        pads = [0] * len(pads)
    ceil_mode = node.attributes.get("ceil_mode")
    if ceil_mode is not None and ceil_mode.as_int() != 0:
        # The last window may start up to a stride behind the last that fits.
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        return not any(pads) and all(s <= r for s, r in zip(strides, reach, strict=True))
    if not any(pads):
        return True
    return not is_dilated and all(p < k for p, k in zip(pads, [*kernel, *kernel], strict=True))


def strides_of(node: ir.Node) -> Sequence[int]:
    """The strides that a pooling operator states; none where it states none."""
    return _integers(node, "strides")


def pooled_dimensions(node: ir.Node) -> int:
    """How many dimensions a pooling operator pools; 0 where that is its caller's affair."""
    return len(_integers(node, "kernel_shape"))


def _integers(node: ir.Node, name: str) -> list[int]:
    found = node.attributes.get(name)
    if found is None or found.is_ref() or found.type is not ir.AttributeType.INTS:
        return []
    return list(found.as_ints())
