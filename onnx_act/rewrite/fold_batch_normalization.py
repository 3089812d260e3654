"""Fold BatchNormalization into the Conv, ConvTranspose or Gemm that feeds it.

Not valid in training mode, where something else uses the unnormalised result, or where a weight
is not constant. Weights shared with other nodes are copied. Sums are made in float64 and rounded
once to the weight's dtype.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.graph.sampling import attribute
from onnx_act.graph.types import dtype_of
from onnx_act.rewrite.rule import Change, Fidelity, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from onnx_act.graph.constants import Constants
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.model import Scope
    from onnx_act.rewrite.rule import Proposal, Subject

    Array = npt.NDArray[np.float64]

_RULE: Final = "fold_batch_normalization"
_FOLDABLE: Final = frozenset({"Conv", "ConvTranspose", "Gemm"})
# The attributes of those that say how a scale is folded.
_READ: Final = ("group", "beta", "transB")
# Since this opset BatchNormalization is in inference mode unless it says otherwise.
_INFERENCE: Final = 7


@dataclass(frozen=True, slots=True)
class _Affine:
    """Per-channel y = scale * x + shift."""

    scale: Array
    shift: Array


@dataclass(frozen=True)
class FoldBatchNormalization:
    """Put the scale into the weight and the shift into the bias of the operator before."""

    name: str = field(default=_RULE, init=False)
    # Of two in a row the second can be folded once the first is.
    enables_itself: bool = field(default=True, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every BatchNormalization of the model."""
        for scope in subject.model.scopes():
            for node in scope.graph:
                if node.op_type == "BatchNormalization" and node.domain == "":
                    yield _propose(node, scope, subject.constants)


def _propose(node: ir.Node, scope: Scope, constants: Constants) -> Proposal:
    result = node.outputs[0]
    site = f"{scope.name}/{result.name}" if scope.name else str(result.name)
    reason = _reason_against(node, scope, constants)
    if reason is not None:
        return Refusal(_RULE, site, "", reason)
    assert node.inputs[0] is not None
    before = node.inputs[0].producer()
    assert before is not None
    # What overflows or has no root is refused below, by what comes out.
    with np.errstate(all="ignore"):
        affine = _affine(node, scope.opset(), constants)
        folded = _FOLD[before.op_type](before, affine, constants)
        rounded = folded if isinstance(folded, str) else _rounded(folded, before, constants)
    if isinstance(rounded, str):
        return Refusal(_RULE, site, "", rounded)
    weight, bias = rounded

    def apply(editor: Editor) -> None:
        _apply(node, before, weight, bias, editor)

    return Change(
        rule=_RULE,
        fidelity=Fidelity.NUMERIC,
        site=site,
        before=f"{before.op_type}, BatchNormalization",
        after=before.op_type,
        nodes=tuple(n.name or n.op_type for n in (before, node)),
        apply=apply,
    )


def _reason_against(node: ir.Node, scope: Scope, constants: Constants) -> str | None:
    reason = _reason_in_mode(node, scope.opset()) or _reason_before(node)
    if reason is not None:
        return reason
    assert node.inputs[0] is not None
    before = node.inputs[0].producer()
    assert before is not None
    for holder, values in ((before, before.inputs[1:]), (node, node.inputs[1:5])):
        for constant in values:
            if constant is None:
                continue
            if not constants.is_constant(constant):
                why = (
                    "can be overridden by a caller" if constant.is_initializer() else "is computed"
                )
                return f"{constant.name} of {holder.op_type} {why}"
            if constants.floats(constant) is None:
                return f"{constant.name} of {holder.op_type} is a constant that is not evaluated"
    return None


def _reason_in_mode(node: ir.Node, opset: int) -> str | None:
    """Why its result is not an affine function of its input alone."""
    unset = next((n for n, a in node.attributes.items() if a.is_ref()), None)
    if unset is not None:
        return f"its {unset} is set by every call of the function"
    if opset < _INFERENCE and attribute(node, "is_test", opset) != 1:
        return "it is in training mode (is_test is 0)"
    if attribute(node, "training_mode", opset) == 1:
        return "it is in training mode"
    if attribute(node, "spatial", opset) == 0:
        return "its statistics are per element (spatial is 0)"
    if any(v.uses() or v.is_graph_output() for v in node.outputs[1:]):
        return "its running statistics are used"
    return None


def _reason_before(node: ir.Node) -> str | None:
    """Why what feeds it cannot take it in."""
    value = node.inputs[0]
    before = None if value is None else value.producer()
    if value is None or before is None or before.domain or before.op_type not in _FOLDABLE:
        what = "an input" if before is None else ".".join(filter(None, before.op_identifier()[:2]))
        return f"it follows {what}, not Conv, ConvTranspose or Gemm"
    if value.is_graph_output() or len(value.uses()) != 1:
        return f"something else uses what {before.op_type} makes"
    if before.graph is not node.graph:
        return f"{before.op_type} is in an outer graph"
    stated = before.attributes
    unset = next((n for n in _READ if n in stated and stated[n].is_ref()), None)
    if unset is not None:
        return f"{unset} of {before.op_type} is set by every call of the function"
    return None


def _affine(node: ir.Node, opset: int, constants: Constants) -> _Affine:
    scale, bias, mean, variance = (_floats(v, constants) for v in node.inputs[1:5])
    epsilon = attribute(node, "epsilon", opset)
    assert isinstance(epsilon, float)
    factor = scale / np.sqrt(variance + epsilon)
    return _Affine(factor, bias - mean * factor)


def _floats(value: ir.Value | None, constants: Constants) -> Array:
    found = None if value is None else constants.floats(value)
    assert found is not None
    return found


def _optional(node: ir.Node, index: int, constants: Constants) -> Array | None:
    value = node.inputs[index] if len(node.inputs) > index else None
    return None if value is None else constants.floats(value)


Folded = tuple[
    np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    np.ndarray[tuple[int, ...], np.dtype[np.float64]],
]


def _fold_conv(node: ir.Node, affine: _Affine, constants: Constants) -> Folded | str:
    weight = _floats(node.inputs[1], constants)
    bias = _optional(node, 2, constants)
    if weight.shape[0] != affine.scale.size:
        return f"{weight.shape[0]} channels meet statistics of {affine.scale.size}"
    column = affine.scale.reshape(-1, *(1,) * (weight.ndim - 1))
    return weight * column, (0 if bias is None else bias) * affine.scale + affine.shift


def _fold_conv_transpose(node: ir.Node, affine: _Affine, constants: Constants) -> Folded | str:
    weight = _floats(node.inputs[1], constants)
    bias = _optional(node, 2, constants)
    stated = node.attributes.get("group")
    groups = 1 if stated is None else stated.as_int()
    inputs, outputs = weight.shape[0], weight.shape[1]
    if outputs * groups != affine.scale.size:
        return f"{outputs * groups} channels meet statistics of {affine.scale.size}"
    # Weight is [inputs, outputs / groups, ...]: row i belongs to group i // (inputs / groups).
    rows = np.repeat(affine.scale.reshape(groups, outputs), inputs // groups, axis=0)
    column = rows.reshape(inputs, outputs, *(1,) * (weight.ndim - 2))
    return weight * column, (0 if bias is None else bias) * affine.scale + affine.shift


def _fold_gemm(node: ir.Node, affine: _Affine, constants: Constants) -> Folded | str:
    weight = _floats(node.inputs[1], constants)
    bias = _optional(node, 2, constants)
    transposed = node.attributes.get("transB")
    by_row = transposed is not None and transposed.as_int() == 1
    if weight.shape[0 if by_row else 1] != affine.scale.size:
        return f"{weight.shape} columns meet statistics of {affine.scale.size}"
    beta = node.attributes.get("beta")
    factor = 1.0 if beta is None else beta.as_float()
    scaled = weight * (affine.scale[:, None] if by_row else affine.scale)
    # Gemm multiplies the bias by beta; it is 1 from here on.
    return scaled, (0 if bias is None else factor * bias) * affine.scale + affine.shift


def _rounded(
    folded: Folded, before: ir.Node, constants: Constants
) -> tuple[ir.TensorProtocol, ir.TensorProtocol] | str:
    """Weight and bias in the weight's dtype, or why they cannot be."""
    dtype = _dtype_of_weight(before, constants)
    if dtype is None:
        return f"the element type of {before.op_type}'s weight is not known"
    stored = [values.astype(dtype.numpy()) for values in folded]
    for exact, values in zip(folded, stored, strict=True):
        if not np.isfinite(np.asarray(values, dtype=np.float64)).all():
            kind = "is not finite" if not np.isfinite(exact).all() else "does not fit its dtype"
            return f"a folded weight {kind}"
    weight, bias = (ir.tensor(values, dtype=dtype) for values in stored)
    return weight, bias


def _dtype_of_weight(node: ir.Node, constants: Constants) -> ir.DataType | None:
    """As declared or inferred; in a function that nobody calls, as the constant holds it."""
    weight = node.inputs[1]
    known = dtype_of(weight)
    if known is not None or weight is None:
        return known
    array = constants.array(weight)
    return None if array is None else ir.DataType.from_numpy(array.dtype)


_FOLD: Final = {
    "Conv": _fold_conv,
    "ConvTranspose": _fold_conv_transpose,
    "Gemm": _fold_gemm,
}


def _apply(
    node: ir.Node,
    before: ir.Node,
    weight: ir.TensorProtocol,
    bias: ir.TensorProtocol,
    editor: Editor,
) -> None:
    old_weight = before.inputs[1]
    assert old_weight is not None
    released = [v for v in (*before.inputs[1:3], *node.inputs[1:5]) if v is not None]
    name = before.name or before.outputs[0].name
    new = [
        editor.add_constant(wanted, tensor, before)
        for wanted, tensor in ((f"{old_weight.name}/folded", weight), (f"{name}/bias", bias))
    ]
    if len(before.inputs) < 3:
        before.resize_inputs(3)
    before.replace_input_with(1, new[0])
    before.replace_input_with(2, new[1])
    if before.op_type == "Gemm" and "beta" in before.attributes:
        before.attributes.pop("beta")
    editor.note(
        before,
        {
            "rule": _RULE,
            "from": f"{before.op_type}, BatchNormalization",
            "nodes": ", ".join(n.name or n.op_type for n in (before, node)),
        },
    )
    source = node.inputs[0]
    assert source is not None
    editor.bypass([node], source)
    editor.remove_unused(released)
