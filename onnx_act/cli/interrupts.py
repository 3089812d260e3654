"""Ctrl-C while a native library is being loaded: it waits until that is done.

Such a library runs Python while it sets itself up. An interrupt that is raised there comes out as
an ImportError that tells nothing (onnxruntime 1.31), or ends the process by a fault of memory.
"""

from __future__ import annotations

import _thread
import signal
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

_LOADER: Final = "<frozen importlib._bootstrap_external>"
_LOADING: Final = frozenset(
    {"ExtensionFileLoader.create_module", "ExtensionFileLoader.exec_module"}
)
_AGAIN_S: Final = 0.02


def interrupt_between_imports() -> None:
    """Have Ctrl-C interrupt the program as ever, but for where that is not safe."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal: now, or where native code is being loaded a moment later.

    Raises:
        KeyboardInterrupt: it is safe.
    """
    if not _is_loading(frame):
        signal.default_int_handler(number, frame)
    again = threading.Timer(_AGAIN_S, _thread.interrupt_main)
    again.daemon = True
    again.start()


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is what became of an interrupt on its way through other code."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, KeyboardInterrupt):
        found = found.__cause__ or found.__context__
    return found is not None


def _is_loading(frame: FrameType | None) -> bool:
    while frame is not None:
        code = frame.f_code
        if code.co_filename == _LOADER and code.co_qualname in _LOADING:
            return True
        frame = frame.f_back
    return False
