"""Operators that are linear in their input and have constant weights, and folding into them.

Sums are made in float64 and rounded once, to the weight's dtype. Weights that other nodes use are
left to them: what is folded is a copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.graph.types import copy_type, dtype_of, shape_of
from onnx_act.rewrite.affine import reason_not_constant

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnx_act.graph.constants import Constants
    from onnx_act.graph.edit import Editor
    from onnx_act.rewrite.affine import Affine

    Array = npt.NDArray[np.float64]

_WITH_BIAS: Final = frozenset({"Conv", "ConvTranspose", "Gemm"})
# A bias that is made of its weight's shape is made by no more nodes.
_LONGEST_BIAS: Final = 8
# The attributes that say how something is folded.
_READ: Final = (
    "group", "beta", "alpha", "transA", "transB", "pads", "auto_pad", "strides", "kernel_shape",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Folded:
    """New numbers for a linear operator.

    Attributes:
        weight: None where it stays.
        bias: None where it stays; where there is none yet, one is to be made.
    """

    weight: Array | None
    bias: Array | None


@dataclass(frozen=True, slots=True)
class Rounded:
    """`Folded` as it is stored."""

    weight: ir.TensorProtocol | None
    bias: ir.TensorProtocol | None


@dataclass(frozen=True, slots=True)
class Linear:
    """Conv, ConvTranspose, Gemm, or MatMul by a constant matrix with or without an Add behind it.

    Attributes:
        node: the operator.
        adding: the Add that is the bias of a MatMul.
    """

    node: ir.Node
    adding: ir.Node | None = None

    @property
    def nodes(self) -> tuple[ir.Node, ...]:
        """In graph order."""
        return (self.node,) if self.adding is None else (self.node, self.adding)

    @property
    def result(self) -> ir.Value:
        """What it makes."""
        return self.nodes[-1].outputs[0]

    @property
    def title(self) -> str:
        """The operators, for a reader."""
        return ", ".join(n.op_type for n in self.nodes)

    @property
    def weight(self) -> ir.Value:
        """The constant that multiplies."""
        weight = self.node.inputs[1]
        assert weight is not None
        return weight

    @property
    def bias(self) -> ir.Value | None:
        """The constant that is added, if there is one."""
        if self.adding is not None:
            return self.adding.inputs[self.bias_index]
        if self.node.op_type in _WITH_BIAS and len(self.node.inputs) > 2:
            return self.node.inputs[2]
        return None

    @property
    def bias_index(self) -> int:
        """Which input of the Add is the bias."""
        assert self.adding is not None
        return 1 if self.adding.inputs[0] is self.node.outputs[0] else 0

    @property
    def rank(self) -> int | None:
        """Of what it reads and makes."""
        if self.node.op_type == "Gemm":
            return 2
        if self.node.op_type == "MatMul":
            shape = shape_of(self.node.outputs[0]) or shape_of(self.node.inputs[0])
            return None if shape is None else len(shape)
        shape = shape_of(self.weight)
        return None if shape is None else len(shape)

    def setting(self, name: str, otherwise: int) -> int:
        """An integer attribute."""
        stated = self.node.attributes.get(name)
        return otherwise if stated is None else stated.as_int()


def linear_at(node: ir.Node | None, constants: Constants) -> Linear | None:
    """The linear operator whose last node this is. Its numbers may still turn out not constant."""
    if node is None or node.domain != "":
        return None
    if node.op_type in _WITH_BIAS and len(node.inputs) > 1 and node.inputs[1] is not None:
        return Linear(node)
    if node.op_type == "MatMul":
        weight = node.inputs[1]
        shape = None if weight is None else shape_of(weight)
        if weight is None or shape is None or len(shape) != 2:
            return None
        return Linear(node) if constants.is_constant(weight) else None
    product = _biased_product(node, constants)
    return None if product is None else Linear(product, node)


def with_bias(linear: Linear, constants: Constants) -> Linear:
    """The same with the Add that is its bias, where a MatMul has one behind it."""
    if linear.node.op_type == "MatMul" and linear.adding is None:
        for use in linear.result.uses():
            if is_bias_of(use.node, constants):
                return Linear(linear.node, use.node)
    return linear


def is_bias_of(node: ir.Node, constants: Constants) -> bool:
    """Whether an Add does nothing but add a bias to a MatMul by a constant matrix."""
    return node.domain == "" and _biased_product(node, constants) is not None


def _biased_product(adding: ir.Node, constants: Constants) -> ir.Node | None:
    """The MatMul by a constant matrix to which an Add adds a number, or one for each column."""
    if adding.op_type != "Add" or adding.inputs[0] is adding.inputs[1]:
        return None
    for product, bias in (adding.inputs, reversed(adding.inputs)):
        node = None if product is None else product.producer()
        if product is None or node is None or bias is None or node.op_type != "MatMul":
            continue
        linear = linear_at(node, constants)
        shape = constants.shape(bias) if constants.is_constant(bias) else None
        if linear is None or shape is None or node.graph is not adding.graph:
            continue
        if product.is_graph_output() or len(product.uses()) != 1:
            continue
        fits = len(shape) <= 1 or (linear.rank is not None and len(shape) <= linear.rank)
        size, columns = math.prod(shape), constants.shape(linear.weight)
        if fits and columns and (size == 1 or size == columns[-1] == shape[-1]):
            return node
    return None


def reason_not_foldable(linear: Linear, constants: Constants) -> str | None:
    """Why nothing can be folded into it."""
    stated = linear.node.attributes
    unset = next((n for n in _READ if n in stated and stated[n].is_ref()), None)
    if unset is not None:
        return f"{unset} of {linear.node.op_type} is set by every call of the function"
    for value in (linear.weight, linear.bias):
        reason = reason_not_constant(linear.node, value, constants)
        if reason is not None:
            return reason
    return None


def fold_behind(linear: Linear, affine: Affine, constants: Constants) -> Folded | str:
    """The numbers that make the operator compute `affine` of what it computes, or why none do."""
    weight, bias = _numbers(linear, constants)
    groups = linear.setting("group", 1)
    if linear.node.op_type == "Conv":
        place, channels = weight.ndim - 2, weight.shape[0]
    elif linear.node.op_type == "ConvTranspose":
        place, channels = weight.ndim - 2, weight.shape[1] * groups
    else:
        place, channels = 0, weight.shape[0 if linear.setting("transB", 0) else 1]
    fitting = affine.along(place, channels)
    if fitting is None:
        return f"its {channels} channels meet {affine.scale.size} numbers on another axis or length"
    scale, shift = fitting.scale, fitting.shift
    with np.errstate(all="ignore"):
        # Numbers that do not change are not written: their weight may be shared.
        scaled = None
        if np.any(scale != 1):
            scaled = weight * _behind(linear, weight, scale, groups)
        if bias is None:
            return Folded(scaled, shift if np.any(shift != 0) else None)
        return Folded(scaled, bias * scale + shift)


def _behind(linear: Linear, weight: Array, scale: Array, groups: int) -> Array:
    """The scale of each output channel, in the shape of the weight."""
    match linear.node.op_type:
        case "Conv":
            return scale.reshape(-1, *(1,) * (weight.ndim - 1))
        case "ConvTranspose":
            # [inputs, outputs / groups, ...]: row i belongs to group i // (inputs / groups).
            inputs, outputs = weight.shape[0], weight.shape[1]
            rows = np.repeat(scale.reshape(groups, outputs), inputs // groups, axis=0)
            return rows.reshape(inputs, outputs, *(1,) * (weight.ndim - 2))
    return scale[:, None] if linear.setting("transB", 0) else scale


def fold_before(linear: Linear, affine: Affine, constants: Constants) -> Folded | str:
    """The numbers that make the operator compute what it computes of `affine`, or why none do."""
    weight, bias = _numbers(linear, constants)
    groups = linear.setting("group", 1)
    kind = linear.node.op_type
    if kind == "Gemm" and linear.setting("transA", 0):
        return "Gemm transposes its input, so that its channels are not what it sums over"
    if kind == "Conv":
        place, channels = weight.ndim - 2, weight.shape[1] * groups
    elif kind == "ConvTranspose":
        place, channels = weight.ndim - 2, weight.shape[0]
    else:
        place, channels = 0, weight.shape[1 if linear.setting("transB", 0) else 0]
    fitting = affine.along(place, channels)
    if fitting is None:
        return f"its {channels} channels meet {affine.scale.size} numbers on another axis or length"
    scale, shift = fitting.scale, fitting.shift
    moved = bool(np.any(shift != 0))
    if moved and (reason := _reason_at_borders(linear, weight)) is not None:
        return reason
    with np.errstate(all="ignore"):
        scaled = None
        if np.any(scale != 1):
            scaled = weight * _before(linear, weight, scale, groups)
        if not moved:
            return Folded(scaled, None)
        product = weight * _before(linear, weight, shift, groups)
        # What the shift adds is the sum over everything but the output channels.
        added: Array = product.sum(axis=tuple(range(1, weight.ndim)))
        if kind in {"Gemm", "MatMul"}:
            stated = linear.node.attributes.get("alpha")
            alpha = 1.0 if stated is None else stated.as_float()
            added = alpha * product.sum(axis=1 if linear.setting("transB", 0) else 0)
        return Folded(scaled, added if bias is None else bias + added)


def _before(linear: Linear, weight: Array, scale: Array, groups: int) -> Array:
    """The scale of each input channel, in the shape of the weight."""
    match linear.node.op_type:
        case "Conv":
            # [outputs, inputs / groups, ...]: row o belongs to group o // (outputs / groups).
            outputs, inputs = weight.shape[0], weight.shape[1]
            rows = np.repeat(scale.reshape(groups, inputs), outputs // groups, axis=0)
            return rows.reshape(outputs, inputs, *(1,) * (weight.ndim - 2))
        case "ConvTranspose":
            return scale.reshape(-1, *(1,) * (weight.ndim - 1))
    return scale if linear.setting("transB", 0) else scale[:, None]


def _reason_at_borders(linear: Linear, weight: Array) -> str | None:
    """Why a constant added to every input is not one added to every output."""
    if linear.node.op_type == "ConvTranspose":
        return "ConvTranspose does not sum the same weights at every place"
    if linear.node.op_type != "Conv":
        return None
    pads = linear.node.attributes.get("pads")
    automatic = linear.node.attributes.get("auto_pad")
    mode = "NOTSET" if automatic is None else automatic.as_string()
    padded = pads is not None and any(pads.as_ints()) and mode == "NOTSET"
    padded = padded or (mode.startswith("SAME") and any(d != 1 for d in weight.shape[2:]))
    return "its Conv pads with zeros, to which the shift is not added" if padded else None


def _numbers(linear: Linear, constants: Constants) -> tuple[Array, Array | None]:
    """Weight and bias, the latter with Gemm's beta multiplied in."""
    weight = constants.floats(linear.weight)
    bias = None if linear.bias is None else constants.floats(linear.bias)
    assert weight is not None
    beta = linear.node.attributes.get("beta")
    if bias is not None and linear.node.op_type == "Gemm" and beta is not None:
        bias = bias * beta.as_float()
    if bias is not None and linear.adding is not None:
        bias = bias.reshape(-1)
    return weight, bias


def rounded(folded: Folded, linear: Linear, constants: Constants) -> Rounded | str:
    """The numbers in the weight's dtype, or why they cannot be."""
    dtype = dtype_of(linear.weight)
    if dtype is None:
        # In a function that nobody calls: as the constant holds it.
        array = constants.array(linear.weight)
        assert array is not None
        dtype = ir.DataType.from_numpy(array.dtype)
    stored: list[ir.TensorProtocol | None] = []
    for exact in (folded.weight, folded.bias):
        if exact is None:
            stored.append(None)
            continue
        with np.errstate(all="ignore"):
            values = np.ascontiguousarray(exact).astype(dtype.numpy())
        if not np.isfinite(values.astype(np.float64)).all():
            kind = "is not finite" if not np.isfinite(exact).all() else "does not fit its dtype"
            return f"a folded weight {kind}"
        stored.append(ir.tensor(values, dtype=dtype))
    return Rounded(*stored)


def _outlives(node: ir.Node, linear: Linear) -> bool:
    """Whether a node is for more than the bias that is about to be replaced.

    Exporters make a bias of zeros in the shape of the weight.
    """
    pending = [node]
    for _ in range(_LONGEST_BIAS):
        if not pending:
            return False
        for value in pending.pop().outputs:
            if value.is_graph_output():
                return True
            users = [use.node for use in value.uses()]
            if value is linear.bias:
                if any(user is not linear.node for user in users):
                    return True
                continue
            if not users or linear.node in users:
                return True
            pending.extend(users)
    return True


def copied_bytes(linear: Linear, numbers: Rounded) -> int:
    """How much the file grows by new numbers: the weight's size, where others keep the old."""
    weight = linear.weight
    if numbers.weight is None:
        return 0
    others = [use.node for use in weight.uses() if use.node is not linear.node]
    keeps_bias = numbers.bias is None
    stays = weight.is_graph_output() or any(keeps_bias or _outlives(n, linear) for n in others)
    return weight.const_value.nbytes if stays and weight.const_value is not None else 0


def title_with(linear: Linear, numbers: Rounded) -> str:
    """The operators with new numbers, for a reader."""
    adds = linear.node.op_type == "MatMul" and linear.bias is None and numbers.bias is not None
    return f"{linear.title}, Add" if adds else linear.title


def write_numbers(linear: Linear, numbers: Rounded, editor: Editor) -> list[ir.Node]:
    """Give the operator new numbers.

    Returns:
        Nothing where that was done in place. A MatMul that has no bias and needs one is left as it
        is, and what is to stand for it is returned: a MatMul and an Add, not yet in the graph.
    """
    released = [v for v in (linear.weight, linear.bias) if v is not None]
    node = linear.node
    name = node.name or node.outputs[0].name
    weight, bias = linear.weight, None
    if numbers.weight is not None:
        weight = editor.add_constant(f"{linear.weight.name}/folded", numbers.weight, node)
    if numbers.bias is not None:
        bias = editor.add_constant(f"{name}/bias", numbers.bias, node)
    if bias is not None and linear.adding is None and node.op_type == "MatMul":
        product, result = (
            ir.Value(name=editor.fresh_name(f"{name}/{k}")) for k in ("MatMul", "Add")
        )
        copy_type(node.outputs[0], product)
        return [
            ir.Node("", "MatMul", [node.inputs[0], weight], outputs=[product], name=product.name),
            ir.Node("", "Add", [product, bias], outputs=[result], name=result.name),
        ]
    node.replace_input_with(1, weight)
    if bias is not None and linear.adding is not None:
        linear.adding.replace_input_with(linear.bias_index, bias)
    elif bias is not None:
        if len(node.inputs) < 3:
            node.resize_inputs(3)
        node.replace_input_with(2, bias)
        node.attributes.pop("beta", None)
    editor.remove_unused(released)
    return []
