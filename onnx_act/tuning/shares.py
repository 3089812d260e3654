"""How much of the run time is spent in activations, from the runtime's own profile."""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onnx_act.graph.store import stage_temporarily
from onnx_act.graph.tags import numbers_in, tagged
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.profile import profile_model

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from onnx_act.graph.model import OnnxModel
    from onnx_act.graph.sites import Site
    from onnx_act.runtime.feeds import FeedRequest
    from onnx_act.runtime.profile import Profile

_TIME_LIMIT_S: Final = 600.0
_REORDERS: Final = frozenset({"ReorderInput", "ReorderOutput"})
_TAKES_IN: Final = frozenset({"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "ConvTranspose"})


@dataclass(frozen=True, slots=True)
class Shares:
    """Where the time of a model goes.

    Attributes:
        profile: of the runtime.
        sites: id of a site -> part of the run time spent in operators that are its own.
        unknown: ids of sites of which the profile says nothing: those in functions, and operators
            that the runtime runs as several of its own, under names of its own.
        layout: part of the run time spent in changes of layout.
    """

    profile: Profile
    sites: dict[str, float]
    unknown: frozenset[str]
    layout: float

    @property
    def all_sites(self) -> float | None:
        """Part of the run time spent in activations that are operators of their own.

        None where some of them are unknown.
        """
        return None if self.unknown else sum(self.sites.values())


def measure_shares(
    model: OnnxModel,
    sites: Iterable[Site],
    folder: Path,
    *,
    provider: str,
    threads: int,
    feeds: FeedRequest,
) -> Shares:
    """Profile a model, in a process of its own.

    Args:
        model: left as it was.
        sites: whose share is asked for.
        folder: for the model's file.
        provider: full name of the provider.
        threads: threads within an operator.
        feeds: what to run on.

    Raises:
        EvidenceError: it does not run.
        UsageError: shapes or data do not fit the model.
    """
    with ExitStack() as stack:
        tags = stack.enter_context(tagged(model))
        staged = stack.enter_context(stage_temporarily(model, folder, "profiled.onnx"))
        profile = run_isolated(
            profile_model,
            staged.path,
            provider,
            threads=threads,
            request=feeds,
            timeout_s=_TIME_LIMIT_S,
        )
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
        if timed.op_type in _REORDERS:
            layout += timed.seconds / whole
        elif (
            len(concerned) == 1
            and (site_id := concerned.pop()) is not None
            # A product or convolution that took an activation in may be named after that alone:
            # it is the activation's own only where its producer is still there.
            and (timed.op_type not in _TAKES_IN or makers[site_id] in seen)
        ):
            found[site_id] += timed.seconds / whole
    if any(not numbers_in(t.name) and t.op_type not in _REORDERS for t in profile.nodes):
        # Something ran that bears no number: it may be what a site was expanded into.
        unknown.update(site for site in found if not seen & numbers[site])
    return Shares(profile, found, frozenset(unknown), layout)
