"""How long models take, two of them measured in turn, and what else they take.

How runs are interleaved is said in `onnx_act.evidence.rounds`, what they show in
`onnx_act.evidence.ratio`.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_act.evidence.machine import affinity, busy_warning, cpu_model
from onnx_act.evidence.plain import plain
from onnx_act.evidence.ratio import MINIMUM_BLOCKS, Ratio, judge_ratio, session_interval
from onnx_act.evidence.rounds import Rounds
from onnx_act.evidence.statistics import percentile
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.session import CPU, OptimizationLevel, SessionSettings, runtime_version

if TYPE_CHECKING:
    from pathlib import Path


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
        low_s: Lower end of the 95 % interval of the typical time, over sessions.
        high_s: Upper end.
        copying_s: Median time of a run with the copies to and from the device, where the other
            times are without; None where nothing is copied.
        peak_memory_bytes: The most memory that a process which does nothing but open and run
            the model ever held; None where it was not measured or the system does not tell.
        model_memory_bytes: How much of that came after everything but the model was loaded.
        file_bytes: Size of the file and of its external weights; None where it was not asked.
    """

    median_s: float
    p90_s: float
    p99_s: float
    min_s: float
    count: int
    creation_s: float
    low_s: float = 0.0
    high_s: float = 0.0
    copying_s: float | None = None
    peak_memory_bytes: int | None = None
    model_memory_bytes: int | None = None
    file_bytes: int | None = None


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
        level: The runtime's optimisation level.
        batch: Rows that were asked for, None where nobody asked.
        affinity: The processors that could be used, by number; None where nobody tells.
        provider_options: What the provider ran with, as (name, value).
        precision: The half-width of the interval at which to stop, None where the time decided.
        is_precise: Whether it stopped because the interval was as narrow.
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
    level: OptimizationLevel = OptimizationLevel.ALL
    batch: int | None = None
    affinity: tuple[int, ...] | None = None
    provider_options: tuple[tuple[str, str], ...] = ()
    precision: float | None = None
    is_precise: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; durations are in seconds."""
        return {**plain(self), "provider_options": dict(self.provider_options)}


def measure_latency(
    model_a: Path,
    model_b: Path | None = None,
    *,
    provider: str = CPU,
    seconds: float = 10.0,
    threads: int = 0,
    request: FeedRequest | None = None,
    level: OptimizationLevel = OptimizationLevel.ALL,
    precision: float | None = None,
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
        precision: Stop when the ratio (of one model, the time) is known to this part of it, to
            either side; None takes all the time.

    Raises:
        EvidenceError: A model does not run.
        ProviderUnavailableError: The provider is not there.
        UsageError: Shapes or data do not fit the model.
    """
    started = time.perf_counter()
    warning = busy_warning()
    rounds = Rounds(
        [path for path in (model_a, model_b) if path is not None],
        SessionSettings(provider, level, threads=threads),
        request or FeedRequest(),
        started,
        seconds,
        precision,
    )
    rounds.measure()
    warnings = [warning] if warning else []
    if rounds.blocks < MINIMUM_BLOCKS:
        warnings.append(
            f"only {rounds.blocks} blocks fitted into {seconds:g} s; allow more time for an "
            f"interval that means something"
        )
    looked_often = precision is not None
    ratio = None
    if model_b is not None:
        ratio = judge_ratio(rounds.ratios, looked_often=looked_often)
    timings = [_timing(rounds, index) for index in range(len(rounds.paths))]
    return Latency(
        provider=provider,
        threads=threads,
        a=timings[0],
        b=timings[1] if model_b is not None else None,
        ratio=ratio,
        blocks=rounds.blocks,
        sessions=len(rounds.creations[0]),
        seconds=time.perf_counter() - started,
        runtime_version=runtime_version(),
        cpu=cpu_model(),
        shapes=rounds.shapes,
        warnings=tuple(warnings),
        level=level,
        batch=rounds.request.batch,
        affinity=affinity(),
        provider_options=rounds.provider_options,
        precision=precision,
        is_precise=rounds.is_precise,
    )


def _timing(rounds: Rounds, index: int) -> Timing:
    times = rounds.times[index]
    copying = rounds.copying[index]
    interval = session_interval(
        rounds.medians[index],
        looked_often=rounds.precision is not None,
    )
    return Timing(
        median_s=percentile(times, 50),
        p90_s=percentile(times, 90),
        p99_s=percentile(times, 99),
        min_s=min(times),
        count=len(times),
        creation_s=statistics.median(rounds.creations[index]),
        low_s=interval.low,
        high_s=interval.high,
        copying_s=statistics.median(copying) if copying else None,
    )
