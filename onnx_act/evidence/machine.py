"""The machine that a measurement was made on, as far as it explains the numbers."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def cpu_model() -> str:
    """The processor's name, or the architecture where the system does not tell."""
    try:
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_count() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def affinity() -> tuple[int, ...] | None:
    """The numbers of the processors that this process may use; None where nobody tells."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    return tuple(sorted(os.sched_getaffinity(0)))


def busy_warning() -> str | None:
    """A sentence when other programs were using the machine in the last minute, else None.

    To be asked before a measurement, which is itself work. Where the system keeps no load
    average (Windows) nothing is known.
    """
    if not hasattr(os, "getloadavg"):
        return None
    load = os.getloadavg()[0]
    if load <= 0.5 * cpu_count():
        return None
    return (
        f"the machine is busy (load average {load:.1f} on {cpu_count()} processors); "
        f"times may be too long and the intervals too wide"
    )
