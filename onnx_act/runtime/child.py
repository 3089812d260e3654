"""The process at the other end of `onnx_act.runtime.isolate`: one function call, then the end.

Started as `python -m onnx_act.runtime.child`. The call arrives pickled on stdin, the answer goes
pickled to what was stdout; from then on stdout is stderr, so that nothing printed in here can
reach the caller's stdout.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx_act.errors import OnnxActError


def outcome_of(request: bytes) -> tuple[str, Any]:
    """Run a pickled call.

    Args:
        request: A pickled pair: the caller's `sys.path`, and the pickled (function, args,
            kwargs). Two layers, because the path must be set before the function is looked up.

    Returns:
        `("result", value)`, `("raised", description)` for one of our exceptions, or
        `("failed", traceback text)` for any other.
    """
    from onnx_act.errors import OnnxActError  # noqa: PLC0415 - after stdout was moved away

    try:
        path, call = pickle.loads(request)  # noqa: S301 - written by our own parent process
        sys.path[:] = path
        function, args, kwargs = pickle.loads(call)  # noqa: S301 - as above
        return "result", function(*args, **kwargs)
    except OnnxActError as error:
        return "raised", describe(error)
    except MemoryError:
        return "memory", None
    except BaseException:  # noqa: BLE001 - everything must travel back, SystemExit too
        return "failed", traceback.format_exc()


def describe(error: OnnxActError) -> tuple[type[OnnxActError], tuple[Any, ...], dict[str, Any]]:
    """An exception as class, args and attributes.

    Exceptions pickle by calling the class with `args`, which fails where the constructor takes
    something else than the message.
    """
    return type(error), error.args, dict(error.__dict__)


def restore(
    description: tuple[type[OnnxActError], tuple[Any, ...], dict[str, Any]],
) -> OnnxActError:
    """The exception that `describe` took apart."""
    cls, args, attributes = description
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    return error


def main() -> None:
    """Answer one call."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    outcome = outcome_of(sys.stdin.buffer.read())
    try:
        payload = pickle.dumps(outcome)
    except Exception:  # noqa: BLE001 - a result that does not pickle is told like any failure
        payload = pickle.dumps(("failed", traceback.format_exc()))
    with answer:
        answer.write(payload)
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the interpreter's and the runtime's clean-up: the answer is out, and a crash in a
    # destructor would make it worthless.
    os._exit(0)


if __name__ == "__main__":
    main()
