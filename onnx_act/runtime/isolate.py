"""Calls that may take the process down, made in another process.

A wrong kernel choice can end ONNX Runtime with a signal, and a model can hang it; neither may
end a conversion, let alone a batch. Not `multiprocessing`: its spawned children import the
caller's main script again, which runs it twice where there is no `__main__` guard.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from onnx_act.errors import EvidenceError, OnnxActError
from onnx_act.runtime import child, turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

P = ParamSpec("P")
T = TypeVar("T")

_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])


def run_isolated(
    function: Callable[..., T],
    *args: object,
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
    **kwargs: object,
) -> T:
    """Call a module-level function in a fresh process and return its result.

    Args:
        function: A function that can be imported by module and name; not one of `__main__`.
        *args: Its arguments; they must pickle, as must the result.
        timeout_s: Seconds it may take, including the start of the process; None for no limit.
        environment: Environment variables to set for the child, such as those that a library
            reads only while it is loaded.
        **kwargs: Its keyword arguments.

    Raises:
        EvidenceError: The process crashed, ran out of memory, or ran out of time.
        OnnxActError: What the function raised, when that is one of our exceptions; any other
            exception arrives as a plain `OnnxActError` that holds its traceback.
        ValueError: The function lives in `__main__`.
    """
    if function.__module__ == "__main__":
        raise ValueError(f"{function.__qualname__} is defined in __main__; a child cannot find it")
    path = [entry or str(Path.cwd()) for entry in sys.path]
    request = pickle.dumps((path, pickle.dumps((function, args, kwargs))))
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", child.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=child_environment(environment),
            pass_fds=turn.inherited(),
        )
        try:
            answer, _ = process.communicate(request, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise EvidenceError(
                f"{function.__name__} did not finish within {timeout_s:g} s and was stopped; "
                f"where it only needs longer, --timeout allows that"
            ) from None
        finally:
            # Also on KeyboardInterrupt: nothing may go on computing after the parent gave up.
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        log.seek(0)
        tail = log.read()[-4000:].decode(errors="replace")
    if process.returncode != 0:
        raise EvidenceError(crash_message(function.__name__, process.returncode, tail))
    result: T = outcome_value(function.__name__, answer)
    return result


def outcome_value(name: str, answer: bytes) -> Any:
    """What a child's answer holds: the result of the function of that name, or its exception."""
    kind, value = pickle.loads(answer)  # noqa: S301 - written by our own child process
    if kind == "result":
        return value
    if kind == "raised":
        raise child.restore(value)
    if kind == "memory":
        raise EvidenceError(f"{name} ran out of memory")
    raise OnnxActError(f"{name} failed in its own process:\n{value}")


def child_environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    """The environment of a child: ours, some variables more, and where to find this package."""
    environment = {**os.environ, **(extra or {})}
    inherited = environment.get("PYTHONPATH")
    # The package must be found before the child is told our sys.path; -P keeps the current
    # folder, and whatever file of it is called like a library, out of the search.
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (_PACKAGE_ROOT, inherited)))
    return environment


def crash_message(name: str, code: int, log: str) -> str:
    """How a child ended that gave no answer.

    Args:
        name: The function that it was to call.
        code: Its exit code, or the number of a signal with a minus.
        log: What it wrote to stderr.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    last = f"; its last words: {lines[-1]}" if lines else ""
    if code > 0:
        return f"{name} ended its process with exit code {code}{last}"
    try:
        what = signal.Signals(-code).name
    except ValueError:
        what = f"signal {-code}"
    hint = " (often the system's answer to running out of memory)" if what == "SIGKILL" else ""
    return f"ONNX Runtime crashed in {name} with {what}{hint}{last}"
