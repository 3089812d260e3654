"""What the installed runtime makes of a model when it loads it, read from what it would save."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onnx_act.errors import EvidenceError
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.session import CPU, WEIGHTS, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIME_LIMIT_S: Final = 600.0

# Field numbers of onnx.proto: of ModelProto, GraphProto, NodeProto and AttributeProto. Read here
# without onnx, which this package does without, and which would build every message in full.
_MODEL_GRAPH: Final = 7
_GRAPH_NODE: Final = 1
_NODE_OUTPUT: Final = 2
_NODE_NAME: Final = 3
_NODE_OPERATOR: Final = 4
_NODE_ATTRIBUTE: Final = 5
_NODE_DOMAIN: Final = 7
_ATTRIBUTE_NAME: Final = 1
_ATTRIBUTE_STRING: Final = 4
_ATTRIBUTE_GRAPH: Final = 6
_ATTRIBUTE_GRAPHS: Final = 11


@dataclass(frozen=True, slots=True)
class LoadedNode:
    """A node of a model as the runtime runs it.

    Attributes:
        op_type: Its operator.
        domain: The operator's domain, "" for standard ONNX.
        name: Its name, which the runtime may have made up, or left empty.
        outputs: The names of what it makes.
        activation: The activation that it applies to its result, "" for none.
    """

    op_type: str
    domain: str
    name: str
    outputs: tuple[str, ...]
    activation: str


def optimized_nodes(path: Path, provider: str = CPU) -> tuple[LoadedNode, ...]:
    """The nodes that a model has after it was loaded at the runtime's default optimisation.

    Loads the model in a process of its own, as loading a stranger's model may end or hang it.
    The optimised weights, which may be as large as the disk, are thrown away.

    Args:
        path: The model; external data is found beside it.
        provider: The full name of an execution provider.

    Returns:
        The nodes of the main graph and of all graphs below it, in no order that matters.

    Raises:
        OnnxActError: It cannot be loaded, or the runtime cannot say what it made of it, as with
            providers that compile a model as a whole.
    """
    with tempfile.TemporaryDirectory(prefix="onnx-act-") as folder:
        return run_isolated(_load, path, provider, Path(folder), timeout_s=_TIME_LIMIT_S)


def _load(path: Path, provider: str, folder: Path) -> tuple[LoadedNode, ...]:
    (folder / WEIGHTS).symlink_to(os.devnull)
    place = folder / "optimized.onnx"
    open_session(path, SessionSettings(provider, threads=1, optimized_to=place))
    return tuple(stored_nodes(place.read_bytes()))


def stored_nodes(model: bytes) -> Iterator[LoadedNode]:
    """The nodes of a serialised model, those of its subgraphs included, functions excluded.

    Raises:
        EvidenceError: It is cut short, or no model.
    """
    graphs = [part for field, part in _fields(memoryview(model)) if field == _MODEL_GRAPH]
    while graphs:
        for field, part in _fields(graphs.pop()):
            if field == _GRAPH_NODE:
                yield _node(part, graphs)


def _node(message: memoryview, graphs: list[memoryview]) -> LoadedNode:
    """A node; its subgraphs are added to `graphs`."""
    texts = {_NODE_OPERATOR: "", _NODE_DOMAIN: "", _NODE_NAME: ""}
    outputs: list[str] = []
    activation = ""
    for field, part in _fields(message):
        if field in texts:
            texts[field] = _text(part)
        elif field == _NODE_OUTPUT:
            outputs.append(_text(part))
        elif field == _NODE_ATTRIBUTE:
            name = string = ""
            for inner, value in _fields(part):
                if inner == _ATTRIBUTE_NAME:
                    name = _text(value)
                elif inner == _ATTRIBUTE_STRING:
                    string = _text(value)
                elif inner in {_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS}:
                    graphs.append(value)
            if name == "activation":
                activation = string
    domain = texts[_NODE_DOMAIN]
    return LoadedNode(
        texts[_NODE_OPERATOR],
        "" if domain == "ai.onnx" else domain,
        texts[_NODE_NAME],
        tuple(outputs),
        activation,
    )


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of every field that is text or a message; numbers are skipped."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        match key & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 5:
                at += 4
            case 2:
                length, at = _varint(message, at)
                yield key >> 3, message[at : at + length]
                at += length
            case _:
                raise EvidenceError("what the runtime saved is not a model")
    if at > len(message):
        raise EvidenceError("what the runtime saved is cut short")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    number = shift = 0
    while at < len(message):
        byte = message[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
    raise EvidenceError("what the runtime saved is cut short")


def _text(part: memoryview) -> str:
    return bytes(part).decode(errors="replace")
