"""What `run_isolated` is asked to call: importable, as the functions of a package are."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from onnx_act.errors import UnknownNameError


def add(a: int, *, b: int) -> int:
    sys.stdout.write("this must not reach the caller's stdout")
    return a + b


def crash() -> None:
    sys.stderr.write("last words\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(code: int) -> None:
    os._exit(code)


def sleep(mark: str) -> None:
    Path(mark).write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(60)


def refuse() -> None:
    raise UnknownNameError("provider", "cudda", ["cuda", "cpu"])


def stumble() -> None:
    raise KeyError("nothing")


def unpicklable() -> object:
    return lambda: None


def variable(name: str) -> str:
    return os.environ[name]


def exhaust() -> None:
    raise MemoryError


def crash_whatever_is_asked(*_: object, **__: object) -> None:
    """As a runtime does with a bad kernel: an access to memory that is not there."""
    ctypes.string_at(0)
