"""Carrying out a job in a process of its own, whatever becomes of that process.

`run_job` is what every executor runs: a crash, a hang and a want of memory are outcomes, and the
same ones wherever the job is run. See docs/decisions/0013-a-process-for-each-job.md.
"""

from __future__ import annotations

import os
import pickle
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnx_act.batch import worker
from onnx_act.batch.fingerprint import digests_of_model, made_with
from onnx_act.batch.jobs import JobOutcome, ended
from onnx_act.batch.leftovers import make_scratch, remove_of
from onnx_act.runtime.isolate import child_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from onnx_act.batch.jobs import Job

_LOOK_S: Final = 0.1
_LINES_OF_LOG: Final = 4000


@dataclass(slots=True)
class Batch:
    """What the jobs of one batch in this process have in common.

    Attributes:
        tell: told of a job's path and what it is about, "" when it has ended.
        inherit: files that the processes of jobs keep open, such as one with a lock.
        is_stopped: whether its jobs are to be ended.
        owner: the process that it is run by; a fork of it has nobody to tell anything.
    """

    tell: Callable[[str, str], None] = lambda _path, _text: None
    inherit: tuple[int, ...] = ()
    is_stopped: bool = False
    owner: int = field(default_factory=os.getpid)


# A job travels, and with it only the name of its batch.
BATCHES: Final[dict[str, Batch]] = {}


class StoppedError(Exception):
    """The batch was stopped before the job ended."""


@dataclass(slots=True)
class _Running:
    """A process that carries out a job."""

    process: subprocess.Popen[bytes]
    seconds: float
    started: float = field(default_factory=time.monotonic)
    waiting_since: float | None = None
    waited_s: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    def is_late(self) -> bool:
        """Whether it has had its time, without that in which it stood in line."""
        if self.waiting_since is not None:
            return False
        return time.monotonic() - self.started - self.waited_s > self.seconds

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
    if batch.is_stopped:
        raise StoppedError(job.path)
    scratch = make_scratch()
    folder = job.folder if Path(job.folder).is_dir() else None
    try:
        with tempfile.TemporaryFile() as log:
            batch.tell(job.path, "starting")
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", worker.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env=child_environment({"TMPDIR": str(scratch)}),
                pass_fds=batch.inherit,
                # A group of its own: it ends together with what it starts, and Ctrl-C at the
                # terminal is for us to deal with.
                start_new_session=True,
            )
            try:
                outcome = _await(process, job, batch, scratch, log)
            finally:
                _kill(process)
                remove_of(process.pid, _places(job))
                batch.tell(job.path, "")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return outcome


def _await(
    process: subprocess.Popen[bytes], job: Job, batch: Batch, scratch: Path, log: IO[bytes]
) -> JobOutcome:
    assert process.stdin is not None
    assert process.stdout is not None
    running = _Running(process, job.limits.seconds)
    path = [entry or str(Path.cwd()) for entry in sys.path]
    request = pickle.dumps((path, job.limits.memory_bytes, str(scratch), pickle.dumps(job)))
    try:
        process.stdin.write(len(request).to_bytes(worker.LENGTH, "little") + request)
        process.stdin.flush()
    except BrokenPipeError:
        return _died(running, job, log)
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        while True:
            if batch.is_stopped:
                raise StoppedError(job.path)
            if running.is_late():
                return _told(
                    running,
                    job,
                    f"it did not finish within {job.limits.seconds:g} s and was stopped; where it "
                    f"only needs longer, --timeout allows that",
                    "timeout",
                )
            if not waiting.select(_LOOK_S):
                continue
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                return _died(running, job, log)
            running.received += part
            for kind, value in running.messages():
                if kind == "outcome":
                    assert isinstance(value, JobOutcome)
                    spent = time.monotonic() - running.started
                    return replace(value, seconds=spent, waited_s=running.waited_s)
                if kind == "progress":
                    batch.tell(job.path, value)
                elif kind == "waiting":
                    running.note_waiting(is_waiting=bool(value))
                    batch.tell(job.path, value or "going on")


def _died(running: _Running, job: Job, log: IO[bytes]) -> JobOutcome:
    """The outcome of a process that gave none."""
    code = running.process.wait()
    if code == worker.MEMORY_EXIT:
        return _told(running, job, worker.out_of_memory(job.limits), "memory")
    log.seek(0)
    said = log.read()[-_LINES_OF_LOG:].decode(errors="replace")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = f"; its last words: {lines[-1]}" if lines else ""
    if job.limits.memory_bytes is not None and ("MemoryError" in said or "bad_alloc" in said):
        return _told(running, job, worker.out_of_memory(job.limits) + last, "memory")
    if code < 0:
        try:
            how = signal.Signals(-code).name
        except ValueError:
            how = f"signal {-code}"
        hint = " (often the system's answer to running out of memory)" if how == "SIGKILL" else ""
        message = f"its process was ended by {how}{hint}{last}"
    else:
        message = f"its process ended with exit code {code}{last}"
    return _told(running, job, message, "crash")


def _told(running: _Running, job: Job, message: str, cause: str) -> JobOutcome:
    outcome = ended(job.path, message, cause, time.monotonic() - running.started)
    # It may be the model that did it; what the file is made of is not looked into here.
    inputs = digests_of_model(Path(job.folder, job.path), is_opened=False)
    return replace(outcome, waited_s=running.waited_s, inputs=inputs, versions=made_with())


def _places(job: Job) -> list[Path]:
    """Where a job may have left something: beside its result, and beside external weights."""
    files = [Path(job.folder, p) for p in (job.path, job.target, job.report) if p is not None]
    return [file.parent for file in files]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    try:
        # As long as it was not waited for its group cannot be anybody else's.
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue


_NOBODY: Final = Batch()
