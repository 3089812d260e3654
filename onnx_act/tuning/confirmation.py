"""Proving that a tuned model is faster than the model before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onnx_act.evidence.latency import measure_latency
from onnx_act.evidence.statistics import Interval
from onnx_act.runtime.isolate import run_isolated
from onnx_act.tuning.outcome import Confirmation

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_act.runtime.feeds import FeedRequest
    from onnx_act.tuning.clock import Clock

#: The longest that proving takes, in seconds.
MOST_CONFIRMING_S: Final = 30.0
# A ratio that is so clear after so long needs no more measuring.
_SHORT_S: Final = 6.0
_CLEAR: Final = 1.03
# However little is left: less than this shows nothing.
_LEAST_S: Final = 1.0
_TIME_LIMIT_S: Final = 3600.0


def confirm(
    before: Path,
    after: Path,
    providers: tuple[str, ...],
    threads: int,
    feeds: FeedRequest,
    clock: Clock,
) -> tuple[Confirmation, ...]:
    """Measure two models against each other on every provider, in what is left of the budget.

    First for a short time, and only where that does not show it clearly for a long one. The long
    one counts by itself: going on until something shows would show something by chance.

    Raises:
        EvidenceError: one of them does not run.
    """
    found = []
    for index, provider in enumerate(providers):
        share = clock.left_s() / (len(providers) - index)
        seconds = min(max(share, _LEAST_S), _SHORT_S)
        measured = _measure(before, after, provider, threads, feeds, seconds)
        if measured.verdict != "faster" or measured.ratio.low < _CLEAR:
            left = clock.left_s() / (len(providers) - index)
            longer = min(left, MOST_CONFIRMING_S)
            if longer > seconds:
                measured = _measure(before, after, provider, threads, feeds, longer)
        found.append(measured)
    return tuple(found)


def _measure(
    before: Path,
    after: Path,
    provider: str,
    threads: int,
    feeds: FeedRequest,
    seconds: float,
) -> Confirmation:
    latency = run_isolated(
        measure_latency,
        before,
        after,
        provider=provider,
        seconds=seconds,
        threads=threads,
        request=feeds,
        timeout_s=_TIME_LIMIT_S,
    )
    ratio = latency.ratio
    assert ratio is not None
    interval = Interval(ratio.median, ratio.low, ratio.high)
    return Confirmation(provider, interval, ratio.verdict, latency.to_dict())
