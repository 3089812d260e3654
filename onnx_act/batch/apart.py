"""Carrying out a job in a process of its own, whatever becomes of that process.

`run_job` is what every executor runs: a crash, a hang and a want of memory are outcomes, and the
same ones wherever the job is run. See docs/decisions/0013-a-process-for-each-job.md.
"""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

from onnx_act.batch import worker
from onnx_act.batch.crew import ELSEWHERE, Crew
from onnx_act.batch.fingerprint import digests_of_model, made_with
from onnx_act.batch.inputs import is_remote
from onnx_act.batch.jobs import JobOutcome, ended
from onnx_act.batch.leftovers import remove_of
from onnx_act.batch.remote import tokens_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_act.batch.crew import Carrier
    from onnx_act.batch.jobs import Job

_LOOK_S: Final = 0.1
# Each job sees within a moment that it is to end; more only where a process cannot be ended.
_PATIENCE_S: Final = 30.0
_MOST_OF_LOG: Final = 4000


@dataclass(slots=True)
class Batch:
    """What the jobs of one batch in this process have in common.

    Attributes:
        tell: told of a job's path and what it is about, "" when it has ended.
        crew: the processes that carry them out.
        is_stopped: whether its jobs are to be ended.
        owner: the process that it is run by; a fork of it has nobody to tell anything.
    """

    tell: Callable[[str, str], None] = lambda _path, _text: None
    crew: Crew = field(default_factory=Crew)
    is_stopped: bool = False
    owner: int = field(default_factory=os.getpid)
    _under_way: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def under_way(self, path: str) -> Iterator[None]:
        """While a job is carried out.

        Raises:
            StoppedError: the batch was stopped.
        """
        with self._changed:
            if self.is_stopped:
                raise StoppedError(path)
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def stop(self) -> None:
        """Have its jobs ended, and wait until they are, whichever threads look after them.

        Half a minute at most: a process that cannot be ended must not keep the caller for ever.

        Asking the executor would not do: a thread that was started at the moment of an interrupt
        is not known to it.
        """
        with self._changed:
            self.is_stopped = True
            self._changed.wait_for(lambda: not self._under_way, _PATIENCE_S)


# A job travels, and with it only the name of its batch.
BATCHES: Final[dict[str, Batch]] = {}


class StoppedError(Exception):
    """The batch was stopped before the job ended."""


@dataclass(slots=True)
class _Running:
    """A process that carries out a job."""

    carrier: Carrier
    job: Job
    log_begin: int
    started: float = field(default_factory=time.monotonic)
    waiting_since: float | None = None
    waited_s: float = 0.0
    received: bytearray = field(default_factory=bytearray)
    inputs: dict[str, str] = field(default_factory=dict)

    def is_late(self) -> bool:
        """Whether it has had its time, without that in which it stood in line."""
        if self.waiting_since is not None:
            return False
        return time.monotonic() - self.started - self.waited_s > self.job.limits.seconds

    def note_waiting(self, *, is_waiting: bool) -> None:
        now = time.monotonic()
        if is_waiting:
            self.waiting_since = now
        elif self.waiting_since is not None:
            self.waited_s += now - self.waiting_since
            self.waiting_since = None

    def messages(self) -> list[tuple[str, Any]]:
        """The messages that have arrived as a whole."""
        found = []
        while len(self.received) >= worker.LENGTH:
            end = worker.LENGTH + int.from_bytes(self.received[: worker.LENGTH], "little")
            if len(self.received) < end:
                break
            found.append(pickle.loads(self.received[worker.LENGTH : end]))  # noqa: S301 - our child's
            del self.received[:end]
        return found


def run_job(job: Job) -> JobOutcome:
    """Carry out a job in a process of its own.

    Returns:
        What became of it, also where the process crashed, was killed, ran out of memory or hung.

    Raises:
        StoppedError: the batch was stopped meanwhile.
    """
    batch = BATCHES.get(job.batch, _NOBODY)
    if batch.owner != os.getpid():
        batch = _NOBODY
    with batch.under_way(job.path):
        return _run(job, batch)


def _run(job: Job, batch: Batch) -> JobOutcome:
    batch.tell(job.path, "starting")
    carrier = batch.crew.take(job)
    is_sound = False
    try:
        outcome, is_sound = _await(carrier, job, batch)
    finally:
        if is_sound:
            batch.crew.give_back(carrier)
        else:
            carrier.end()
            remove_of(carrier.process.pid, _places(job))
        batch.tell(job.path, "")
    return outcome


def _await(carrier: Carrier, job: Job, batch: Batch) -> tuple[JobOutcome, bool]:
    """The outcome of a job, and whether the process may have another one."""
    assert carrier.process.stdout is not None
    running = _Running(carrier, job, os.fstat(carrier.log.fileno()).st_size)
    try:
        carrier.send(job)
    except BrokenPipeError:
        return _died(running), False
    with selectors.DefaultSelector() as waiting:
        waiting.register(carrier.process.stdout, selectors.EVENT_READ)
        while True:
            if batch.is_stopped:
                raise StoppedError(job.path)
            if running.is_late():
                return _late(running), False
            if not waiting.select(_LOOK_S):
                continue
            part = os.read(carrier.process.stdout.fileno(), 1 << 16)
            if not part:
                return _died(running), False
            running.received += part
            for kind, value in running.messages():
                if kind == "outcome":
                    outcome, is_sound = value
                    assert isinstance(outcome, JobOutcome)
                    spent = time.monotonic() - running.started
                    told = replace(outcome, seconds=spent, waited_s=running.waited_s)
                    return told, bool(is_sound)
                if kind == "progress":
                    batch.tell(job.path, value)
                elif kind == "inputs":
                    running.inputs = dict(value)
                elif kind == "waiting":
                    running.note_waiting(is_waiting=bool(value))
                    batch.tell(job.path, value or "going on")


def _late(running: _Running) -> JobOutcome:
    """The outcome of a process that did not end in time."""
    return _told(
        running,
        f"it did not finish within {running.job.limits.seconds:g} s and was stopped; where it "
        f"only needs longer, --timeout allows that",
        "timeout",
    )


def _died(running: _Running) -> JobOutcome:
    """The outcome of a process that gave none."""
    job = running.job
    code = running.carrier.process.wait()
    if code == worker.MEMORY_EXIT:
        return _told(running, worker.out_of_memory(job.limits), "memory")
    said = running.carrier.said(running.log_begin, _MOST_OF_LOG)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = f"; its last words: {lines[-1]}" if lines else ""
    if job.limits.memory_bytes is not None and ("MemoryError" in said or "bad_alloc" in said):
        return _told(running, worker.out_of_memory(job.limits) + last, "memory")
    if code < 0:
        try:
            how = signal.Signals(-code).name
        except ValueError:
            how = f"signal {-code}"
        hint = " (often the system's answer to running out of memory)" if how == "SIGKILL" else ""
        message = f"its process was ended by {how}{hint}{last}"
    else:
        message = f"its process ended with exit code {code}{last}"
    return _told(running, message, "crash")


def _told(running: _Running, message: str, cause: str) -> JobOutcome:
    job = running.job
    outcome = ended(job.path, message, cause, time.monotonic() - running.started)
    # Where it did not get as far as telling: it may be the model that did it, and so what the file
    # is made of is not looked into here.
    if running.inputs:
        inputs = running.inputs
    elif is_remote(job.path):
        inputs = tokens_of(job.path, [PurePath(job.path).name])
    else:
        inputs = digests_of_model(Path(job.folder, job.path), is_opened=False)
    return replace(outcome, waited_s=running.waited_s, inputs=inputs, versions=made_with())


def _places(job: Job) -> list[Path]:
    """Where a job may have left something: beside its result, and beside external weights."""
    named = [p for p in (job.path, job.target, job.report) if p is not None and not is_remote(p)]
    return [Path(job.folder, p).parent for p in named]


_NOBODY: Final = Batch(crew=ELSEWHERE)
