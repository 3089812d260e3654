"""What processes that were killed left behind: partial results and folders for passing files."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onnx_act.graph.store import machine_mark

if TYPE_CHECKING:
    from collections.abc import Iterable

SCRATCH: Final = "onnx-act-batch-"
_STAGED: Final = re.compile(r"\..*\.(?P<pid>\d+)-(?P<machine>[0-9a-f]{4})[0-9a-f]{8}(\.data)?\.tmp")
_OF_RECIPES: Final = (".recipe.toml.tmp", ".profile.json.tmp")


def remove_of(pid: int, folders: Iterable[Path]) -> None:
    """Remove what one process of this machine, that is gone, staged in some folders."""
    for folder in set(folders):
        for name in _names(folder):
            found = _STAGED.fullmatch(name)
            if found and int(found["pid"]) == pid and found["machine"] == machine_mark():
                _remove(folder / name)


def remove_stale(folders: Iterable[Path]) -> None:
    """Remove what processes of this machine that are gone staged in some folders.

    Those of other machines stay: nobody here can tell whether they are gone.
    """
    mark = machine_mark()
    for folder in set(folders):
        for name in _names(folder):
            found = _STAGED.fullmatch(name)
            if found and found["machine"] == mark and not _is_alive(int(found["pid"])):
                _remove(folder / name)


def remove_stale_below(out_dir: Path) -> None:
    """`remove_stale` for a folder of results, which no other batch writes to at this time."""
    folders = [Path(place) for place, _, _ in os.walk(out_dir)]
    remove_stale(folders)
    for folder in folders:
        for name in _names(folder):
            if name.startswith(".") and name.endswith(_OF_RECIPES):
                _remove(folder / name)


def make_scratch() -> Path:
    """A folder for the passing files of one job, whose name tells who made it."""
    return Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-{machine_mark()}-"))


def remove_stale_scratch() -> None:
    """Remove the folders for passing files of batches that are gone."""
    place = Path(tempfile.gettempdir())
    for name in _names(place):
        if not name.startswith(SCRATCH):
            continue
        pid, _, rest = name.removeprefix(SCRATCH).partition("-")
        if pid.isdecimal() and rest.startswith(machine_mark()) and not _is_alive(int(pid)):
            shutil.rmtree(place / name, ignore_errors=True)


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _is_alive(pid: int) -> bool:
    # One that is ending, or has ended and was not yet waited for, has no memory any more.
    with suppress(OSError):  # not on Linux, not for us to see, or gone
        if not Path(f"/proc/{pid}/cmdline").read_bytes():
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
