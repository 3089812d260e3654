"""Names that nobody knows, and requests that cover nothing: exit 2 and what to type instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from command_line import assert_wrong_use, names_in, run_here
from tiny_files import conv_model, save

from onnx_act.runtime.target import provider_state, resolve_provider

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(conv_model(), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("swap", "parts"),
    [
        ("relu=gleu", ["unknown activation 'gleu'", "did you mean", "gelu"]),
        ("rleu=gelu", ["unknown activation 'rleu'", "relu"]),
        ("relu=zzzzzz", ["unknown activation 'zzzzzz'", "known:", "gelu"]),
        ("relu=elu:beta=3", ["unknown parameter of elu 'beta'", "alpha"]),
        ("relu=leaky_relu:negativ_slope=1", ["'negativ_slope'", "negative_slope"]),
        ("relu=elu:alpha=x", ["elu:alpha", "a number", "'x'"]),
        ("relu=elu:alpha=nan", ["elu:alpha"]),
        ("relu=elu:alpha", ["'alpha'", "name=value"]),
        ("relu=gelu:approximate=cubic", ["approximate", "tanh"]),
        ("relu=elu:alpha=@slopes.npz", ["elu:alpha", "not a file"]),
        ("relu=prelu:slope=@nowhere.npz", ["nowhere.npz"]),
        ("relu", ["FROM=TO"]),
        ("=relu", ["FROM=TO"]),
        ("relu=", ["FROM=TO"]),
    ],
)
def test_a_swap_that_cannot_be(
    swap: str, parts: list[str], model: Path, tmp_path: Path, capsys: Capture
) -> None:
    ran = run_here(capsys, "convert", model, "-o", tmp_path / "out.onnx", "--swap", swap)
    assert_wrong_use(ran, *parts)
    assert names_in(tmp_path) == {"model.onnx"}


def test_no_site_matched_lists_what_is_there(model: Path, tmp_path: Path, capsys: Capture) -> None:
    ran = run_here(capsys, "swap", model, tmp_path / "out.onnx", "--swap", "elu=silu")
    assert_wrong_use(ran, "no elu in the model", "1 relu")
    assert names_in(tmp_path) == {"model.onnx"}


def test_a_model_without_activations_says_so(tmp_path: Path, capsys: Capture) -> None:
    model = save(conv_model("Identity"), tmp_path / "model.onnx")
    ran = run_here(capsys, "swap", model, tmp_path / "out.onnx", "--swap", "elu=silu")
    assert_wrong_use(ran, "no activation at all")


def test_a_selector_that_selects_nothing(model: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out.onnx"
    ran = run_here(capsys, "swap", model, out, "--swap", "relu=silu", "--where", "after:Gemm")
    assert_wrong_use(ran, "--where selects none of the 1 relu sites", "inspect --sites")


def test_every_site_refused(tmp_path: Path, capsys: Capture) -> None:
    model = save(conv_model(middle=False), tmp_path / "model.onnx")
    options = ("swap", model, tmp_path / "out.onnx", "--swap", "relu=silu")
    ran = run_here(capsys, *options)
    assert ran.code == 2
    assert "REFUSED: every site that was asked for was refused" in ran.out
    assert "--where role:output" in ran.out
    assert names_in(tmp_path) == {"model.onnx"}

    entry = run_here(capsys, *options, "--format", "json").entry
    assert (entry["outcome"], entry["exit_code"], entry["output"]) == ("refused", 2, None)
    assert [r["rule"] for r in entry["refusals"]] == ["swap_activation"]

    # What the refusal advises is what works.
    ran = run_here(capsys, *options, "--where", "role:output")
    assert ran.code == 0
    assert names_in(tmp_path) == {"model.onnx", "out.onnx"}


@pytest.mark.parametrize(
    ("selector", "problem", "column"),
    [
        ("", "empty", None),
        ("after:Conv and (", "ends too early", 16),
        ("(after:Conv", "not closed", 0),
        ("after:Conv name:x", "join parts with and, or", 11),
        ("colour:red", "unknown selector key 'colour'", 0),
        ("name:x or colour:red", "unknown selector key 'colour'", 10),
        ("role:gates", "did you mean gate", 0),
        ("activation:gleu", "did you mean gelu", 0),
        ("index:a-b", "numbers and ranges", 0),
        ("name:/(/", "regular expression", 0),
        ("Conv", "not of the form key:pattern", 0),
        ("spelling:native", "unknown spelling", 0),
    ],
)
def test_a_selector_that_does_not_parse_shows_where(
    selector: str, problem: str, column: int | None, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out.onnx"
    ran = run_here(capsys, "swap", model, out, "--swap", "relu=silu", "--where", selector)
    assert_wrong_use(ran, problem, lines=1 if column is None else 3)
    if column is not None:
        _, shown, mark = ran.err.splitlines()
        assert shown == f"  {selector}"
        assert mark == f"  {' ' * column}^"


@pytest.mark.parametrize("command", ["convert", "fuse", "validate", "bench"])
def test_an_unknown_provider(command: str, model: Path, tmp_path: Path, capsys: Capture) -> None:
    second = [] if command == "bench" else ["-o"] if command == "convert" else []
    options = [command, model, *second, tmp_path / "out.onnx", "--provider", "cudda"]
    assert_wrong_use(run_here(capsys, *options), "unknown provider 'cudda'", "cuda")


@pytest.mark.parametrize("name", ["cuda", "CUDA", "CUDAExecutionProvider", "tensorrt"])
def test_a_provider_that_cannot_run_is_never_replaced_by_the_cpu(
    name: str, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    if provider_state(resolve_provider(name)).runs:
        pytest.skip(f"{name} runs here")
    out = tmp_path / "out.onnx"
    options = ("convert", model, "-o", out, "--fuse", "--provider", "cpu", "--provider", name)
    ran = run_here(capsys, *options)
    assert_wrong_use(ran, "ExecutionProvider", "pip install", "onnxruntime-gpu", code=4)
    assert names_in(tmp_path) == {"model.onnx"}
