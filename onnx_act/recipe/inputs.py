"""What models are fed: as the options say, and as the model itself tells."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.activations.properties import describe
from onnx_act.errors import UsageError
from onnx_act.graph.finding import find_sites
from onnx_act.graph.statistics import count_nodes
from onnx_act.graph.token_inputs import input_ranges
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.images import parse_normalization

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from onnx_act.activations.activation import Activation, Parameters
    from onnx_act.graph.model import OnnxModel
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.swap_request import SwapRequest

Ranges = tuple[tuple[str, tuple[float, float]], ...]

_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE: Final = re.compile(
    rf"(?P<name>.+?):\[?\s*(?P<low>{_NUMBER})\s*,\s*(?P<high>{_NUMBER})\s*\]?"
)
# Looking for activations in more nodes takes longer than what is gained by feeding their bends.
_MOST_NODES: Final = 20_000
# How many of the functions are looked at that an array of parameters stands for.
_MOST_CHANNELS: Final = 16
_MOST_KNOTS: Final = 64


def parse_ranges(texts: Iterable[str] | None) -> Ranges:
    """Ranges as `--input-range` writes them: `ids:0,30521` or `x:[-1,1]`.

    Raises:
        UsageError: one of them does not parse, or an input is named twice.
    """
    found: dict[str, tuple[float, float]] = {}
    for text in texts or ():
        match = _RANGE.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"--input-range takes NAME:LOW,HIGH, such as ids:0,99, not {text!r}")
        name = match.group("name")
        if name in found:
            raise UsageError(f"--input-range is given twice for input {name!r}")
        found[name] = (float(match.group("low")), float(match.group("high")))
    return tuple(found.items())


def make_feed_request(
    *,
    seed: int,
    data: Path | None,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    ranges: Ranges,
    normalize: str | None,
) -> FeedRequest:
    """What was asked for about inputs.

    Args:
        seed: of `--seed`.
        data: of `--data`.
        shapes: of `--shape`, by input name.
        ranges: of `--input-range`, by input name.
        normalize: the text of `--normalize`.

    Raises:
        UsageError: the seed or the normalisation cannot be, or they do not go together.
    """
    if data is None and normalize is not None:
        raise UsageError("--normalize says what becomes of images: it needs --data")
    if data is not None and ranges:
        raise UsageError("--input-range bounds generated inputs: it does not go with --data")
    return FeedRequest(
        seed=seed,
        shapes=shapes,
        ranges=ranges,
        data=data,
        normalize=None if normalize is None else parse_normalization(normalize),
    )


def suited_feeds(
    feeds: FeedRequest,
    model: OnnxModel,
    sites: Sequence[Site] | None = None,
    swaps: Sequence[SwapRequest] = (),
) -> tuple[FeedRequest, tuple[str, ...]]:
    """Feeds with what a model tells about them, and what to say of it.

    Integer inputs are bounded by the tables that they index, where the user did not; and the
    bends of its activations become knots.

    Args:
        feeds: as the user asked for them.
        model: what is run on them.
        sites: its activations, where they are known; they are looked for when left out.
        swaps: what is put in the place of some of them.
    """
    if feeds.data is not None:
        return feeds, ()
    given = dict(feeds.ranges)
    found = {name: r for name, r in input_ranges(model).items() if name not in given}
    if sites is None:
        sites = find_sites(model) if count_nodes(model) <= _MOST_NODES else ()
    pairs: list[tuple[Activation, Parameters]] = [
        (s.activation, s.parameters) for s in sites if s.activation and not s.routine
    ]
    pairs += [(swap.target, swap.given) for swap in swaps]
    suited = replace(
        feeds,
        ranges=(*feeds.ranges, *((n, (float(a), float(b))) for n, (a, b) in found.items())),
        knots=feeds.knots or knots_of(pairs),
    )
    ranges = ", ".join(f"{name} {low} to {high}" for name, (low, high) in found.items())
    notes = (f"integer inputs are fed what the model can take: {ranges}",) if found else ()
    return suited, notes


def knots_of(activations: Iterable[tuple[Activation, Parameters]]) -> tuple[float, ...]:
    """Where activations bend, sorted, each place once; the nearest to zero where there are many."""
    places: set[float] = set()
    seen: set[tuple[str, tuple[tuple[str, float | str], ...]]] = set()
    for activation, parameters in activations:
        for each in _scalar_parameters(parameters):
            key = (activation.name, tuple(sorted(each.items())))
            if key in seen:
                continue
            seen.add(key)
            try:
                places.update(describe(activation, each).kinks)
            except UsageError:
                continue  # a function outside of its own domain bends nowhere that is known
    return tuple(sorted(sorted(places, key=abs)[:_MOST_KNOTS]))


def _scalar_parameters(parameters: Parameters) -> Iterator[dict[str, float | str]]:
    """The parameters of one function; of several where they come by channel."""
    sizes = [value.size for value in parameters.values() if isinstance(value, np.ndarray)]
    for channel in range(min(max(sizes, default=1), _MOST_CHANNELS)):
        yield {
            name: float(value.flat[channel % value.size])
            if isinstance(value, np.ndarray)
            else value
            for name, value in parameters.items()
            if not (isinstance(value, np.ndarray) and value.size == 0)
        }
