"""A process that stays for many short calls that may take it down; a new one takes its place.

Starting a process and loading a provider into it takes half a second and more, and there are
dozens of tiny models to be asked about. See `onnx_act.runtime.isolate` for single long calls.
"""

from __future__ import annotations

import atexit
import os
import pickle
import select
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, ParamSpec, TypeVar

from onnx_act.errors import EvidenceError
from onnx_act.runtime import child
from onnx_act.runtime.isolate import child_environment, crash_message, outcome_value

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

_LENGTH = 8
_CHUNK = 1 << 16


class Attendant:
    """A child process that answers one call after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._owner = 0

    def call(
        self, function: Callable[P, T], timeout_s: float, /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a module-level function in the process and return its result.

        Args:
            function: As of `run_isolated`.
            timeout_s: Seconds that the call may take, the start of a process included.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Raises:
            EvidenceError: The process crashed, ran out of memory, or ran out of time.
            OnnxActError: As of `run_isolated`.
        """
        path = [entry or str(Path.cwd()) for entry in sys.path]
        request = pickle.dumps((path, pickle.dumps((function, args, kwargs))))
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            try:
                process.stdin.write(len(request).to_bytes(_LENGTH, "little") + request)
                process.stdin.flush()
                answer = self._answer(process, time.monotonic() + timeout_s)
            except (BrokenPipeError, EOFError):
                raise EvidenceError(self._last_words(function.__name__)) from None
            except TimeoutError:
                self._stop()
                raise EvidenceError(
                    f"{function.__name__} did not finish within {timeout_s:g} s and was stopped"
                ) from None
            except BaseException:
                # What is still to come would be taken for the answer to the next call.
                self._stop()
                raise
        result: T = outcome_value(function.__name__, answer)
        return result

    def close(self) -> None:
        """End the process; the next call starts another."""
        with self._lock:
            self._stop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._owner != os.getpid():
            # After a fork the process is our parent's.
            self._process = self._log = None
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", child.__name__, child.STAY],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=child_environment(None),
            )
            self._owner = os.getpid()
        return self._process

    @staticmethod
    def _answer(process: subprocess.Popen[bytes], deadline: float) -> bytes:
        assert process.stdout is not None
        handle = process.stdout.fileno()
        received = bytearray()
        while len(received) < _LENGTH or (
            len(received) < _LENGTH + int.from_bytes(received[:_LENGTH], "little")
        ):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                raise TimeoutError
            part = os.read(handle, _CHUNK)
            if not part:
                raise EOFError
            received += part
        return bytes(received[_LENGTH:])

    def _last_words(self, name: str) -> str:
        """What became of a process that is gone; it is forgotten."""
        process, log = self._process, self._log
        assert process is not None
        assert log is not None
        code = process.wait()
        log.seek(0)
        tail = log.read()[-4000:].decode(errors="replace")
        self._stop()
        return crash_message(name, code, tail)

    def _stop(self) -> None:
        process, log = self._process, self._log
        self._process = self._log = None
        if process is not None and self._owner == os.getpid():
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        continue
        if log is not None:
            log.close()


ATTENDANT = Attendant()
"""The one of this process."""
atexit.register(ATTENDANT.close)
