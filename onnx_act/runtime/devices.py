"""NVIDIA devices, as their driver's own tool tells of them; nothing where that is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOOL: Final = "nvidia-smi"
# A driver that hangs must not hang us.
_TIME_LIMIT_S: Final = 20.0
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Device:
    """One NVIDIA device.

    Attributes:
        name: What it is called.
        driver: The driver's version.
        memory_bytes: All of its memory; None where the driver does not say.
        used_bytes: How much of it is in use, by whomever; None where the driver does not say.
    """

    name: str
    driver: str
    memory_bytes: int | None
    used_bytes: int | None


def nvidia_devices() -> tuple[Device, ...]:
    """The NVIDIA devices of this machine; none where there is no driver."""
    rows = _query("--query-gpu=name,driver_version,memory.total,memory.used")
    return tuple(
        Device(row[0], row[1], _mebibytes(row[2]), _mebibytes(row[3]))
        for row in rows
        if len(row) == 4
    )


def memory_of_this_process() -> int | None:
    """Device memory that this process holds, in bytes; None where that is not known.

    The driver does not see process numbers from inside a container, which is then not known.
    """
    rows = _query("--query-compute-apps=pid,used_memory")
    sizes = [_mebibytes(row[1]) for row in rows if len(row) == 2 and row[0] == str(os.getpid())]
    known = [size for size in sizes if size is not None]
    return sum(known) if known else None


def _query(question: str) -> list[Sequence[str]]:
    tool = shutil.which(_TOOL)
    if tool is None:
        return []
    try:
        ended = subprocess.run(  # noqa: S603 - the driver's own tool, with constant arguments
            [tool, question, "--format=csv,noheader,nounits"],
            capture_output=True,
            check=False,
            text=True,
            timeout=_TIME_LIMIT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    if ended.returncode != 0:
        return []
    return [[part.strip() for part in line.split(",")] for line in ended.stdout.splitlines()]


def _mebibytes(text: str) -> int | None:
    return int(text) * _MIB if text.isdigit() else None
