"""The process that carries out jobs, one after the other, and its end of the pipe.

Started as `python -m onnx_act.batch.worker`. What it may use and then jobs arrive pickled on stdin;
messages go to what was stdout: what is going on, and at last the outcome. Each is preceded by its
length. When stdin ends nobody waits for an outcome any more, and so does this process, with
everything that it started.
"""

from __future__ import annotations

import os
import pickle
import queue
import shutil
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typing import BinaryIO

    from onnx_act.batch.jobs import Job, JobOutcome, Limits
    from onnx_act.report.document import ModelEntry

LENGTH: Final = 8
"""How many bytes tell the length of a message."""


class Teller:
    """Sends messages; from one thread at a time."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def send(self, kind: str, value: Any) -> None:
        """Send one message."""
        payload = pickle.dumps((kind, value))
        self._stream.write(len(payload).to_bytes(LENGTH, "little") + payload)
        self._stream.flush()


def carry_out(job: Job, teller: Teller) -> JobOutcome:
    """Convert the model of a job, come what may."""
    from contextlib import ExitStack  # noqa: PLC0415 - after limits are set, as all below

    from onnx_act.batch.at_hand import files_at_hand  # noqa: PLC0415
    from onnx_act.batch.fingerprint import made_with  # noqa: PLC0415
    from onnx_act.batch.jobs import JobOutcome, failure  # noqa: PLC0415
    from onnx_act.recipe.convert import convert_model  # noqa: PLC0415
    from onnx_act.runtime.target import require_provider  # noqa: PLC0415
    from onnx_act.runtime.turn import sharing_machine, when_waiting  # noqa: PLC0415

    when_waiting(lambda what: teller.send("waiting", what))
    inputs: dict[str, str] = {}
    names: dict[str, str] = {}
    stack = ExitStack()
    try:
        for provider in job.request.providers:
            require_provider(provider)
        files = stack.enter_context(
            files_at_hand(job.path, job.target, lambda text: teller.send("progress", text))
        )
        inputs, names = files.inputs, files.names
        # Should this process come to grief, it is still known what the model was.
        teller.send("inputs", inputs)
        with sharing_machine():
            entry = convert_model(
                files.source,
                files.target,
                job.request,
                lambda text: teller.send("progress", text),
            )
        outputs = {} if entry.output is None else files.delivered()
        report, record = _kept(job, entry)
        outcome = JobOutcome(
            job.path,
            entry.outcome,
            entry.exit_code,
            output=None if entry.output is None else job.target,
            message=entry.message,
            report=report,
            entry=record,
            outputs=outputs,
        )
    except MemoryError:
        outcome = failure(job.path, _out_of_memory(job.limits), cause="memory")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome of this model
        if type(error).__name__ == "OnnxActError" or not hasattr(error, "exit_code"):
            import traceback  # noqa: PLC0415 - a bug is told where the process's log is kept

            traceback.print_exc()
        outcome = failure(job.path, error)
    finally:
        stack.close()
    from dataclasses import replace  # noqa: PLC0415 - as above

    message = outcome.message
    for here, name in names.items():
        message = message.replace(here, name)
    return replace(outcome, message=message, versions=made_with(), inputs=inputs)


def _out_of_memory(limits: Limits) -> Exception:
    from onnx_act.errors import EvidenceError  # noqa: PLC0415 - as in carry_out

    return EvidenceError(out_of_memory(limits))


def out_of_memory(limits: Limits) -> str:
    """What is said of a job that wanted more memory than there is."""
    if limits.memory_bytes is None:
        return "it ran out of memory"
    return f"it ran out of memory (--memory-limit {limits.memory_bytes / 1e9:g}GB)"


def _kept(job: Job, entry: ModelEntry) -> tuple[str | None, dict[str, Any] | None]:
    """Where the report of a job is kept: in a file, or with the outcome."""
    record = entry.to_dict()
    if job.report is None:
        return None, record
    import json  # noqa: PLC0415 - as in carry_out
    from pathlib import Path  # noqa: PLC0415

    from onnx_act.batch.files import write_whole  # noqa: PLC0415

    text = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False)
    try:
        write_whole(Path(job.report), text + "\n")
    except OSError:
        # The result is there, and the disk full: the report can go another way.
        return None, record
    return job.report, None


def limit_memory(most: int | None) -> None:
    """Let this process, and each that it starts, have only so much memory of its own.

    Files that are mapped to be read, such as external weights, do not count.
    """
    if most is None or sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not on Windows

    # What is written to is what fills a machine; all of the address space would also count what
    # threads and devices only reserve. macOS has no such limit and takes the other.
    kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
    resource.setrlimit(kind, (most, most))


def _receive(scratch: str, jobs: queue.SimpleQueue[bytes]) -> None:
    """Take jobs as they come; when nobody is there any more to send one, end at once."""
    with suppress(EOFError):
        while True:
            jobs.put(_next_message())
    shutil.rmtree(scratch, ignore_errors=True)
    # The group is ours alone: the processes that gather evidence for a job are in it.
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _next_message() -> bytes:
    head = sys.stdin.buffer.read(LENGTH)
    size = int.from_bytes(head, "little")
    found = sys.stdin.buffer.read(size) if len(head) == LENGTH else b""
    if not found or len(found) < size:
        raise EOFError
    return found


def _grown_to() -> int:
    """The most memory that this process ever had, in bytes; 0 where the system does not tell.

    Not from getrusage: on Linux that counts what its parent had when it started it.
    """
    from onnx_act.runtime.memory import peak_memory  # noqa: PLC0415 - as in carry_out

    found = peak_memory()
    if found is not None or sys.platform == "win32":
        return found or 0
    import resource  # noqa: PLC0415 - not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _is_sound(outcome: JobOutcome, begin: int, most: int | None) -> bool:
    """Whether a process that gave an outcome may have another job."""
    from onnx_act.errors import OnnxActError  # noqa: PLC0415 - as in carry_out

    if outcome.cause or outcome.exit_code == OnnxActError.exit_code:
        return False
    # What a large model leaves behind must be missing in no job that comes after it.
    allowed = _GROWTH if most is None else min(_GROWTH, most // 8)
    return _grown_to() - begin < allowed


def main() -> None:
    """Carry out the jobs that come on stdin."""
    teller = Teller(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    path, most, scratch = pickle.loads(_next_message())  # noqa: S301 - our parent's
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(scratch, jobs), daemon=True).start()
    sys.path[:] = path
    limit_memory(most)
    begin = 0
    # Until it has to end; whoever waits sees the pipe close.
    with suppress(queue.Empty):
        while True:
            pickled = jobs.get(timeout=IDLE_S)
            try:
                job: Job = pickle.loads(pickled)  # noqa: S301 - as above
                begin = begin or _loaded()
                outcome = carry_out(job, teller)
                is_sound = _is_sound(outcome, begin, most)
            except MemoryError:
                # There is not even enough to begin with: whoever waits says so.
                os._exit(MEMORY_EXIT)
            teller.send("outcome", (outcome, is_sound))
            sys.stderr.flush()
    shutil.rmtree(scratch, ignore_errors=True)
    # Without the runtime's clean-up, in which it may crash: the outcomes are out.
    os._exit(0)


def _loaded() -> int:
    """Load what every job needs; how much memory there is then."""
    import onnx_act.batch.fingerprint  # noqa: PLC0415 - after limits are set
    import onnx_act.recipe.convert  # noqa: PLC0415, F401

    return _grown_to()


MEMORY_EXIT: Final = 12
"""How a process ends that has too little memory to say anything."""

IDLE_S: Final = 60.0
"""How long it waits for another job before it ends by itself."""

# By how many bytes it may have grown.
_GROWTH: Final = 300_000_000

if __name__ == "__main__":
    main()
