"""Sessions that return inner values of a model, and how many of them fit into one."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from onnx_act.graph.concrete_shapes import concrete_shapes
from onnx_act.graph.store import stage_temporarily
from onnx_act.graph.taps import tapped
from onnx_act.runtime.session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from onnx_act.graph.model import OnnxModel
    from onnx_act.runtime.datasets import Dataset
    from onnx_act.runtime.session import Session, SessionSettings
    from onnx_act.runtime.tensors import Array

#: How many bytes of values one run of one model may return.
CHUNK_BYTES: Final = 1 << 26
# Bytes of an element; for a bound it does not matter that some types are wider or narrower.
_ELEMENT: Final = 4


@contextmanager
def opened(
    model: OnnxModel,
    names: Sequence[str],
    settings: SessionSettings,
    folder: Path,
    weights: Mapping[str, Array] | None = None,
) -> Iterator[Session]:
    """A session of a model that also returns some of its inner values.

    Args:
        model: not touched; its external weights are shared.
        names: values of its main graph.
        settings: how to open it.
        folder: for the file, where no weight is external.
        weights: numbers to take in the place of initializers.

    Raises:
        EvidenceError: the runtime cannot open it.
        UsageError: a name is no value of the main graph.
    """
    with stage_temporarily(tapped(model, names), folder, "looked-into.onnx") as staged:
        yield open_session(staged.path, settings, weights)


def value_sizes(model: OnnxModel, feeds: Dataset) -> dict[str, int]:
    """The bytes of every value of the main graph whose shape follows from the largest feed."""
    largest = max(feeds.feeds, key=lambda feed: sum(array.size for array in feed.values()))
    shapes = concrete_shapes(model, {name: array.shape for name, array in largest.items()})
    return {name: _ELEMENT * math.prod(shape) for name, shape in shapes.items()}


def cut_by_size(
    names: Sequence[str], sizes: Mapping[str, int], most_bytes: int
) -> Iterator[list[str]]:
    """Cut a list into parts that stay within some bytes, or hold a single value.

    A value of unknown size counts as the largest that is known.
    """
    unknown = max(sizes.values(), default=most_bytes)
    part: list[str] = []
    total = 0
    for name in names:
        size = sizes.get(name, unknown)
        if part and total + size > most_bytes:
            yield part
            part, total = [], 0
        part.append(name)
        total += size
    if part:
        yield part
