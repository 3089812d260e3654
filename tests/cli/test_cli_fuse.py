"""How far to fuse, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import pytest
from command_line import assert_wrong_use, names_in, run_here
from tiny_files import conv_model, save

from onnx_act.cli.fusing_command import fill_in_modes

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
JSON = ("--format", "json")
_KEY = "onnx_act.fused_for"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(conv_model(), tmp_path / "model.onnx")


@pytest.fixture
def fused(model: Path, tmp_path: Path, capsys: Capture) -> Path:
    out = tmp_path / "fused.onnx"
    assert run_here(capsys, "fuse", model, out, "--fuse=contrib").code == 0
    return out


def _operators(path: Path) -> list[str]:
    return [n.op_type for n in onnx.load(path).graph.node]


def _metadata(path: Path) -> dict[str, str]:
    return {p.key: p.value for p in onnx.load(path).metadata_props}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("m.onnx --fuse", "m.onnx --fuse=auto"),
        ("m.onnx --fuse -o out.onnx", "m.onnx --fuse=auto -o out.onnx"),
        ("--fuse m.onnx", "--fuse=auto m.onnx"),
        ("--fuse models/m", "--fuse=auto models/m"),
        ("--fuse portable m.onnx", "--fuse=portable m.onnx"),
        ("--fuse CONTRIB m.onnx", "--fuse=CONTRIB m.onnx"),
        ("m.onnx --fuse=portable", "m.onnx --fuse=portable"),
        ("m.onnx --fuse=", "m.onnx --fuse="),
        ("m.onnx --no-fuse", "m.onnx --fuse=none"),
        ("m.onnx --fuse --no-fuse", "m.onnx --fuse=auto --fuse=none"),
        ("m.onnx --no-fuse --fuse", "m.onnx --fuse=none --fuse=auto"),
        ("m.onnx --fuse portible", "m.onnx --fuse=portible"),
        ("--fuse there", "--fuse=auto there"),
        ("--fuse -- portable", "--fuse=auto -- portable"),
        ("-- --fuse --no-fuse", "-- --fuse --no-fuse"),
        ("--fused --no-fuses", "--fused --no-fuses"),
        ("", ""),
    ],
)
def test_the_ways_to_type_it(
    typed: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").touch()
    assert fill_in_modes(typed.split()) == meant.split()


@pytest.mark.parametrize(
    ("options", "operators"),
    [
        (["--fuse=contrib"], ["FusedConv", "MaxPool"]),
        (["--fuse", "contrib"], ["FusedConv", "MaxPool"]),
        (["--no-fuse", "--fuse=contrib"], ["FusedConv", "MaxPool"]),
        (["--fuse=portable"], ["Conv", "Relu", "MaxPool"]),
        (["--fuse=contrib", "--no-fuse"], ["Conv", "Relu", "MaxPool"]),
        (["--no-fuse"], ["Conv", "Relu", "MaxPool"]),
        ([], ["Conv", "Relu", "MaxPool"]),
    ],
)
def test_each_mode(
    options: list[str], operators: list[str], model: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out.onnx"
    ran = run_here(capsys, "convert", model, "-o", out, "--no-bench", *options)
    assert ran.code == 0, ran
    assert _operators(out) == operators
    assert _metadata(out).get(_KEY) == ("cpu" if "FusedConv" in operators else None)


@pytest.mark.parametrize("command", ["convert", "fuse"])
@pytest.mark.parametrize("options", [["--fuse=portible"], ["--fuse", "portible"]])
def test_a_wrong_mode(
    command: str, options: list[str], model: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = ["-o", tmp_path / "o.onnx"] if command == "convert" else [tmp_path / "o.onnx"]
    ran = run_here(capsys, command, model, *out, *options)
    assert_wrong_use(ran, "'portible'", "--fuse", "did you mean portable")
    assert names_in(tmp_path) == {"model.onnx"}


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--undo", "--fuse"], ["--undo", "cannot be combined with --fuse"]),
        (["--undo", "--fuse=portable"], ["--undo", "cannot be combined with --fuse"]),
        (["--undo", "--no-fuse"], ["--undo", "cannot be combined with --fuse"]),
        (["--no-fuse"], ["--fuse=portable", "--undo"]),
        (["--max-growth", "0.9"], ["--max-growth", "at least 1", "0.9"]),
        (["--max-growth", "nan"], ["--max-growth", "at least 1"]),
        (["--max-growth", "much"], ["--max-growth", "fuse --help"]),
    ],
)
def test_what_does_not_go_together(
    options: list[str], parts: list[str], model: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert_wrong_use(run_here(capsys, "fuse", model, tmp_path / "o.onnx", *options), *parts)
    assert names_in(tmp_path) == {"model.onnx"}


@pytest.mark.parametrize("command", ["convert", "fuse"])
def test_the_help_tells_the_modes(command: str, capsys: Capture) -> None:
    said = " ".join(run_here(capsys, command, "--help").out.split())
    assert "--fuse [portable|auto|contrib]" in said
    assert "--no-fuse" in said
    assert "--max-growth FACTOR" in said
    assert "--undo" in said


def test_undo(model: Path, fused: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "plain.onnx"
    ran = run_here(capsys, "fuse", fused, out, "--undo", *JSON)
    assert ran.code == 0
    (change,) = ran.entry["changes"]
    assert change["rule"] == "undo_fusion"
    assert change["fidelity"] == "numeric"
    assert (change["before"], change["after"]) == ("FusedConv[Relu]", "Conv, Relu")
    assert ran.entry["equivalence"]["passed"] is True
    assert _operators(out) == ["Conv", "Relu", "MaxPool"]
    assert _metadata(fused)[_KEY] == "cpu"
    assert _KEY not in _metadata(out)
    assert {i.domain for i in onnx.load(out).opset_import} == {""}
    assert run_here(capsys, "validate", model, out).code == 0


def test_nothing_to_undo_is_no_error(model: Path, tmp_path: Path, capsys: Capture) -> None:
    ran = run_here(capsys, "fuse", model, tmp_path / "out.onnx", "--undo", *JSON)
    assert ran.code == 0
    assert ran.entry["changes"] == []
    assert "there was nothing to undo: the output is the same graph" in ran.entry["notes"]
    assert _operators(tmp_path / "out.onnx") == ["Conv", "Relu", "MaxPool"]


def test_what_cannot_be_undone_is_told(fused: Path, tmp_path: Path, capsys: Capture) -> None:
    proto = onnx.load(fused)
    stated = next(a for a in proto.graph.node[0].attribute if a.name == "activation")
    stated.s = b"Wobble"
    ran = run_here(
        capsys, "fuse", save(proto, tmp_path / "wobble.onnx"), tmp_path / "out.onnx",
        "--undo", "--no-validate", *JSON,
    )  # fmt: skip
    assert ran.code == 0
    assert "nothing could be undone: the output is the same graph" in ran.entry["notes"]
    assert [r["reason"] for r in ran.entry["refusals"]] == [
        "FusedConv knows no activation 'Wobble'"
    ]
    assert _metadata(tmp_path / "out.onnx")[_KEY] == "cpu"


def test_a_dry_run_of_undo_writes_nothing(fused: Path, tmp_path: Path, capsys: Capture) -> None:
    there = names_in(tmp_path)
    ran = run_here(capsys, "fuse", fused, tmp_path / "out.onnx", "--undo", "--dry-run")
    assert ran.code == 0
    assert "FusedConv[Relu] -> Conv, Relu" in ran.out
    assert names_in(tmp_path) == there
