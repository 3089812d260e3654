"""Running one model, or two in turn, in rounds of fresh sessions.

Timing A wholly before B measures the machine's mood as much as the models. Here runs come in
blocks A B B A (or B A A B, by a coin), so that a drift of the clock or of the load falls on both
alike, and the ratio is taken within each block. Where a session's buffers happen to lie moves its
median by up to one percent, so sessions are opened again for every round as far as the time
allows, and the interval of the ratio is taken over rounds and blocks.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.errors import UsageError
from onnx_act.evidence.pairing import FeedAdapter
from onnx_act.evidence.ratio import is_narrow
from onnx_act.runtime.binding import bound_run, device_of, provider_options
from onnx_act.runtime.feeds import counts_rows, feeds_for
from onnx_act.runtime.session import open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from onnx_act.runtime.feeds import FeedRequest
    from onnx_act.runtime.session import Session, SessionSettings
    from onnx_act.runtime.tensors import Array

# As many rounds as fit, each of this long, but so many at least where the time is short: what
# sessions differ by is averaged away by sessions, not by runs.
_ROUND_S: Final = 0.4
_LEAST_ROUNDS: Final = 8
# A segment of a block is as many runs as fill this time, so that a short model is not measured
# in the caches that the other one left.
_SEGMENT_S: Final = 0.01
# Runs at the start of a segment that are not counted, as long as they fit in this time: the other
# session's threads spin on for about a millisecond after its last run.
_SETTLE_S: Final = 0.002
_WARM_UP_RUNS: Final = 3
_WARM_UP_SHARE: Final = 0.1
# Runs of a round that are timed with the copies to and from a device.
_COPYING_RUNS: Final = 5


@dataclass(frozen=True, slots=True)
class _Warm:
    """A session that is ready to be timed.

    Attributes:
        run: Runs it once.
        typical_s: How long that takes.
        copying: Runs it once with its inputs and outputs in the host's memory, where `run` has
            them on a device.
    """

    run: Callable[[], object]
    typical_s: float
    copying: Callable[[], object] | None


@dataclass(slots=True)
class Rounds:
    """The measurement while it runs, and what it saw.

    Attributes:
        paths: One model, or two.
        settings: How to open them.
        request: What to run on; the first feed is used.
        started: When everything began, on the clock `time.perf_counter`.
        seconds: How long it may take from there.
        precision: The half-width of the interval at which to stop before, None not to.
        times: Every counted run of each model, in seconds.
        copying: Runs with copies to and from a device, where there are any, in seconds.
        creations: Seconds it took to open each model, for every round.
        medians: For each model and round, the median time of a run in each block, in seconds.
        ratios: For each round, time A / time B of each block.
        blocks: Blocks in all.
        shapes: What was fed, as (input name, dimensions).
        is_precise: Whether it stopped because the interval was narrow.
        provider_options: What the runtime says it runs with, as (name, value).
    """

    paths: list[Path]
    settings: SessionSettings
    request: FeedRequest
    started: float
    seconds: float
    precision: float | None = None
    times: list[list[float]] = field(default_factory=list)
    copying: list[list[float]] = field(default_factory=list)
    creations: list[list[float]] = field(default_factory=list)
    medians: list[list[list[float]]] = field(default_factory=list)
    ratios: list[list[float]] = field(default_factory=list)
    blocks: int = 0
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    is_precise: bool = False
    provider_options: tuple[tuple[str, str], ...] = ()

    def measure(self) -> None:
        """Rounds of fresh sessions until the interval is narrow or the time is up."""
        self.times = [[] for _ in self.paths]
        self.copying = [[] for _ in self.paths]
        self.creations = [[] for _ in self.paths]
        self.medians = [[] for _ in self.paths]
        rng = np.random.default_rng(self.request.seed)
        feed: dict[str, Array] | None = None
        length = min(_ROUND_S, self.seconds / _LEAST_ROUNDS)
        setup = 0.0
        index = 0
        # The first pair of sessions is always measured; another one is opened only when it
        # leaves at least as much time for measuring as opening it takes.
        while index == 0 or time.perf_counter() + 2 * setup < self.deadline:
            now = time.perf_counter()
            # Which is opened first changes from round to round: the second finds other memory.
            order = range(len(self.paths))
            opened = {
                which: open_session(self.paths[which], self.settings)
                for which in (order if index % 2 == 0 else reversed(order))
            }
            sessions = [opened[which] for which in order]
            if feed is None:
                feed = self._feed(sessions[0])
            warm = self._warmed(sessions, feed, length)
            setup = time.perf_counter() - now
            for creations, session in zip(self.creations, sessions, strict=True):
                creations.append(session.creation_s)
            end = now + max(length, 2 * setup)
            # What is left when no other round fits belongs to this one.
            self._round(warm, rng, end if end + 2 * setup < self.deadline else self.deadline)
            index += 1
            if self.precision is not None and is_narrow(
                self.ratios if len(self.paths) == 2 else self.medians[0],
                self.precision,
            ):
                self.is_precise = True
                return

    @property
    def deadline(self) -> float:
        """When the time is up, on the clock `time.perf_counter`."""
        return self.started + self.seconds

    def _feed(self, session: Session) -> dict[str, Array]:
        batch = self.request.batch
        if batch is not None and self.request.data is None and not counts_rows(session, batch):
            inputs = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in session.inputs)
            raise UsageError(
                f"the model does not take {batch} rows: the size of its inputs is fixed ({inputs})"
            )
        request = replace(self.request, count=1, batch=batch or 1)
        feed = feeds_for(session, request).feeds[0]
        self.shapes = tuple((name, tuple(array.shape)) for name, array in feed.items())
        self.provider_options = provider_options(session)
        return feed

    def _warmed(
        self, sessions: list[Session], feed: Mapping[str, Array], length: float
    ) -> list[_Warm]:
        warmed = []
        for session in sessions:
            adapted = FeedAdapter(sessions[0].inputs, session)(feed)
            names = [spec.name for spec in session.tensor_outputs]
            run = session.prepared(adapted, names)
            copying = None
            device = device_of(session)
            if device is not None:
                run, copying = bound_run(session, adapted, names, device), run
            typical = _warm_up(run, _WARM_UP_SHARE * length / len(sessions))
            warmed.append(_Warm(run, typical, copying))
        return warmed

    def _round(self, warm: list[_Warm], rng: np.random.Generator, end: float) -> None:
        """Blocks with one pair of sessions until `end`, at least one in all."""
        ratios: list[float] = []
        self.ratios.append(ratios)
        for medians in self.medians:
            medians.append([])
        longest = 0.0
        while True:
            now = time.perf_counter()
            # A block that would run over the deadline is not begun, save the very first.
            if self.blocks and (now >= end or now + longest > self.deadline):
                break
            order = [0] if len(warm) == 1 else [0, 1, 1, 0]
            if len(warm) == 2 and rng.integers(0, 2):
                order = [1, 0, 0, 1]
            logs: list[list[float]] = [[] for _ in warm]
            for which in order:
                times = _segment(warm[which].run, warm[which].typical_s)
                self.times[which] += times
                logs[which].append(math.log(statistics.median(times)))
            self.blocks += 1
            means = [math.fsum(values) / len(values) for values in logs]
            for medians, mean in zip(self.medians, means, strict=True):
                medians[-1].append(math.exp(mean))
            if len(means) == 2:
                ratios.append(math.exp(means[0] - means[1]))
            longest = max(longest, time.perf_counter() - now)
        for which, session in enumerate(warm):
            if session.copying is not None:
                self.copying[which] += self._copying_times(session.copying, session.typical_s)

    def _copying_times(self, run: Callable[[], object], typical: float) -> list[float]:
        """A few runs with their copies, as far as the time allows; at least one in all."""
        left = self.deadline - time.perf_counter()
        count = min(_COPYING_RUNS, int(left / typical))
        return _timed_runs(run, max(count, 0 if any(self.copying) else 1))


def _warm_up(run: Callable[[], object], seconds: float) -> float:
    """Run until the time of a run no longer falls, or the time is up; the shortest time seen.

    Stable is: the last three runs brought nothing shorter by more than 5 %.
    """
    best = math.inf
    stale = 0
    started = time.perf_counter()
    count = 0
    while stale < _WARM_UP_RUNS or count < 2 * _WARM_UP_RUNS:
        before = time.perf_counter()
        run()
        took = time.perf_counter() - before
        count += 1
        stale = stale + 1 if took > 0.95 * best else 0
        best = min(best, took)
        if time.perf_counter() - started > seconds:
            break
    return best


def _segment(run: Callable[[], object], typical: float) -> list[float]:
    """Times of the runs of one segment, in seconds."""
    for _ in range(min(20, math.ceil(_SETTLE_S / typical)) if typical < _SETTLE_S * 10 else 0):
        run()
    return _timed_runs(run, max(1, min(500, round(_SEGMENT_S / typical))))


def _timed_runs(run: Callable[[], object], count: int) -> list[float]:
    clock = time.perf_counter_ns
    times = []
    for _ in range(count):
        before = clock()
        run()
        # A coarse clock may not have moved, and nothing takes no time.
        times.append(max(1, clock() - before) * 1e-9)
    return times
