"""One batch from its inputs to its outcomes, which come as they are known."""

from __future__ import annotations

import json
import os
import secrets
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onnx_act.batch.apart import BATCHES, Batch, StoppedError, run_job
from onnx_act.batch.executors import own_executor
from onnx_act.batch.files import LineFile, check_line_file, write_whole
from onnx_act.batch.fingerprint import made_with, request_digest
from onnx_act.batch.inputs import result_at
from onnx_act.batch.jobs import Job, JobOutcome, Limits, ended, failure
from onnx_act.batch.leftovers import remove_stale, remove_stale_below, remove_stale_scratch
from onnx_act.batch.manifest import STATE, Manifest, sole_writer
from onnx_act.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import PurePath

    from onnx_act.batch.inputs import Input
    from onnx_act.recipe.request import ConversionRequest

OUTCOMES: Final = "outcomes.jsonl"
RETRIES: Final = ("failed", "all")
# How many jobs somebody else's executor may hold at a time; who knows how many workers it has.
_MOST_SUBMITTED: Final = 1000


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """How to go about a batch.

    Attributes:
        request: what to do with each model.
        out_dir: where results go; None for a dry run.
        limits: what each job may use.
        jobs: how many at a time, where no executor is given.
        executor: who carries them out; None for processes of this machine.
        outcomes: the file of outcomes; None for `outcomes.jsonl` in `out_dir`.
        retry: which of those that were done before to do again: "failed", "all", or "" for none.
        tell: told of a job's path and what it is about, "" when it has ended.
        warn: told what goes wrong with the batch itself.
        results: the URL of the folder of results; `out_dir` then only has what is needed to
            resume.

    Raises:
        UsageError: the fields do not go together.
    """

    request: ConversionRequest
    out_dir: Path | None
    limits: Limits = field(default_factory=Limits)
    jobs: int = 1
    executor: Executor | None = None
    outcomes: Path | None = None
    retry: str = ""
    tell: Callable[[str, str], None] = lambda _path, _text: None
    warn: Callable[[str], None] = lambda _: None
    results: str = ""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UsageError(f"--jobs is a number from 1 on, not {self.jobs}")
        if self.out_dir is None and not self.request.dry_run:
            raise UsageError("say where the results go: --out-dir DIR (or --dry-run)")
        if self.retry and self.retry not in RETRIES:
            raise UsageError(f"--retry is {' or '.join(RETRIES)}, not {self.retry!r}")

    def target_of(self, place: PurePath) -> str | None:
        """Where the result of one model goes: a path or a URL; None where none is kept."""
        if self.out_dir is None:
            return None
        return str(result_at(self.results, place) if self.results else self.out_dir / place)


def default_jobs() -> int:
    """Half of the processors that may be used: the runtime has threads of its own."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)) // 2)
    return max(1, (os.cpu_count() or 1) // 2)


def run_batch(inputs: Sequence[Input], wanted: BatchRequest) -> Generator[JobOutcome, None, None]:
    """Convert many models.

    Whatever becomes of one, the others go on. Stopping early (by closing the iterator, or by an
    exception such as KeyboardInterrupt) ends the jobs that threads of this process wait for;
    results that are finished stay, and are not made again the next time.

    Args:
        inputs: the models, see `onnx_act.batch.inputs`.
        wanted: how to go about it.

    Yields:
        One outcome for each input, as they come.

    Raises:
        UsageError: another batch writes to the folder of results, or it cannot be written.
    """
    with ExitStack() as stack:
        batch = Batch(wanted.tell)
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        keeper = _keeper(inputs, wanted, batch, stack)
        stack.callback(batch.crew.close)
        BATCHES[name] = batch
        stack.callback(BATCHES.pop, name)
        executor = wanted.executor
        if executor is None:
            executor = stack.enter_context(own_executor(wanted.jobs))
        running = _Running(executor, wanted, name, keeper)
        stack.callback(running.stop, batch)
        yield from running.outcomes(inputs)


@dataclass(slots=True)
class _Keeper:
    """What keeps outcomes: the manifest, and the file for others to read."""

    manifest: Manifest | None
    lines: LineFile | None
    warn: Callable[[str], None]
    has_warned: bool = False
    is_remote: bool = False

    def keep(self, each: Input, outcome: JobOutcome) -> JobOutcome:
        """Keep an outcome. Where that fails the batch goes on: the results are what counts."""
        try:
            if self.is_remote and self.manifest is not None and outcome.entry is not None:
                outcome = _with_report(outcome, self.manifest.report_of(each.place))
            # The manifest first: what is told to be done must not be done again.
            if self.manifest is not None and not outcome.is_skipped and outcome.cause != "lost":
                self.manifest.remember(each.place, outcome)
            if self.lines is not None:
                self.lines.add(outcome.to_dict())
        except OSError as error:
            if not self.has_warned:
                self.has_warned = True
                where = getattr(error, "filename", None) or "the file of outcomes"
                self.warn(f"outcomes cannot be kept: {where}: {error.strerror or error}")
        return outcome


def _with_report(outcome: JobOutcome, path: Path) -> JobOutcome:
    """An outcome whose part of the report is kept in a file.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(path, json.dumps(outcome.entry, indent=1, ensure_ascii=False) + "\n")
    return replace(outcome, report=str(path), entry=None)


def _keeper(
    inputs: Sequence[Input], wanted: BatchRequest, batch: Batch, stack: ExitStack
) -> _Keeper:
    lines = None if wanted.outcomes is None else LineFile(wanted.outcomes)
    if lines is not None:
        state = None if wanted.out_dir is None else wanted.out_dir / STATE
        if state is not None and lines.path.resolve().is_relative_to(state.resolve()):
            raise UsageError(f"{lines.path} would be among what a batch keeps for itself")
        check_line_file(lines.path)
    manifest = None
    if wanted.out_dir is not None and not wanted.request.dry_run:
        batch.crew.inherit = stack.enter_context(sole_writer(wanted.out_dir))
        remove_stale_scratch()
        remove_stale_below(wanted.out_dir)
        remove_stale(each.path.parent for each in inputs if not each.url)
        digest = request_digest(wanted.request)
        manifest = Manifest(wanted.out_dir, digest, made_with(), wanted.target_of)
        lines = lines or LineFile(wanted.out_dir / OUTCOMES)
        # What cannot be tidied now can be some other time.
        with suppress(OSError):
            manifest.tidy()
    if lines is not None:
        try:
            lines.path.parent.mkdir(parents=True, exist_ok=True)
            lines.path.write_bytes(b"")
        except OSError as error:
            raise UsageError(f"cannot write {lines.path}: {error.strerror or error}") from None
    return _Keeper(manifest, lines, wanted.warn, is_remote=bool(wanted.results))


class _Running:
    """Jobs under way."""

    def __init__(
        self, executor: Executor, wanted: BatchRequest, name: str, keeper: _Keeper
    ) -> None:
        self.executor = executor
        self.wanted = wanted
        self.name = name
        self.keeper = keeper
        self.pending: dict[Future[JobOutcome], Input] = {}
        self.most = wanted.jobs if wanted.executor is None else _MOST_SUBMITTED

    def outcomes(self, inputs: Sequence[Input]) -> Iterator[JobOutcome]:
        for each in inputs:
            before = self._earlier(each)
            if before is not None:
                yield self._kept(each, before)
                continue
            while len(self.pending) >= self.most:
                yield from self._some()
            try:
                future = self.executor.submit(run_job, self._job(each))
            except RuntimeError as error:  # such as an executor whose processes are gone
                lost = ended(each.named, f"the executor refused it: {error}", "lost", 0.0)
                yield self._kept(each, lost)
                continue
            self.pending[future] = each
            yield from self._some(timeout_s=0.0)
        while self.pending:
            yield from self._some()

    def stop(self, batch: Batch) -> None:
        """End what is left, when nobody wants it any more."""
        for future in self.pending:
            future.cancel()
        # Also when none is known of: an interrupt may come right after one was submitted.
        batch.stop()

    def _earlier(self, each: Input) -> JobOutcome | None:
        manifest, retry = self.keeper.manifest, self.wanted.retry
        if manifest is None or retry == "all":
            return None
        before = manifest.earlier(each.place, each.named)
        if before is not None and before.exit_code and retry == "failed":
            return None
        return before

    def _some(self, timeout_s: float | None = None) -> Iterator[JobOutcome]:
        done, _ = wait(self.pending, timeout_s, return_when=FIRST_COMPLETED)
        for future in [f for f in self.pending if f in done]:
            each = self.pending.pop(future)
            yield self._kept(each, _result(each, future))

    def _kept(self, each: Input, outcome: JobOutcome) -> JobOutcome:
        return self.keeper.keep(each, outcome)

    def _job(self, each: Input) -> Job:
        manifest, is_kept = self.keeper.manifest, not self.wanted.results
        return Job(
            path=each.named,
            target=self.wanted.target_of(each.place),
            request=self.wanted.request,
            limits=self.wanted.limits,
            folder=str(Path.cwd()),
            # Where results have a URL a worker may not see this folder: it comes with the outcome.
            report=str(manifest.report_of(each.place)) if manifest and is_kept else None,
            batch=self.name,
        )


def _result(each: Input, future: Future[JobOutcome]) -> JobOutcome:
    """What became of a job, also where its executor lost it."""
    path = each.named
    try:
        return future.result()
    except (CancelledError, StoppedError):
        return ended(path, "it was stopped", "lost", 0.0)
    except OSError as error:  # no process can be started, no folder for passing files made
        reason = error.strerror or str(error)
        return ended(path, f"it could not be started: {reason}", "lost", 0.0)
    except Exception as error:  # noqa: BLE001 - executors have exceptions of their own
        if type(error).__module__.startswith(("distributed", "concurrent")):
            reason = " ".join(str(error).split()) or type(error).__name__
            return ended(path, f"the executor lost it: {reason}", "lost", 0.0)
        return failure(path, error)
