"""Where the time of a model goes, node by node, as the runtime's own profile tells it."""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from onnx_act.errors import EvidenceError
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.session import CPU, OptimizationLevel, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from onnx_act.runtime.session import Session

_KERNEL: Final = "_kernel_time"
# What a device did for a node, as builds of the runtime that can ask the device tell it.
_ON_DEVICE: Final = "Kernel"
_RUNS: Final = 7
# The first runs also pay for what is set up lazily.
_WARM_UP: Final = 2
# A model that is slower than this is profiled once.
_SLOW_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class ProfiledNode:
    """What one node of the loaded model costs.

    Attributes:
        name: Its name in the loaded model; of a device, that of the kernel.
        op_type: Its operator.
        seconds: Median time in one run, all its executions together.
    """

    name: str
    op_type: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of one run goes.

    Attributes:
        nodes: Every node that ran, in the order in which they first did.
        open_s: How long opening the model took, in seconds.
        run_s: How long a run took, in seconds.
        shapes: What was fed, as (input name, dimensions).
        kernels: What a device itself measured of its work, by kernel and operator; nothing where
            the runtime does not ask it.
    """

    nodes: tuple[ProfiledNode, ...]
    open_s: float
    run_s: float
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    kernels: tuple[ProfiledNode, ...] = ()

    @property
    def seconds(self) -> float:
        """What all nodes cost together."""
        return sum(node.seconds for node in self.nodes)


def profile_model(
    model: Path | bytes,
    provider: str = CPU,
    *,
    threads: int = 1,
    request: FeedRequest | None = None,
    level: OptimizationLevel = OptimizationLevel.ALL,
) -> Profile:
    """Run a model a few times with the runtime's profile.

    Where a provider runs many nodes as one, or asynchronously, so does the profile.

    Args:
        model: What to run.
        provider: The full name of an execution provider.
        threads: Threads within an operator.
        request: What to run on; random numbers when left out. Generated inputs have one row
            unless it says otherwise.
        level: The runtime's optimisation level; its default when left out.

    Raises:
        EvidenceError: It does not run, or the runtime's profile cannot be read.
        ProviderUnavailableError: The provider is not there.
        UsageError: Shapes or data do not fit the model.
    """
    wanted = request or FeedRequest()
    wanted = replace(wanted, count=1, batch=wanted.batch or 1)
    with TemporaryDirectory(prefix="onnx-act-") as folder:
        place = Path(folder) / "profile"
        settings = SessionSettings(provider, level, threads=threads, profile_to=place)
        session = open_session(model, settings)
        feed = feeds_for(session, wanted).feeds[0]
        run = session.prepared(feed)
        times = [_timed(run)]
        while len(times) < _RUNS and sum(times) < _SLOW_S:
            times.append(_timed(run))
        events = _events(session)
    shapes = tuple((name, tuple(array.shape)) for name, array in feed.items())
    # One more run than was timed: preparing is one.
    runs = len(times) + 1
    nodes, kernels = _nodes(events, runs), _kernels(events, runs)
    return Profile(nodes, session.creation_s, statistics.median(times), shapes, kernels)


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _events(session: Session) -> list[dict[str, object]]:
    path = session.end_profile()
    try:
        events = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvidenceError(f"the runtime's profile cannot be read: {error}") from error
    if not isinstance(events, list):
        raise EvidenceError("the runtime's profile is not a list of events")
    return [e for e in events if isinstance(e, dict)]


def _nodes(events: list[dict[str, object]], runs: int) -> tuple[ProfiledNode, ...]:
    """The median over runs of what each node cost in a run.

    The profile does not number runs: a node that ran as often in each is split evenly.
    """
    chosen = (
        (str(event["name"]).removesuffix(_KERNEL), event)
        for event in events
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith(_KERNEL)
    )
    return _summed(chosen, runs)


def _kernels(events: list[dict[str, object]], runs: int) -> tuple[ProfiledNode, ...]:
    """The same of what a device did."""
    chosen = ((str(e.get("name", "")), e) for e in events if e.get("cat") == _ON_DEVICE)
    return _summed(chosen, runs)


def _summed(events: Iterable[tuple[str, dict[str, object]]], runs: int) -> tuple[ProfiledNode, ...]:
    durations: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name, event in events:
        arguments = event.get("args")
        op_type = str(arguments.get("op_name", "")) if isinstance(arguments, dict) else ""
        duration = event.get("dur", 0)
        seconds = float(duration) * 1e-6 if isinstance(duration, int | float) else 0.0
        durations[name, op_type].append(seconds)
    return tuple(
        ProfiledNode(name, op_type, _of_one_run(times, runs))
        for (name, op_type), times in durations.items()
    )


def _of_one_run(times: list[float], runs: int) -> float:
    per_run = len(times) // runs
    if per_run * runs != len(times) or per_run == 0:
        return sum(times) / runs
    sums = [sum(times[k : k + per_run]) for k in range(0, len(times), per_run)]
    return statistics.median(sums[_WARM_UP:] or sums)
