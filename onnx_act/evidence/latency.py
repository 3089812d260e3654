"""How long models take, two of them measured in turn.

Timing A wholly before B measures the machine's mood as much as the models. Here runs come in
blocks A B B A (or B A A B, by a coin), so that a drift of the clock or of the load falls on both
alike, and the ratio is taken within each block. Where a session's buffers happen to lie moves its
median by up to one percent, so sessions are opened again for every round as far as the time
allows, and the interval of the ratio is taken over rounds and blocks.
"""

from __future__ import annotations

import math
import statistics as stdlib_statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_act.evidence.machine import busy_warning, cpu_model
from onnx_act.evidence.pairing import FeedAdapter
from onnx_act.evidence.plain import plain
from onnx_act.evidence.statistics import ENOUGH_ROUNDS, Interval, bootstrap_ratio, percentile
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.session import (
    CPU,
    OptimizationLevel,
    SessionSettings,
    open_session,
    runtime_version,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from onnx_act.runtime.session import Session
    from onnx_act.runtime.tensors import Array

_MINIMUM_BLOCKS = 3
_ROUNDS = 8
# A segment of a block is as many runs as fill this time, so that a short model is not measured
# in the caches that the other one left.
_SEGMENT_S = 0.01
# Runs at the start of a segment that are not counted, as long as they fit in this time: the other
# session's threads spin on for about a millisecond after its last run.
_SETTLE_S = 0.002
_WARM_UP_RUNS = 3
_WARM_UP_SHARE = 0.1
# What one pair of sessions may be off by; several pairs less, and many show it themselves.
_ONE_PAIR_DOUBT = 1.01
# A tenth of a percent is never claimed: of 150 comparisons of a model with itself, on a quiet
# machine, 7 intervals missed 1, all of them by less.
_LEAST_DOUBT = 1.001


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one model takes.

    Attributes:
        median_s: Median time of a run, in seconds.
        p90_s: 90th percentile.
        p99_s: 99th percentile.
        min_s: Shortest run.
        count: Runs counted.
        creation_s: Median time to open a session.
    """

    median_s: float
    p90_s: float
    p99_s: float
    min_s: float
    count: int
    creation_s: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """Time of A over time of B.

    Attributes:
        median: The estimate; above 1, B is the faster.
        low: Lower end of its 95 % interval.
        high: Upper end.
        verdict: `faster` or `slower` (B than A), or `no difference shown`.
        resolution: The smallest relative difference that this run could have shown.
    """

    median: float
    low: float
    high: float
    verdict: str
    resolution: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Times of one model, or of two and their ratio.

    Attributes:
        provider: The provider's full name.
        threads: Threads within an operator; 0 is the runtime's default.
        a: The first model.
        b: The second model, if there is one.
        ratio: Time A / time B, if there are two.
        blocks: Blocks measured.
        sessions: Sessions opened of each model.
        seconds: How long it all took.
        runtime_version: The version of ONNX Runtime.
        cpu: The processor's name.
        shapes: What was fed, as (input name, dimensions).
        warnings: What makes the numbers doubtful.
    """

    provider: str
    threads: int
    a: Timing
    b: Timing | None
    ratio: Ratio | None
    blocks: int
    sessions: int
    seconds: float
    runtime_version: str
    cpu: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; durations are in seconds."""
        return plain(self)


def measure_latency(
    model_a: Path,
    model_b: Path | None = None,
    *,
    provider: str = CPU,
    seconds: float = 10.0,
    threads: int = 0,
    request: FeedRequest | None = None,
    level: OptimizationLevel = OptimizationLevel.ALL,
) -> Latency:
    """Time one model, or two against each other.

    The time bounds everything; models that are too slow for three blocks within it get one block
    and a warning. Generated inputs have one row unless the request says otherwise.

    Args:
        model_a: The first model; the original, where there is one.
        model_b: The second.
        provider: The full name of an execution provider.
        seconds: How long it may take.
        threads: Threads within an operator; 0 is the runtime's default.
        request: What to run on; the first feed is used.
        level: The runtime's optimisation level; its default when left out.

    Raises:
        EvidenceError: A model does not run.
        ProviderUnavailableError: The provider is not there.
        UsageError: Shapes or data do not fit the model.
    """
    started = time.perf_counter()
    warning = busy_warning()
    bench = _Bench(
        [path for path in (model_a, model_b) if path is not None],
        SessionSettings(provider, level, threads=threads),
        request or FeedRequest(),
        started + seconds,
    )
    bench.measure(started, seconds)
    warnings = [warning] if warning else []
    if bench.blocks < _MINIMUM_BLOCKS:
        warnings.append(
            f"only {bench.blocks} blocks fitted into {seconds:g} s; allow more time for an "
            f"interval that means something"
        )
    ratio = None
    if model_b is not None:
        ratio = _ratio(bench.ratios, bench.request.seed)
    timings = [bench.timing(index) for index in range(len(bench.times))]
    return Latency(
        provider=provider,
        threads=threads,
        a=timings[0],
        b=timings[1] if model_b is not None else None,
        ratio=ratio,
        blocks=bench.blocks,
        sessions=len(bench.creations[0]),
        seconds=time.perf_counter() - started,
        runtime_version=runtime_version(),
        cpu=cpu_model(),
        shapes=bench.shapes,
        warnings=tuple(warnings),
    )


def _ratio(rounds: list[list[float]], seed: int) -> Ratio:
    interval = bootstrap_ratio(rounds, seed=seed)
    count = sum(bool(blocks) for blocks in rounds)
    doubt = _LEAST_DOUBT if count >= ENOUGH_ROUNDS else _ONE_PAIR_DOUBT ** (1.0 / math.sqrt(count))
    interval = Interval(interval.median, interval.low / doubt, interval.high * doubt)
    verdict = "no difference shown"
    # A single block has no spread to speak of, whatever its ratio.
    if sum(len(blocks) for blocks in rounds) >= _MINIMUM_BLOCKS:
        if interval.low > 1.0:
            verdict = "faster"
        elif interval.high < 1.0:
            verdict = "slower"
    half = max(interval.median / interval.low, interval.high / interval.median) - 1.0
    return Ratio(interval.median, interval.low, interval.high, verdict, half)


@dataclass(slots=True)
class _Bench:
    """The measurement while it runs."""

    paths: list[Path]
    settings: SessionSettings
    request: FeedRequest
    deadline: float
    times: list[list[float]] = field(default_factory=list)
    creations: list[list[float]] = field(default_factory=list)
    ratios: list[list[float]] = field(default_factory=list)
    blocks: int = 0
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def measure(self, started: float, seconds: float) -> None:
        """Rounds of fresh sessions until the time is up."""
        self.times = [[] for _ in self.paths]
        self.creations = [[] for _ in self.paths]
        rng = np.random.default_rng(self.request.seed)
        feed: dict[str, Array] | None = None
        setup = 0.0
        for index in range(_ROUNDS):
            now = time.perf_counter()
            # The first pair of sessions is always measured; another one is opened only when it
            # leaves at least as much time for measuring as opening it takes.
            if index > 0 and now + 2 * setup > self.deadline:
                break
            # Which is opened first changes from round to round: the second finds other memory.
            order = range(len(self.paths))
            opened = {
                which: open_session(self.paths[which], self.settings)
                for which in (order if index % 2 == 0 else reversed(order))
            }
            sessions = [opened[which] for which in order]
            if feed is None:
                feed = self._feed(sessions[0])
            runs = self._warmed(sessions, feed, seconds)
            setup = time.perf_counter() - now
            for creations, session in zip(self.creations, sessions, strict=True):
                creations.append(session.creation_s)
            end = started + seconds * (index + 1) / _ROUNDS
            self._round(runs, rng, self.deadline if setup > seconds / _ROUNDS else end)

    def timing(self, index: int) -> Timing:
        """The figures of one model."""
        times = self.times[index]
        return Timing(
            median_s=percentile(times, 50),
            p90_s=percentile(times, 90),
            p99_s=percentile(times, 99),
            min_s=min(times),
            count=len(times),
            creation_s=stdlib_statistics.median(self.creations[index]),
        )

    def _feed(self, session: Session) -> dict[str, Array]:
        batch = self.request.batch or 1
        request = FeedRequest(
            seed=self.request.seed,
            count=1,
            shapes=self.request.shapes,
            ranges=self.request.ranges,
            data=self.request.data,
            batch=batch,
        )
        feed = feeds_for(session, request).feeds[0]
        self.shapes = tuple((name, tuple(array.shape)) for name, array in feed.items())
        return feed

    def _warmed(
        self, sessions: list[Session], feed: Mapping[str, Array], seconds: float
    ) -> list[tuple[Callable[[], object], float]]:
        """For each session: a run, and how long one takes once it is warm."""
        runs = []
        for session in sessions:
            adapted = FeedAdapter(sessions[0].inputs, session)(feed)
            run = session.prepared(adapted, [spec.name for spec in session.tensor_outputs])
            runs.append((run, _warm_up(run, _WARM_UP_SHARE * seconds / _ROUNDS / len(sessions))))
        return runs

    def _round(
        self, runs: list[tuple[Callable[[], object], float]], rng: np.random.Generator, end: float
    ) -> None:
        """Blocks with one pair of sessions until `end`, at least one in all."""
        ratios: list[float] = []
        self.ratios.append(ratios)
        longest = 0.0
        while True:
            now = time.perf_counter()
            # A block that would run over the deadline is not begun, save the very first.
            if self.blocks and (now >= end or now + longest > self.deadline):
                return
            order = [0] if len(runs) == 1 else [0, 1, 1, 0]
            if len(runs) == 2 and rng.integers(0, 2):
                order = [1, 0, 0, 1]
            medians: list[list[float]] = [[] for _ in runs]
            for which in order:
                run, typical = runs[which]
                times = _segment(run, typical)
                self.times[which] += times
                medians[which].append(math.log(stdlib_statistics.median(times)))
            self.blocks += 1
            if len(runs) == 2:
                a, b = (math.fsum(values) / len(values) for values in medians)
                ratios.append(math.exp(a - b))
            longest = max(longest, time.perf_counter() - now)


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
        if count >= 1 and time.perf_counter() - started > seconds:
            break
    return best


def _segment(run: Callable[[], object], typical: float) -> list[float]:
    """Times of the runs of one segment, in seconds."""
    clock = time.perf_counter_ns
    for _ in range(min(20, math.ceil(_SETTLE_S / typical)) if typical < _SETTLE_S * 10 else 0):
        run()
    times = []
    for _ in range(max(1, min(500, round(_SEGMENT_S / typical)))):
        before = clock()
        run()
        times.append((clock() - before) * 1e-9)
    return times
