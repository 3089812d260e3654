"""What the system grants, read from files as Linux writes them; and devices, from their tool."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from onnx_act.runtime import host
from onnx_act.runtime.devices import memory_of_this_process, nvidia_devices

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            "flags : fpu avx avx2 fma avx512f amx_tile pni",
            ("avx", "avx2", "fma", "avx512f", "amx_tile"),
        ),
        ("Features\t: fp asimd i8mm sve", ("neon", "i8mm", "sve")),
        ("flags : fpu", ()),
        ("model name : none", None),
    ],
)
def test_instructions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, wanted: tuple[str, ...] | None
) -> None:
    place = tmp_path / "cpuinfo"
    monkeypatch.setattr(host, "_CPUINFO", place)
    assert host.cpu_features() is None
    place.write_text(f"processor : 0\n{line}\n", encoding="utf-8")
    assert host.cpu_features() == wanted


@pytest.fixture
def cgroups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(host, "_CGROUPS", tmp_path)
    monkeypatch.setattr(host, "_OWN_CGROUP", tmp_path / "own")
    return tmp_path


def test_the_tightest_quota_around_the_process_counts(cgroups: Path) -> None:
    assert host.cpu_quota() is None
    (cgroups / "cpu.max").write_text("max 100000\n", encoding="utf-8")
    assert host.cpu_quota() is None
    inner = cgroups / "pod" / "box"
    inner.mkdir(parents=True)
    (cgroups / "pod" / "cpu.max").write_text("150000 100000\n", encoding="utf-8")
    (inner / "cpu.max").write_text("400000 100000\n", encoding="utf-8")
    assert host.cpu_quota() is None
    (cgroups / "own").write_text("0::/pod/box\n", encoding="utf-8")
    assert host.cpu_quota() == 1.5


def test_the_older_layout(cgroups: Path) -> None:
    (cgroups / "cpu").mkdir()
    for name, text in (("cpu.cfs_quota_us", "-1"), ("cpu.cfs_period_us", "100000")):
        (cgroups / "cpu" / name).write_text(text, encoding="utf-8")
    assert host.cpu_quota() is None
    (cgroups / "cpu" / "cpu.cfs_quota_us").write_text("250000\n", encoding="utf-8")
    assert host.cpu_quota() == 2.5
    (cgroups / "cpu" / "cpu.cfs_quota_us").write_text("nonsense\n", encoding="utf-8")
    assert host.cpu_quota() is None


def test_thread_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    found = host.thread_variables()
    assert found["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in found


def _tool(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")


def test_without_a_driver_there_are_no_devices(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_devices() == ()
    assert memory_of_this_process() is None


def test_devices_as_the_driver_tells_of_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _tool(tmp_path, monkeypatch, 'echo "Some GPU, 580.1, 8192, 100"; echo "Other, 580.1, [N/A], 1"')
    first, second = nvidia_devices()
    assert (first.name, first.driver) == ("Some GPU", "580.1")
    assert (first.memory_bytes, first.used_bytes) == (8 << 30, 100 << 20)
    assert (second.memory_bytes, second.used_bytes) == (None, 1 << 20)


def test_the_memory_of_this_process_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _tool(tmp_path, monkeypatch, f'echo "1, 50"; echo "{os.getpid()}, 7"; echo "{os.getpid()}, 2"')
    assert memory_of_this_process() == 9 << 20


def test_a_driver_that_fails_tells_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _tool(tmp_path, monkeypatch, 'echo "Some GPU, 1, 2, 3"; exit 9')
    assert nvidia_devices() == ()
