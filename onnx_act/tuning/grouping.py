"""Sites that a runtime treats alike, and the ways in which they could be written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_act.graph.describe import describe_activation
from onnx_act.graph.lower import OperatorLowering
from onnx_act.graph.model import MAIN
from onnx_act.graph.types import shape_of
from onnx_act.rewrite.expand_gate import GateExpansion, gated_image
from onnx_act.rewrite.respell_activation import (
    Way,
    is_respellable,
    ways_to_write,
    would_be_written_as,
    written_as,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onnx_act.graph.constants import Constants
    from onnx_act.graph.fingerprint import Fingerprint
    from onnx_act.graph.lower import Lowering
    from onnx_act.graph.sites import Site

_IMAGE_RANK = 4


@dataclass(frozen=True, slots=True)
class SiteGroup:
    """Sites of one activation that are written, placed and sized alike.

    Attributes:
        signature: activation, kinds of parameters, dtype, opset, present writing, producer,
            consumers and size class, as text. The same in every model.
        family: the part of it that says what is computed and how it is written now.
        sites: its sites.
        ways: how they could be written, by key, without the way they are.
        present: the key of the way they are written, None where it is none of ours.
        channels: how many of them each site has, by the second of four dimensions, where known.
        image: height and width of the images that the sites gate, None where they gate none.
    """

    signature: str
    family: str
    sites: tuple[Site, ...]
    ways: Mapping[str, Way]
    present: str | None
    channels: int | None
    image: tuple[int, int] | None

    @property
    def activation(self) -> str:
        """The activation, with its parameters where the sites agree on them."""
        shown = {describe_activation(s.activation, s.parameters) for s in self.sites}
        return shown.pop() if len(shown) == 1 else self.sites[0].name

    @property
    def before(self) -> str:
        """The operators that spell the sites."""
        return self.sites[0].written


def group_sites(
    sites: Iterable[Site],
    constants: Constants,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    contrib: bool,
) -> list[SiteGroup]:
    """The groups of sites that have another way to be written, in the order of the model.

    Args:
        sites: of one model.
        constants: of that model.
        shapes: of values of its main graph, by name, as far as they are known.
        contrib: whether operators outside the standard may be used.
    """
    reader = _WayReader(contrib)
    found: dict[tuple[str, tuple[str, ...]], list[tuple[Site, dict[str, Way]]]] = {}
    channels: dict[str, int] = {}
    present: dict[tuple[str, tuple[str, ...]], str | None] = {}
    images: dict[tuple[str, tuple[str, ...]], tuple[int, int] | None] = {}
    families: dict[tuple[str, tuple[str, ...]], str] = {}
    for site in sites:
        if not is_respellable(site):
            continue
        dims = _dims(site, shapes)
        count = _channels(dims)
        if count is not None:
            channels[site.id] = count
        now, others = reader.read(site, count, written_as(site, constants))
        image = gated_image(site, shapes) if site.scope.name == MAIN else None
        if image is not None:
            others = {**others, "expanded": GateExpansion(*image)}
        if not others:
            continue
        family = _family(site, now)
        gates = "" if image is None else f", gates {image[0]} x {image[1]}"
        key = (f"{family}; {_place(site, dims)}{gates}", tuple(others))
        images[key] = image
        found.setdefault(key, []).append((site, others))
        present[key], families[key] = now, family
    return [
        SiteGroup(
            f"{key[0]}; ways {', '.join(key[1])}",
            families[key],
            tuple(site for site, _ in members),
            members[0][1],
            present[key],
            channels.get(members[0][0].id),
            images[key],
        )
        for key, members in found.items()
    ]


class _WayReader:
    """The ways to write sites, found once for all that are alike."""

    def __init__(self, contrib: bool) -> None:
        self._contrib = contrib
        self._known: dict[tuple[object, ...], dict[Fingerprint, tuple[str, Lowering]]] = {}

    def read(
        self, site: Site, channels: int | None, written: Fingerprint
    ) -> tuple[str | None, dict[str, Way]]:
        """The key of the way a site is written, and all others, each once."""
        values = tuple(
            (v.shape, v.tobytes()) if isinstance(v, np.ndarray) else v
            for v in site.parameters.values()
        )
        key = (site.name, values, site.dtype, site.scope.opset(), channels)
        if key not in self._known:
            ways: dict[Fingerprint, tuple[str, Lowering]] = {}
            for name, way in ways_to_write(site, channels, contrib=self._contrib).items():
                assert not isinstance(way, GateExpansion)
                would_be = would_be_written_as(site, way)
                if would_be is not None:
                    ways.setdefault(would_be, (name, way))
            self._known[key] = ways
        ways = self._known[key]
        now = next((n for w, (n, way) in ways.items() if w == written or _is(site, way)), None)
        return now, {name: way for name, way in ways.values() if name != now}


def _is(site: Site, way: Lowering) -> bool:
    """Whether a site is the operator, whatever it states of its attributes."""
    if len(site.nodes) != 1 or not isinstance(way, OperatorLowering):
        return False
    return (way.operator.domain, way.operator.op_type) == site.nodes[0].op_identifier()[:2]


def _family(site: Site, present: str | None) -> str:
    kinds = [f"{name} {_kind(value)}" for name, value in site.parameters.items()]
    assert site.dtype is not None
    what = f"{site.name}({', '.join(kinds)})" if kinds else site.name
    place = f"in {site.dtype.name.lower()}, opset {site.scope.opset()}"
    return f"{what} {place}, as {present or site.written}"


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return "one number" if value.size == 1 else f"array of rank {value.ndim}"
    return value if isinstance(value, str) else "number"


def _place(site: Site, dims: tuple[int, ...] | None) -> str:
    """Producer, consumers and size class."""
    size = "of unknown size"
    if dims is not None:
        channels = _channels(dims)
        each = f"{channels} channels, " if channels is not None else ""
        size = f"rank {len(dims)}, {each}2^{round(math.log2(max(1, math.prod(dims))))} elements"
    where = "" if site.scope.name == MAIN else ", in a subgraph or function"
    return f"{site.producer} > {' '.join(sorted(site.consumers))}{where}; {size}"


def _dims(site: Site, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    if site.scope.name == MAIN and (site.output.name or "") in shapes:
        return shapes[site.output.name or ""]
    stated = shape_of(site.output)
    if stated is None or not all(isinstance(d, int) for d in stated):
        return None
    return tuple(d for d in stated if isinstance(d, int))


def _channels(dims: tuple[int, ...] | None) -> int | None:
    return dims[1] if dims is not None and len(dims) == _IMAGE_RANK and dims[1] > 0 else None
