"""Windows of a pool that hold nothing of the input are never missed."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import onnx_ir as ir
import pytest

from onnx_act.graph.windows import pooled_dimensions, strides_of, windows_hold_input

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def _pool(**attributes: Sequence[int] | int | str) -> ir.Node:
    attrs = [
        ir.AttrInt64s(k, list(v)) if isinstance(v, list) else _plain(k, v)
        for k, v in attributes.items()
    ]
    return ir.Node("", "MaxPool", [ir.Value(name="x")], attrs)


def _plain(name: str, value: object) -> ir.Attr:
    return (
        ir.AttrString(name, value)
        if isinstance(value, str)
        else ir.AttrInt64(name, int(str(value)))
    )


def _windows(
    size: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int], *, ceil: bool
) -> Iterator[list[int]]:
    """The places of every window along one dimension, as the standard's shapes have them."""
    reach = (kernel - 1) * dilation + 1
    room = size + sum(pads) - reach
    if room < 0:
        return
    count = (-(-room // stride) if ceil else room // stride) + 1
    for k in range(count):
        yield [k * stride - pads[0] + j * dilation for j in range(kernel)]


def test_every_window_holds_some_input_where_that_is_said() -> None:
    said = 0
    for kernel, stride, dilation, before, after, ceil in product(
        (1, 2, 3), (1, 2, 3), (1, 2), (0, 1, 2), (0, 1, 2), (False, True)
    ):
        node = _pool(
            kernel_shape=[kernel],
            strides=[stride],
            dilations=[dilation],
            pads=[before, after],
            ceil_mode=int(ceil),
        )
        if not windows_hold_input(node):
            continue
        said += 1
        for size in range(1, 9):
            for places in _windows(size, kernel, stride, dilation, (before, after), ceil=ceil):
                assert any(0 <= p < size for p in places), (node, size)
    assert said > 50


@pytest.mark.parametrize("kind", ["SAME_UPPER", "SAME_LOWER"])
def test_padding_that_is_worked_out(kind: str) -> None:
    for size, kernel, stride in product(range(1, 9), (1, 2, 3), (1, 2, 3, 4)):
        assert windows_hold_input(_pool(auto_pad=kind, kernel_shape=[kernel], strides=[stride]))
        count = -(-size // stride)
        total = max((count - 1) * stride + kernel - size, 0)
        before = total // 2 if kind == "SAME_UPPER" else total - total // 2
        for k in range(count):
            places = range(k * stride - before, k * stride - before + kernel)
            assert any(0 <= p < size for p in places), (size, kernel, stride)


def test_what_cannot_be_told() -> None:
    assert not windows_hold_input(_pool())
    assert not windows_hold_input(_pool(kernel_shape=[2, 2], pads=[0, 0]))
    assert not windows_hold_input(_pool(kernel_shape=[2], dilations=[2], auto_pad="SAME_UPPER"))
    given = _pool(kernel_shape=[2])
    given.attributes.add(ir.RefAttr("pads", "pads", ir.AttributeType.INTS))
    assert not windows_hold_input(given)
    assert windows_hold_input(_pool(kernel_shape=[2], pads=[1, 1], auto_pad="VALID"))


def test_what_a_pool_states() -> None:
    assert strides_of(_pool(kernel_shape=[2, 2])) == []
    assert strides_of(_pool(strides=[2, 3])) == [2, 3]
    assert pooled_dimensions(_pool(kernel_shape=[2, 2, 2])) == 3
