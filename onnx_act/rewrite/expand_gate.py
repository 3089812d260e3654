"""Copy a gate of one number per channel over the image that it is multiplied with.

The product is then one of two tensors of the same shape, which runtimes keep in the blocked layout
of the convolutions around it; broadcasting a gate takes both out of it and back. Not valid where
the sizes are not known, where something else uses the gate, or before opset 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.graph.probe_models import graph_probe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onnx_act.graph.edit import Editor
    from onnx_act.graph.model import Scope
    from onnx_act.graph.sites import Site

_RANK: Final = 4
_FIRST_OPSET: Final = 7


@dataclass(frozen=True, slots=True)
class GateExpansion:
    """An activation as it is, with its result copied over an image.

    Attributes:
        height: of the image.
        width: of the image.
    """

    height: int
    width: int

    @property
    def key(self) -> str:
        """What it is called in caches and profiles."""
        return "expanded"

    @property
    def label(self) -> str:
        """What it is, for a reader."""
        return f"as it is, copied over the {self.height} x {self.width} image that it gates"


def gated_image(site: Site, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int] | None:
    """Height and width of the image that a site gates, one number per channel; None if it is none.

    Args:
        site: any site.
        shapes: of values of the main graph, by name.
    """
    product = _product(site)
    if product is None or site.scope.opset() < _FIRST_OPSET:
        return None
    other = next((v for v in product.inputs if v is not None and v is not site.output), None)
    gate, image = (
        shapes.get(v.name or "") if v is not None else None for v in (site.output, other)
    )
    if gate is None or image is None or len(gate) != _RANK or len(image) != _RANK:
        return None
    if gate[:2] != image[:2] or gate[2:] != (1, 1) or min(image) < 1 or image[2:] == (1, 1):
        return None
    return image[2], image[3]


def _product(site: Site) -> ir.Node | None:
    """The only thing that uses a site's result, if that is a product with something else."""
    uses = list(site.output.uses())
    if len(uses) != 1 or site.output.is_graph_output():
        return None
    node = uses[0].node
    is_product = node.op_type == "Mul" and node.domain == ""
    return node if is_product and node.graph is site.nodes[-1].graph else None


def expand_gate(
    editor: Editor, site: Site, expansion: GateExpansion, provenance: Mapping[str, str]
) -> None:
    """Put the copying between a site and the product that it gates."""
    product = _product(site)
    assert product is not None
    place = next(k for k, v in enumerate(product.inputs) if v is site.output)
    wanted = f"{site.output.name}/expanded"

    def constant(values: list[float]) -> ir.Value:
        tensor = ir.tensor(np.array(values, np.float32))
        return editor.add_constant(f"{wanted}/constant", tensor, product)

    output = ir.Value(name=editor.fresh_name(wanted), type=site.output.type)
    node = _copying(site.output, output, expansion, site.scope.opset(), constant)
    node.name = editor.fresh_name(wanted)
    editor.note(node, provenance)
    graph = product.graph
    assert graph is not None
    graph.insert_before(product, [node])
    product.replace_input_with(place, output)


def expansion_probe(
    expansion: GateExpansion, dtype: ir.DataType, scope: Scope, ir_version: int
) -> bytes:
    """A tiny model of the copying, to ask a runtime whether it can run it."""
    kind = ir.TensorType(dtype)
    x = ir.Value(name="x", type=kind, shape=ir.Shape((1, 2, 1, 1)))
    y = ir.Value(name="y", type=kind, shape=ir.Shape((1, 2, expansion.height, expansion.width)))
    constants: list[ir.Node] = []

    def constant(values: list[float]) -> ir.Value:
        made = ir.Value(name=f"c{len(constants)}")
        attribute = ir.AttrTensor("value", ir.tensor(np.array(values, np.float32)))
        constants.append(ir.Node("", "Constant", [], [attribute], outputs=[made]))
        return made

    node = _copying(x, y, expansion, scope.opset(), constant)
    return graph_probe([x], [y], [*constants, node], scope, ir_version)


def _copying(
    x: ir.Value,
    y: ir.Value,
    expansion: GateExpansion,
    opset: int,
    constant: Callable[[list[float]], ir.Value],
) -> ir.Node:
    """The operator that copies the one row and column of `x` as often as needed."""
    scales = [1.0, 1.0, float(expansion.height), float(expansion.width)]
    mode = ir.AttrString("mode", "nearest")
    if opset < 9:
        return ir.Node("", "Upsample", [x], [mode, ir.AttrFloat32s("scales", scales)], outputs=[y])
    if opset < 11:
        kind = "Upsample" if opset == 9 else "Resize"
        return ir.Node("", kind, [x, constant(scales)], [mode], outputs=[y])
    # Nothing but this way to place pixels stays in the blocked layout; of one pixel all are alike.
    placed = [
        ir.AttrString("coordinate_transformation_mode", "asymmetric"),
        ir.AttrString("nearest_mode", "floor"),
    ]
    # The region of interest is not optional before 13.
    region = constant([]) if opset < 13 else None
    inputs = [x, region, constant(scales)]
    return ir.Node("", "Resize", inputs, [mode, *placed], outputs=[y])
