"""Several ways to write one model against each other, until it is clear which is the fastest.

All of them run in turn, first to last and back, so that what moves the machine moves all alike.
Who is clearly behind leaves; the rest go on until one is left, or the time is up. Where the
buffers of a session happen to lie moves its times by about a percent, so sessions are opened again
and in another order, and what that leaves uncertain is part of every comparison.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from onnx_act.errors import EvidenceError, OnnxActError
from onnx_act.evidence.plain import plain
from onnx_act.evidence.statistics import Interval, median_interval
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.segments import runs_in_a_segment, time_segment
from onnx_act.runtime.session import CPU, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from onnx_act.runtime.tensors import Array

_ROUNDS: Final = 3
# As many runs as fill this, so that a short model is not measured in the caches that another left.
_SEGMENT_S: Final = 0.002
# What one pair of sessions may be off by; several pairs less.
_ONE_PAIR_DOUBT: Final = 1.01
# Who needs so much more than the fastest in every block is not waited for.
_HOPELESS: Final = 1.25
_HOPELESS_BLOCKS: Final = 2
# Blocks after which those that are left are told apart no further, at least and at most.
_ENOUGH_BLOCKS: Final = 9
_MOST_BLOCKS: Final = 60


@dataclass(frozen=True, slots=True)
class Standing:
    """How one entrant did.

    Attributes:
        ratio: Time of the first entrant over its time, with a 95 % interval: above 1 it is the
            faster. None where they were never measured together.
        blocks: Blocks in which it ran.
        problem: Why it did not run, "" when it did.
    """

    ratio: Interval | None
    blocks: int
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(self)


@dataclass(frozen=True, slots=True)
class RaceResult:
    """The end of a race.

    Attributes:
        standings: One for each entrant, in their order.
        winner: The place of the fastest of those that are shown to be faster than the first, or 0.
        is_decided: Whether it is clear if anyone beats the first; False where the time was up.
        seconds: How long it took.
    """

    standings: tuple[Standing, ...]
    winner: int
    is_decided: bool
    seconds: float


def race(
    models: Sequence[Path | bytes],
    *,
    provider: str = CPU,
    threads: int = 1,
    request: FeedRequest | None = None,
    seconds: float = 5.0,
) -> RaceResult:
    """Run models of the same inputs against each other.

    Args:
        models: The first is the one to beat; of two that cannot be told apart the earlier wins.
        provider: The full name of an execution provider.
        threads: Threads within an operator.
        request: What to run on; random numbers, one row, when left out.
        seconds: How long it may take, opening the models included; one block is always run.

    Raises:
        EvidenceError: The first model does not run.
        ProviderUnavailableError: The provider is not there.
        UsageError: Shapes or data do not fit the model.
    """
    started = time.perf_counter()
    wanted = request or FeedRequest()
    wanted = replace(wanted, count=1, batch=wanted.batch or 1)
    contest = _Contest(list(models), SessionSettings(provider, threads=threads), wanted)
    contest.run(started, seconds)
    standings = tuple(contest.standing(k) for k in range(len(models)))
    return RaceResult(
        standings,
        contest.winner(standings),
        len(contest.racing) < 2 or contest.is_clear(),
        time.perf_counter() - started,
    )


def race_all(
    contests: Sequence[Sequence[Path | bytes]],
    *,
    provider: str = CPU,
    threads: int = 1,
    seconds: float = 5.0,
) -> tuple[RaceResult | str, ...]:
    """Several races one after the other, on random numbers.

    Args:
        contests: For each, the models, as of `race`.
        provider: The full name of an execution provider.
        threads: Threads within an operator.
        seconds: How long they may take together; what one leaves the next ones share.

    Returns:
        For each what came of it, or why nothing did.
    """
    started = time.perf_counter()
    found: list[RaceResult | str] = []
    for index, models in enumerate(contests):
        left = started + seconds - time.perf_counter()
        if left <= 0:
            found.append("the time was up")
            continue
        share = left / (len(contests) - index)
        try:
            found.append(race(models, provider=provider, threads=threads, seconds=share))
        except OnnxActError as error:
            found.append(str(error))
    return tuple(found)


@dataclass(slots=True)
class _Contest:
    """A race under way."""

    models: list[Path | bytes]
    settings: SessionSettings
    request: FeedRequest
    racing: list[int] = field(default_factory=list)
    blocks: list[dict[int, float]] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)
    rounds: int = 0
    ran_out: bool = False
    feed: Mapping[str, Array] | None = None

    def run(self, started: float, seconds: float) -> None:
        """Rounds of fresh sessions until it is clear, or the time is up."""
        self.racing = list(range(len(self.models)))
        deadline = started + seconds
        for index in range(_ROUNDS):
            opening = time.perf_counter()
            entrants = self._open(index)
            cost = time.perf_counter() - opening
            self.rounds += 1
            share = started + seconds * (index + 1) / _ROUNDS
            self._round(entrants, min(deadline, share) if cost < seconds / 8 else deadline)
            if len(self.racing) < 2 or len(self.blocks) >= _MOST_BLOCKS:
                return
            if time.perf_counter() + 2 * cost > deadline:
                self.ran_out = index + 1 < _ROUNDS
                return

    def _open(self, index: int) -> dict[int, tuple[Callable[[], object], int]]:
        """A run of everyone who is still racing, and how many of them fill a segment."""
        order = self.racing if index % 2 == 0 else self.racing[::-1]
        # The first is opened first the first time: what is fed follows its inputs.
        runs: dict[int, tuple[Callable[[], object], int]] = {}
        for which in list(order):
            try:
                session = open_session(self.models[which], self.settings)
                if self.feed is None:
                    self.feed = feeds_for(session, self.request).feeds[0]
                run = session.prepared(self.feed)
                runs[which] = (run, runs_in_a_segment(run, _SEGMENT_S))
            except EvidenceError as error:
                if which == 0:
                    raise
                self.problems[which] = str(error)
                self.racing.remove(which)
        return runs

    def _round(self, entrants: dict[int, tuple[Callable[[], object], int]], end: float) -> None:
        first = len(self.blocks)
        longest = 0.0
        while len(self.racing) > 1:
            now = time.perf_counter()
            count = len(self.blocks) - first
            if self.blocks and now + longest > end:
                self.ran_out = True
                return
            self.ran_out = False
            if count >= _MOST_BLOCKS // _ROUNDS or (count >= _ENOUGH_BLOCKS and self._is_a_tie()):
                return
            order = [*self.racing, *self.racing[::-1]]
            times = dict.fromkeys(self.racing, 0.0)
            for which in order:
                times[which] += math.log(time_segment(*entrants[which])) / 2
            self.blocks.append(times)
            self._drop_the_slow()
            longest = max(longest, time.perf_counter() - now)

    def _drop_the_slow(self) -> None:
        """Let go of everyone who is clearly behind the fastest."""
        leader = self._leader()
        for which in list(self.racing):
            if which == leader:
                continue
            behind = self._logs(which, leader)
            hopeless = len(behind) >= _HOPELESS_BLOCKS and min(behind) > math.log(_HOPELESS)
            interval = median_interval(behind)
            if hopeless or (interval is not None and interval.low > self._doubt()):
                self.racing.remove(which)

    def _is_a_tie(self) -> bool:
        """Whether those that are left differ by less than sessions do."""
        leader = self._leader()
        spans = [median_interval(self._logs(k, leader)) for k in self.racing if k != leader]
        return all(s is not None and s.high < self._doubt() for s in spans)

    def _leader(self) -> int:
        """Who has the shortest times of those that are left."""
        middle = {k: statistics.median(b[k] for b in self.blocks if k in b) for k in self.racing}
        return min(self.racing, key=lambda k: (middle[k], k))

    def _doubt(self) -> float:
        """What opening the sessions again may change, as a logarithm."""
        return math.log(_ONE_PAIR_DOUBT) / math.sqrt(max(1, self.rounds))

    def _logs(self, slower: int, faster: int) -> list[float]:
        """Logarithms of time over time, for every block with both."""
        return [b[slower] - b[faster] for b in self.blocks if slower in b and faster in b]

    def is_clear(self) -> bool:
        """Whether going on would change nothing that matters."""
        return not self.ran_out or 0 not in self.racing or self._is_a_tie()

    def standing(self, which: int) -> Standing:
        """How one did against the first."""
        count = sum(which in b for b in self.blocks)
        problem = self.problems.get(which, "")
        logs = self._logs(0, which)
        if not logs or problem:
            return Standing(None, count, problem)
        middle = statistics.median(logs)
        spread = median_interval(logs) or Interval(middle, min(logs), max(logs))
        doubt = 0.0 if which == 0 else self._doubt()
        return Standing(
            Interval(math.exp(middle), math.exp(spread.low - doubt), math.exp(spread.high + doubt)),
            count,
        )

    def winner(self, standings: Sequence[Standing]) -> int:
        """The fastest of those that are shown to beat the first, the earliest of a tie."""
        better = [
            k for k in self.racing if (r := standings[k].ratio) is not None and r.low > 1.0 and k
        ]
        return self._best(better)

    def _best(self, among: Sequence[int]) -> int:
        if not among:
            return 0
        leader = min(among, key=lambda k: statistics.median(b[k] for b in self.blocks if k in b))
        for which in among:
            if which == leader or statistics.median(self._logs(which, leader)) < self._doubt():
                return which
        return leader
