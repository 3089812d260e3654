"""The process at the other end of `onnx_act.runtime.isolate`: one function call, then the end.

Started as `python -m onnx_act.runtime.child`, or with `STAY` for more calls than one (see
`onnx_act.runtime.attendant`). The call arrives pickled on stdin, the answer goes
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
    from typing import BinaryIO

    from onnx_act.errors import OnnxActError

STAY = "stay"
"""The argument that makes it answer one call after the other, each preceded by its length."""

_LENGTH = 8


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


def _payload(request: bytes) -> bytes:
    outcome = outcome_of(request)
    try:
        return pickle.dumps(outcome)
    except Exception:  # noqa: BLE001 - a result that does not pickle is told like any failure
        return pickle.dumps(("failed", traceback.format_exc()))


def _stay(calls: BinaryIO, answers: BinaryIO) -> None:
    """Answer calls until whoever makes them is gone."""
    while len(header := calls.read(_LENGTH)) == _LENGTH:
        payload = _payload(calls.read(int.from_bytes(header, "little")))
        answers.write(len(payload).to_bytes(_LENGTH, "little") + payload)
        answers.flush()


def main() -> None:
    """Answer one call, or with `STAY` any number of them."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if STAY in sys.argv[1:]:
        _stay(sys.stdin.buffer, answer)
    else:
        answer.write(_payload(sys.stdin.buffer.read()))
    answer.close()
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the interpreter's and the runtime's clean-up: the answer is out, and a crash in a
    # destructor would make it worthless.
    os._exit(0)


if __name__ == "__main__":
    main()
