"""What a rule proposes, and what it needs to know to propose it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import onnx_ir as ir

    from onnx_act.activations.activation import Activation, Parameters
    from onnx_act.graph.constants import Constants
    from onnx_act.graph.edit import Editor
    from onnx_act.graph.model import OnnxModel
    from onnx_act.graph.sites import Site


#: The refusal of a site whose dtype nothing tells.
UNKNOWN_TYPE: Final = (
    "its element type is not known: declare it (run ONNX shape inference and save the result), or, "
    "in a function that is called with several types, inline the function first"
)


class Fidelity(enum.Enum):
    """How a change relates to the function it replaces."""

    EXACT = "exact"
    NUMERIC = "numeric"
    APPROXIMATE = "approximate"
    SEMANTIC = "semantic"


@dataclass(frozen=True, slots=True)
class WrittenActivation:
    """An activation as a change writes it, and how to run it by itself.

    Attributes:
        activation: the catalogue's entry.
        parameters: all its parameters.
        label: how it is written, for a reader.
        probe: a serialised model from `x` to `y` of one shape, at least so many elements, that
            holds nothing but the activation as it is written; per-channel parameters stand as
            their first value.
    """

    activation: Activation
    parameters: Parameters
    label: str
    probe: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Change:
    """Something to do to a model.

    Attributes:
        rule: the rule that proposes it.
        fidelity: how the result relates to the original function.
        site: the id of the site, or the name of the node, that it is about.
        before: what is there, for a reader.
        after: what will be there.
        nodes: the names of the nodes it replaces.
        apply: does it; called once, by the engine.
        region: the nodes themselves, in graph order, all in one graph; only rules whose changes
            are measured (see `if_faster`) need to say.
        written: the activation it writes, where that can be run by itself; None for the
            functions of recurrent operators, and for changes that write none.
    """

    rule: str
    fidelity: Fidelity
    site: str
    before: str
    after: str
    nodes: tuple[str, ...]
    apply: Callable[[Editor], None] = field(repr=False, compare=False)
    region: tuple[ir.Node, ...] = field(default=(), repr=False, compare=False)
    written: WrittenActivation | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The change as plain JSON data."""
        return {
            "rule": self.rule,
            "fidelity": self.fidelity.value,
            "site": self.site,
            "before": self.before,
            "after": self.after,
            "nodes": list(self.nodes),
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason, that a person can act on, for leaving something as it is.

    Attributes:
        rule: the rule that looked at it.
        site: the id of the site, or the name of the node.
        activation: the activation there, "" when it is not about one.
        reason: why.
        left_to_runtime: whether it is left because the runtime does the same when it loads the
            model, as was seen in what the runtime made of it.
    """

    rule: str
    site: str
    activation: str
    reason: str
    left_to_runtime: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The refusal as plain JSON data."""
        return {
            "rule": self.rule,
            "site": self.site,
            "activation": self.activation,
            "reason": self.reason,
            "left_to_runtime": self.left_to_runtime,
        }


Proposal = Change | Refusal


class LoadedGraph(Protocol):
    """What the targets' runtime made of a model when it loaded it."""

    def fused_as(self, nodes: Sequence[ir.Node]) -> str | None:
        """What every target makes of these adjacent nodes by itself, such as `Conv[Relu]`.

        Args:
            nodes: in graph order, of the model that was loaded.

        Returns:
            None where some target leaves them apart, or where it cannot be told.
        """


class Capabilities(Protocol):
    """Asks the installed runtime about the targets."""

    def reason_against(self, model: bytes, *, may_crash: bool = False) -> str | None:
        """Why some target cannot run this tiny model; None when every target runs it.

        Args:
            model: serialised.
            may_crash: whether a kernel may end the process instead of refusing.
        """

    def miscomputation(self, model: bytes) -> str | None:
        """How some target's result of this tiny model is wrong; None when every one's is right.

        Args:
            model: serialised.
        """

    def overflow(self, model: bytes) -> str | None:
        """How some target's result of this tiny model is not finite for small inputs; else None.

        Args:
            model: serialised, of one activation.
        """

    def speedup(self, old: OnnxModel, new: OnnxModel) -> float:
        """How many times as fast as `old` the targets run `new`, on the least lucky of them.

        Measured in turn at the runtime's default optimisation.

        Args:
            old: a whole model.
            new: one that computes the same.

        Returns:
            0.0 where it cannot be measured.
        """

    def at_load(self, model: OnnxModel) -> LoadedGraph:
        """What the runtime makes of a whole model when it loads it at its default optimisation."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model as rules see it: to be read, not touched.

    Attributes:
        model: the model.
        sites: all its sites, routine ones included.
        constants: its constants.
        targets: what it must run on.
    """

    model: OnnxModel
    sites: tuple[Site, ...]
    constants: Constants
    targets: Capabilities


class Rule(Protocol):
    """Something that proposes changes. A rule is a frozen dataclass; its fields are its options."""

    @property
    def name(self) -> str:
        """How reports call it."""

    @property
    def enables_itself(self) -> bool:
        """Whether it is to be planned again after changes of its own, until it has none."""

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        """A change or a refusal for everything the rule is about."""
