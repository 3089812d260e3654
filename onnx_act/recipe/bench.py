"""How fast a model runs, or two in turn, and what else they take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from onnx_act.errors import EvidenceError, UsageError
from onnx_act.evidence.latency_table import Combination, combinations, measure_table
from onnx_act.evidence.per_operator import PerOperator, measure_operators
from onnx_act.graph.model import load_model
from onnx_act.graph.store import stored_bytes
from onnx_act.recipe.compare_models import explained, running_notes
from onnx_act.recipe.inputs import suited_feeds
from onnx_act.report.document import ModelEntry
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.memory import measure_memory
from onnx_act.runtime.session import OptimizationLevel, SessionSettings
from onnx_act.runtime.turn import measuring_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnx_act.evidence.latency import Latency, Timing
    from onnx_act.graph.model import OnnxModel
    from onnx_act.runtime.feeds import FeedRequest

#: How well the ratio must be known for measuring to stop, as a part of it to either side.
DEFAULT_PRECISION: Final = 0.005
_GRACE_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What to measure.

    Attributes:
        seconds: How long measuring times may take, per provider, in all combinations together.
        precision: The half-width of the interval at which to stop before, None not to.
        levels: Optimisation levels of the runtime, at least one.
        threads: Numbers of threads within an operator, at least one; 0 is the runtime's default.
        batches: Numbers of rows, at least one; None leaves them to what is fed.
        per_op: Whether to tell where the time goes, by operator.
        timeout_s: How long a provider may take before it is given up; None for ten times
            `seconds` and ten minutes more.

    Raises:
        UsageError: A number makes no sense, or there is nothing to measure.
    """

    seconds: float = 10.0
    precision: float | None = DEFAULT_PRECISION
    levels: tuple[OptimizationLevel, ...] = (OptimizationLevel.ALL,)
    threads: tuple[int, ...] = (0,)
    batches: tuple[int | None, ...] = (None,)
    per_op: bool = False
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        if not (self.levels and self.threads and self.batches):
            raise UsageError("name at least one level, number of threads and number of rows")
        if any(count < 0 for count in self.threads):
            raise UsageError("a number of threads is from 0 on, where 0 is the runtime's default")
        if any(rows is not None and rows < 1 for rows in self.batches):
            raise UsageError("a batch has one row at least")
        if self.precision is not None and not 0.0 < self.precision < 1.0:
            raise UsageError(f"the precision is between 0 and 1, not {self.precision:g}")
        if self.seconds <= 0.0:
            raise UsageError("measuring takes time: give more than 0 seconds")

    @property
    def ways(self) -> tuple[Combination, ...]:
        """Every combination."""
        return combinations(self.levels, self.threads, self.batches)


def parse_levels(names: Sequence[str]) -> tuple[OptimizationLevel, ...]:
    """Optimisation levels by their names.

    Raises:
        UsageError: there is no such level.
    """
    if isinstance(names, str):
        names = (names,)
    known = {level.value: level for level in OptimizationLevel}
    for name in names:
        if name not in known:
            raise UsageError(f"the optimisation levels are {', '.join(known)}, not {name!r}")
    return tuple(known[name] for name in names)


def bench_models(
    model: Path,
    other: Path | None,
    *,
    providers: Sequence[str],
    feeds: FeedRequest,
    request: BenchRequest,
    progress: Callable[[str], None] = lambda _: None,
) -> ModelEntry:
    """Measure one model, or two in turn and their ratio, on every named provider.

    Memory is measured only where there is one combination: it takes a process for each model.

    Raises:
        ModelError: a model cannot be read.
        EvidenceError: a model cannot be run.
        UsageError: shapes, rows or data do not fit a model.
    """
    paths = [path for path in (model, other) if path is not None]
    read = {path: load_model(path) for path in paths}
    notes = running_notes({str(path): found for path, found in read.items()}, providers)
    feeds, fed = suited_feeds(feeds, read[model])
    sizes = [stored_bytes(path, read[path]) for path in paths]
    latency: list[Latency] = []
    operators: list[PerOperator] = []
    failures: list[str] = []
    for provider in providers:
        with explained(notes):
            progress("waiting to measure")
            with measuring_turn() as turn:
                progress("measuring")
                table = run_isolated(
                    measure_table,
                    model,
                    other,
                    request.ways,
                    provider=provider,
                    seconds=request.seconds,
                    request=feeds,
                    precision=request.precision,
                    timeout_s=request.timeout_s or 10 * request.seconds + _GRACE_S,
                )
            failures.extend(turn.notes())
            failures.extend(table.failures)
            rows = [_with_sizes(row, sizes) for row in table.rows]
            if len(request.ways) == 1:
                progress("measuring memory")
                rows = [_with_memory(row, paths, feeds) for row in rows]
            latency.extend(rows)
            if request.per_op:
                progress("profiling")
                models = [read[path] for path in paths]
                operators.append(_operators(models, provider, request.ways[0], feeds))
    return ModelEntry(
        path=str(model),
        against=None if other is None else str(other),
        latency=tuple(latency),
        notes=(*notes, *fed, *failures),
        operators=tuple(operators) if request.per_op else None,
    )


def _with_sizes(latency: Latency, sizes: Sequence[int]) -> Latency:
    a, b = latency.a, latency.b
    return replace(
        latency,
        a=replace(a, file_bytes=sizes[0]),
        b=None if b is None else replace(b, file_bytes=sizes[1]),
    )


def _with_memory(latency: Latency, paths: Sequence[Path], feeds: FeedRequest) -> Latency:
    a = _timing_with_memory(latency.a, paths[0], latency, feeds)
    b = None if latency.b is None else _timing_with_memory(latency.b, paths[1], latency, feeds)
    return replace(latency, a=a, b=b)


def _timing_with_memory(timing: Timing, path: Path, latency: Latency, feeds: FeedRequest) -> Timing:
    settings = SessionSettings(latency.provider, latency.level, threads=latency.threads)
    wanted = feeds if latency.batch is None else replace(feeds, batch=latency.batch)
    memory = run_isolated(measure_memory, path, settings, wanted, timeout_s=_GRACE_S)
    if memory is None:
        return timing
    return replace(
        timing, peak_memory_bytes=memory.peak_bytes, model_memory_bytes=memory.model_bytes
    )


def _operators(
    models: Sequence[OnnxModel], provider: str, way: Combination, feeds: FeedRequest
) -> PerOperator:
    wanted = feeds if way.batch is None else replace(feeds, batch=way.batch)
    with TemporaryDirectory(prefix="onnx-act-") as folder:
        try:
            found = [
                measure_operators(
                    model,
                    Path(folder),
                    provider=provider,
                    threads=way.threads,
                    feeds=wanted,
                    level=way.level,
                )
                for model in models
            ]
        except EvidenceError as error:
            raise EvidenceError(f"it could not be profiled: {error}") from error
    return PerOperator(
        provider, way.threads, way.level, found[0], found[1] if len(found) > 1 else None
    )
