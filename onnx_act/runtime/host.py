"""What the processor and the system grant a runtime: instructions, processors, quotas."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_CPUINFO: Final = Path("/proc/cpuinfo")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUP: Final = Path("/proc/self/cgroup")
# What the kernels of runtimes are written for, by the kernel's names of them.
_FEATURES: Final = (
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx_vnni",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimdhp",
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
    "sve2",
    "sme",
)
# What ARM's kernels are called by those who write them.
_NAMES: Final = {"asimd": "neon"}
_THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "ORT_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "KMP_AFFINITY",
    "GOMP_CPU_AFFINITY",
)


def cpu_features() -> tuple[str, ...] | None:
    """The instruction sets that kernels are written for and this processor has.

    None where the system does not tell, as anywhere but on Linux.
    """
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            there = set(value.split())
            return tuple(_NAMES.get(name, name) for name in _FEATURES if name in there)
    return None


def cores() -> int:
    """Processors of this machine, whoever may use them."""
    return os.cpu_count() or 1


def cpu_quota() -> float | None:
    """How many processors' worth of time a container may use; None for no limit, or not known.

    ONNX Runtime starts as many threads as there are processors, whatever the quota: with less
    time than threads they stand in each other's way.
    """
    quotas = [quota for folder in _cgroup_folders() if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def thread_variables() -> dict[str, str]:
    """Environment variables that are set and that decide on threads."""
    return {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ}


def _cgroup_folders() -> list[Path]:
    """The folders of this process's control group and of those around it."""
    folders = {_CGROUPS, _CGROUPS / "cpu", _CGROUPS / "cpu,cpuacct"}
    try:
        lines = _OWN_CGROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, place = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _CGROUPS / controllers if controllers else _CGROUPS
        own = root / place.lstrip("/")
        folders.update(f for f in (own, *own.parents) if f.is_relative_to(_CGROUPS))
    return sorted(folders)


def _quota(folder: Path) -> float | None:
    try:
        limit, _, period = (folder / "cpu.max").read_text(encoding="utf-8").strip().partition(" ")
    except OSError:
        try:
            limit = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8").strip()
            period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8").strip()
        except OSError:
            return None
    try:
        share = int(limit) / int(period)
    except (ValueError, ZeroDivisionError):
        # `max` stands for no limit, as -1 does in the older layout.
        return None
    return share if share > 0 else None
