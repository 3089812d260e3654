"""Sites: every occurrence of an activation in a model, with what surrounds it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onnx_act.activations.activation import MICROSOFT, Activation, ParameterValue
from onnx_act.activations.formula import text
from onnx_act.activations.identify import Identified, identify
from onnx_act.graph.attribute_sites import AttributeSlot, fused_activations
from onnx_act.graph.constants import Constants
from onnx_act.graph.regions import FLOATS, find_regions
from onnx_act.graph.types import dtype_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

    from onnx_act.graph.model import OnnxModel, Scope
    from onnx_act.graph.regions import Region


class Spelling(enum.Enum):
    """How a site is written."""

    OPERATOR = "operator"
    CONTRIB = "contrib"
    EXPRESSION = "expression"
    FUSED = "fused"
    ATTRIBUTE = "attribute"


class Role(enum.Enum):
    """What a site is for: a feature path, a factor of another branch, or a result."""

    MAIN = "main"
    GATE = "gate"
    OUTPUT = "output"


#: The name of a site whose function is in no catalogue entry.
UNKNOWN: Final = "unknown"
# Bounding integers with these is index arithmetic.
_BOUNDING: Final = frozenset({"Clip", "Min", "Max", "Where", "Mul", "Add", "Sub"})


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """One occurrence of an activation.

    Attributes:
        id: unique in the model, stable under edits elsewhere: scope and output value.
        activation: the catalogue's entry, None when the function is in none.
        parameters: a value for each parameter.
        formula: what the site computes, as text over x.
        scope: where it is.
        input: the value the function is of; None inside a fused or recurrent operator.
        output: the value it ends in.
        nodes: its nodes in graph order.
        slot: of a fused or recurrent operator, where in its attributes the activation is named.
        spelling: how it is written.
        role: what it is for.
        depth: how many main-path sites lie before it on the longest way from an input.
        index: its place among all sites of the model.
        routine: True when it is listed only on request (exp, erf, identity, bounds of indices).
    """

    id: str
    activation: Activation | None
    parameters: dict[str, ParameterValue]
    formula: str
    scope: Scope
    input: ir.Value | None
    output: ir.Value
    nodes: tuple[ir.Node, ...]
    spelling: Spelling
    slot: AttributeSlot | None = None
    role: Role = Role.MAIN
    depth: int = 0
    index: int = 0
    routine: bool = False

    @property
    def name(self) -> str:
        """The activation's name, or `unknown`."""
        return UNKNOWN if self.activation is None else self.activation.name

    @property
    def dtype(self) -> ir.DataType | None:
        """The element type, None when nothing tells it."""
        return dtype_of(self.output) or dtype_of(self.input)

    @property
    def producer(self) -> str:
        """The operator that makes the site's input; `(input)` when none does."""
        if self.slot is not None:
            return self.nodes[0].op_type
        node = None if self.input is None else self.input.producer()
        return "(input)" if node is None else node.op_type

    @property
    def consumers(self) -> tuple[str, ...]:
        """The operators that use the site's output, each once; `(output)` for a graph output."""
        names = dict.fromkeys(u.node.op_type for u in self.output.uses())
        if self.output.is_graph_output():
            names["(output)"] = None
        return tuple(names)

    @property
    def written(self) -> str:
        """The operators that spell it, such as `Sigmoid, Mul`."""
        if self.slot is not None:
            return f"{self.nodes[0].op_type}[{self.slot.name}]"
        names = [n.op_type for n in self.nodes]
        return ", ".join(names)

    def to_dict(self) -> dict[str, Any]:
        """The site as plain JSON data."""
        return {
            "id": self.id,
            "activation": self.name,
            "parameters": {k: plain_parameter(v) for k, v in self.parameters.items()},
            "formula": self.formula,
            "scope": self.scope.name,
            "input": None if self.input is None else self.input.name,
            "output": self.output.name,
            "nodes": [n.name or n.op_type for n in self.nodes],
            "operators": [n.op_type for n in self.nodes],
            "producer": self.producer,
            "consumers": list(self.consumers),
            "spelling": self.spelling.value,
            "role": self.role.value,
            "dtype": None if self.dtype is None else self.dtype.name.lower(),
            "depth": self.depth,
            "index": self.index,
            "routine": self.routine,
        }


def plain_parameter(value: ParameterValue) -> Any:
    """A parameter as JSON data: arrays as nested lists, infinities as text."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, float) and not np.isfinite(value):
        return "inf" if value > 0 else "-inf"
    return value


def find_sites(model: OnnxModel, *, routine: bool = False) -> list[Site]:
    """Every site of a model, in graph order, outer scopes first.

    Args:
        model: a loaded model; it is read, not changed.
        routine: whether to list what is usually not meant: exp, erf, identity, and Clip on
            integers.
    """
    from onnx_act.graph.roles import assign_roles  # noqa: PLC0415 - roles read sites

    constants = Constants(model)
    found: list[Site] = []
    for scope in model.scopes():
        place = {n: k for k, n in enumerate(scope.graph)}
        here = [_site_of(r, scope) for r in find_regions(model, scope, constants)]
        here.extend(_attribute_sites(scope))
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
