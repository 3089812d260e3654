"""Which of two models is the faster one, in a second.

For decisions between ways to write a few nodes of a model; `onnx_act.evidence.latency` is what
measures with an interval, for a report.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from onnx_act.errors import EvidenceError
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.segments import runs_in_a_segment, time_segment
from onnx_act.runtime.session import CPU, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Where the buffers of a session happen to lie moves its times by a percent, so there are several.
_PAIRS: Final = 3
_SECONDS: Final = 1.0
# As many runs as fill this, so that a short model is not measured in the other one's caches.
_SEGMENT_S: Final = 0.001
_LEAST_BLOCKS: Final = 3


def speedup(
    old: Path | bytes,
    new: Path | bytes,
    provider: str = CPU,
    *,
    threads: int = 1,
    request: FeedRequest | None = None,
) -> float:
    """How many times as fast as `old` the runtime runs `new`, at its default optimisation.

    Both run in turn, A B B A and B A A B, on the same input; the ratio is taken within every such
    block, and the median over all blocks counts. Takes a second, or a few tens of runs of a model
    that is too slow for that. Where a provider has a memory of its own, the way there and back is
    part of both times.

    Args:
        old: A model.
        new: One with inputs of the same names and types.
        provider: The full name of an execution provider.
        threads: Threads within an operator. With more than one, the threads of one session still
            spin while the other runs.
        request: What to run on; random numbers, as many negative as positive, when left out.

    Raises:
        EvidenceError: One of them does not run.
        ProviderUnavailableError: The provider is not there.
        UsageError: Shapes or data do not fit the model.
    """
    ratios: list[float] = []
    settings = SessionSettings(provider, threads=threads)
    wanted = request or FeedRequest()
    # One row unless the request says otherwise, as in `onnx_act.evidence.latency`.
    wanted = replace(wanted, count=1, batch=wanted.batch or 1)
    for pair in range(_PAIRS):
        # The second to be opened finds other memory than the first: they take turns at it.
        models = (old, new) if pair % 2 == 0 else (new, old)
        opened = [open_session(model, settings) for model in models]
        feed = feeds_for(opened[0], wanted).feeds[0]
        runs = [session.prepared(feed) for session in opened]
        try:
            found = _ratios(runs[0], runs[1], _SECONDS / _PAIRS)
        except Exception as error:
            raise EvidenceError(f"a model that ran once does not run again: {error}") from error
        ratios += found if pair % 2 == 0 else [1.0 / ratio for ratio in found]
    return statistics.median(ratios)


def _ratios(
    first: Callable[[], object], second: Callable[[], object], seconds: float
) -> list[float]:
    """Time of the first over time of the second, a block at a time."""
    started = time.perf_counter()
    runs = [(run, runs_in_a_segment(run, _SEGMENT_S)) for run in (first, second)]
    found: list[float] = []
    while len(found) < _LEAST_BLOCKS or time.perf_counter() - started < seconds:
        order = (0, 1, 1, 0) if len(found) % 2 == 0 else (1, 0, 0, 1)
        times = [0.0, 0.0]
        for which in order:
            times[which] += math.log(time_segment(*runs[which]))
        # The geometric mean of the two segments of each.
        found.append(math.exp((times[0] - times[1]) / 2))
    return found
