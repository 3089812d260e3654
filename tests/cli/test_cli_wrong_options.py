"""Options that do not parse, or that do not go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from command_line import assert_wrong_use, names_in, run_apart, run_here
from tiny_files import conv_model, save

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
COMMANDS = ("convert", "inspect", "swap", "fuse", "validate", "bench", "catalog", "doctor")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(conv_model(), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--shape", "abc"], ["--shape", "NAME:1,3,224,224", "'abc'"]),
        (["--shape", "x:1,-3"], ["--shape"]),
        (["--shape", "x:"], ["--shape"]),
        (["--shape", "z:1,3,8,8"], ["no input 'z'", "x"]),
        (["--shape", "x:1,3,9,9"], ["'x'"]),
        (["--time", "soon"], ["--time", "30s", "'soon'"]),
        (["--time", "0s"], ["--time"]),
        (["--time", "-1s"], ["--time"]),
        (["--report", "report.pdf"], ["report.pdf", ".json, .md"]),
        (["--report", "report"], ["suffix"]),
        (["--where", "after:Conv"], ["--where", "--swap"]),
        (["--opset", "9"], ["--opset 9", "17"]),
        (["--opset", "999"], ["--opset 999"]),
        (["--opset", "many"], ["--opset", "convert --help"]),
        (["--threads", "-1"], ["--threads", "convert --help"]),
        (["--seed", "x"], ["--seed", "convert --help"]),
        (["--format", "xml"], ["'xml'", "text", "json", "convert --help"]),
        (["--bogus"], ["--bogus", "convert --help"]),
        (["--swap"], ["--swap"]),
        (["--out-dir", "results"], ["-o OUT or --out-dir DIR, not both"]),
    ],
)
def test_an_option_that_cannot_be(
    options: list[str],
    parts: list[str],
    model: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run_here(capsys, "convert", model, "-o", tmp_path / "out.onnx", "--fuse", *options)
    assert_wrong_use(ran, *parts)
    assert names_in(tmp_path) == {"model.onnx"}


def test_no_place_for_the_result(model: Path, capsys: Capture) -> None:
    ran = run_here(capsys, "convert", model, "--fuse")
    assert_wrong_use(ran, "-o OUT", "--out-dir DIR", "--dry-run")


def test_one_output_for_several_models(model: Path, tmp_path: Path, capsys: Capture) -> None:
    ran = run_here(capsys, "convert", model, model, "-o", tmp_path / "out.onnx", "--fuse")
    assert_wrong_use(ran, "2 models", "--out-dir")


def test_swap_needs_a_swap(model: Path, tmp_path: Path, capsys: Capture) -> None:
    assert_wrong_use(run_here(capsys, "swap", model, tmp_path / "o.onnx"), "--swap FROM=TO")


@pytest.mark.parametrize("command", ["convert", "inspect", "swap", "fuse", "validate", "bench"])
def test_a_missing_argument(command: str, capsys: Capture) -> None:
    assert_wrong_use(run_here(capsys, command), "missing argument", f"onnx-act {command} --help")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option(command: str, capsys: Capture) -> None:
    assert_wrong_use(run_here(capsys, command, "--no-such-option"), "no such option")


@pytest.mark.parametrize("arguments", [["covnert"], ["covnert", "a.onnx"], ["--no-such-option"]])
def test_a_wrong_command(arguments: list[str], capsys: Capture) -> None:
    assert_wrong_use(run_here(capsys, *arguments), arguments[0], "see onnx-act --help")


def test_one_argument_too_many(capsys: Capture) -> None:
    assert_wrong_use(run_here(capsys, "doctor", "now"), "now", "onnx-act doctor --help")


def test_alone_it_shows_its_help(capsys: Capture) -> None:
    ran = run_here(capsys)
    assert ran.code == 2
    assert ran.out == ""
    assert all(command in ran.err for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: Capture) -> None:
    ran = run_here(capsys, command, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: onnx-act {command}")
    assert ran.err == ""
    assert "--format" in ran.out


def test_no_line_of_the_command_list_is_cut_off(capsys: Capture) -> None:
    ran = run_here(capsys, "--help")
    assert ran.code == 0
    assert "..." not in ran.out.split("Commands:")[1]


def test_the_version(capsys: Capture) -> None:
    ran = run_here(capsys, "--version")
    assert ran.code == 0
    assert ran.out.startswith("onnx-act 0.")


def test_through_a_shell(tmp_path: Path) -> None:
    assert_wrong_use(run_apart("covnert", cwd=tmp_path), "covnert")
    assert_wrong_use(run_apart("convert", "--bogus", cwd=tmp_path), "--bogus")
    assert_wrong_use(run_apart("convert", cwd=tmp_path), "missing argument")
