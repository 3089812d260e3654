"""`onnx-act tune` and `convert --tune`, measured for real on small models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from command_line import assert_wrong_use, names_in, run_here
from tiny_files import conv_model
from tunable_files import CHANNELS, SIDE, save, stack_model, tiny_model

from onnx_act.runtime.cache import forget_answers
from onnx_act.runtime.session import SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
JSON = ("--format", "json")
BUDGET = ("--budget", "9s")
MEASURING = ("profile_model", "race", "race_all", "measure_latency", "measure_accuracies")


@pytest.fixture(autouse=True)
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is known from another test."""
    folder = tmp_path / "answers"
    monkeypatch.setenv("ONNX_ACT_CACHE_DIR", str(folder))
    forget_answers()
    return folder


def _operators(path: Path) -> list[str]:
    return [n.op_type for n in onnx.load(path, load_external_data=False).graph.node]


def _one_group(entry: dict[str, Any]) -> dict[str, Any]:
    (group,) = entry["tuning"]["groups"]
    assert isinstance(group, dict)
    return group


def _assert_same_numbers(one: Path, other: Path) -> None:
    x = np.random.default_rng(3).normal(0, 2, (1, CHANNELS, SIDE, SIDE)).astype(np.float32)
    first, second = (
        open_session(p, SessionSettings(threads=1)).run({"x": x})[0] for p in (one, other)
    )
    np.testing.assert_allclose(second, first, rtol=0, atol=1e-4 * np.max(np.abs(first)))


def test_a_network_of_mish_gets_faster_and_the_next_time_at_once(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's exponential, logarithm and tangent take several times what a quotient does."""
    model = save(stack_model("Mish"), tmp_path / "model.onnx")
    out, profile = tmp_path / "out.onnx", tmp_path / "profile.json"
    started = time.monotonic()
    ran = run_here(capsys, "tune", model, out, *BUDGET, "--save-profile", profile, *JSON)
    took = time.monotonic() - started
    assert ran.code == 0, ran
    assert ran.document["schema"].startswith("onnx-act/tune/")
    entry = ran.entry
    assert (entry["outcome"], entry["output"]) == ("done", str(out))
    tuning = entry["tuning"]
    assert tuning["is_kept"] is True
    assert tuning["source"] == "measured"
    group = _one_group(entry)
    assert group["chosen"] in {"quotient", "bounded"}
    assert sorted(group["sites"]) == ["a0", "a1", "a2"]
    (proof,) = tuning["confirmed"]
    assert proof["ratio"]["low"] > 1.0
    assert proof["verdict"] == "faster"
    assert entry["equivalence"]["passed"] is True
    assert {c["rule"] for c in entry["changes"]} == {"respell_activation"}
    (latency,) = entry["latency"]
    assert latency["ratio"]["low"] > 1.0
    assert "Mish" not in _operators(out)
    _assert_same_numbers(model, out)
    # Starting processes is not of the budget's making; a machine that is busy is slower yet.
    assert took < 9 * 1.1 + 15

    # Once more: nothing is measured, and the same file is written.
    forget_answers()
    for place in ("tuner", "search", "confirmation", "exactness", "shares"):
        monkeypatch.setattr(f"onnx_act.tuning.{place}.run_isolated", _must_not, raising=False)
    again = tmp_path / "again.onnx"
    ran = run_here(capsys, "tune", model, again, *BUDGET, *JSON)
    assert ran.code == 0, ran
    assert ran.entry["tuning"]["source"] == "cache"
    assert ran.entry["equivalence"]["passed"] is True
    assert again.read_bytes() == out.read_bytes()
    monkeypatch.undo()

    # Nor from a profile, on a machine that knows nothing.
    monkeypatch.setenv("ONNX_ACT_CACHE_DIR", str(tmp_path / "other answers"))
    forget_answers()
    for place in ("search", "confirmation"):
        monkeypatch.setattr(f"onnx_act.tuning.{place}.run_isolated", _must_not)
    applied = tmp_path / "applied.onnx"
    ran = run_here(capsys, "tune", model, applied, "--profile", profile, *JSON)
    assert ran.code == 0, ran
    assert ran.entry["tuning"]["source"] == "profile"
    assert ran.entry["equivalence"]["passed"] is True
    assert applied.read_bytes() == out.read_bytes()


def _must_not(function: Callable[..., object], *_: object, **__: object) -> object:
    raise AssertionError(f"{function.__name__} was called")


def test_a_network_of_relu_comes_back_byte_by_byte(tmp_path: Path, capsys: Capture) -> None:
    model = save(stack_model("Relu"), tmp_path / "model.onnx")
    out = tmp_path / "out.onnx"
    ran = run_here(capsys, "tune", model, out, *BUDGET, *JSON)
    assert ran.code == 0, ran
    assert out.read_bytes() == model.read_bytes()
    entry = ran.entry
    assert entry["changes"] == []
    assert entry["tuning"]["reason"] == "no activation of the model has another way to be written"
    assert any("the output is the same graph" in note for note in entry["notes"])


def test_a_model_without_activations(tmp_path: Path, capsys: Capture) -> None:
    model = save(stack_model("Neg"), tmp_path / "model.onnx")
    out = tmp_path / "out.onnx"
    ran = run_here(capsys, "tune", model, out, *BUDGET, *JSON)
    assert ran.code == 0, ran
    assert out.read_bytes() == model.read_bytes()
    assert ran.entry["tuning"]["groups"] == []


def test_tiny_tensors_are_left_or_not_made_slower(tmp_path: Path, capsys: Capture) -> None:
    model = save(tiny_model("Elu"), tmp_path / "model.onnx")
    out = tmp_path / "out.onnx"
    ran = run_here(capsys, "tune", model, out, *BUDGET, *JSON)
    assert ran.code == 0, ran
    tuning = ran.entry["tuning"]
    if tuning["is_kept"]:
        assert all(c["ratio"]["low"] > 1.0 for c in tuning["confirmed"])
    else:
        assert out.read_bytes() == model.read_bytes()
        assert tuning["reason"]


def test_free_sizes_and_weights_apart(tmp_path: Path, capsys: Capture) -> None:
    model = save(stack_model("Mish", free=True), tmp_path / "model.onnx", weights_apart=True)
    weights = (tmp_path / "weights.bin").read_bytes()
    out = tmp_path / "out.onnx"
    shape = f"x:1,{CHANNELS},{SIDE},{SIDE}"
    ran = run_here(capsys, "tune", model, out, *BUDGET, "--shape", shape, *JSON)
    assert ran.code == 0, ran
    assert _one_group(ran.entry)["chosen"] in {"quotient", "bounded"}
    assert (tmp_path / "weights.bin").read_bytes() == weights
    assert names_in(tmp_path) >= {"model.onnx", "out.onnx", "weights.bin"}
    (stored,) = onnx.load(out, load_external_data=False).graph.initializer
    assert stored.data_location == onnx.TensorProto.EXTERNAL
    _assert_same_numbers(model, out)
    free = [d.dim_param for d in onnx.load(out).graph.input[0].type.tensor_type.shape.dim]
    assert free == ["N", "", "H", "V"]


def test_a_size_that_does_not_fit(tmp_path: Path, capsys: Capture) -> None:
    model = save(stack_model("Mish", free=True), tmp_path / "model.onnx")
    out = tmp_path / "out.onnx"
    ran = run_here(capsys, "tune", model, out, *BUDGET, "--shape", "z:1,8,24,24")
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert not out.exists()


def test_a_model_that_cannot_run(tmp_path: Path, capsys: Capture) -> None:
    model = save(conv_model("Elu", channels=5), tmp_path / "model.onnx")
    out = tmp_path / "out.onnx"
    ran = run_here(capsys, "tune", model, out, *BUDGET)
    assert ran.code == 1, ran
    assert "Traceback" not in ran.err
    assert ran.err.startswith("onnx-act: ")
    assert not out.exists()


def test_swap_fuse_and_tune_in_one_go(tmp_path: Path, capsys: Capture) -> None:
    model = save(stack_model("Relu"), tmp_path / "model.onnx")
    out = tmp_path / "out.onnx"
    options = ("--swap", "relu=mish", "--fuse", "--tune", *BUDGET, "--time", "1s", *JSON)
    ran = run_here(capsys, "convert", model, "-o", out, *options)
    assert ran.code == 0, ran
    entry = ran.entry
    rules = {c["rule"] for c in entry["changes"]}
    assert rules >= {"swap_activation", "respell_activation"}
    assert entry["tuning"]["is_kept"] is True
    assert entry["equivalence"]["passed"] is True
    assert entry["drift"] is not None
    assert "Mish" not in _operators(out)
    assert "Relu" not in _operators(out)


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: Capture) -> None:
    model = save(stack_model("Relu"), tmp_path / "model.onnx")
    out = tmp_path / "out.onnx"
    ran = run_here(capsys, "tune", model, out, *BUDGET, "--dry-run", *JSON)
    assert ran.code == 0, ran
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--budget", "30s"), ("--budget", "--tune")),
        (("--allow-contrib",), ("--allow-contrib", "--tune")),
        (("--allow-approximate",), ("--allow-approximate", "--tune")),
        (("--profile", "p.json"), ("--profile", "--tune")),
        (("--save-profile", "p.json"), ("--save-profile", "--tune")),
    ],
)
def test_how_to_tune_without_tuning(
    options: tuple[str, ...], parts: tuple[str, ...], tmp_path: Path, capsys: Capture
) -> None:
    model = save(stack_model("Relu"), tmp_path / "model.onnx")
    ran = run_here(capsys, "convert", model, "-o", tmp_path / "out.onnx", "--fuse", *options)
    assert_wrong_use(ran, *parts)
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("budget", ["0s", "1s", "soon", "-3s", "4.9s"])
def test_a_budget_that_is_none(budget: str, tmp_path: Path, capsys: Capture) -> None:
    model = save(stack_model("Relu"), tmp_path / "model.onnx")
    ran = run_here(capsys, "tune", model, tmp_path / "out.onnx", f"--budget={budget}")
    assert_wrong_use(ran, "--budget")


@pytest.mark.parametrize(
    "content", [None, b"", b"{}", b"[]", b'{"schema": "of/others/1"}', b"\xff"]
)
def test_a_profile_that_is_none(content: bytes | None, tmp_path: Path, capsys: Capture) -> None:
    model = save(stack_model("Relu"), tmp_path / "model.onnx")
    profile = tmp_path / "profile.json"
    if content is not None:
        profile.write_bytes(content)
    ran = run_here(capsys, "tune", model, tmp_path / "out.onnx", "--profile", profile)
    assert_wrong_use(ran, "profile.json")
    assert not (tmp_path / "out.onnx").exists()


def test_a_profile_is_read_or_written(tmp_path: Path, capsys: Capture) -> None:
    model = save(stack_model("Relu"), tmp_path / "model.onnx")
    profile = tmp_path / "profile.json"
    options = ("--profile", profile, "--save-profile", profile)
    ran = run_here(capsys, "tune", model, tmp_path / "out.onnx", *options)
    assert_wrong_use(ran, "--save-profile")


@pytest.mark.parametrize("name", ["model.onnx", "out.onnx", "notes.txt", "folder"])
def test_a_profile_overwrites_nothing_else(name: str, tmp_path: Path, capsys: Capture) -> None:
    model = save(stack_model("Relu"), tmp_path / "model.onnx")
    (tmp_path / "notes.txt").write_text("precious")
    (tmp_path / "folder").mkdir()
    before = model.read_bytes()
    out = tmp_path / "out.onnx"
    ran = run_here(capsys, "tune", model, out, "--save-profile", tmp_path / name)
    assert_wrong_use(ran, name)
    assert model.read_bytes() == before
    assert (tmp_path / "notes.txt").read_text() == "precious"
    assert not out.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
@pytest.mark.parametrize("pause", [0.2, 2.5])
def test_ctrl_c(pause: float, tmp_path: Path, answers: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    model = save(stack_model("Mish"), work / "model.onnx")
    before = model.read_bytes()
    out = work / "out.onnx"
    options = ["--budget", "60s", "--save-profile", str(work / "p.json"), *JSON]
    with subprocess.Popen(
        [sys.executable, "-m", "onnx_act", "tune", model, out, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 60
        # Something was answered: tuning is under way.
        while not list(answers.glob("*.json")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(pause)
        os.killpg(process.pid, signal.SIGINT)
        said, complaint = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == ""
    assert complaint.splitlines() == ["onnx-act: interrupted"]
    assert names_in(work) == {"model.onnx"}
    assert model.read_bytes() == before
    kept = list(answers.iterdir())
    assert kept
    for file in kept:
        assert file.suffix == ".json"
        assert json.loads(file.read_text())["answer"] is not None
