"""Where the nodes of models run on each provider, and what is copied because of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_act.evidence.plain import plain
from onnx_act.graph.crossings import Crossing, crossing_values
from onnx_act.graph.model import load_model
from onnx_act.runtime.placement import RanNode, observe_placement
from onnx_act.runtime.target import short_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from onnx_act.runtime.feeds import FeedRequest

_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class NodeElsewhere:
    """A node that another provider runs than the one that was asked for.

    Attributes:
        op_type: Its operator.
        name: Its name, "" for none.
        provider: The full name of the provider that runs it.
    """

    op_type: str
    name: str
    provider: str


@dataclass(frozen=True, slots=True)
class CrossingValue:
    """A value that passes from one provider to another.

    Attributes:
        name: The value.
        bytes: Its size in the run that was watched; None where it is not known.
    """

    name: str
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the nodes of one model run when one provider is asked for.

    Attributes:
        model: What the model is to the command: `reference`, `candidate`.
        provider: The full name of the provider that was asked for.
        nodes: Nodes given to each provider, by its full name; None where the installed runtime
            does not say.
        elsewhere: The nodes that another provider runs.
        crossing: The values between those nodes and the rest, inputs and outputs of the model
            left out.
        copied_bytes: What passes between providers in one run: what the runtime's copying nodes
            moved where it has any, else the sum over `crossing`. None where a size is not known.
        device_bytes: Memory that the process held on CUDA devices; None where that is not known.
    """

    model: str
    provider: str
    nodes: dict[str, int] | None
    elsewhere: tuple[NodeElsewhere, ...]
    crossing: tuple[CrossingValue, ...]
    copied_bytes: int | None
    device_bytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; sizes are in bytes."""
        return plain(self)

    def complaint(self) -> str:
        """What runs elsewhere than asked, in one line; "" when nothing does."""
        if not self.elsewhere:
            return ""
        named = [_shown(node) for node in self.elsewhere[:_MOST_NAMED]]
        more = len(self.elsewhere) - len(named)
        rest = f" and {more} more" if more else ""
        where = "/".join(sorted({short_name(node.provider) for node in self.elsewhere}))
        count = len(self.elsewhere)
        what = "1 node runs" if count == 1 else f"{count} nodes run"
        return (
            f"{what} on {where} instead of {short_name(self.provider)} in the {self.model}: "
            f"{', '.join(named)}{rest}"
        )


def measure_placement(
    models: Mapping[str, Path],
    *,
    providers: Sequence[str],
    request: FeedRequest,
    threads: int = 0,
) -> tuple[Placement, ...]:
    """Where the nodes of each model run on each provider, from one watched run of each.

    Args:
        models: What each model is to the command, and its file.
        providers: Full names of execution providers.
        request: What to run on; the first feed is used.
        threads: Threads within an operator; 0 is the runtime's default.

    Raises:
        EvidenceError: A model does not run.
        ProviderUnavailableError: A provider is not there.
        UsageError: Shapes or data do not fit a model.
    """
    return tuple(
        _placement(what, path, provider, request, threads)
        for provider in providers
        for what, path in models.items()
    )


def _placement(
    what: str, path: Path, provider: str, request: FeedRequest, threads: int
) -> Placement:
    seen = observe_placement(path, provider, threads=threads, request=request)
    crossing: tuple[CrossingValue, ...] = ()
    copied: int | None = 0
    if seen.elsewhere:
        keys = [(node.op_type, node.name, node.index) for node in seen.elsewhere]
        values, missing = crossing_values(load_model(path), keys)
        crossing = tuple(CrossingValue(v.value, _size(v, seen.elsewhere)) for v in values)
        sizes = [value.bytes for value in crossing]
        known = not missing and None not in sizes
        copied = sum(size or 0 for size in sizes) if known else None
    return Placement(
        model=what,
        provider=provider,
        nodes=None if seen.nodes is None else dict(seen.nodes),
        elsewhere=tuple(NodeElsewhere(n.op_type, n.name, n.provider) for n in seen.elsewhere),
        crossing=crossing,
        copied_bytes=copied if seen.copied is None else seen.copied,
        device_bytes=seen.device_bytes,
    )


def _size(crossing: Crossing, nodes: Sequence[RanNode]) -> int | None:
    node = nodes[crossing.node]
    sizes = node.inputs if crossing.side == "input" else node.outputs
    # With fewer entries than the node has values, which is which is not known.
    return sizes[crossing.position] if len(sizes) == crossing.arity else None


def _shown(node: NodeElsewhere) -> str:
    return f"{node.op_type} {node.name!r}" if node.name else node.op_type
