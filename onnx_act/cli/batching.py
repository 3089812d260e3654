"""`onnx-act convert` of many: folders, patterns, several at a time, a cluster."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_act.cli.conversion import Asked, make_request
from onnx_act.cli.options import OutputFormat
from onnx_act.cli.present import invoked, present
from onnx_act.errors import UsageError
from onnx_act.recipe.option_values import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

    from onnx_act.batch.jobs import JobOutcome
    from onnx_act.batch.run import BatchRequest
    from onnx_act.recipe.request import ConversionRequest
    from onnx_act.report.document import ModelEntry

_MOST_SHOWN = 4


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """The options that only many models have, as they were typed."""

    jobs: int | None = None
    memory_limit: str | None = None
    outcomes: Path | None = None
    retry: str | None = None
    dask: str | None = None

    def any_given(self) -> bool:
        """Whether one of them was typed."""
        given = (self.jobs, self.memory_limit, self.outcomes, self.retry, self.dask)
        return any(option is not None for option in given)


def is_batch(
    models: Sequence[str],
    output_path: Path | None,
    out_dir: str | None,
    options: BatchOptions,
) -> bool:
    """Whether what was typed is about many models, each to be converted apart."""
    from onnx_act.batch.inputs import is_pattern, is_remote

    if options.any_given() or any(is_remote(m) for m in (*models, out_dir or "")):
        return True
    # With -o OUT there is to be one model, and a folder is none.
    paths = [Path(m) for m in models]
    return output_path is None and any(p.is_dir() or is_pattern(p) for p in paths)


def run_batch_command(
    asked: Asked,
    options: BatchOptions,
    models: Sequence[str],
    output_path: Path | None,
    out_dir: str | None,
    reports: list[Path] | None,
    output: OutputFormat,
) -> None:
    """Convert all of them and show what became of each."""
    from onnx_act.batch.executors import dask_executor
    from onnx_act.batch.inputs import collect_inputs, place_of
    from onnx_act.batch.jobs import Limits
    from onnx_act.batch.manifest import state_folder
    from onnx_act.batch.memory_size import parse_memory
    from onnx_act.batch.run import BatchRequest, default_jobs, run_batch
    from onnx_act.report.document import Report
    from onnx_act.report.write import check_report_paths

    if output_path is not None:
        raise UsageError("-o names one file: the results of many go to --out-dir DIR")
    if options.dask is not None and options.jobs is not None:
        raise UsageError("--jobs is for this machine; the workers of a cluster say how many")
    if getattr(asked, "baseline", None) is not None:
        raise UsageError("--baseline is for one model at a time, not for a folder or --jobs")
    results = None if out_dir is None else place_of(out_dir)
    inputs = collect_inputs([place_of(model) for model in models], results)
    files = [asked.data, asked.profile, asked.save_profile, options.outcomes]
    check_report_paths(
        [*(reports or [])], [*files, *(each.path for each in inputs if not each.url)]
    )
    request = make_request(asked, elsewhere=options.dask is not None)
    limits = Limits(
        parse_duration(asked.timeout, "--timeout") if asked.recipe is None else request.timeout_s,
        None if options.memory_limit is None else parse_memory(options.memory_limit),
    )
    started = time.perf_counter()
    found: dict[str, tuple[JobOutcome, ModelEntry]] = {}
    with ExitStack() as stack:
        executor: Executor | None = None
        if options.dask is not None:
            on_cuda = any("CUDA" in p or "Tensorrt" in p for p in request.providers)
            executor = stack.enter_context(dask_executor(options.dask, on_cuda=on_cuda))
        tell = stack.enter_context(_progress(len(inputs), found))
        wanted = BatchRequest(
            request=request,
            out_dir=state_folder(results) if isinstance(results, str) else results,
            limits=limits,
            jobs=options.jobs or default_jobs(),
            executor=executor,
            outcomes=options.outcomes,
            retry=options.retry or "",
            tell=tell,
            warn=lambda text: print(f"onnx-act: {text}", file=sys.stderr),  # noqa: T201 - a warning
            results=results if isinstance(results, str) else "",
        )
        is_whole = output is OutputFormat.JSON or bool(reports)
        for outcome in stack.enter_context(closing(run_batch(inputs, wanted))):
            entry = outcome.to_entry()
            # Hundreds of reports are more than a table needs, and may not fit into memory.
            found[outcome.path] = (outcome, entry if is_whole else _slim(entry))
    ordered = [found[each.named] for each in inputs]
    details = _details(ordered, wanted, request, time.perf_counter() - started)
    entries = tuple(entry for _, entry in ordered)
    present(Report(asked.command, entries, invoked(), {"batch": details}), output, reports)


def _slim(entry: ModelEntry) -> ModelEntry:
    from onnx_act.report.document import ModelEntry

    return ModelEntry(
        entry.path,
        entry.outcome,
        entry.exit_code,
        entry.output,
        entry.message,
        changes=entry.changes,
        latency=entry.latency,
    )


def _details(
    found: Sequence[tuple[JobOutcome, ModelEntry]],
    wanted: BatchRequest,
    request: ConversionRequest,
    seconds: float,
) -> dict[str, Any]:
    """The part of the document that belongs to no model."""
    from onnx_act.batch.run import OUTCOMES

    outcomes = wanted.outcomes
    if outcomes is None and wanted.out_dir is not None and not request.dry_run:
        outcomes = wanted.out_dir / OUTCOMES
    return {
        "jobs": wanted.jobs if wanted.executor is None else None,
        "seconds": round(seconds, 3),
        "outcomes": None if outcomes is None else str(outcomes),
        "models": [
            {
                "path": outcome.path,
                "seconds": round(outcome.seconds, 3),
                "waited_s": round(outcome.waited_s, 3),
                "cause": outcome.cause,
                "is_skipped": outcome.is_skipped,
            }
            for outcome, _ in found
        ],
    }


@contextmanager
def _progress(total: int, found: dict[str, Any]) -> Iterator[Callable[[str, str], None]]:
    """A function that is told what each job is about, and shows it on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _path, _text: None
        return
    from rich.console import Console
    from rich.markup import escape

    running: dict[str, str] = {}
    lock = threading.Lock()
    with Console(stderr=True).status("starting") as status:

        def tell(path: str, text: str) -> None:
            with lock:
                if text:
                    running[path] = text
                else:
                    running.pop(path, None)
                shown = [f"{Path(p).name}: {t}" for p, t in list(running.items())[:_MOST_SHOWN]]
                more = len(running) - len(shown)
                parts = [*shown, *([f"{more} more"] if more else [])]
                status.update(escape(f"{len(found)} of {total} done; {'; '.join(parts)}"))

        yield tell
