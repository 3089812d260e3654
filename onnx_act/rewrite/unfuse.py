"""Taking a fused contrib operator apart, into standard ONNX and an activation of choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnx_act.graph.types import copy_type
from onnx_act.rewrite.writing import build, provenance_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx_act.activations.activation import Activation, Parameters
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.lower import Lowering
    from onnx_act.graph.sites import Site

#: Contrib operators of one input that are an activation and nothing else.
ALONE = frozenset({"Gelu", "QuickGelu", "FastGelu"})


@dataclass(frozen=True, slots=True)
class StandardPart:
    """A standard operator that a fused one holds.

    Attributes:
        op_type: the operator.
        inputs: what it reads; the first part reads all of them, a later one the part before it
            and then these.
        attributes: its attributes.
    """

    op_type: str
    inputs: tuple[ir.Value | None, ...]
    attributes: tuple[ir.Attr, ...] = ()


def standard_parts(node: ir.Node) -> list[StandardPart] | None:
    """What a contrib operator computes before its activation, in order.

    Returns:
        An empty list for an operator that is an activation alone; None when it is not known how
        to take the operator apart.
    """
    bias = node.inputs[1] if len(node.inputs) > 1 else None
    match node.op_type:
        case "FusedConv" | "FusedGemm":
            kept = tuple(a for n, a in node.attributes.items() if not n.startswith("activation"))
            inputs = list(node.inputs[:3])
            while inputs and inputs[-1] is None:
                inputs.pop()
            kind = node.op_type.removeprefix("Fused")
            parts = [StandardPart(kind, tuple(inputs), kept)]
            if kind == "Conv" and len(node.inputs) > 3 and node.inputs[3] is not None:
                parts.append(StandardPart("Add", (node.inputs[3],)))
            return parts
        case "BiasGelu" | "FastGelu" if bias is not None:
            return [StandardPart("Add", (node.inputs[0], bias))]
        case _ if node.op_type in ALONE:
            return []
    return None


def unfusing(
    rule: str,
    site: Site,
    activation: Activation,
    parameters: Parameters,
    lowering: Lowering,
) -> Callable[[Editor], None] | None:
    """The edit that replaces a fused node by the standard operators, then `activation`.

    Returns:
        None when it is not known how to take the operator apart.
    """
    (node,) = site.nodes
    if standard_parts(node) is None:
        return None

    def apply(editor: Editor) -> None:
        (old,) = node.outputs
        nodes = _write(node, editor)
        before = nodes[-1].outputs[0] if nodes else node.inputs[0]
        assert before is not None
        more, result = build(site, activation, parameters, lowering, before, editor)
        provenance = provenance_of(rule, site, activation, parameters)
        editor.replace([node], old, [*nodes, *more], result, provenance)

    return apply


def unfusing_bare(rule: str, node: ir.Node) -> Callable[[Editor], None]:
    """The edit that replaces a fused node which names no activation by the standard operators."""

    def apply(editor: Editor) -> None:
        (old,) = node.outputs
        nodes = _write(node, editor)
        provenance = {
            "rule": rule,
            "from": node.op_type,
            "to": ", ".join(n.op_type for n in nodes),
            "nodes": node.name or node.op_type,
        }
        editor.replace([node], old, nodes, nodes[-1].outputs[0], provenance)

    return apply


def _write(node: ir.Node, editor: Editor) -> list[ir.Node]:
    """The nodes of the standard parts, each with the type that the fused result has."""
    (old,) = node.outputs
    nodes: list[ir.Node] = []
    # Only now: an earlier edit may have put another value in the place of an input.
    for part in standard_parts(node) or ():
        name = editor.fresh_name(f"{old.name}/{part.op_type}")
        output = ir.Value(name=name)
        copy_type(old, output)
        read = [*(n.outputs[0] for n in nodes[-1:]), *part.inputs]
        nodes.append(ir.Node("", part.op_type, read, part.attributes, outputs=[output], name=name))
    return nodes
