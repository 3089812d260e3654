"""`catalog`: the list, one activation, its plot, and names nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from command_line import assert_wrong_use, names_in, run_here

from onnx_act.activations.catalogue import CATALOGUE

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
JSON = ("--format", "json")


def test_the_list_names_every_activation(capsys: Capture) -> None:
    ran = run_here(capsys, "catalog")
    assert (ran.code, ran.err) == (0, "")
    words = set(ran.out.split())
    assert not {a.name for a in CATALOGUE} - words


def test_the_list_as_json(capsys: Capture) -> None:
    document = run_here(capsys, "catalog", *JSON).document
    assert document["schema"] == "onnx-act/catalog/1"
    assert document["version"]
    assert [a["name"] for a in document["activations"]] == [a.name for a in CATALOGUE]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("gelu", "gelu"),
        ("GELU", "gelu"),
        ("LeakyRelu", "leaky_relu"),
        ("HardSwish", "hardswish"),
        ("swish", "silu"),
        ("clip", "hardtanh"),
    ],
)
def test_one_activation(name: str, shown: str, capsys: Capture) -> None:
    ran = run_here(capsys, "catalog", name)
    assert ran.code == 0
    assert shown in ran.out or name in ran.out
    for word in ("f(x)", "f'(x)", "LaTeX", "range", "lowerings"):
        assert word in ran.out


def test_a_preset(capsys: Capture) -> None:
    (entry,) = run_here(capsys, "catalog", "quick_gelu", *JSON).document["activations"]
    assert entry["name"] == "swish"
    assert [p["value"] for p in entry["parameters"]] == [1.702]
    assert "1.702" in run_here(capsys, "catalog", "quick_gelu").out


def test_parameters(capsys: Capture) -> None:
    ran = run_here(capsys, "catalog", "elu", "--set", "alpha=0.5", *JSON)
    assert [p["value"] for p in ran.document["activations"][0]["parameters"]] == [0.5]
    assert_wrong_use(run_here(capsys, "catalog", "elu", "--set", "beta=1"), "'beta'", "alpha")
    assert_wrong_use(run_here(capsys, "catalog", "elu", "--set", "alpha=x"), "alpha", "number")
    assert_wrong_use(run_here(capsys, "catalog", "elu", "--set", "alpha"), "NAME=VALUE")
    assert_wrong_use(run_here(capsys, "catalog", "--set", "alpha=1"), "needs an activation")


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_plot(suffix: str, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    plot = tmp_path / f"plot.{suffix}"
    ran = run_here(capsys, "catalog", "gelu", "--plot", plot)
    assert ran.code == 0
    head = plot.read_bytes()[:200]
    assert head.startswith(b"\x89PNG") if suffix == "png" else b"<?xml" in head


def test_a_plot_that_cannot_be(tmp_path: Path, capsys: Capture) -> None:
    assert_wrong_use(run_here(capsys, "catalog", "gelu", "--plot", tmp_path / "p.bmp"), ".svg")
    assert_wrong_use(run_here(capsys, "catalog", "--plot", tmp_path / "p.svg"), "--plot needs")
    assert_wrong_use(run_here(capsys, "catalog", "gleu", "--plot", tmp_path / "p.svg"), "gelu")
    (tmp_path / "file").write_text("not a folder")
    ran = run_here(capsys, "catalog", "gelu", "--plot", tmp_path / "file" / "p.svg")
    assert_wrong_use(ran, "p.svg")
    assert names_in(tmp_path) == {"file"}


def test_accuracy(capsys: Capture) -> None:
    ran = run_here(capsys, "catalog", "mish", "--accuracy")
    assert (ran.code, ran.err) == (0, "")
    for shown in ("mish", "opset", "p99 ulp", "reference", "as exact", "quotient"):
        assert shown in ran.out


def test_accuracy_as_json(capsys: Capture) -> None:
    document = run_here(capsys, "catalog", "leaky_relu", "--accuracy", *JSON).document
    assert document["schema"] == "onnx-act/catalog/1"
    (entry,) = document["activations"]
    ways = {way["key"]: way for way in entry["accuracy"]}
    assert {way["kind"] for way in ways.values()} == {"operator", "formula", "respelling"}
    assert {way["provider"] for way in ways.values()} == {"CPUExecutionProvider"}
    assert len({way["opset"] for way in ways.values()}) == 1
    assert ways["LeakyRelu"]["exactness"] == "reference"
    assert ways["two slopes"]["exactness"] == "approximate"
    assert ways["two slopes"]["is_channelwise"]
    for way in ways.values():
        assert way["accuracy"]["wrong_at"] == []
        assert 0 <= way["accuracy"]["median_ulp"] <= way["accuracy"]["p99_ulp"]


def test_accuracy_for_given_parameters(capsys: Capture) -> None:
    """A slope above 1 leaves fewer ways, and the measure follows the parameter."""
    asked = ("catalog", "leaky_relu", "--set", "alpha=2", "--accuracy", *JSON)
    (entry,) = run_here(capsys, *asked).document["activations"]
    ways = {way["key"]: way for way in entry["accuracy"]}
    assert set(ways) == {"LeakyRelu", "formula", "two relus"}
    assert max(way["accuracy"]["p99_ulp"] for way in ways.values()) == 0.0


def test_accuracy_of_what_runs_in_no_way(capsys: Capture) -> None:
    """The parameter is beyond float32, in which ways are measured."""
    ran = run_here(capsys, "catalog", "elu", "--set", "alpha=1e39", "--accuracy")
    assert_wrong_use(ran, "elu runs", "in no way", "Elu's alpha cannot be 1e+39", code=1)


def test_only_accuracy_adds_accuracy(capsys: Capture) -> None:
    (entry,) = run_here(capsys, "catalog", "mish", *JSON).document["activations"]
    assert "accuracy" not in entry


def test_accuracy_of_nothing_or_on_nothing(capsys: Capture) -> None:
    assert_wrong_use(run_here(capsys, "catalog", "--accuracy"), "--accuracy needs", "NAME")
    assert_wrong_use(run_here(capsys, "catalog", "mish", "--provider", "cpu"), "--accuracy")
    missing = ("catalog", "mish", "--accuracy", "--provider", "dml")
    assert_wrong_use(run_here(capsys, *missing), "dml", code=4)
    assert_wrong_use(run_here(capsys, "catalog", "mihs", "--accuracy"), "mish")


def test_an_unknown_name(capsys: Capture) -> None:
    assert_wrong_use(run_here(capsys, "catalog", "gleu"), "unknown activation 'gleu'", "gelu")
