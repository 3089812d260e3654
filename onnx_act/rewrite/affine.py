"""Nodes that are affine in their input, per channel: normalisations, arithmetic with constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.graph.sampling import attribute
from onnx_act.graph.types import dtype_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnx_act.graph.constants import Constants

    Array = npt.NDArray[np.float64]

NORMALIZATION: Final = "BatchNormalization"
_ARITHMETIC: Final = frozenset({"Mul", "Div", "Add", "Sub"})
_FLOATS: Final = frozenset(
    {ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
)
# Since this opset BatchNormalization is in inference mode unless it says otherwise, and arithmetic
# broadcasts as numpy does.
_MODERN: Final = 7


@dataclass(frozen=True, slots=True)
class Affine:
    """y = scale * x + shift, in float64.

    Attributes:
        scale: [channels], or [1] where one number serves all.
        shift: of the same kind.
        place: how many axes from the last one the channels lie; None where there is one number.
    """

    scale: Array
    shift: Array
    place: int | None

    def then(self, other: Affine) -> Affine | None:
        """`other` of this; None where they are along different axes or lengths."""
        if None not in {self.place, other.place} and (
            self.place != other.place or self.scale.size != other.scale.size
        ):
            return None
        place = other.place if self.place is None else self.place
        scale = self.scale * other.scale
        shift = self.shift * other.scale + other.shift
        scale, shift = np.broadcast_arrays(scale, shift)
        return Affine(scale, shift, place)

    def along(self, place: int, channels: int) -> Affine | None:
        """The same for each of `channels` at `place`; None where it is along something else."""
        if self.place is None:
            scale, shift = (np.broadcast_to(a, (channels,)) for a in (self.scale, self.shift))
            return Affine(scale, shift, place)
        if self.place != place or self.scale.size != channels:
            return None
        return self


def varying_input(node: ir.Node, constants: Constants) -> ir.Value | None:
    """The one input that a node of such a kind does not hold constant; None for other nodes."""
    if node.domain != "":
        return None
    if node.op_type == NORMALIZATION:
        return node.inputs[0]
    if node.op_type not in _ARITHMETIC or len(node.inputs) != 2:
        return None
    varying = [v for v in node.inputs if v is None or not constants.is_constant(v)]
    return varying[0] if len(varying) == 1 else None


def affine_of(
    node: ir.Node, rank: int | None, opset: int, constants: Constants
) -> Affine | str | None:
    """What a node does to its varying input.

    Args:
        node: any node.
        rank: of that input, None when it is not known.
        opset: in force at the node.
        constants: of the model.

    Returns:
        None when the node is nothing of the kind, and a reason when it would be if it were not for
        something that a person can change.
    """
    value = varying_input(node, constants)
    if value is None:
        return None
    if node.op_type == NORMALIZATION:
        return _normalization(node, rank, opset, constants)
    if opset < _MODERN or dtype_of(value) not in _FLOATS:
        return None
    position = 1 if node.inputs[0] is value else 0
    operand = node.inputs[position]
    assert operand is not None
    return _arithmetic(node.op_type, position, operand, rank, constants)


def reason_in_mode(node: ir.Node, opset: int) -> str | None:
    """Why the result of a BatchNormalization is not an affine function of its input alone."""
    unset = next((n for n, a in node.attributes.items() if a.is_ref()), None)
    if unset is not None:
        return f"its {unset} is set by every call of the function"
    if opset < _MODERN and attribute(node, "is_test", opset) != 1:
        return "it is in training mode (is_test is 0)"
    if attribute(node, "training_mode", opset) == 1:
        return "it is in training mode"
    if attribute(node, "spatial", opset) == 0:
        return "its statistics are per element (spatial is 0)"
    if any(v.uses() or v.is_graph_output() for v in node.outputs[1:]):
        return "its running statistics are used"
    return None


def reason_not_constant(
    holder: ir.Node, value: ir.Value | None, constants: Constants
) -> str | None:
    """Why a weight cannot be folded; None for one that is not there."""
    if value is None:
        return None
    if not constants.is_fixed(value):
        why = "can be overridden by a caller" if value.is_initializer() else "is computed"
        return f"{value.name} of {holder.op_type} {why}"
    if constants.floats(value) is None:
        return f"{value.name} of {holder.op_type} is a constant that is not evaluated"
    return None


def _normalization(
    node: ir.Node, rank: int | None, opset: int, constants: Constants
) -> Affine | str:
    reason = reason_in_mode(node, opset)
    for value in node.inputs[1:5]:
        reason = reason or reason_not_constant(node, value, constants)
    if reason is not None:
        return reason
    if rank is None or rank < 2:
        return "the rank of its input is not known"
    scale, bias, mean, variance = (constants.floats(v) for v in node.inputs[1:5] if v is not None)
    epsilon = attribute(node, "epsilon", opset)
    assert isinstance(epsilon, float)
    assert scale is not None
    assert bias is not None
    assert mean is not None
    assert variance is not None
    # What overflows or has no root is refused later, by what comes out.
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + epsilon)
        return Affine(factor, bias - mean * factor, rank - 2)


def _arithmetic(
    op_type: str, position: int, operand: ir.Value, rank: int | None, constants: Constants
) -> Affine | None:
    shape = constants.shape(operand)
    if shape is None or (len(shape) > 1 and (rank is None or len(shape) > rank)):
        return None
    if len(shape) == 1 and rank == 0:
        return None
    long = [k for k, d in enumerate(shape) if d != 1]
    if len(long) > 1:
        return None
    numbers = constants.floats(operand)
    if numbers is None:
        return None
    c = numbers.reshape(-1)
    one, none = np.ones_like(c), np.zeros_like(c)
    place = len(shape) - 1 - long[0] if long else None
    with np.errstate(all="ignore"):
        if op_type == "Mul":
            return Affine(c, none, place)
        if op_type == "Add":
            return Affine(one, c, place)
        if op_type == "Sub":
            return Affine(one, -c, place) if position == 1 else Affine(-one, c, place)
        return Affine(1.0 / c, none, place) if position == 1 else None
