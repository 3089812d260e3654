"""Timing a short run so often that it is not measured in the caches that another one left."""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_WARM_UP_S: Final = 0.015
_LEAST_WARM_UP: Final = 2
_MOST_RUNS: Final = 300


def runs_in_a_segment(run: Callable[[], object], seconds: float) -> int:
    """How many runs fill so many seconds, once the model has settled; at least one."""
    started = time.perf_counter()
    best = math.inf
    count = 0
    while count < _LEAST_WARM_UP or time.perf_counter() - started < _WARM_UP_S:
        best = min(best, time_segment(run, 1))
        count += 1
    return max(1, min(_MOST_RUNS, math.ceil(seconds / best)))


def time_segment(run: Callable[[], object], count: int) -> float:
    """The median time of some runs, in seconds; never zero."""
    clock = time.perf_counter_ns
    times = []
    for _ in range(count):
        before = clock()
        run()
        times.append(clock() - before)
    return max(1.0, statistics.median(times)) * 1e-9
