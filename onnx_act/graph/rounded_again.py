"""Which 16-bit weights of a model another model holds rounded again.

A fold multiplies a weight by one number, or by one for each channel, and rounds the product once
more. In 16 bits that rounding shows in outputs, and nothing that is done to the model before the
fold shows it. Which weights it can have happened to is read off the numbers, and narrowly, since
for those more is allowed:

* A weight that the other model holds bit for bit was not rounded.
* The other model has a weight of the same type, and of the same shape (or, of a matrix, the
  transposed one), that is the old one times a factor for each channel, as far as rounding tells
  (`onnx_act.graph.factors`). Channels have several elements each.
* Or it is a list of numbers, one for each channel (a bias), that were multiplied by the very
  factors which a weight like that was multiplied by.
* A lone number and the slopes of a PRelu do not count: any number is another times a factor, and
  no fold multiplies a slope.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import onnx_ir as ir

from onnx_act.graph.factors import factors_between, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from onnx_act.graph.factors import Factors
    from onnx_act.graph.model import OnnxModel

    Numbers = npt.NDArray[np.generic]

_SHORT: Final = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


def weights_rounded_again(
    reference: OnnxModel, candidate: OnnxModel, most_bytes: int
) -> dict[str, Numbers]:
    """The weights of 16 bits in the reference's main graph that the candidate rounded again.

    Takes time in proportion to the weights that are not the same in both, where each has a few of
    its shape; unlike ones are told apart by their first channels.

    Args:
        reference: initializers and Constant nodes of its main graph are looked at.
        candidate: those of all of its scopes are.
        most_bytes: the most that the reference's weights that changed may have together.

    Returns:
        The reference's numbers, of their own dtype, by the name of the value; none where the
        weights that changed are larger than `most_bytes`.
    """
    own = [_Weight(*found) for found in _short_weights(reference.content.graph)]
    new: dict[tuple[object, ...], dict[bytes, _Weight]] = defaultdict(dict)
    for scope in candidate.scopes() if own else ():
        for found in _short_weights(scope.graph):
            weight = _Weight(*found)
            new[weight.kind].setdefault(weight.content, weight)
    changed = [w for w in own if w.content not in new[w.kind] and not w.is_slope]
    if sum(weight.nbytes for weight in changed) > most_bytes:
        return {}
    # What the reference has as well did not come of another weight.
    for weight in own:
        new[weight.kind].pop(weight.content, None)
    again: dict[str, Numbers] = {}
    factors: list[Factors] = []
    for weight in changed:
        array = weight.tensor.numpy()
        for other in _counterparts(array, weight, new):
            found_here = factors_between(array, other)
            factors += found_here
            if found_here:
                again[weight.name] = array
    known = together(factors)
    for weight in changed:
        array = weight.tensor.numpy()
        if array.ndim == 1 and any(
            each.explain(array, other)
            for other in _counterparts(array, weight, new)
            for each in known
        ):
            again[weight.name] = array
    return again


def _counterparts(
    array: Numbers, weight: _Weight, new: dict[tuple[object, ...], dict[bytes, _Weight]]
) -> Iterator[Numbers]:
    for other in new[weight.kind].values():
        yield other.tensor.numpy()
    if array.ndim == 2:
        dtype, *shape = weight.kind
        for other in new[dtype, *shape[::-1]].values():
            yield other.tensor.numpy().T


class _Weight:
    """A weight of 16 bits; its numbers stay where they are."""

    def __init__(self, value: ir.Value, tensor: ir.TensorProtocol) -> None:
        self.name = value.name or ""
        self.tensor = tensor
        self.nbytes = tensor.nbytes
        self.kind = (tensor.dtype, *tensor.shape.numpy())
        self.content = hashlib.sha256(tensor.tobytes()).digest()
        self.is_slope = any(use.node.op_type == "PRelu" for use in value.uses())


def _short_weights(graph: ir.Graph | ir.GraphView) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    """Initializers and Constant nodes with several floats of 16 bits."""
    for value, tensor in _weights(graph):
        # What nothing reads was left behind by a change.
        is_read = bool(value.uses()) or value.is_graph_output()
        if is_read and tensor.dtype in _SHORT and tensor.size > 1:
            yield value, tensor


def _weights(graph: ir.Graph | ir.GraphView) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    for value in graph.initializers.values():
        if value.const_value is not None:
            yield value, value.const_value
    for node in graph:
        held = node.attributes.get("value") if node.op_type == "Constant" else None
        if held is not None and held.type is ir.AttributeType.TENSOR and not held.is_ref():
            yield node.outputs[0], held.as_tensor()
