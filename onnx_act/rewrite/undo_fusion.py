"""Take contrib operators with an activation apart again, into plain ONNX.

Not valid where the activation is one that no kernel names, where its parameters are given by the
caller of a function, or where a target cannot run the standard operators in that dtype. What is
stated is written to the last bit. The contrib domain goes with the last node that needs it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.activations.activation import MICROSOFT
from onnx_act.activations.catalogue import named
from onnx_act.errors import UsageError
from onnx_act.graph.probe_models import node_probe
from onnx_act.graph.sampling import attribute
from onnx_act.graph.sites import Site, Spelling
from onnx_act.graph.types import dtype_of
from onnx_act.rewrite.folding import site_name
from onnx_act.rewrite.fused_operators import standard_probe, stated_activation
from onnx_act.rewrite.rule import UNKNOWN_TYPE, Change, Fidelity, Refusal
from onnx_act.rewrite.unfuse import ALONE, standard_parts, unfusing, unfusing_bare
from onnx_act.rewrite.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_act.activations.activation import Activation, Parameters
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.model import OnnxModel, Scope
    from onnx_act.rewrite.rule import Proposal, Subject

_RULE: Final = "undo_fusion"
_NAMING: Final = frozenset({"FusedConv", "FusedGemm"})
# Standard operators broadcast by themselves since this opset.
_BROADCASTS: Final = 7


@dataclass(frozen=True)
class UndoFusion:
    """Write FusedConv, FusedGemm and the GELU operators of com.microsoft in standard ONNX."""

    name: str = field(default=_RULE, init=False)
    enables_itself: bool = field(default=False, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every node of the contrib domain."""
        writer = Writer(subject.model, subject.targets)
        imports = _Imports(subject.model)
        for scope, node in contrib_nodes(subject.model):
            yield _propose(node, scope, writer, imports)


def contrib_nodes(model: OnnxModel) -> Iterator[tuple[Scope, ir.Node]]:
    """Every contrib operator of a model; a local function of the domain is none."""
    local = model.content.functions
    for scope in model.scopes():
        for node in scope.graph:
            if node.domain == MICROSOFT and node.op_identifier() not in local:
                yield scope, node


def can_be_undone(model: OnnxModel) -> bool:
    """Whether the model has an operator of a kind that can be taken apart."""
    return any(standard_parts(node) is not None for _, node in contrib_nodes(model))


class _Imports:
    """How many nodes need the contrib domain, so that its import goes with the last of them."""

    def __init__(self, model: OnnxModel) -> None:
        self._users: Counter[int] = Counter(
            id(scope.opsets)
            for scope in model.scopes()
            for node in scope.graph
            if node.domain == MICROSOFT
        )
        # A local function of the domain needs the model's import, called or not.
        self._everywhere = self._users.total() + sum(
            f.domain == MICROSOFT for f in model.content.functions.values()
        )

    def release(self, scope: Scope, editor: Editor) -> None:
        """One node of `scope` needs it no more."""
        self._users[id(scope.opsets)] -= 1
        self._everywhere -= 1
        main = editor.model.content.opset_imports
        if not self._users[id(scope.opsets)] and scope.opsets is not main:
            scope.opsets.pop(MICROSOFT, None)
        if not self._everywhere:
            main.pop(MICROSOFT, None)


def _propose(node: ir.Node, scope: Scope, writer: Writer, imports: _Imports) -> Proposal:
    place = site_name(scope, node.outputs[0])
    reason = _reason_against(node)
    if reason is not None:
        return Refusal(_RULE, place, "", reason)
    applied = _applied(node)
    if isinstance(applied, str):
        return Refusal(_RULE, place, "", applied)
    activation, parameters = applied or (None, {})
    site = Site(
        id=place,
        activation=activation,
        parameters=dict(parameters),
        formula="",
        scope=scope,
        input=None,
        output=node.outputs[0],
        nodes=(node,),
        spelling=Spelling.FUSED,
    )
    reason = _reason_against_parts(node, site, writer)
    if reason is not None:
        return Refusal(_RULE, place, "", reason)
    return _change(node, site, writer, imports)


def _change(node: ir.Node, site: Site, writer: Writer, imports: _Imports) -> Proposal:
    activation, parameters = site.activation, site.parameters
    after = [p.op_type for p in standard_parts(node) or ()]
    written = None
    if activation is None:
        edit: Callable[[Editor], None] | None = unfusing_bare(_RULE, node)
    else:
        # ONNX Runtime makes QuickGelu of Sigmoid and Mul again, and has no kernel for Swish.
        spelled_out = activation.name in {"silu", "swish"}
        lowering = writer.choose(site, activation, parameters, spelled_out=spelled_out)
        if isinstance(lowering, str):
            return Refusal(_RULE, site.id, activation.name, lowering)
        after.append(lowering.label)
        written = writer.written(site, activation, parameters, lowering)
        edit = unfusing(_RULE, site, activation, parameters, lowering)
    assert edit is not None
    apart = edit

    def apply(editor: Editor) -> None:
        apart(editor)
        imports.release(site.scope, editor)

    return Change(
        rule=_RULE,
        fidelity=Fidelity.NUMERIC,
        site=site.id,
        before=_shown(node),
        after=", ".join(after),
        nodes=(node.name or node.op_type,),
        apply=apply,
        written=written,
    )


def _shown(node: ir.Node) -> str:
    if node.op_type in ALONE:
        # The standard has operators of these names too.
        return f"{MICROSOFT}.{node.op_type}"
    stated = node.attributes.get("activation")
    return node.op_type if stated is None else f"{node.op_type}[{stated.as_string()}]"


def _reason_against(node: ir.Node) -> str | None:
    """Why a node cannot be taken apart whatever it applies."""
    if standard_parts(node) is None:
        return f"it is not known how to write {node.op_type} in standard ONNX"
    if not node.outputs[0].name:
        return "nothing uses what it makes"
    for name, found in node.attributes.items():
        # Settings of Conv and Gemm go over as they are, whoever gives them.
        if found.is_ref() and (name.startswith("activation") or node.op_type not in _NAMING):
            return f"its {name} is given by the caller of the function"
    if dtype_of(node.outputs[0]) is None:
        return UNKNOWN_TYPE
    return None


def _applied(node: ir.Node) -> tuple[Activation, Parameters] | str | None:
    """The activation that a node applies, or why it cannot be said; None where it has none."""
    match node.op_type:
        case "FusedConv" | "FusedGemm":
            stated = node.attributes.get("activation")
            if stated is None:
                return None
            if stated.type is not ir.AttributeType.STRING:
                return "its activation is not text"
            return stated_activation(node)
        case "QuickGelu":
            return _quick_gelu(node)
    gelu = named("gelu")
    return gelu, gelu.bind({"approximate": "tanh" if node.op_type == "FastGelu" else "none"})


def _quick_gelu(node: ir.Node) -> tuple[Activation, Parameters] | str:
    alpha = attribute(node, "alpha", 1)
    if not isinstance(alpha, float):
        return "its alpha is not a number"
    if alpha == 1.0:
        return named("silu"), {}
    swish = named("swish")
    try:
        # The schema holds it in float32, whatever the tensor's type.
        return swish, swish.bind({"beta": float(np.float32(alpha))})
    except UsageError as error:
        return str(error)


def _reason_against_parts(node: ir.Node, site: Site, writer: Writer) -> str | None:
    """Why the standard operators before the activation cannot stand at a site."""
    dtype, opset = site.dtype, site.scope.opset()
    assert dtype is not None
    for part in standard_parts(node) or ():
        shapes: list[tuple[int, ...] | None]
        if part.op_type == "Add":
            biased = len(part.inputs) == 2
            if biased and opset < _BROADCASTS:
                return _too_old("Add", opset)
            shapes = [(2, 4), (4,) if biased else (2, 4)]
            add = ir.Node("", "Add", [], [])
            version = writer.model.content.ir_version
            probe: bytes | None = node_probe(add, shapes, dtype, site.scope, version)
        else:
            if part.op_type == "Gemm" and opset < _BROADCASTS:
                return _too_old("Gemm", opset)
            probe = standard_probe(node, site, writer.model.content.ir_version)
        if probe is None:
            return "neither its kernel_shape nor the rank of its weight is known"
        against = writer.targets.reason_against(probe)
        if against is not None:
            return f"{part.op_type}: {against}"
    return None


def _too_old(op_type: str, opset: int) -> str:
    return (
        f"{op_type} broadcasts since opset {_BROADCASTS}, and the model is at {opset}; raise it "
        f"with --opset {_BROADCASTS} or higher"
    )
