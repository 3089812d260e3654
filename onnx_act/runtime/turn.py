"""Taking turns at measuring, so that no two measurements on one machine disturb each other.

Two locks of the kernel, on files that all users of the machine share. Whoever measures holds the
first one alone. Workers of a batch hold it together while they compute, and let go of it when they
want to measure: so nothing of a batch computes while something of it is timed. The second is a
gate: who wants to measure stands in it, and nobody goes on computing past him; otherwise a batch
with many workers would never let anyone measure.

The kernel releases a lock when the last process that holds its file ends, however it ends. The
process that really measures inherits it, and so keeps it when its parent is killed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Names the folder of the locks; without it they are in /tmp, which all users share.
FOLDER_VARIABLE: Final = "ONNX_ACT_LOCK_DIR"
# How long to stand in line; after that something is stuck, and measuring is better than not.
_PATIENCE_S: Final = 3600.0
_PAUSE_S: Final = 0.02
_TURN: Final = "onnx-act-measuring.lock"
_GATE: Final = "onnx-act-measuring.gate"
_FOR_WHAT: Final = "standing by for a measurement"

_ALONE: Final = (
    "latency was measured while no other job of a batch computed and no other onnx-act measured "
    "on this machine"
)


@dataclass(frozen=True, slots=True)
class Turn:
    """How a turn at measuring was had.

    Attributes:
        is_alone: Whether nothing else of ours ran meanwhile.
        in_batch: Whether others of a batch had to stand by.
        waited_s: Seconds until it was had.
        problem: Why it is not alone.
    """

    is_alone: bool
    in_batch: bool = False
    waited_s: float = 0.0
    problem: str = ""

    def notes(self) -> tuple[str, ...]:
        """What a reader of a report should know of it."""
        if not self.is_alone:
            return (f"latency may have been measured beside another measurement: {self.problem}",)
        return (_ALONE,) if self.in_batch else ()


class _Mine(threading.local):
    """What this thread holds."""

    def __init__(self) -> None:
        self.turn: Turn | None = None
        self.held: int | None = None
        self.shared: int | None = None
        self.shares = False


_MINE: Final = _Mine()


class _Waiting:
    """Who wants to know that a process stands in line, and does not."""

    def __init__(self) -> None:
        self.tell: Callable[[str], None] = lambda _: None


_WAITING: Final = _Waiting()


def when_waiting(tell: Callable[[str], None]) -> None:
    """Have a function told what this process stands in line for, and "" when it goes on."""
    _WAITING.tell = tell


def inherited() -> tuple[int, ...]:
    """What a process must inherit that measures for this one."""
    return () if _MINE.held is None else (_MINE.held,)


@contextmanager
def measuring_turn(patience_s: float = _PATIENCE_S) -> Iterator[Turn]:
    """Measure while nothing else of ours does, and no job of a batch computes.

    A turn within a turn is the same one.

    Args:
        patience_s: Seconds to stand in line; then it goes on all the same, and says so.
    """
    if _MINE.turn is not None:
        yield _MINE.turn
        return
    started = time.monotonic()
    in_batch = _MINE.shares
    _let_go_of_share()
    held, problem = _wait_for_turn(started + patience_s)
    waited = time.monotonic() - started
    _MINE.turn = Turn(not problem, in_batch, waited, problem)
    _MINE.held = held
    try:
        yield _MINE.turn
    finally:
        _MINE.turn = _MINE.held = None
        _close(held)
        if in_batch:
            _share()


@contextmanager
def sharing_machine() -> Iterator[None]:
    """Compute as one job of many, standing by while one of them measures."""
    _MINE.shares = True
    _share()
    try:
        yield
    finally:
        _MINE.shares = False
        _let_go_of_share()


def _wait_for_turn(deadline: float) -> tuple[int | None, str]:
    """The lock, held alone; or why it is not."""
    gate = turn = None
    try:
        gate, turn = _open(_GATE), _open(_TURN)
        if gate is None or turn is None:
            _close(turn)
            return None, f"no lock could be had in {_folder()}"
        if _lock(gate, deadline, alone=True) and _lock(turn, deadline, alone=True):
            return turn, ""
    except BaseException:
        _close(turn)
        raise
    finally:
        _close(gate)
    _close(turn)
    return None, "another one did not end"


def _share() -> None:
    gate, turn = _open(_GATE), _open(_TURN)
    try:
        # Where there are no locks, or one is never released, work must go on.
        deadline = time.monotonic() + _PATIENCE_S
        if (
            gate is not None
            and turn is not None
            and _lock(gate, deadline, alone=False)
            and _lock(turn, deadline, alone=False)
        ):
            _MINE.shared, turn = turn, None
    finally:
        _close(gate)
        _close(turn)


def _let_go_of_share() -> None:
    _close(_MINE.shared)
    _MINE.shared = None


def _lock(handle: int, deadline: float, *, alone: bool) -> bool:
    """Wait for a lock; whether it was had in time."""
    if sys.platform == "win32":
        return True
    kind = (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB
    is_waiting = False
    try:
        while True:
            try:
                fcntl.flock(handle, kind)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
                if not is_waiting:
                    is_waiting = True
                    _WAITING.tell(_FOR_WHAT)
                time.sleep(_PAUSE_S)
            else:
                return True
    finally:
        if is_waiting:
            _WAITING.tell("")


def _folder() -> Path:
    stated = os.environ.get(FOLDER_VARIABLE)
    if stated:
        return Path(stated)
    # Not what TMPDIR says: that may differ between two processes that are to take turns.
    usual = Path("/tmp")  # noqa: S108 - a lock that others can hold, too, is what is wanted
    return usual if usual.is_dir() else Path(tempfile.gettempdir())


def _open(name: str) -> int | None:
    """A lock's file, to be locked by whoever can read it; None where there are no locks."""
    if sys.platform == "win32":
        return None
    path = _folder() / name
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except OSError:
        pass
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags | os.O_CREAT, 0o644)
    except OSError:
        return None


def _close(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)
