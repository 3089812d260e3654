"""Where the time of a run goes: by operator, by activation, by change of layout."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from onnx_act.evidence.attribution import REORDERS, attribute
from onnx_act.evidence.plain import plain
from onnx_act.graph.finding import find_sites
from onnx_act.graph.store import stage_temporarily
from onnx_act.graph.tags import tagged
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.profile import profile_model
from onnx_act.runtime.session import OptimizationLevel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from onnx_act.graph.model import OnnxModel
    from onnx_act.runtime.feeds import FeedRequest
    from onnx_act.runtime.profile import Profile, ProfiledNode

_TIME_LIMIT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """What all nodes of one operator cost in a run.

    Attributes:
        op_type: The operator, as the runtime runs it.
        count: Its nodes; on a device, its kernels.
        time_s: What they cost together, in seconds.
        share: That as a part of what all operators cost.
    """

    op_type: str
    count: int
    time_s: float
    share: float


@dataclass(frozen=True, slots=True)
class OperatorTimes:
    """Where the time of one model goes.

    Attributes:
        run_s: How long a run took while it was profiled, in seconds.
        time_s: What all operators cost together; the rest is the runtime's own.
        operators: By operator, the dearest first.
        sites: Activations in the model.
        activation_share: Part of `time_s` spent in activations that are operators of their own
            when the model is loaded; None where that is not known of all of them.
        unknown_sites: Activations of which the profile says nothing.
        layout_share: Part of `time_s` spent in changes of layout.
        layout_count: Changes of layout in a run.
        kernels: What a device itself measured, by operator; nothing where nobody asks it.
    """

    run_s: float
    time_s: float
    operators: tuple[OperatorTime, ...]
    sites: int
    activation_share: float | None
    unknown_sites: int
    layout_share: float
    layout_count: int
    kernels: tuple[OperatorTime, ...] = ()


@dataclass(frozen=True, slots=True)
class PerOperator:
    """Where the time of one model goes, or of two.

    Attributes:
        provider: The provider's full name.
        threads: Threads within an operator; 0 is the runtime's default.
        level: The runtime's optimisation level.
        a: The first model.
        b: The second model, if there is one.
    """

    provider: str
    threads: int
    level: OptimizationLevel
    a: OperatorTimes
    b: OperatorTimes | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; durations are in seconds."""
        return plain(self)


def measure_operators(
    model: OnnxModel,
    folder: Path,
    *,
    provider: str,
    threads: int,
    feeds: FeedRequest,
    level: OptimizationLevel = OptimizationLevel.ALL,
) -> OperatorTimes:
    """Profile a model, in a process of its own.

    Profiling makes small nodes dearer than they are: shares compare, times less so.

    Args:
        model: Left as it was.
        folder: For the model's file.
        provider: The full name of an execution provider.
        threads: Threads within an operator; 0 is the runtime's default.
        feeds: What to run on.
        level: The runtime's optimisation level.

    Raises:
        EvidenceError: It does not run.
        UsageError: Shapes or data do not fit the model.
    """
    sites = find_sites(model)
    with ExitStack() as stack:
        tags = stack.enter_context(tagged(model))
        staged = stack.enter_context(stage_temporarily(model, folder, "profiled.onnx"))
        profile: Profile = run_isolated(
            profile_model,
            staged.path,
            provider,
            threads=threads,
            request=feeds,
            level=level,
            timeout_s=_TIME_LIMIT_S,
        )
    found = attribute(profile, tags, sites)
    return OperatorTimes(
        run_s=profile.run_s,
        time_s=profile.seconds,
        operators=by_operator(profile.nodes),
        sites=len(sites),
        activation_share=None if found.unknown else sum(found.sites.values()),
        unknown_sites=len(found.unknown),
        layout_share=found.layout,
        layout_count=sum(node.op_type in REORDERS for node in profile.nodes),
        kernels=by_operator(profile.kernels),
    )


def by_operator(nodes: Iterable[ProfiledNode]) -> tuple[OperatorTime, ...]:
    """What was profiled, summed by operator, the dearest first."""
    times: dict[str, float] = defaultdict(float)
    counts: Counter[str] = Counter()
    for node in nodes:
        times[node.op_type] += node.seconds
        counts[node.op_type] += 1
    whole = sum(times.values()) or 1.0
    return tuple(
        OperatorTime(name, counts[name], seconds, seconds / whole)
        for name, seconds in sorted(times.items(), key=lambda item: (-item[1], item[0]))
    )
