"""Finding every site of a model."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Final

from onnx_act.activations.activation import MICROSOFT
from onnx_act.activations.formula import text
from onnx_act.activations.identify import Identified, identify
from onnx_act.graph.attribute_sites import fused_activations
from onnx_act.graph.constants import Constants
from onnx_act.graph.regions import FLOATS, find_regions
from onnx_act.graph.roles import assign_roles
from onnx_act.graph.sampling import NATIVE
from onnx_act.graph.sites import Site, Spelling
from onnx_act.graph.types import dtype_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

    from onnx_act.graph.model import OnnxModel, Scope
    from onnx_act.graph.regions import Region

# Bounding integers with these is index arithmetic.
_BOUNDING: Final = frozenset({"Clip", "Min", "Max", "Where", "Mul", "Add", "Sub"})


def find_sites(model: OnnxModel, *, routine: bool = False) -> list[Site]:
    """Every site of a model, in graph order, outer scopes first.

    Args:
        model: a loaded model; it is read, not changed.
        routine: whether to list what is usually not meant: exp, erf, identity, and Clip on
            integers.
    """
    constants = Constants(model)
    found: list[Site] = []
    for scope in model.scopes():
        place = {n: k for k, n in enumerate(scope.graph)}
        here = [_site_of(r, scope) for r in find_regions(model, scope, constants)]
        here.extend(_attribute_sites(scope))
        here.extend(_caller_sites(scope))
        found.extend(sorted(here, key=lambda s: place[s.nodes[-1]]))
    found = assign_roles(model, found, constants)
    # Routine sites are numbered after the others, so that a number means one site in either list.
    listed = count()
    unlisted = count(sum(not s.routine for s in found))
    numbered = [replace(s, index=next(unlisted if s.routine else listed)) for s in found]
    return [s for s in numbered if routine or not s.routine]


def _site_of(region: Region, scope: Scope) -> Site:
    found = region.identified
    single = region.nodes[0] if len(region.nodes) == 1 else None
    spelling = Spelling.EXPRESSION
    if single is not None and found is not None:
        native = {(o.domain, o.op_type) for o in found.activation.operators}
        if (single.domain, single.op_type) in native:
            spelling = Spelling.CONTRIB if single.domain == MICROSOFT else Spelling.OPERATOR
    integers = dtype_of(region.result) not in {None, *FLOATS}
    bounding = all(n.op_type in _BOUNDING for n in region.nodes)
    return Site(
        id=_id(scope, region.result),
        activation=None if found is None else found.activation,
        parameters={} if found is None else found.parameters,
        formula=text(region.expression),
        scope=scope,
        input=region.source,
        output=region.result,
        nodes=region.nodes,
        spelling=spelling,
        deviation=0.0 if found is None else found.deviation,
        routine=(integers and bounding) or (found is not None and found.activation.index_only),
    )


def _id(scope: Scope, value: ir.Value) -> str:
    return f"{scope.name}/{value.name}" if scope.name else str(value.name)


def _attribute_sites(scope: Scope) -> Iterator[Site]:
    """Activations that are named in an attribute of a fused or recurrent operator."""
    for node in scope.graph:
        for slot in fused_activations(node):
            found = identify(slot.expression) if slot.expression is not None else None
            known = found if isinstance(found, Identified) else None
            formula = slot.text if slot.expression is None else text(slot.expression)
            output = next((v for v in node.outputs if v.name or v.uses()), None)
            if output is None:
                continue  # nothing of it is used
            base = _id(scope, output)
            yield Site(
                id=base if slot.recurrent_gate is None else f"{base}#{slot.name}",
                activation=None if known is None else known.activation,
                parameters={} if known is None else known.parameters,
                formula=formula,
                scope=scope,
                input=None,
                output=output,
                nodes=(node,),
                spelling=Spelling.FUSED if slot.recurrent_gate is None else Spelling.ATTRIBUTE,
                slot=slot,
            )


def _caller_sites(scope: Scope) -> Iterator[Site]:
    """Activations of a local function whose parameters are given where it is called.

    They differ from call to call, so no parameters can be named; not to list them would be worse.
    """
    for node in scope.graph if scope.function is not None else ():
        given = sorted(a.name for a in node.attributes.values() if a.is_ref())
        if given and (node.domain, node.op_type) in NATIVE and node.inputs:
            yield Site(
                id=_id(scope, node.outputs[0]),
                activation=None,
                parameters={},
                formula=f"{node.op_type}(x) with {', '.join(given)} given by the caller",
                scope=scope,
                input=node.inputs[0],
                output=node.outputs[0],
                nodes=(node,),
                spelling=Spelling.OPERATOR,
            )
