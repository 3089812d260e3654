"""How much of the run time is spent in activations, from the runtime's own profile."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onnx_act.evidence.attribution import attribute
from onnx_act.graph.store import stage_temporarily
from onnx_act.graph.tags import tagged
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
    found = attribute(profile, tags, sites)
    return Shares(profile, found.sites, found.unknown, found.layout)
