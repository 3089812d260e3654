"""Which provider runs which node of a model, and how large the values are that those nodes see."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from onnx_act.errors import EvidenceError
from onnx_act.runtime.devices import memory_of_this_process
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.session import CUDA, OptimizationLevel, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onnx_act.runtime.session import PlacedNode

_KERNEL: Final = "_kernel_time"
# What the runtime puts between a provider with a memory of its own and the CPU.
_COPIES: Final = frozenset({"MemcpyToHost", "MemcpyFromHost"})
# Bytes of an element, by the runtime's name of its type in a profile.
_WIDTHS: Final = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "float8e4m3fn": 1,
    "float8e4m3fnuz": 1,
    "float8e5m2": 1,
    "float8e5m2fnuz": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "uint32": 4,
    "float": 4,
    "int64": 8,
    "uint64": 8,
    "double": 8,
}


@dataclass(frozen=True, slots=True)
class RanNode:
    """A node of a model that a provider ran, with the sizes of what it took and made.

    Attributes:
        op_type: Its operator.
        name: Its name in the model, "" for none.
        provider: The full name of the provider that ran it.
        index: Its position among the nodes of the main graph that are no constants; None where
            the runtime does not say, or it is not in the main graph.
        inputs: Bytes of each input that it was given; None for those that are not known.
        outputs: The same of its outputs.
    """

    op_type: str
    name: str
    provider: str
    index: int | None
    inputs: tuple[int | None, ...] = ()
    outputs: tuple[int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class ObservedPlacement:
    """Where the nodes of a model ran.

    Attributes:
        provider: The provider that was asked for.
        nodes: (provider, nodes given to it) for every provider that got any; None where the
            installed runtime does not say.
        elsewhere: The nodes that another provider runs.
        copied: Bytes that the runtime's own copying nodes moved in one run; None where the model
            has none of those, as with providers that work in the CPU's memory.
        device_bytes: Memory that the process held on CUDA devices after the run; None where
            that is not known.
    """

    provider: str
    nodes: tuple[tuple[str, int], ...] | None
    elsewhere: tuple[RanNode, ...]
    copied: int | None
    device_bytes: int | None


def observe_placement(
    model: Path,
    provider: str,
    *,
    threads: int = 0,
    request: FeedRequest | None = None,
) -> ObservedPlacement:
    """Open a model, run it once, and read from the runtime where its nodes were placed.

    The level is `basic`: constants are folded as in use, while nodes still have the names of the
    model, which later fusions take from them.

    Args:
        model: The model; external data is found beside it.
        provider: The full name of an execution provider.
        threads: Threads within an operator; 0 is the runtime's default.
        request: What to run it on; generated feeds when left out.

    Raises:
        EvidenceError: It does not run, or the runtime's profile cannot be read.
        ProviderUnavailableError: The provider is not there.
        UsageError: Shapes or data do not fit the model.
    """
    wanted = request or FeedRequest()
    wanted = replace(wanted, count=1, batch=wanted.batch or 1)
    with TemporaryDirectory(prefix="onnx-act-") as folder:
        settings = SessionSettings(
            provider,
            OptimizationLevel.BASIC,
            threads=threads,
            profile_to=Path(folder) / "placement",
        )
        session = open_session(model, settings)
        names = [spec.name for spec in session.tensor_outputs]
        feed = feeds_for(session, wanted).feeds[0]
        session.run(feed, names)
        memory = memory_of_this_process() if provider == CUDA else None
        placed = session.assigned_nodes()
        told = _events(session.end_profile())
    events = [event for event in told if _is_of_a_node(event)]
    ran = [node for event in events if (node := _ran(event)) is not None]
    copies = [_size_of(event) for event in events if _argument(event, "op_name") in _COPIES]
    # Feeds were tried on the same session, so that copies of several runs are in the profile.
    runs = sum(event.get("name") == "model_run" for event in told)
    known = [size for size in copies if size is not None]
    copied = sum(known) // runs if runs and known and len(known) == len(copies) else None
    counts = None if placed is None else Counter(node.provider for node in placed)
    return ObservedPlacement(
        provider=provider,
        nodes=None if counts is None else tuple(sorted(counts.items())),
        elsewhere=_elsewhere(placed, ran, provider),
        copied=copied,
        device_bytes=memory,
    )


def _elsewhere(
    placed: Iterable[PlacedNode] | None, ran: list[RanNode], provider: str
) -> tuple[RanNode, ...]:
    """The nodes that another provider runs, those first that ran, each once."""
    found = {
        (node.op_type, node.name, node.index): node for node in ran if node.provider != provider
    }
    if placed is None:
        return tuple(found.values())
    seen = Counter((node.op_type, node.name) for node in found.values())
    # A branch that was not taken did not run, but it was placed.
    for node in placed:
        if node.provider == provider:
            continue
        key = (node.op_type, node.name)
        if seen[key]:
            seen[key] -= 1
        else:
            found[*key, -len(found) - 1] = RanNode(node.op_type, node.name, node.provider, None)
    return tuple(found.values())


def _events(path: Path) -> list[Mapping[str, Any]]:
    try:
        events = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvidenceError(f"the runtime's profile cannot be read: {error}") from error
    return [event for event in events if isinstance(event, dict)]


def _is_of_a_node(event: Mapping[str, Any]) -> bool:
    return (
        event.get("cat") == "Node"
        and str(event.get("name", "")).endswith(_KERNEL)
        and isinstance(event.get("args"), dict)
    )


def _ran(event: Mapping[str, Any]) -> RanNode | None:
    """The node of an event; None for the runtime's own copying nodes."""
    op_type = _argument(event, "op_name")
    if op_type in _COPIES:
        return None
    name = _event_key(event)
    index = _argument(event, "node_index")
    number = int(index) if index.isdigit() else None
    # A node without a name goes by its operator and its number.
    unnamed = number is not None and name == f"{op_type}_{number}"
    return RanNode(
        op_type,
        "" if unnamed else name,
        _argument(event, "provider"),
        number,
        _sizes(event, "input_type_shape"),
        _sizes(event, "output_type_shape"),
    )


def _event_key(event: Mapping[str, Any]) -> str:
    return str(event["name"]).removesuffix(_KERNEL)


def _argument(event: Mapping[str, Any], key: str) -> str:
    return str(event["args"].get(key, ""))


def _size_of(event: Mapping[str, Any]) -> int | None:
    stated = _argument(event, "output_size")
    return int(stated) if stated.isdigit() else None


def _sizes(event: Mapping[str, Any], key: str) -> tuple[int | None, ...]:
    """Bytes of each tensor in a list such as `[{"float": [4, 16]}, {"int64": []}]`."""
    listed = event["args"].get(key)
    if not isinstance(listed, list):
        return ()
    return tuple(_bytes(entry) for entry in listed)


def _bytes(entry: object) -> int | None:
    if not isinstance(entry, dict) or len(entry) != 1:
        return None
    ((element, dims),) = entry.items()
    width = _WIDTHS.get(element)
    if width is None or not isinstance(dims, list) or any(not isinstance(d, int) for d in dims):
        return None
    return width * math.prod(dims)
