"""`doctor`: what is installed, what really runs, and what to type."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime
import pytest
from command_line import names_in, run_here

from onnx_act.runtime import probe, target
from onnx_act.runtime.cache import Question, keep
from onnx_act.runtime.devices import Device
from onnx_act.runtime.installed import installed_distributions

if TYPE_CHECKING:
    from collections.abc import Callable

_CPU = "CPUExecutionProvider"
Capture = pytest.CaptureFixture[str]


def _pretend_installed(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Distributions by name (`_` for `-`) with their version, None for one that is not there."""
    real: Callable[[str], str] = importlib.metadata.version
    wanted = {name.replace("_", "-"): version for name, version in versions.items()}

    def version(name: str) -> str:
        if name not in wanted:
            return real(name)
        found = wanted[name]
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_the_text(capsys: Capture) -> None:
    ran = run_here(capsys, "doctor")
    assert ran.code == 0
    assert ran.err == ""
    for word in ("onnx-act 0.", "python 3.", "onnxruntime 1.", "cpu", "cuda", "what to type"):
        assert word in ran.out


def test_the_document(capsys: Capture) -> None:
    ran = run_here(capsys, "doctor", "--format", "json")
    assert (ran.code, ran.err) == (0, "")
    document = ran.document
    assert document["schema"] == "onnx-act/doctor/1"
    assert document["models"] == []
    assert document["problem"] is None
    assert document["distributions"].keys() & {"onnxruntime", "onnxruntime-gpu"}
    states = {p["short"]: p for p in document["providers"]}
    assert states["cpu"] == {
        "name": "CPUExecutionProvider",
        "short": "cpu",
        "compiled_in": True,
        "runs": True,
        "reason": "",
    }
    assert {"cuda", "tensorrt", "openvino"} <= states.keys()
    assert all(p["runs"] or p["reason"] for p in document["providers"])


def test_it_says_what_is_cached_and_how_to_empty_that(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "not [there] yet"
    monkeypatch.setenv("ONNX_ACT_CACHE_DIR", str(folder))
    for count, said in (
        (0, "0 answers of runtimes are kept in"),
        (1, "1 answer of a runtime is kept in"),
        (2, "2 answers of runtimes are kept in"),
    ):
        if count:
            keep(Question("test", "CPUExecutionProvider", (b"%d" % count,)), {})
        size = sum(path.stat().st_size for path in folder.glob("*.json"))
        line = f"{said} {folder} ({size} B); onnx-act doctor --clear-cache deletes them"
        assert line in run_here(capsys, "doctor").out
        cache = run_here(capsys, "doctor", "--format", "json").document["cache"]
        assert cache == {"folder": str(folder), "answers": count, "bytes": size, "cleared": None}
    (folder / "mine.json").write_text("{}", encoding="utf-8")
    said = "2 answers of runtimes are deleted from"
    assert f"{said} {folder}" in run_here(capsys, "doctor", "--clear-cache").out
    assert names_in(folder) == {"mine.json"}
    again = run_here(capsys, "doctor", "--clear-cache", "--format", "json").document["cache"]
    assert again == {"folder": str(folder), "answers": 0, "bytes": 0, "cleared": 0}


def test_without_a_home_it_says_how_to_get_a_cache(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ONNX_ACT_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def no_home() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", no_home)
    assert "set ONNX_ACT_CACHE_DIR" in run_here(capsys, "doctor").out
    cache = run_here(capsys, "doctor", "--format", "json").document["cache"]
    assert cache == {"folder": None, "answers": 0, "bytes": 0, "cleared": None}


def test_it_says_how_to_get_cuda(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version(*installed_distributions())
    _pretend_installed(monkeypatch, onnxruntime=version, onnxruntime_gpu=None)
    ran = run_here(capsys, "doctor")
    assert ran.code == 0
    line = next(line for line in ran.out.splitlines() if "onnxruntime-gpu" in line)
    assert "pip uninstall -y onnxruntime && pip install" in line


def test_two_runtimes_on_top_of_each_other(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend_installed(monkeypatch, onnxruntime="1.22.0", onnxruntime_gpu="1.21.1")
    ran = run_here(capsys, "doctor")
    assert ran.code == 4
    said = " ".join(ran.out.split())
    assert "problem: onnxruntime 1.22.0, onnxruntime-gpu 1.21.1 are installed together" in said
    assert "pip uninstall -y onnxruntime onnxruntime-gpu && pip install" in said

    document = run_here(capsys, "doctor", "--format", "json").document
    assert document["exit_code"] == 4
    assert "share one package folder" in document["problem"]
    assert document["distributions"] == {"onnxruntime": "1.22.0", "onnxruntime-gpu": "1.21.1"}


def test_the_gpu_package_alone_is_no_problem(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = importlib.metadata.version(*installed_distributions())
    _pretend_installed(monkeypatch, onnxruntime=None, onnxruntime_gpu=version)
    ran = run_here(capsys, "doctor")
    assert ran.code == 0
    assert "problem" not in ran.out


def test_what_the_machine_grants_and_what_to_do_about_it(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "onnx_act.report.doctor_page"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(f"{place}.cpu_features", lambda: ("avx",))
    monkeypatch.setattr(f"{place}.cores", lambda: 64)
    monkeypatch.setattr(f"{place}.cpu_count", lambda: 8)
    monkeypatch.setattr(f"{place}.cpu_quota", lambda: 2.5)
    device = Device("Some GPU", "580.1", 8_000_000_000, None)
    monkeypatch.setattr(f"{place}.nvidia_devices", lambda: (device,))
    ran = run_here(capsys, "doctor")
    assert ran.code == 0
    for said in (
        "8 of 64 cores, time of 2.5 of them",
        "instructions avx",
        "OMP_NUM_THREADS=3",
        "device Some GPU, memory 8 GB, driver 580.1",
        "ONNX Runtime would start 8 threads, which then wait for each other; give --threads 2",
        "this process may use 8 of 64 processors",
        "neither AVX2 nor NEON",
        "there is an NVIDIA device (Some GPU), but no provider runs on it",
    ):
        assert said in ran.out, said
    document = run_here(capsys, "doctor", "--format", "json").document
    assert document["cpu_features"] == ["avx"]
    assert (document["cores"], document["usable_cores"], document["cpu_quota"]) == (64, 8, 2.5)
    assert document["threads"]["OMP_NUM_THREADS"] == "3"
    (told,) = document["devices"]
    assert told == {
        "name": "Some GPU",
        "driver": "580.1",
        "memory_bytes": 8_000_000_000,
        "used_bytes": None,
    }
    assert len(document["notes"]) == 4


def test_a_provider_that_takes_the_process_down_is_one_that_does_not_run(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the probe runs in is another process; doctor goes on and says what happened."""
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["OtherExecutionProvider", _CPU]
    )
    monkeypatch.setattr(probe, "_try_apart", _crashed)
    target._capability.cache_clear()
    probe.forget()
    try:
        ran = run_here(capsys, "doctor")
    finally:
        target._capability.cache_clear()
        probe.forget()
    assert ran.code == 0
    (line,) = [line for line in ran.out.splitlines() if line.startswith("other ")]
    assert "no" in line
    assert "does not run a one-node model" in line


def _crashed(*_: object) -> probe.Capability:
    return probe.Capability(ok=False, reason="ONNX Runtime crashed in _try with SIGSEGV")
