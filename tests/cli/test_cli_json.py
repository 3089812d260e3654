"""`--format json`: exactly one document on stdout, with the keys that the design promises."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from command_line import run_apart, run_here
from failing_conversions import spoil_weights
from tiny_files import conv_model, save

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import Ran

Capture = pytest.CaptureFixture[str]
JSON = ("--format", "json")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(conv_model(), tmp_path / "model.onnx")


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [n for v in value.values() for n in _numbers(v)]
    if isinstance(value, list):
        return [n for v in value for n in _numbers(v)]
    return [value] if isinstance(value, float) else []


def _check_head(ran: Ran, command: str) -> dict[str, Any]:
    document = ran.document
    assert ran.err == ""
    assert document["schema"] == f"onnx-act/{command}/1"
    assert document["version"].count(".") == 2
    assert {"python", "platform", "onnx", "onnxruntime", "numpy"} <= document["environment"].keys()
    assert all(math.isfinite(n) for n in _numbers(document))
    for entry in document["models"]:
        assert {"path", "output", "outcome", "exit_code", "message", "notes"} <= entry.keys()
        assert entry["outcome"] in {"done", "refused", "failed"}
    return document


def test_inspect(model: Path, capsys: Capture) -> None:
    ran = run_here(capsys, "inspect", model, *JSON)
    assert ran.code == 0
    (entry,) = _check_head(ran, "inspect")["models"]
    assert entry["path"] == str(model)
    assert entry["sites"] == [
        {
            "id": "a",
            "activation": "relu",
            "parameters": {},
            "formula": "max(x, 0)",
            "scope": "",
            "input": "c",
            "output": "a",
            "nodes": ["act"],
            "operators": ["Relu"],
            "producer": "Conv",
            "consumers": ["MaxPool"],
            "spelling": "operator",
            "role": "main",
            "dtype": "float",
            "depth": 0,
            "index": 0,
            "routine": False,
        }
    ]


def test_convert(model: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out.onnx"
    options = ("--swap", "relu=leaky_relu:negative_slope=0.2", "--fuse=contrib", "--time", "200ms")
    ran = run_here(capsys, "convert", model, "-o", out, *options, *JSON)
    assert ran.code == 0
    (entry,) = _check_head(ran, "convert")["models"]
    assert (entry["path"], entry["output"], entry["outcome"]) == (str(model), str(out), "done")
    assert [c["rule"] for c in entry["changes"]] == ["swap_activation", "fuse_conv_activation"]
    assert entry["changes"][0]["fidelity"] == "semantic"
    assert entry["refusals"] == []
    assert [c["passed"] for c in entry["checks"]] == [True]
    assert entry["equivalence"]["passed"] is True
    (judged,) = entry["equivalence"]["providers"]
    assert judged["provider"] == "CPUExecutionProvider"
    (output,) = judged["outputs"]
    assert {"output", "passed", "max_abs", "tolerance", "noise_floor", "levels"} <= output.keys()
    (drift,) = entry["drift"]["outputs"]
    assert {"max_abs", "mean_abs", "sqnr_db", "cosine", "top1"} <= drift["difference"].keys()
    (latency,) = entry["latency"]
    assert latency["provider"] == "CPUExecutionProvider"
    for timing in (latency["a"], latency["b"]):
        assert 0 < timing["median_s"] <= timing["p90_s"] <= timing["p99_s"] < 1
    ratio = latency["ratio"]
    assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
    assert isinstance(ratio["verdict"], str)
    assert entry["size"]["nodes_before"] == 3
    assert entry["size"]["nodes_after"] == 2
    assert entry["size"]["bytes_before"] == model.stat().st_size
    assert entry["size"]["bytes_after"] == out.stat().st_size


def test_sites_of_a_conversion_are_those_of_the_original(
    model: Path, tmp_path: Path, capsys: Capture
) -> None:
    expected = run_here(capsys, "inspect", model, *JSON).entry["sites"]
    options = ("--swap", "relu=silu", "--fuse", "--no-bench", *JSON)
    found = run_here(capsys, "convert", model, "-o", tmp_path / "out.onnx", *options).entry
    assert found["changes"]
    assert found["sites"] == expected


@pytest.mark.parametrize("command", ["swap", "fuse"])
def test_one_step(command: str, model: Path, tmp_path: Path, capsys: Capture) -> None:
    options = ("--swap", "relu=silu") if command == "swap" else ()
    ran = run_here(capsys, command, model, tmp_path / "out.onnx", *options, *JSON)
    assert ran.code == 0
    (entry,) = _check_head(ran, command)["models"]
    assert entry["equivalence"]["passed"] is True
    assert "latency" not in entry or entry["latency"] is None
    assert ("drift" in entry) == (command == "swap")


def test_validate(model: Path, capsys: Capture) -> None:
    ran = run_here(capsys, "validate", model, model, *JSON)
    assert ran.code == 0
    (entry,) = _check_head(ran, "validate")["models"]
    assert entry["equivalence"]["passed"] is True


def test_validate_of_two_that_differ(model: Path, tmp_path: Path, capsys: Capture) -> None:
    other = save(conv_model("Elu"), tmp_path / "other.onnx")
    ran = run_here(capsys, "validate", model, other, *JSON)
    assert ran.code == 1
    (entry,) = _check_head(ran, "validate")["models"]
    assert entry["outcome"] == "failed"
    assert entry["equivalence"]["passed"] is False
    assert entry["message"].startswith("not equivalent: on cpu")


@pytest.mark.parametrize("two", [False, True])
def test_bench(two: bool, model: Path, capsys: Capture) -> None:
    other = [model] if two else []
    ran = run_here(capsys, "bench", model, *other, "--time", "200ms", *JSON)
    assert ran.code == 0
    (entry,) = _check_head(ran, "bench")["models"]
    (latency,) = entry["latency"]
    assert latency["a"]["median_s"] > 0
    assert (latency["b"] is not None) == two
    assert (latency["ratio"] is not None) == two


def test_a_refusal_is_a_document(tmp_path: Path, capsys: Capture) -> None:
    model = save(conv_model(middle=False), tmp_path / "model.onnx")
    out = tmp_path / "out.onnx"
    ran = run_here(capsys, "convert", model, "-o", out, "--swap", "relu=silu", *JSON)
    assert ran.code == 2
    (entry,) = _check_head(ran, "convert")["models"]
    assert entry["outcome"] == "refused"
    (refusal,) = entry["refusals"]
    assert refusal.keys() == {"rule", "site", "activation", "reason", "left_to_runtime"}


def test_failed_evidence_is_a_document(
    model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_weights(monkeypatch)
    ran = run_here(capsys, "fuse", model, tmp_path / "out.onnx", *JSON)
    assert ran.code == 1
    (entry,) = _check_head(ran, "fuse")["models"]
    assert (entry["outcome"], entry["output"]) == ("failed", None)


def test_numbers_that_json_has_no_word_for(
    model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Infinite parameters, and figures over infinities and NaN, come as text or null."""
    spoil_weights(monkeypatch, factor=math.inf)
    ran = run_here(capsys, "fuse", model, tmp_path / "out.onnx", *JSON)
    assert ran.code == 1
    _check_head(ran, "fuse")
    # max(-inf, x) as an operator: a hardtanh that is bounded on one side.
    bounded = conv_model("Relu")
    bounded.graph.node[1].op_type = "Max"
    bounded.graph.node[1].input.append("low")
    bounded.graph.initializer.add(name="low", data_type=1, float_data=[-0.4])
    saved = save(bounded, tmp_path / "bounded.onnx")
    ran = run_here(capsys, "inspect", saved, *JSON)
    assert _check_head(ran, "inspect")["models"][0]["sites"][0]["parameters"]["max"] == "inf"


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "missing.onnx"],
        ["convert", "missing.onnx", "-o", "out.onnx"],
        ["validate", "missing.onnx", "missing.onnx"],
        ["bench", "missing.onnx"],
        ["catalog", "gleu"],
        ["inspect"],
    ],
)
def test_an_error_leaves_stdout_empty(
    arguments: list[str], capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run_here(capsys, *arguments, *JSON)
    assert ran.code in {2, 3}
    assert ran.out == ""
    assert ran.err.startswith("onnx-act: ")


@pytest.mark.parametrize("command", ["validate", "convert", "swap"])
def test_evidence_that_could_not_be_had_is_a_document(
    command: str, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    out, written = tmp_path / "out.onnx", tmp_path / "report.json"
    swap = ("--swap", "relu=silu")
    places = {"validate": (model,), "convert": ("-o", out, *swap), "swap": (out, *swap)}[command]
    options = ("--timeout", "1ms", "--report", written, *JSON)
    ran = run_here(capsys, command, model, *places, *options)
    assert ran.code == 1
    assert ran.document["schema"] == f"onnx-act/{command}/1"
    assert (ran.entry["outcome"], ran.entry["exit_code"]) == ("failed", 1)
    assert ran.entry["path"] == str(model)
    assert "did not finish within 0.001 s" in ran.entry["message"]
    # What a conversion could tell until then is in the document, and no message beside it.
    said = f"onnx-act: {ran.entry['message']}\n" if command == "validate" else ""
    assert ran.err == said
    assert json.loads(written.read_text(encoding="utf-8"))["models"] == ran.document["models"]
    assert not out.exists()


def test_through_a_shell_stdout_holds_the_document_alone(model: Path, tmp_path: Path) -> None:
    ran = run_apart("convert", model, "-o", tmp_path / "o.onnx", "--fuse", "--no-bench", *JSON)
    assert ran.code == 0
    document = _check_head(ran, "convert")
    assert document["command"][:2] == ["convert", str(model)]
