"""Markdown for a job summary: it fits, and what is wrong is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample_reports import DONE, EVERYTHING, FAILED, equivalence, output

from onnx_act.report.document import Report
from onnx_act.report.job_summary import MOST_BYTES, fit_summary
from onnx_act.report.markdown import render_markdown


def _table(count: int, *, wrong: tuple[int, ...] = ()) -> list[str]:
    rows = [f"| {i} | {'FAILED' if i in wrong else 'passed'} |" for i in range(count)]
    return ["| n | verdict |", "| --- | --- |", *rows]


def _document(*tables: list[str]) -> str:
    return "\n".join(["# onnx-act x", "", *(line for t in tables for line in [*t, ""]), "end"])


def test_a_short_document_stays_as_it_is() -> None:
    text = _document(_table(15), _table(0))
    assert fit_summary(text) == text


def test_a_long_table_is_folded_and_whole() -> None:
    lines = fit_summary(_document(_table(16), _table(3))).split("\n")
    assert lines.count("<details><summary>16 rows</summary>") == 1
    assert lines.count("</details>") == 1
    start = lines.index("<details><summary>16 rows</summary>")
    # A table within the fold needs an empty line before it.
    assert lines[start + 1 : start + 4] == ["", "| n | verdict |", "| --- | --- |"]
    assert sum(line.startswith("|") for line in lines) == 18 + 5


def test_a_table_with_a_failure_is_open() -> None:
    assert "<details open><summary>20 rows" in fit_summary(_document(_table(20, wrong=(7,))))


@pytest.mark.parametrize("most", [40_000, 5_000, 1_000])
def test_rows_go_before_failures_do(most: int) -> None:
    wrong = (1234, 2345)
    text = fit_summary(_document(_table(3000, wrong=wrong)), most)
    assert len(text.encode("utf-8")) <= most
    assert all(f"| {i} | FAILED |" in text for i in wrong)
    assert "> Shortened to fit a job summary" in text
    assert "more rows" in text
    assert text.endswith("end")


@pytest.mark.parametrize("outcome", ["failed", "refused", "failed, before"])
def test_models_of_a_batch_that_were_not_done_are_the_last_to_go(outcome: str) -> None:
    rows = [f"| {i}.onnx | {outcome if i == 1234 else 'done'} |" for i in range(3000)]
    text = fit_summary(_document(["| model | outcome |", "| --- | --- |", *rows]), 2_000)
    assert f"| 1234.onnx | {outcome} |" in text
    assert "<details open>" in fit_summary(_document(["| model |", "| --- |", *rows]))


def test_a_report_of_many_outputs_fits() -> None:
    outputs = [output(f"value_{i}", passed=i != 7777) for i in range(20_000)]
    entry = replace(FAILED, equivalence=equivalence(*outputs, reason="'value_7777' differs"))
    text = render_markdown(Report("convert", (entry,)))
    assert 1000 < len(text.encode("utf-8")) <= MOST_BYTES
    assert "value_7777 | FAILED" in text


def test_a_report_of_many_models_keeps_every_headline() -> None:
    entries = [replace(DONE, path=f"model_{i}.onnx") for i in range(3000)]
    entries[2500] = replace(FAILED, path="model_2500.onnx")
    text = render_markdown(Report("convert", tuple(entries)))
    assert len(text.encode("utf-8")) <= MOST_BYTES
    assert text.startswith("# onnx-act convert\n")
    assert all(f"## model_{i}.onnx\n" in text for i in range(3000))
    assert f"**FAILED: {FAILED.message}" in text
    assert "| y | FAILED" in text


def test_more_models_than_fit_are_cut_at_a_line() -> None:
    entries = tuple(replace(DONE, path=f"m{i}.onnx") for i in range(100))
    whole = render_markdown(Report("convert", entries))
    text = fit_summary(whole, 2_000)
    assert len(text.encode("utf-8")) <= 2_000
    assert set(text.split("\n")) <= {*whole.split("\n"), *text.split("\n")[:3]}


def test_an_ordinary_report_is_not_touched() -> None:
    text = render_markdown(EVERYTHING)
    assert fit_summary(text) == text
    assert "Shortened" not in text
