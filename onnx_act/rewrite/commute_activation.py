"""Put a MaxPool with strides before the activation in front of it, which then has less to do.

Not valid where the activation falls somewhere, where something else uses what it makes, where the
indices of the maxima are asked for, where a window may lie in the padding alone, and where a
runtime would rather fuse the activation into the operator before it.

The largest of a window is where it was, since the activation never puts a larger number before a
smaller one: max(f(a), f(b)) = f(max(a, b)). That holds to the last bit for an activation that is
linear in pieces. A kernel that computes an exponential may fall by a rounding: the same real
function. Runtimes disagree on the maximum of a window that holds minus infinity alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.activations.properties import Monotonic, describe
from onnx_act.graph.pieces import Clamp, PieceReader, Slope
from onnx_act.graph.regions import FLOATS
from onnx_act.graph.sites import Spelling
from onnx_act.graph.types import dtype_of, infer_as, shape_of
from onnx_act.graph.windows import pooled_dimensions, strides_of, windows_hold_input
from onnx_act.rewrite.rule import UNKNOWN_TYPE, Change, Fidelity, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_act.graph.constants import Constants
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Proposal, Subject

# Operators that some runtime makes one of with the activation behind them.
_TAKES_IN: Final = frozenset(
    {"Add", "BatchNormalization", "Conv", "ConvTranspose", "Gemm", "MatMul", "Sum"}
)
_WRITTEN: Final = frozenset({Spelling.OPERATOR, Spelling.EXPRESSION})


@dataclass(frozen=True)
class CommuteActivation:
    """Exchange an activation and the strided MaxPool behind it."""

    name: str = field(default="commute_activation", init=False)
    # Behind the one MaxPool there may be another; what went past a MaxPool never comes back.
    enables_itself: bool = field(default=True, init=False)

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for every activation in front of a MaxPool with strides."""
        reader = PieceReader(subject.model, subject.constants)
        for site in subject.sites:
            if site.spelling not in _WRITTEN or site.routine or len(site.nodes) != 1:
                continue
            pool = _strided_pool(site)
            if pool is not None:
                yield self._propose(site, pool, reader, subject.constants)

    def _propose(
        self, site: Site, pool: ir.Node, reader: PieceReader, constants: Constants
    ) -> Proposal:
        reason = _reason_against(site, pool, constants)
        fidelity = _fidelity(site, reader)
        if reason is None and fidelity is None:
            reason = "it is not known to rise everywhere: the largest of a window may be another"
        if fidelity is None or reason is not None:
            return Refusal(self.name, site.id, site.name, reason or "")
        (node,) = site.nodes
        return Change(
            rule=self.name,
            fidelity=fidelity,
            site=site.id,
            before=f"{node.op_type}, MaxPool",
            after=f"MaxPool, {node.op_type}",
            nodes=(node.name or node.op_type, pool.name or pool.op_type),
            apply=_exchanging(self.name, site, pool),
            region=(node, pool),
        )


def _strided_pool(site: Site) -> ir.Node | None:
    """The first MaxPool behind a site that makes fewer numbers than it reads."""
    for use in site.output.uses():
        node = use.node
        if node.op_type == "MaxPool" and node.domain == "" and math.prod(strides_of(node)) > 1:
            return node
    return None


def _fidelity(site: Site, reader: PieceReader) -> Fidelity | None:
    """How the exchange relates to what is there; None where it may be another function."""
    piece = reader.of_site(site)
    if isinstance(piece, Clamp):
        return Fidelity.EXACT
    if isinstance(piece, Slope):
        return Fidelity.EXACT if bool(np.all(piece.slope >= 0)) else None
    if site.activation is None or reader.curve_of_site(site) is None:
        return None
    found = describe(site.activation, site.parameters).monotonic
    return Fidelity.NUMERIC if found is Monotonic.INCREASING else None


def _reason_against(site: Site, pool: ir.Node, constants: Constants) -> str | None:
    (node,) = site.nodes
    dtype = site.dtype
    if dtype is None:
        return UNKNOWN_TYPE
    if dtype not in FLOATS:
        return f"it works on {dtype.name.lower()}"
    if site.output.is_graph_output() or len(site.output.uses()) > 1:
        return "something else uses what it makes"
    if pool.graph is not node.graph:
        return "the MaxPool behind it is in an inner graph, and may run more often or never"
    if any(v.uses() or v.is_graph_output() for v in pool.outputs[1:]):
        return "the indices of the maxima are used, and where values are equal they would change"
    if not windows_hold_input(pool):
        return "a window of the MaxPool may lie in the padding alone"
    if not _has_no_positions(site, pooled_dimensions(pool), constants):
        return f"its {node.op_type} has numbers for positions, and behind the MaxPool are others"
    assert site.input is not None
    before = site.input.producer()
    if before is None or before.domain != "":
        return None
    if before.op_type in _TAKES_IN:
        return f"a runtime can take it into the {before.op_type} before it"
    if before.op_type == "DequantizeLinear":
        return "its input is quantised, and a runtime may leave both out or keep both in integers"
    return None


def _has_no_positions(site: Site, dimensions: int, constants: Constants) -> bool:
    """Whether the constants of a site are the same along the last dimensions."""
    (node,) = site.nodes
    others = [v for v in node.inputs if v is not None and v is not site.input]
    shapes = [constants.shape(v) for v in others]
    return all(s is not None and all(n == 1 for n in s[-dimensions:]) for s in shapes)


def _exchanging(rule: str, site: Site, pool: ir.Node) -> Callable[[Editor], None]:
    (node,) = site.nodes
    place = next(k for k, v in enumerate(node.inputs) if v is site.input)

    def apply(editor: Editor) -> None:
        old = pool.outputs[0]
        pooled = ir.Value(name=editor.fresh_name(f"{old.name}/MaxPool"))
        infer_as(pooled, dtype_of(old), shape_of(old))
        result = ir.Value(name=editor.fresh_name(f"{old.name}/{node.op_type}"))
        first = _like(pool, [node.inputs[place]], pooled)
        operands = [pooled if k == place else v for k, v in enumerate(node.inputs)]
        second = _like(node, operands, result)
        provenance = {
            "rule": rule,
            "from": f"{node.op_type}, MaxPool",
            "to": f"MaxPool, {node.op_type}",
            "nodes": f"{node.name or node.op_type}, {pool.name or pool.op_type}",
        }
        editor.replace([node, pool], old, [first, second], result, provenance)

    return apply


def _like(node: ir.Node, inputs: list[ir.Value | None], output: ir.Value) -> ir.Node:
    """A node like another one, under its name, with other inputs and another output."""
    return ir.Node(
        node.domain,
        node.op_type,
        inputs,
        list(node.attributes.values()),
        outputs=[output],
        name=node.name,
        doc_string=node.doc_string,
        metadata_props=dict(node.metadata_props),
    )
