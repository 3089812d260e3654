"""Which part of its domain each changed activation was exercised on.

Two models that agree have been shown to agree on what they were run on and nowhere else: an
activation that only ever saw numbers near zero may have any tail. The input of each changed site
is returned by a copy of the reference and counted by the parts of the activation's domain, see
`onnx_act.activations.domain_parts`.
"""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onnx_act.activations.domain_parts import Part, domain_parts
from onnx_act.evidence.aligning import align
from onnx_act.evidence.baseline import equivalence_settings
from onnx_act.evidence.compare import as_float64, is_float
from onnx_act.evidence.looking import CHUNK_BYTES, cut_by_size, opened, value_sizes
from onnx_act.evidence.plain import plain
from onnx_act.graph.constants import Constants
from onnx_act.graph.describe import describe_activation
from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import MAIN, load_model
from onnx_act.graph.ranges import Ranges
from onnx_act.graph.taps import outline
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.session import CPU

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_act.activations.domain_parts import DomainPart
    from onnx_act.graph.model import OnnxModel
    from onnx_act.graph.sites import Site
    from onnx_act.runtime.tensors import Array

#: Of each activation so many sites are looked at, spread evenly over the model.
MOST_PER_KIND: Final = 8
_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class PartCoverage:
    """One part of the domain at one site.

    Attributes:
        part: which.
        low: where it begins.
        high: where it ends.
        elements: how many numbers lay in it, over all feeds.
        share: their share of all numbers.
        is_reachable: whether the graph lets a number lie in it at all: behind a relu, no site
            sees a negative number.
    """

    part: Part
    low: float
    high: float
    elements: int
    share: float
    is_reachable: bool

    @property
    def is_missed(self) -> bool:
        """Whether numbers could lie in it and none did."""
        return self.is_reachable and self.elements == 0


@dataclass(frozen=True, slots=True)
class SiteCoverage:
    """One site.

    Attributes:
        site: its id.
        activation: what it computes.
        low: the least finite number it saw; NaN where there was none.
        high: the greatest.
        parts: the parts of its domain, from left to right.
    """

    site: str
    activation: str
    low: float
    high: float
    parts: tuple[PartCoverage, ...]

    @property
    def missed(self) -> tuple[Part, ...]:
        """The parts that could have been exercised and were not."""
        return tuple(p.part for p in self.parts if p.is_missed)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the feeds exercised of the activations that are not what they were.

    Attributes:
        is_complete: whether every part of every changed site was exercised, as far as sites were
            looked at.
        changed: how many sites are changed.
        sites: those that were looked at.
        most_per_kind: how many sites of one activation are looked at.
        not_looked_at: how many sites were left out because others of their activation were taken.
        not_visible: sites that cannot be looked at, with the reason.
        missed: what was not exercised, a sentence for each activation and part.
        feeds: what each feed held.
    """

    is_complete: bool
    changed: int
    sites: tuple[SiteCoverage, ...]
    most_per_kind: int
    not_looked_at: int
    not_visible: dict[str, str]
    missed: tuple[str, ...]
    feeds: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(self)


def measure_coverage(
    model: Path,
    changed: Sequence[str],
    *,
    provider: str = CPU,
    request: FeedRequest | None = None,
    threads: int = 0,
    most_feeds: int = 16,
    most_per_kind: int = MOST_PER_KIND,
) -> Coverage | None:
    """Count what sites of a model see.

    Args:
        model: the model that is right by definition.
        changed: ids of its sites; others are ignored.
        provider: the full name of the execution provider to run on.
        request: what to run on; seeded generated feeds when left out.
        threads: threads within an operator; 0 is the runtime's default.
        most_feeds: the most feeds of a data set that are used.
        most_per_kind: how many sites of one activation are looked at.

    Returns:
        None where none of the ids is that of a site.

    Raises:
        EvidenceError: the model does not run.
        ModelError: it cannot be read.
        UsageError: shapes or data do not fit it.
    """
    return _measured(
        load_model(model), changed, provider, request, threads, most_feeds, most_per_kind
    )


def measure_coverage_between(
    reference: Path,
    candidate: Path,
    *,
    provider: str = CPU,
    request: FeedRequest | None = None,
    threads: int = 0,
    most_feeds: int = 16,
    most_per_kind: int = MOST_PER_KIND,
) -> Coverage | None:
    """Count what the sites of a model see that are written otherwise in another model.

    The arguments are those of `measure_coverage`; None where every site is written alike.

    Raises:
        EvidenceError: the reference does not run.
        ModelError: a model cannot be read.
        UsageError: shapes or data do not fit the reference.
    """
    models = load_model(reference), load_model(candidate)
    changed = changed_sites(*models)
    return _measured(models[0], changed, provider, request, threads, most_feeds, most_per_kind)


def changed_sites(reference: OnnxModel, candidate: OnnxModel) -> tuple[str, ...]:
    """The ids of the sites of a model that another model writes with other operators.

    A site of the candidate is the same one when it has the same id, or ends in the value that
    answers to the end of the reference's site.
    """
    sites = find_sites(reference)
    theirs = {s.id: s for s in find_sites(candidate)}
    counterparts = {s.id: s.id for s in sites}
    if not counterparts.keys() <= theirs.keys():
        aligned = align(outline(reference), outline(candidate)).values
        counterparts.update((v.reference, v.candidate) for v in aligned)
    return tuple(
        s.id
        for s in sites
        if (other := theirs.get(counterparts[s.id])) is None or _how(other) != _how(s)
    )


def _how(site: Site) -> tuple[str, str]:
    return site.written, describe_activation(site.activation, site.parameters)


def _measured(
    model: OnnxModel,
    changed: Sequence[str],
    provider: str,
    request: FeedRequest | None,
    threads: int,
    most_feeds: int,
    most_per_kind: int,
) -> Coverage | None:
    wanted = set(changed)
    sites = [s for s in find_sites(model) if s.id in wanted]
    if not sites:
        return None
    not_visible = {s.id: reason for s in sites if (reason := _reason_against(s))}
    kinds: dict[str, list[Site]] = defaultdict(list)
    for site in sites:
        if site.id not in not_visible:
            kinds[site.name].append(site)
    chosen = [s for kind in kinds.values() for s in _spread(kind, most_per_kind)]
    parts = {s.id: _parts(s) for s in chosen}
    settings = equivalence_settings(provider, threads)
    with tempfile.TemporaryDirectory(prefix="onnx-act-") as place:
        folder = Path(place)
        with opened(model, (), settings, folder) as session:
            feeds = feeds_for(session, request or FeedRequest()).first(most_feeds)
        numbers = _Numbers(model, chosen, parts)
        sizes = value_sizes(model, feeds)
        names = list(dict.fromkeys(str(s.input.name) for s in chosen if s.input is not None))
        for chunk in cut_by_size(names, sizes, CHUNK_BYTES):
            made = [n for n in chunk if n not in feeds.feeds[0]]
            with opened(model, made, settings, folder) as session:
                for feed in feeds.feeds:
                    # Asked for no outputs, the runtime returns all of them.
                    arrays = session.run(feed, made) if made else ()
                    results = dict(zip(made, arrays, strict=True))
                    for name in chunk:
                        numbers.add(name, results[name] if name in results else feed[name])
    covered = numbers.covered()
    missed = _sentences(covered, kinds)
    return Coverage(
        is_complete=not missed and not not_visible,
        changed=len(sites),
        sites=covered,
        most_per_kind=most_per_kind,
        not_looked_at=sum(map(len, kinds.values())) - len(chosen),
        not_visible=not_visible,
        missed=missed,
        feeds=feeds.origin,
    )


def _reason_against(site: Site) -> str:
    """Why nobody can see what a site is fed; "" when one can."""
    if site.scope.name != MAIN:
        return f"it is inside {site.scope.name}"
    if site.input is None:
        return f"it is inside the operator {site.nodes[0].op_type}"
    if site.activation is None:
        return "it is in no catalogue, so that its tails are not known"
    return ""


def _parts(site: Site) -> tuple[DomainPart, ...]:
    assert site.activation is not None
    return domain_parts(site.activation, site.parameters)


def _spread(sites: Sequence[Site], most: int) -> list[Site]:
    """At most so many of a list, evenly spread, the first and the last among them."""
    if len(sites) <= most:
        return list(sites)
    places = np.unique(np.linspace(0, len(sites) - 1, most).round().astype(int))
    return [sites[int(k)] for k in places]


class _Numbers:
    """What the inputs of sites were, counted."""

    def __init__(
        self, model: OnnxModel, sites: Sequence[Site], parts: Mapping[str, tuple[DomainPart, ...]]
    ) -> None:
        self._sites = sites
        self._parts = parts
        self._ranges = Ranges(model, Constants(model))
        self._counts: dict[str, list[int]] = {s.id: [0] * len(parts[s.id]) for s in sites}
        self._total: dict[str, int] = defaultdict(int)
        self._bounds: dict[str, tuple[float, float]] = {}

    def add(self, name: str, array: Array) -> None:
        """Take in what a value held in one run."""
        if not is_float(array):
            return
        x = as_float64(array)
        x = x[np.isfinite(x)]
        if x.size == 0:
            return
        low, high = self._bounds.get(name, (math.inf, -math.inf))
        self._bounds[name] = (min(low, float(x.min())), max(high, float(x.max())))
        self._total[name] += x.size
        for site in self._sites:
            if site.input is not None and site.input.name == name:
                counts = self._counts[site.id]
                for place, part in enumerate(self._parts[site.id]):
                    counts[place] += part.count(x)

    def covered(self) -> tuple[SiteCoverage, ...]:
        """Every site with what it saw."""
        return tuple(self._site(s) for s in self._sites)

    def _site(self, site: Site) -> SiteCoverage:
        assert site.input is not None
        name = str(site.input.name)
        possible = self._ranges.interval(site.input)
        low, high = self._bounds.get(name, (math.nan, math.nan))
        total = max(self._total[name], 1)
        return SiteCoverage(
            site=site.id,
            activation=describe_activation(site.activation, site.parameters),
            low=low,
            high=high,
            parts=tuple(
                PartCoverage(
                    part.part,
                    part.low,
                    part.high,
                    elements,
                    elements / total,
                    part.overlaps(possible.low, possible.high),
                )
                for part, elements in zip(self._parts[site.id], self._counts[site.id], strict=True)
            ),
        )


def _sentences(
    covered: Sequence[SiteCoverage], kinds: Mapping[str, Sequence[Site]]
) -> tuple[str, ...]:
    """What was not exercised, a sentence for each activation and part."""
    where: dict[tuple[str, Part], list[SiteCoverage]] = defaultdict(list)
    looked_at: dict[str, int] = defaultdict(int)
    kind_of = {s.id: name for name, sites in kinds.items() for s in sites}
    for site in covered:
        looked_at[kind_of[site.site]] += 1
        for part in site.missed:
            where[kind_of[site.site], part].append(site)
    return tuple(
        f"{part.value} of {kind} was not exercised at {_count(len(sites), looked_at[kind])} "
        f"({', '.join(_seen(s) for s in sites[:_MOST_NAMED])}"
        f"{', ...' if len(sites) > _MOST_NAMED else ''})"
        for (kind, part), sites in where.items()
    )


def _count(missed: int, looked_at: int) -> str:
    if looked_at == 1:
        return "the site that was looked at"
    return f"{missed} of the {looked_at} sites that were looked at"


def _seen(site: SiteCoverage) -> str:
    return f"{site.site}: saw {site.low:.3g} to {site.high:.3g}"
