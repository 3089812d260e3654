"""The table of the tuning benchmark: what it measures, and when it ends with exit code 1."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_NAME = "stack, Mish"


def _ratio(median: float, width: float = 0.05) -> dict[str, Any]:
    return {
        "median": median,
        "low": median - width,
        "high": median + width,
        "verdict": "faster",
        "sessions": 8,
    }


def _told(**more: Any) -> dict[str, Any]:
    """What tuning says of a network in which it found nothing."""
    return {
        "is_kept": False,
        "reason": "",
        "seconds": 1.0,
        "is_complete": True,
        "source": "measured",
        "share_before": None,
        "share_after": None,
        "groups": [],
        "is_untouched": False,
        **more,
    }


@pytest.fixture
def tune(script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, which copies instead of tuning, asks nobody else and measures nothing."""
    module = script("tune")
    monkeypatch.setenv("ONNX_ACT_CACHE_DIR", "set, so that it is put back")
    monkeypatch.delenv("ONNX_ACT_CORPUS", raising=False)
    monkeypatch.setattr(module, "tuned", _copied)
    monkeypatch.setattr(module, "OTHERS", ())
    monkeypatch.setattr(module, "peer_versions", lambda: {"onnxsim": None})
    small = module.measure
    monkeypatch.setattr(module, "measure", lambda *a, **k: small(*a, **k, small=True))
    for place in (module, script("tune_columns")):
        monkeypatch.setattr(place, "measured_ratio", lambda *_: _ratio(2.0))
    return module


def _copied(source: Path, target: Path, _: float) -> dict[str, Any]:
    target.write_bytes(source.read_bytes())
    return _told()


def _spoiled(source: Path, target: Path, _: float) -> dict[str, Any]:
    model = onnx.load(source)
    weight = model.graph.initializer[0]
    spoiled = numpy_helper.to_array(weight) * np.float32(1.01)
    weight.CopyFrom(numpy_helper.from_array(spoiled, weight.name))
    onnx.save(model, target)
    return _told()


def _run(module: ModuleType, tmp_path: Path, *more: str) -> tuple[int, dict[str, Any], str]:
    figures, text = tmp_path / "figures.json", tmp_path / "page.md"
    asked = ["--only", _NAME, "--json", str(figures), "--write", str(text), *more]
    code = module.main(asked)
    return code, json.loads(figures.read_text()), text.read_text()


def test_a_network_is_tuned_and_measured(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    """The real thing, with as little time as there may be."""
    net = script("tune_models")._STACKS["Mish"]
    found = script("tune").measure(net, tmp_path, budget=5.0, seconds=0.2, small=True)
    assert found["tune"]["equivalent"] is True
    (row,) = found["spellings"]
    assert row["activation"] == "mish"
    assert row["before"] == "Mish"
    assert row["sites"] == 2
    assert row["p99_before"] > 0.0
    assert (row["after"] is None) == (row["p99_after"] is None)
    assert found["tune"]["is_untouched"] is (not found["tune"]["is_kept"])
    for key in ("tune", "ONNX Runtime offline", "limit"):
        ratio = found[key]["ratio"]
        assert 0.0 < ratio["low"] <= ratio["median"] <= ratio["high"]


def test_what_was_chosen_and_not_kept_is_unchanged(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    source = tmp_path / "net.onnx"
    script("tune_models")._STACKS["Mish"].write(source, small=True)
    group = {
        "activation": "mish",
        "before": "Mish",
        "sites": ["v1"],
        "share": 0.5,
        "reason": "the fastest",
    }
    accuracy = {"p99_ulp": 1.5}
    groups = [
        {
            **group,
            "after": "f(x)",
            "chosen": "f",
            "candidates": [{"key": "f", "accuracy": accuracy}],
        },
        {**group, "after": "Mish", "chosen": None, "candidates": []},
    ]
    spellings = script("tune_columns").spellings

    def told(reason: str, *, is_kept: bool) -> list[tuple[object, ...]]:
        rows = spellings(source, {"is_kept": is_kept, "reason": reason, "groups": groups})
        return [(r["after"], r["sites"], r["p99_after"], r["reason"]) for r in rows]

    assert told("", is_kept=True) == [
        ("f(x)", 1, 1.5, "the fastest"),
        (None, 1, None, "the fastest"),
    ]
    assert told("it was slower", is_kept=False) == [(None, 2, None, "it was slower")]


def test_the_page(
    tune: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen = {
        "activation": "mish",
        "before": "Mish",
        "after": "x / |x|",
        "sites": 2,
        "share": 0.5,
        "reason": "the fastest",
        "p99_before": 3.14,
        "p99_after": 123456.0,
    }
    monkeypatch.setattr(tune, "spellings", lambda *_: [chosen])
    code, document, text = _run(tune, tmp_path)
    assert code == 0
    assert document["threads"] == 1
    assert set(document["nets"]) == {_NAME, f"{_NAME}, spelled"}
    cells = "2.000 [1.950, 2.050] | 2.000 [1.950, 2.050] | 1.00"
    assert f"| {_NAME} | {cells} |" in text
    assert f"| {_NAME} | mish | 2 | 50.0 % | Mish | `x / /x/` | 3.1 | 1e+05 |" in text
    assert f"| {_NAME} | 2.70 | 2.00 | NO |" in text
    assert str(tmp_path) not in text
    assert f"not as fast as hoped for: {_NAME} (2.00 of 2.70)" in capsys.readouterr().out


def test_what_is_not_equivalent_gets_no_ratio(
    tune: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tune, "tuned", _spoiled)
    code, document, text = _run(tune, tmp_path)
    assert code == 1
    ours = document["nets"][_NAME]["tune"]
    assert ours["equivalent"] is False
    assert "ratio" not in ours
    (line,) = [x for x in text.splitlines() if x.startswith(f"| {_NAME} | not equivalent: ")]
    # The limit has a ratio, the result and its distance from the limit have none.
    assert line.count("[") == 1
    assert line.endswith("|  |")
    assert f"{_NAME} is not equivalent" in capsys.readouterr().out


@pytest.mark.parametrize(("median", "code"), [(0.92, 1), (0.95, 0), (1.5, 0)])
def test_what_is_slower_is_told(
    tune: ModuleType,
    script: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    median: float,
    code: int,
) -> None:
    monkeypatch.setattr(script("tune_columns"), "measured_ratio", lambda *_: _ratio(median))
    assert _run(tune, tmp_path)[0] == code


def test_what_cannot_be_tuned_is_told(
    tune: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any) -> dict[str, Any]:
        raise RuntimeError("first line\nit fell over")

    monkeypatch.setattr(tune, "tuned", fail)
    code, document, text = _run(tune, tmp_path)
    assert code == 1
    assert document["nets"][_NAME]["tune"] == {"failed": "it fell over"}
    assert f"| {_NAME} | failed: it fell over |" in text
    assert f"| {_NAME} | 2.70 | nothing | NO |" in text


def test_others_who_fail_are_a_cell(
    tune: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any) -> dict[str, Any]:
        raise RuntimeError("it fell over")

    monkeypatch.setattr(tune, "OTHERS", ("onnxsim", "onnxslim"))
    monkeypatch.setattr(tune, "peer_versions", lambda: {"onnxsim": "1", "onnxslim": None})
    monkeypatch.setattr(tune, "made_by", fail)
    code, document, text = _run(tune, tmp_path)
    assert code == 0
    assert document["nets"][_NAME]["onnxsim"] == {"failed": "it fell over"}
    assert "onnxslim" not in document["nets"][_NAME]
    assert "| network | onnx-act tune | onnxsim | Relu instead | time / Relu's |" in text


def test_a_file_that_was_left_as_it_was_is_marked(
    tune: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def left(source: Path, target: Path, _: float) -> dict[str, Any]:
        return _copied(source, target, _) | {"is_untouched": True}

    monkeypatch.setattr(tune, "tuned", left)
    assert f"| {_NAME} | 2.000 [1.950, 2.050], as it was |" in _run(tune, tmp_path)[2]


def test_what_should_only_not_be_slower_may_be_so_within_its_interval(
    script: Callable[[str], ModuleType],
) -> None:
    targets = script("tune_page").targets
    nets = {
        name: {"wanted": wanted, "tune": {"ratio": _ratio(0.95)}}
        for name, wanted in (("lenient", 0.98), ("strict", 1.0))
    }
    assert [row[0::3] for row in targets(nets)] == [("lenient", "yes"), ("strict", "NO")]


_ANSWER = {"rounds": [[2.0, 2.1]] * 6, "largest": 10.0, "version": "1.2.3"}


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ({**_ANSWER, "furthest": 1e-4, "left_to_cpu": 0}, "2."),
        ({**_ANSWER, "furthest": 1e-4, "left_to_cpu": 3}, "3 nodes left to the CPU"),
        ({**_ANSWER, "furthest": 1.0, "left_to_cpu": 0}, "not equivalent: its results are off"),
        (None, "failed: RuntimeError: it takes no node"),
    ],
)
def test_openvino_is_asked_in_its_own_environment(
    tune: ModuleType,
    script: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    answer: dict[str, Any] | None,
    shown: str,
) -> None:
    stand_in = tmp_path / "openvino.py"
    text = "raise RuntimeError('it takes no node')\n"
    if answer is not None:
        text = "import numpy, sys\nassert set(numpy.load(sys.argv[2])) == {'names', 'v0'}\n"
        text += f"print({json.dumps(answer)!r})\n"
    stand_in.write_text(text)
    monkeypatch.setattr(script("tune_columns"), "_OPENVINO_SCRIPT", stand_in)
    _, document, text = _run(tune, tmp_path, "--openvino", sys.executable)
    cell = script("tune_page").shown(document["nets"][_NAME]["openvino"])
    assert shown in cell
    assert cell in text
    assert ("onnxruntime-openvino 1.2.3" in text) is (answer is not None)


def test_openvino_is_refused_where_it_is_not(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    """The script itself, on a runtime that has no such provider."""
    path = tmp_path / "net.onnx"
    script("tune_models")._STACKS["Relu"].write(path, small=True)
    columns = script("tune_columns")
    with pytest.raises(columns.EvidenceError, match="OpenVINO"):
        columns.on_openvino(Path(sys.executable), path, tmp_path, 0.1)


def test_a_network_that_is_not_there(tune: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        tune.main(["--only", "nothing"])
    assert caught.value.code == 2
    assert _NAME in capsys.readouterr().err
