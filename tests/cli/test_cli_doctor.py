"""`doctor`: what is installed, what really runs, and what to type."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import run_here

from onnx_act.runtime.cache import Question, keep

if TYPE_CHECKING:
    from collections.abc import Callable

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
        line = f"{said} {folder}; delete the folder to have them asked again"
        assert line in run_here(capsys, "doctor").out
        document = run_here(capsys, "doctor", "--format", "json").document
        assert document["cache"] == {"folder": str(folder), "answers": count}


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
    assert cache == {"folder": None, "answers": 0}


def test_it_says_how_to_get_cuda(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend_installed(monkeypatch, onnxruntime="1.22.0", onnxruntime_gpu=None)
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
    _pretend_installed(monkeypatch, onnxruntime=None, onnxruntime_gpu="1.21.1")
    ran = run_here(capsys, "doctor")
    assert ran.code == 0
    assert "problem" not in ran.out
