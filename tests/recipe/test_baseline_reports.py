"""Which reports are taken as a baseline, and which of their models are those of a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from onnx_act.errors import UnknownNameError, UsageError
from onnx_act.recipe.baseline import (
    baseline_bounds_from,
    parse_baseline_bounds,
    read_baseline,
)
from onnx_act.recipe.regressions import BaselineBounds

if TYPE_CHECKING:
    from pathlib import Path


def _report(path: Path, *models: str, **changed: Any) -> Path:
    entries = [{"path": m, "mark": i} for i, m in enumerate(models)]
    document = {"schema": "onnx-act/convert/1", "version": "0.1.0", "models": entries, **changed}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), "utf-8")
    return path


def _matched(report: Path, *models: str) -> dict[str, int]:
    return {m: e["mark"] for m, e in read_baseline(report, "convert", models).matched.items()}


def test_by_the_path_as_named(tmp_path: Path) -> None:
    report = _report(tmp_path / "r.json", "a/m.onnx", "b/m.onnx")
    assert _matched(report, "b/m.onnx", "a/m.onnx") == {"a/m.onnx": 0, "b/m.onnx": 1}


def test_by_the_file_that_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = _report(tmp_path / "reports" / "r.json", "../m/x.onnx", "other/x.onnx")
    there = str(tmp_path / "m" / "x.onnx")
    assert _matched(report, there) == {there: 0}
    monkeypatch.chdir(tmp_path / "reports")
    assert _matched(report, "./other/x.onnx") == {"./other/x.onnx": 1}


def test_by_name_where_there_is_but_one_of_it(tmp_path: Path) -> None:
    report = _report(tmp_path / "r.json", "build-1/a.onnx", "build-1/b.onnx", "old/b.onnx")
    found = read_baseline(report, "convert", ["build-2/a.onnx", "build-2/b.onnx"])
    assert {m: e["mark"] for m, e in found.matched.items()} == {"build-2/a.onnx": 0}
    assert found.new == ("build-2/b.onnx",)
    assert found.gone == ("build-1/b.onnx", "old/b.onnx")
    one = _report(tmp_path / "one.json", "c:\\models\\a.onnx")
    assert _matched(one, "here/a.onnx") == {"here/a.onnx": 0}
    with pytest.raises(UsageError, match=r"has nothing of x/a\.onnx, y/a\.onnx: it is of c:"):
        read_baseline(one, "convert", ["x/a.onnx", "y/a.onnx"])


def test_a_path_goes_before_a_name(tmp_path: Path) -> None:
    report = _report(tmp_path / "r.json", "a/m.onnx")
    found = read_baseline(report, "convert", ["b/m.onnx", "a/m.onnx"])
    assert {*found.matched} == {"a/m.onnx"}
    assert found.new == ("b/m.onnx",)


def test_the_details_say_what_was_compared(tmp_path: Path) -> None:
    report = _report(tmp_path / "r.json", "a.onnx", "gone.onnx")
    found = read_baseline(report, "convert", ["a.onnx", "new.onnx"], BaselineBounds(0.1, 3.0))
    assert found.details() == {
        "baseline": {
            "path": str(report),
            "schema": "onnx-act/convert/1",
            "version": "0.1.0",
            "bounds": {"speedup": 0.1, "tolerance": 3.0},
            "new": ["new.onnx"],
            "gone": ["gone.onnx"],
        }
    }
    assert found.of("new.onnx") is None
    assert found.of("a.onnx") is not None


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("onnx-act/convert/2", "has schema 'onnx-act/convert/2', and this version reads"),
        ("onnx-act/validate/1", "is a report of validate, not of convert"),
        ("onnx-act/convert", "has schema"),
        ("other/convert/1", "is no report of onnx-act"),
        (None, "is no report of onnx-act"),
    ],
)
def test_another_schema_is_refused(tmp_path: Path, schema: str | None, said: str) -> None:
    report = _report(tmp_path / "r.json", "a.onnx", schema=schema)
    with pytest.raises(UsageError, match=said):
        read_baseline(report, "convert", ["a.onnx"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no JSON", "is not JSON"),
        pytest.param("[" * 100_000, "is not JSON", id="deep"),
        ('{"schema": "onnx-act/convert/1", "version": NaN}', "is not JSON"),
        ('{"schema": "onnx-act/convert/1", "version": 1e999}', "is not JSON"),
        ("[1]", "is no report"),
        ('{"schema": "onnx-act/convert/1"}', "is damaged"),
        ('{"schema": "onnx-act/convert/1", "models": [1]}', "is damaged"),
        ('{"schema": "onnx-act/convert/1", "models": []}', "it is of no model"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_baseline(path, "convert", ["a.onnx"])
    with pytest.raises(UsageError, match="cannot read"):
        read_baseline(tmp_path / "none.json", "convert", ["a.onnx"])


def test_damage_is_said_before_any_work(tmp_path: Path) -> None:
    report = _report(tmp_path / "r.json", "a.onnx", "b.onnx")
    document = json.loads(report.read_text("utf-8"))
    document["models"][1]["latency"] = [{"provider": "CPUExecutionProvider"}]
    report.write_text(json.dumps(document), "utf-8")
    assert read_baseline(report, "convert", ["a.onnx"]).gone == ("b.onnx",)
    with pytest.raises(UsageError, match=r"is damaged in the entry of b\.onnx"):
        read_baseline(report, "convert", ["a.onnx", "b.onnx"])


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not JSON"):
        read_baseline(path, "convert", ["a.onnx"])


def test_bounds_are_written_as_names_and_limits() -> None:
    assert parse_baseline_bounds([]) == BaselineBounds(0.05, 2.0)
    assert parse_baseline_bounds(["speedup=10%"]) == BaselineBounds(0.1, 2.0)
    assert parse_baseline_bounds(["speedup=0.2", "tolerance=3"]) == BaselineBounds(0.2, 3.0)
    assert parse_baseline_bounds(["speedup=0"]) == BaselineBounds(0.0, 2.0)
    assert baseline_bounds_from({"tolerance": 5.0}) == BaselineBounds(0.05, 5.0)


@pytest.mark.parametrize(
    "text", ["speedup", "speedup=much", "speedup=100%", "tolerance=x", "tolerance=0.5"]
)
def test_bounds_that_do_not_parse(text: str) -> None:
    with pytest.raises(UsageError, match=r"baseline.bound"):
        parse_baseline_bounds([text])


def test_a_bound_that_nobody_knows() -> None:
    with pytest.raises(UnknownNameError, match="speedup"):
        parse_baseline_bounds(["speadup=5%"])
