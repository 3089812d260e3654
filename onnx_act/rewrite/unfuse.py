"""Taking a fused contrib operator apart, into standard ONNX and an activation of choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import onnx_ir as ir

from onnx_act.graph.types import copy_type
from onnx_act.rewrite.writing import build, provenance_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx_act.activations.activation import Activation, Parameters
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.lower import Lowering
    from onnx_act.graph.sites import Site

# Fused operator -> (the standard one before its activation, how many inputs that takes).
_WITHOUT: Final = {"FusedConv": ("Conv", 3), "FusedGemm": ("Gemm", 3), "BiasGelu": ("Add", 2)}


def unfusing(
    rule: str, site: Site, activation: Activation, parameters: Parameters, lowering: Lowering
) -> Callable[[Editor], None] | None:
    """The edit that replaces a fused node by the standard operator, then `activation`.

    Returns:
        None when it is not known how to take the operator apart.
    """
    (node,) = site.nodes
    biased = node.op_type == "FastGelu" and len(node.inputs) == 2
    if node.op_type not in _WITHOUT and not biased:
        return None
    op_type, arity = ("Add", 2) if biased else _WITHOUT[node.op_type]

    def apply(editor: Editor) -> None:
        (old,) = node.outputs

        def make(kind: str, inputs: list[ir.Value | None], attrs: list[ir.Attr]) -> ir.Node:
            name = editor.fresh_name(f"{old.name}/{kind}")
            output = ir.Value(name=name)
            copy_type(old, output)
            return ir.Node("", kind, inputs, attrs, outputs=[output], name=name)

        kept = [a for n, a in node.attributes.items() if not n.startswith("activation")]
        nodes = [make(op_type, list(node.inputs[:arity]), kept if op_type != "Add" else [])]
        if op_type == "Conv" and len(node.inputs) > 3 and node.inputs[3] is not None:
            nodes.append(make("Add", [nodes[-1].outputs[0], node.inputs[3]], []))
        more, result = build(site, activation, parameters, lowering, nodes[-1].outputs[0], editor)
        provenance = provenance_of(rule, site, activation, parameters)
        editor.replace([node], old, [*nodes, *more], result, provenance)

    return apply
