"""The way to CUDA up to the creation of a session, where there is none: see `pretended_cuda`.

What a real device does is in tests/gpu, in tests that are marked `cuda`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_line import run_apart
from tiny_files import conv_model, save

if TYPE_CHECKING:
    from collections.abc import Callable

_CUDA = "CUDAExecutionProvider"


@pytest.fixture
def pretended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], Callable[[], list[dict[str, Any]]]]:
    """Pretends CUDA in processes to come; what that returns tells the sessions they opened."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    shutil.copy(Path(__file__).with_name("pretended_cuda.py"), hooks / "sitecustomize.py")
    log = tmp_path / "sessions"

    def pretend(how: str) -> Callable[[], list[dict[str, Any]]]:
        monkeypatch.setenv("PYTHONPATH", str(hooks))
        monkeypatch.setenv("PRETENDED_CUDA", how)
        monkeypatch.setenv("PRETENDED_CUDA_LOG", str(log))
        monkeypatch.setenv("ONNX_ACT_CACHE_DIR", str(tmp_path / "answers"))
        monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
        return lambda: [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]

    return pretend


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(conv_model(), tmp_path / "m.onnx")


def test_equivalence_is_judged_without_tf32_and_again_with_it(
    pretended: Callable[[str], Callable[[], list[dict[str, Any]]]], model: Path
) -> None:
    sessions = pretended("works")
    ran = run_apart(
        "validate", model, model, "--provider", "cuda", "--strict-placement", "--format", "json"
    )
    assert ran.code == 0, ran
    entry = ran.entry
    for part in ("equivalence", "production"):
        (judged,) = entry[part]["providers"]
        assert (judged["provider"], judged["passed"]) == (_CUDA, True)
    wide, narrow = (
        entry[part]["providers"][0]["outputs"][0]["tolerance"]
        for part in ("production", "equivalence")
    )
    assert wide["rtol"] > narrow["rtol"]
    of_candidate = entry["placement"][1]
    assert set(of_candidate["nodes"]) == {_CUDA}
    assert of_candidate["elsewhere"] == []
    opened = sessions()
    without = [s for s in opened if s["tf32"] == "0"]
    # Where TF32 is off, it is by the variable, which libraries obey, and by the option.
    assert without
    assert all(s["options"].get("use_tf32") == "0" for s in without)
    with_it = [s for s in opened if s["tf32"] is None]
    assert with_it
    assert all("use_tf32" not in s["options"] for s in with_it)


def test_a_conversion_reports_both(
    pretended: Callable[[str], Callable[[], list[dict[str, Any]]]], model: Path
) -> None:
    pretended("works")
    out = model.with_name("out.onnx")
    ran = run_apart("swap", model, out, "--swap", "relu=leaky_relu", "--provider", "cuda")
    assert ran.code == 0, ran
    assert "equivalence with TF32, as in production" in ran.out
    assert "placement" in ran.out
    assert out.exists()


@pytest.mark.parametrize(
    ("command", "how", "said"),
    [
        ("validate", "falls back", "ONNX Runtime fell back from CUDAExecutionProvider"),
        ("bench", "falls back", "ONNX Runtime fell back from CUDAExecutionProvider"),
        ("fuse", "crashes", "ONNX Runtime crashed in _try with SIGABRT"),
    ],
)
def test_cuda_that_does_not_come_up_is_exit_4(
    pretended: Callable[[str], Callable[[], list[dict[str, Any]]]],
    model: Path,
    command: str,
    how: str,
    said: str,
) -> None:
    sessions = pretended(how)
    out = model.with_name("out.onnx")
    ran = run_apart(command, model, out if command == "fuse" else model, "--provider", "cuda")
    assert ran.code == 4, ran
    assert ran.out == ""
    assert said in ran.err
    assert 'pip install "onnxruntime-gpu[cuda,cudnn]"' in ran.err
    assert "onnx-act doctor" in ran.err
    assert sessions()
    assert not out.exists()


def test_what_is_not_there_is_a_document_too(
    pretended: Callable[[str], Callable[[], list[dict[str, Any]]]], model: Path
) -> None:
    pretended("falls back")
    out = model.with_name("out.onnx")
    commands = {"validate": (model,), "bench": (), "convert": ("-o", out, "--fuse")}
    for command, places in commands.items():
        ran = run_apart(command, model, *places, "--provider", "cuda", "--format", "json")
        assert ran.code == 4, ran
        assert (ran.entry["outcome"], ran.entry["exit_code"]) == ("failed", 4)
        assert ran.entry["message"] in ran.err


def test_where_models_part_is_looked_for_without_tf32(
    pretended: Callable[[str], Callable[[], list[dict[str, Any]]]], model: Path
) -> None:
    sessions = pretended("works")
    other = save(conv_model("Elu"), model.with_name("other.onnx"))
    ran = run_apart("validate", model, other, "--locate", "--provider", "cuda", "--format", "json")
    assert ran.code == 1, ran
    assert ran.entry["locate"]["parts"] is True
    opened = sessions()
    assert {s["tf32"] for s in opened if s["options"].get("use_tf32") == "0"} == {"0"}


@pytest.mark.parametrize("how", ["falls back", "crashes"])
def test_doctor_outlives_it(
    pretended: Callable[[str], Callable[[], list[dict[str, Any]]]], how: str
) -> None:
    pretended(how)
    ran = run_apart("doctor", "--format", "json")
    assert ran.code == 0, ran
    states = {p["short"]: p for p in ran.document["providers"]}
    assert states["cuda"]["compiled_in"]
    assert not states["cuda"]["runs"]
    assert states["cuda"]["reason"]
    assert states["cpu"]["runs"]
