"""Sites: every occurrence of an activation in a model, with what surrounds it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onnx_act.graph.types import dtype_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_act.activations.activation import Activation, ParameterValue
    from onnx_act.graph.attribute_sites import AttributeSlot
    from onnx_act.graph.model import Scope


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
        deviation: how far it is from the activation as the catalogue has it, because of the digits
            of its constants, relative to max(1, |f|).
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
    deviation: float = 0.0
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
