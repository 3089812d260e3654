"""A model that was fused for one provider, and is wanted for another."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import onnx
import pytest
from command_line import run_here
from tiny_files import conv_model, save

from onnx_act.errors import EvidenceError
from onnx_act.recipe import bench, compare_models
from onnx_act.runtime import target

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
JSON = ("--format", "json")
CUDA = "CUDAExecutionProvider"
NOTE = "was fused for cpu; for cuda take it apart first: onnx-act fuse --undo MODEL OUT"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    proto = conv_model()
    proto.metadata_props.add(key="onnx_act.fused_for", value="cpu")
    return save(proto, tmp_path / "model.onnx")


@pytest.fixture
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA is said to be here; nothing is run on it."""

    def state(provider: str) -> target.ProviderState:
        runs = provider in {CUDA, "CPUExecutionProvider"}
        return target.ProviderState(provider, compiled_in=runs, runs=runs, reason="")

    monkeypatch.setattr(target, "provider_state", state)


@pytest.mark.usefixtures("with_cuda")
@pytest.mark.parametrize(
    "arguments",
    [
        ("convert", "--fuse=contrib", "--dry-run"),
        ("convert", "--swap", "relu=elu", "--dry-run"),
        ("convert", "--no-fuse", "--dry-run"),
    ],
)
def test_a_conversion_says_so(arguments: tuple[str, ...], model: Path, capsys: Capture) -> None:
    command, *options = arguments
    ran = run_here(capsys, command, model, *options, "--provider", "cuda", *JSON)
    assert f"it {NOTE}" in ran.entry["notes"]
    both = run_here(
        capsys, command, model, *options, "--provider", "cpu", "--provider", "cuda", *JSON
    )
    assert f"it {NOTE}" in both.entry["notes"]
    own = run_here(capsys, command, model, *options, "--provider", "cpu", *JSON)
    assert not any("fused for" in note for note in own.entry["notes"])


@pytest.mark.usefixtures("with_cuda")
def test_taking_it_apart_does_not_ask_for_that(
    model: Path, tmp_path: Path, capsys: Capture
) -> None:
    options = ("--undo", "--dry-run", "--provider", "cuda")
    ran = run_here(capsys, "fuse", model, tmp_path / "out.onnx", *options, *JSON)
    assert ran.code == 0
    assert not any("fused for" in note for note in ran.entry["notes"])


@pytest.mark.usefixtures("with_cuda")
def test_inspect_says_so_where_the_provider_runs(model: Path, capsys: Capture) -> None:
    assert f"it {NOTE}" in run_here(capsys, "inspect", model, *JSON).entry["notes"]
    assert "note: it was fused for cpu" in run_here(capsys, "inspect", model).out
    plain = save(conv_model(), model.with_name("plain.onnx"))
    assert run_here(capsys, "inspect", plain, *JSON).entry["notes"] == []


def test_inspect_says_nothing_where_no_other_runs(
    model: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def state(provider: str) -> target.ProviderState:
        runs = provider == "CPUExecutionProvider"
        return target.ProviderState(provider, compiled_in=runs, runs=runs, reason="")

    monkeypatch.setattr(target, "provider_state", state)
    assert run_here(capsys, "inspect", model, *JSON).entry["notes"] == []


@pytest.mark.usefixtures("with_cuda")
@pytest.mark.parametrize("command", ["validate", "bench"])
def test_a_failure_on_the_other_provider_says_so(
    command: str, model: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise EvidenceError("it does not run")

    for place in (bench, compare_models):
        monkeypatch.setattr(place, "run_isolated", fail)
    models = [model, model] if command == "validate" else [model]
    ran = run_here(capsys, command, *models, "--provider", "cuda", *JSON)
    said = "the reference" if command == "validate" else "it"
    wanted = f"it does not run; {said} {NOTE}"
    assert ran.code == ran.entry["exit_code"] == 1
    assert ran.entry["message"].startswith(wanted)
    assert ran.err.startswith(f"onnx-act: {wanted}")


def test_each_model_of_two_is_named(
    model: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = onnx.load(model)
    proto.metadata_props[0].value = "cuda"
    other = save(proto, model.with_name("other.onnx"))
    plain = save(conv_model(), model.with_name("plain.onnx"))
    monkeypatch.chdir(model.parent)
    note = "was fused for cuda; for cpu take it apart first: onnx-act fuse --undo MODEL OUT"
    ran = run_here(capsys, "validate", plain, other, *JSON)
    assert ran.code == 0
    assert ran.entry["notes"] == [f"the candidate {note}"]
    ran = run_here(capsys, "validate", other, plain, *JSON)
    assert ran.entry["notes"] == [f"the reference {note}"]
    ran = run_here(capsys, "bench", "plain.onnx", "other.onnx", "--time", "200ms", *JSON)
    assert ran.code == 0
    assert ran.entry["notes"] == [f"other.onnx {note}"]
    ran = run_here(capsys, "bench", other, "--time", "200ms", *JSON)
    assert ran.entry["notes"] == [f"it {note}"]
