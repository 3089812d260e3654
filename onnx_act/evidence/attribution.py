"""Which part of a profile is whose: what the names of nodes that a runtime made tell."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onnx_act.graph.tags import numbers_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx_act.graph.sites import Site
    from onnx_act.graph.tags import NodeTags
    from onnx_act.runtime.profile import Profile

#: Operators that change the layout of values for the runtime's own convolutions.
REORDERS: Final = frozenset({"ReorderInput", "ReorderOutput"})
_TAKES_IN: Final = frozenset({"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "ConvTranspose"})


@dataclass(frozen=True, slots=True)
class Attribution:
    """Parts of the time of a run.

    Attributes:
        sites: id of a site -> part of the run time spent in operators that are its own.
        unknown: ids of sites of which the profile says nothing: those in functions, and operators
            that the runtime runs as several of its own, under names of its own.
        layout: part of the run time spent in changes of layout.
    """

    sites: dict[str, float]
    unknown: frozenset[str]
    layout: float


def attribute(profile: Profile, tags: NodeTags, sites: Iterable[Site]) -> Attribution:
    """Divide the time of a profile among the sites of the model that was profiled.

    Args:
        profile: of the model while it was tagged.
        tags: the numbers of its nodes.
        sites: whose share is asked for.
    """
    owners: dict[int, str] = {}
    numbers: dict[str, set[int]] = defaultdict(set)
    makers: dict[str, int | None] = {}
    unknown: set[str] = set()
    for site in sites:
        producer = None if site.input is None else site.input.producer()
        makers[site.id] = None if producer is None else tags.numbers.get(producer)
        for node in site.nodes:
            number = tags.numbers.get(node)
            if number is None:
                unknown.add(site.id)
            else:
                owners[number] = site.id
                numbers[site.id].add(number)
    found = dict.fromkeys(owners.values(), 0.0)
    layout = 0.0
    whole = profile.seconds or 1.0
    seen = {number for timed in profile.nodes for number in numbers_in(timed.name)}
    for timed in profile.nodes:
        concerned = {owners.get(number) for number in numbers_in(timed.name)}
        if timed.op_type in REORDERS:
            layout += timed.seconds / whole
        elif (
            len(concerned) == 1
            and (site_id := concerned.pop()) is not None
            # A product or convolution that took an activation in may be named after that alone:
            # it is the activation's own only where its producer is still there.
            and (timed.op_type not in _TAKES_IN or makers[site_id] in seen)
        ):
            found[site_id] += timed.seconds / whole
    if any(not numbers_in(t.name) and t.op_type not in REORDERS for t in profile.nodes):
        # Something ran that bears no number: it may be what a site was expanded into.
        unknown.update(site for site in found if not seen & numbers[site])
    return Attribution(found, frozenset(unknown), layout)
