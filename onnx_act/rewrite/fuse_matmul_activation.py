"""Fuse MatMul by a constant matrix, the bias behind it and an activation, as FusedGemm.

Not valid where more than one dimension of the input is unknown, since the rows are laid out as a
matrix and back by constants, where the weight is not a constant matrix or the bias no vector, or
where something else uses the result before or after the bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.activations.activation import MICROSOFT
from onnx_act.graph.describe import describe_activation
from onnx_act.graph.types import infer_as, shape_of
from onnx_act.rewrite.fuse_activation import (
    put_in_place,
    reason_in_spelling,
    reason_not_plain,
    reason_on,
    reason_to_keep,
    sites_after,
)
from onnx_act.rewrite.fused_operators import fused_attributes
from onnx_act.rewrite.fused_probes import gemm_probe
from onnx_act.rewrite.rule import Change, Fidelity, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_act.graph.edit import Editor
    from onnx_act.graph.model import OnnxModel
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Proposal, Subject

_RULE: Final = "fuse_matmul_activation"
_FUSED: Final = "FusedGemm"
# Since these opsets the shape that Reshape gives is an input, and a Constant may hold integers.
_RESHAPES: Final = 5
_STORES_INTEGERS: Final = 9


@dataclass(frozen=True, slots=True)
class _Biased:
    """A MatMul, the Add behind it, and where in the Add the bias is."""

    product: ir.Node
    adding: ir.Node
    bias: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the input of a MatMul by a constant matrix lies.

    Attributes:
        leading: all its dimensions but the last, -1 for those that are not known.
        inner: its last dimension, and the rows of the matrix.
        outer: the columns of the matrix.
    """

    leading: tuple[int, ...]
    inner: int
    outer: int

    def is_matrix(self) -> bool:
        """Whether it lies as a Gemm takes it."""
        return len(self.leading) == 1


@dataclass(frozen=True)
class FuseMatMulActivation:
    """Make MatMul, Add and an activation one FusedGemm, between two Reshapes where it has to be.

    A Gemm multiplies matrices: an input of a higher rank is laid out as one of [-1, K] before, and
    the result as it was after.
    """

    name: str = field(default=_RULE, init=False)
    enables_itself: bool = field(default=False, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every activation of a sum with a MatMul's result."""
        known: dict[bytes, str | None] = {}
        for site, adding in sites_after("", ("Add",), subject):
            biased = _biased(adding)
            if biased is not None:
                yield _propose(site, biased, subject, known)


def _biased(adding: ir.Node) -> _Biased | None:
    for index, value in enumerate(adding.inputs):
        before = None if value is None else value.producer()
        if before is not None and before.domain == "" and before.op_type == "MatMul":
            return _Biased(before, adding, 1 - index)
    return None


def _propose(
    site: Site, biased: _Biased, subject: Subject, known: dict[bytes, str | None]
) -> Proposal:
    if site.activation is None:
        return Refusal(_RULE, site.id, site.name, "it is no activation we know by name")
    attributes = fused_attributes(_FUSED, site.activation, site.parameters)
    if attributes is None:
        shown = describe_activation(site.activation, site.parameters)
        return Refusal(_RULE, site.id, site.name, f"{_FUSED} has no name for {shown}")
    layout = _layout_of(site, biased, subject)
    if isinstance(layout, str):
        return Refusal(_RULE, site.id, site.name, layout)
    probe = gemm_probe(attributes, site, subject.model.content.ir_version)
    if probe not in known:
        known[probe] = reason_on(subject.targets, probe)
    if (against := known[probe]) is not None:
        return Refusal(_RULE, site.id, site.name, f"{_FUSED}: {against}")
    region = (biased.product, biased.adding, *site.nodes)
    fused = f"{_FUSED}[{attributes[0].as_string()}]"
    return Change(
        rule=_RULE,
        fidelity=Fidelity.NUMERIC,
        site=site.id,
        before=f"MatMul, Add, {site.written}",
        after=fused if layout.is_matrix() else f"Reshape, {fused}, Reshape",
        nodes=tuple(n.name or n.op_type for n in region),
        apply=_edit(biased, site, attributes, layout),
        region=region,
    )


def _layout_of(site: Site, biased: _Biased, subject: Subject) -> _Layout | str:
    """How the input lies; or what is against the fusion."""
    constants = subject.constants
    product, adding = biased.product, biased.adding
    reason = (
        reason_to_keep(product, (adding,))
        or reason_to_keep(adding, site.nodes)
        or reason_not_plain(product)
        or reason_in_spelling(site)
    )
    if reason is not None:
        return reason
    x, weight, bias = product.inputs[0], product.inputs[1], adding.inputs[biased.bias]
    assert x is not None
    assert weight is not None
    assert bias is not None
    if not constants.is_constant(weight):
        why = "can be overridden by a caller" if weight.is_initializer() else "is no constant"
        return f"the weight {weight.name} {why}"
    matrix = constants.shape(weight)
    if matrix is None:
        return f"the weight {weight.name} is a constant that is not evaluated"
    if len(matrix) != 2:
        return f"the weight {weight.name} is no matrix: {list(matrix)}"
    if shape_of(bias) != (matrix[1],):
        return f"{bias.name}, which is added, is not known to be a bias of {matrix[1]} numbers"
    shape = shape_of(x)
    if shape is None:
        return f"the rank of {x.name} is not known"
    if len(shape) < 2:
        return f"{x.name} is a vector, and {_FUSED} takes matrices"
    layout = _Layout(tuple(d if isinstance(d, int) else -1 for d in shape[:-1]), *matrix)
    return _reason_against_reshaping(x, layout, site, subject.model) or layout


def _reason_against_reshaping(
    x: ir.Value, layout: _Layout, site: Site, model: OnnxModel
) -> str | None:
    if 0 in (*layout.leading, layout.inner, layout.outer):
        return f"{x.name} or what is made of it is empty"
    if layout.is_matrix():
        return None
    unknown = layout.leading.count(-1)
    if unknown > 1:
        return f"{unknown} dimensions of {x.name} are not known, and a Reshape can leave one open"
    # Functions have no initializers, and old models list each as an input: nodes hold the shapes.
    by_nodes = model.lists_weights or site.scope.is_function_body()
    needed = _STORES_INTEGERS if by_nodes else _RESHAPES
    if site.scope.opset() < needed:
        return f"a Reshape as it is needed here exists since opset {needed}; raise it with --opset"
    return None


def _edit(
    biased: _Biased, site: Site, attributes: list[ir.Attr], layout: _Layout
) -> Callable[[Editor], None]:
    product, adding = biased.product, biased.adding

    def apply(editor: Editor) -> None:
        anchor = site.nodes[-1]
        stem = product.name or anchor.outputs[0].name

        def node(
            domain: str, op_type: str, inputs: list[ir.Value | None], attrs: list[ir.Attr]
        ) -> ir.Node:
            name = editor.fresh_name(f"{stem}/{op_type}")
            made = ir.Value(name=name)
            return ir.Node(domain, op_type, inputs, attrs, outputs=[made], name=name)

        def laid_out(value: ir.Value | None, shape: tuple[int, ...]) -> ir.Node:
            tensor = ir.tensor(np.array(shape, np.int64))
            wanted = editor.add_constant(f"{stem}/shape", tensor, anchor)
            return node("", "Reshape", [value, wanted], [])

        # The input may be the result of a fusion by now: the MatMul knows.
        inputs = [*product.inputs, adding.inputs[biased.bias]]
        if layout.is_matrix():
            nodes = [node(MICROSOFT, _FUSED, inputs, attributes)]
        else:
            rows = None if -1 in layout.leading else math.prod(layout.leading)
            before = laid_out(inputs[0], (-1, layout.inner))
            infer_as(before.outputs[0], site.dtype, (rows, layout.inner))
            fused = node(MICROSOFT, _FUSED, [before.outputs[0], *inputs[1:]], attributes)
            infer_as(fused.outputs[0], site.dtype, (rows, layout.outer))
            after = laid_out(fused.outputs[0], (*layout.leading, layout.outer))
            nodes = [before, fused, after]
        put_in_place(nodes, (product, adding, *site.nodes), _RULE, site, editor)

    return apply
