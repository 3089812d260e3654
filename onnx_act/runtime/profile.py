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
from onnx_act.runtime.session import CPU, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx_act.runtime.session import Session

_KERNEL: Final = "_kernel_time"
_RUNS: Final = 7
# The first runs also pay for what is set up lazily.
_WARM_UP: Final = 2
# A model that is slower than this is profiled once.
_SLOW_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class ProfiledNode:
    """What one node of the loaded model costs.

    Attributes:
        name: Its name in the loaded model.
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
    """

    nodes: tuple[ProfiledNode, ...]
    open_s: float
    run_s: float
    shapes: tuple[tuple[str, tuple[int, ...]], ...]

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
) -> Profile:
    """Run a model a few times at the runtime's default optimisation, with its profile.

    Where a provider runs many nodes as one, or asynchronously, so does the profile.

    Args:
        model: What to run.
        provider: The full name of an execution provider.
        threads: Threads within an operator.
        request: What to run on; random numbers when left out. Generated inputs have one row
            unless it says otherwise.

    Raises:
        EvidenceError: It does not run, or the runtime's profile cannot be read.
        ProviderUnavailableError: The provider is not there.
        UsageError: Shapes or data do not fit the model.
    """
    wanted = request or FeedRequest()
    wanted = replace(wanted, count=1, batch=wanted.batch or 1)
    with TemporaryDirectory(prefix="onnx-act-") as folder:
        settings = SessionSettings(provider, threads=threads, profile_to=Path(folder) / "profile")
        session = open_session(model, settings)
        feed = feeds_for(session, wanted).feeds[0]
        run = session.prepared(feed)
        times = [_timed(run)]
        while len(times) < _RUNS and sum(times) < _SLOW_S:
            times.append(_timed(run))
        events = _events(session)
    shapes = tuple((name, tuple(array.shape)) for name, array in feed.items())
    # One more run than was timed: preparing is one.
    nodes = _nodes(events, len(times) + 1)
    return Profile(nodes, session.creation_s, statistics.median(times), shapes)


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
    durations: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        name, arguments = str(event.get("name", "")), event.get("args")
        if event.get("cat") != "Node" or not name.endswith(_KERNEL):
            continue
        op_type = str(arguments.get("op_name", "")) if isinstance(arguments, dict) else ""
        key = (name.removesuffix(_KERNEL), op_type)
        duration = event.get("dur", 0)
        durations[key].append(float(duration) * 1e-6 if isinstance(duration, int | float) else 0.0)
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
