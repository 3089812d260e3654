"""The processes that carry out jobs: started when they are needed, used again while they are sound.

A fresh process for each job would spend most of its time on loading libraries; so one that has
given an orderly outcome, and has not grown by it, gets the next job. Whatever else it did is its
end. See docs/decisions/0013-a-process-for-each-job.md.
"""

from __future__ import annotations

import atexit
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from onnx_act.batch import worker
from onnx_act.batch.leftovers import make_scratch
from onnx_act.runtime.isolate import child_environment

if TYPE_CHECKING:
    from onnx_act.batch.jobs import Job

# Less than a process waits for a job before it ends by itself.
_LONGEST_IDLE_S: Final = worker.IDLE_S / 2


@dataclass(slots=True)
class Carrier:
    """A process that carries out one job after the other.

    Attributes:
        process: it.
        log: what it writes to stderr.
        scratch: its folder for passing files.
        kind: which jobs it may have.
        idle_since: when it was last done with one, by the monotonic clock.
    """

    process: subprocess.Popen[bytes]
    log: IO[bytes]
    scratch: Path
    kind: tuple[object, ...]
    idle_since: float = 0.0

    def send(self, job: Job) -> None:
        """Give it a job.

        Raises:
            BrokenPipeError: it has ended.
        """
        assert self.process.stdin is not None
        request = pickle.dumps(job)
        self.process.stdin.write(len(request).to_bytes(worker.LENGTH, "little") + request)
        self.process.stdin.flush()

    def said(self, begin: int, most: int) -> str:
        """The end of what it wrote to stderr after a place, so many bytes at most."""
        end = os.fstat(self.log.fileno()).st_size
        begin = max(begin, end - most)
        # Not by seeking: the process writes at the same place in the file.
        return os.pread(self.log.fileno(), end - begin, begin).decode(errors="replace")

    def end(self) -> None:
        """End it and all that it started."""
        try:
            # As long as it was not waited for its group cannot be anybody else's.
            if self.process.returncode is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self.log.close()
        shutil.rmtree(self.scratch, ignore_errors=True)


@dataclass(slots=True)
class Crew:
    """The processes that wait for another job; used from several threads.

    Attributes:
        inherit: files that its processes keep open, such as one with a lock.
    """

    inherit: tuple[int, ...] = ()
    _idle: list[Carrier] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _owner: int = field(default_factory=os.getpid)
    _is_closed: bool = False

    def take(self, job: Job) -> Carrier:
        """A process for a job: one that waits, or a new one.

        Raises:
            OSError: none can be started.
        """
        kind = (job.folder, job.limits.memory_bytes, job.batch)
        with self._lock:
            self._leave_to_owner()
            waiting, self._idle = self._idle, []
            found = None
            useless = []
            for each in waiting:
                is_late = time.monotonic() - each.idle_since > _LONGEST_IDLE_S
                if each.kind != kind or is_late or each.process.poll() is not None:
                    useless.append(each)
                elif found is None:
                    found = each
                else:
                    self._idle.append(each)
        for each in useless:
            each.end()
        return found or _start(job, kind, self.inherit)

    def give_back(self, carrier: Carrier) -> None:
        """Have a process wait for the next job."""
        carrier.idle_since = time.monotonic()
        with self._lock:
            self._leave_to_owner()
            if not self._is_closed:
                self._idle.append(carrier)
                return
        carrier.end()

    def close(self) -> None:
        """End all that wait, and from now on each that is given back."""
        with self._lock:
            self._leave_to_owner()
            waiting, self._idle, self._is_closed = self._idle, [], True
        for each in waiting:
            each.end()

    def _leave_to_owner(self) -> None:
        """A fork of the process that started them has none."""
        if self._owner != os.getpid():
            self._idle, self._owner = [], os.getpid()


def _start(job: Job, kind: tuple[object, ...], inherit: tuple[int, ...]) -> Carrier:
    scratch = make_scratch()
    log = None
    try:
        log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process is there
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", worker.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=job.folder if Path(job.folder).is_dir() else None,
            env=child_environment({"TMPDIR": str(scratch)}),
            pass_fds=inherit,
            # A group of its own: it ends together with what it starts, and Ctrl-C at the
            # terminal is for us to deal with.
            start_new_session=True,
        )
    except BaseException:
        if log is not None:
            log.close()
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    path = [entry or str(Path.cwd()) for entry in sys.path]
    first = pickle.dumps((path, job.limits.memory_bytes, str(scratch)))
    assert process.stdin is not None
    # Where it has ended already, giving it the job will tell.
    with suppress(BrokenPipeError):
        process.stdin.write(len(first).to_bytes(worker.LENGTH, "little") + first)
        process.stdin.flush()
    return Carrier(process, log, scratch, kind)


# Of the jobs whose batch is in another process, or on another machine.
ELSEWHERE: Final = Crew()
atexit.register(ELSEWHERE.close)
