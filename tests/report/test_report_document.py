"""The document: its keys, its exit code, and no number that JSON has no word for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from sample_reports import DONE, DRY, ENTRIES, EVERYTHING, FAILED, REFUSED, UNREADABLE, Given

from onnx_act.errors import UsageError
from onnx_act.report.document import ModelEntry, Outcome, Report
from onnx_act.report.json import render_json
from onnx_act.report.write import check_report_paths, write_report

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ((), 0),
        ((DONE,), 0),
        ((DONE, DRY), 0),
        ((DONE, FAILED, DRY), 1),
        ((REFUSED, FAILED, DONE), 2),
        ((FAILED, UNREADABLE, REFUSED), 3),
    ],
)
def test_the_exit_code_is_the_worst_of_the_parts(
    entries: tuple[ModelEntry, ...], code: int
) -> None:
    assert Report("convert", entries).exit_code == code


def test_the_document_is_its_json() -> None:
    assert json.loads(render_json(EVERYTHING)) == EVERYTHING.to_dict()
    document = EVERYTHING.to_dict()
    assert document["schema"] == "onnx-act/convert/1"
    assert document["command"] == ["convert", "a.onnx"]
    assert [m["outcome"] for m in document["models"]] == [e.outcome.value for e in ENTRIES.values()]


def test_what_a_command_does_not_produce_is_left_out() -> None:
    keys = {"path", "output", "outcome", "exit_code", "message", "notes"}
    assert ModelEntry("a.onnx").to_dict().keys() == keys
    # Looked for and not there is not the same as not looked for.
    assert ModelEntry("a.onnx", sites=()).to_dict()["sites"] == []


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_a_bug_and_not_written(number: float) -> None:
    report = Report("inspect", (ModelEntry("a", sites=(Given({"x": number}),)),))
    with pytest.raises(ValueError, match="JSON"):
        render_json(report)


def test_outcomes_are_the_three_of_the_contract() -> None:
    assert {o.value for o in Outcome} == {"done", "refused", "failed"}


def test_written_by_suffix(tmp_path: Path) -> None:
    for name in ("a.json", "deep/er/b.JSON", "c.md"):
        check_report_paths([tmp_path / name])
        write_report(EVERYTHING, tmp_path / name)
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == EVERYTHING.to_dict()
    assert (tmp_path / "deep/er/b.JSON").is_file()
    assert (tmp_path / "c.md").read_text("utf-8").startswith("# onnx-act convert\n")
    for name in ("a.pdf", "a", "a.json.gz"):
        with pytest.raises(UsageError, match=r"\.json, \.md, \.html or \.junit\.xml"):
            check_report_paths([tmp_path / name])
