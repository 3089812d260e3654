"""Latency under several settings of the runtime: one measurement for each combination."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from onnx_act.errors import EvidenceError
from onnx_act.evidence.latency import measure_latency
from onnx_act.runtime.session import OptimizationLevel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onnx_act.evidence.latency import Latency
    from onnx_act.runtime.feeds import FeedRequest


@dataclass(frozen=True, slots=True)
class Combination:
    """One way to run a model.

    Attributes:
        level: The runtime's optimisation level.
        threads: Threads within an operator; 0 is the runtime's default.
        batch: Rows; None leaves them to what is fed.
    """

    level: OptimizationLevel = OptimizationLevel.ALL
    threads: int = 0
    batch: int | None = None

    def __str__(self) -> str:
        """As a message names it."""
        threads = "the default number of threads" if not self.threads else f"threads {self.threads}"
        rows = "" if self.batch is None else f", batch {self.batch}"
        return f"level {self.level.value}, {threads}{rows}"


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """What was measured, and what was not.

    Attributes:
        rows: One for each combination that ran, in their order.
        failures: Each other combination, and why.
    """

    rows: tuple[Latency, ...]
    failures: tuple[str, ...]


def combinations(
    levels: Sequence[OptimizationLevel], threads: Sequence[int], batches: Sequence[int | None]
) -> tuple[Combination, ...]:
    """Every combination, each once, the last varying fastest."""
    return tuple(dict.fromkeys(Combination(*each) for each in product(levels, threads, batches)))


def measure_table(
    model_a: Path,
    model_b: Path | None,
    ways: Sequence[Combination],
    *,
    provider: str,
    seconds: float,
    request: FeedRequest,
    precision: float | None = None,
) -> LatencyTable:
    """Time one model, or two against each other, in every way.

    The time is divided among the ways; what one of them does not need is left to the others.

    Args:
        model_a: The first model.
        model_b: The second.
        ways: At least one.
        provider: The full name of an execution provider.
        seconds: How long all of it may take, but for a block that each gets in any case.
        request: What to run on.
        precision: As of `measure_latency`.

    Raises:
        EvidenceError: No combination runs; the message is that of the first.
        ProviderUnavailableError: The provider is not there.
        UsageError: Shapes, rows or data do not fit the model.
    """
    deadline = time.perf_counter() + seconds
    rows: list[Latency] = []
    failures: list[str] = []
    first: EvidenceError | None = None
    for index, way in enumerate(ways):
        left = max(deadline - time.perf_counter(), 0.0)
        try:
            rows.append(
                measure_latency(
                    model_a,
                    model_b,
                    provider=provider,
                    seconds=left / (len(ways) - index),
                    threads=way.threads,
                    level=way.level,
                    request=request if way.batch is None else replace(request, batch=way.batch),
                    precision=precision,
                )
            )
        except EvidenceError as error:
            first = first or error
            failures.append(f"not measured at {way}: {error}")
    if first is not None and not rows:
        raise first
    return LatencyTable(tuple(rows), tuple(failures))
