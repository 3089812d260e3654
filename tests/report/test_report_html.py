"""HTML: well-formed, self-contained, everything of the Markdown in it, and nothing runs."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from sample_reports import (
    AWKWARD,
    DONE,
    ENTRIES,
    EVERYTHING,
    FAILED,
    UNREADABLE,
    equivalence,
    output,
)

from onnx_act.errors import UsageError
from onnx_act.report.document import Report
from onnx_act.report.html import render_html
from onnx_act.report.write import check_report_paths, write_report

if TYPE_CHECKING:
    from pathlib import Path

_ALONE = {"meta", "!doctype"}


class Page(HTMLParser):
    """Elements and texts of a page whose elements are all closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.cells: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in _ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))
        if self.open[-1:] == ["td"]:
            self.cells.append((data, self.seen[-1][1].get("class")))

    def of(self, tag: str) -> list[str]:
        return [text for element, text in self.texts if element == tag]


def test_nothing_is_loaded_and_nothing_runs() -> None:
    page = Page(render_html(EVERYTHING))
    tags = {tag for tag, _ in page.seen}
    assert not tags & {"script", "link", "img", "iframe", "object", "svg", "a", "form"}
    assert not any(name.startswith("on") for _, given in page.seen for name in given)
    (style,) = page.of("style")
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style


@pytest.mark.parametrize("name", ENTRIES)
def test_every_headline_is_there_and_coloured(name: str) -> None:
    page = Page(render_html(Report("convert", (ENTRIES[name],))))
    (headline,) = [given["class"] for tag, given in page.seen if tag == "p" and given]
    assert headline == ("bad" if ENTRIES[name].exit_code else "good")


@pytest.mark.parametrize(
    "text",
    [
        AWKWARD.replace("\n", " "),
        "<script>alert(1)</script>",
        "a & b < c > d \" '",
        "&lt;b&gt; &amp;amp; \\| \\* \\",
        "__x__ ~~y~~ [z](w)",
    ],
)
def test_any_text_comes_through(text: str) -> None:
    entry = replace(UNREADABLE, path=text, message=text, notes=(text,))
    page = Page(render_html(Report("convert", (entry,))))
    assert page.of("h2") == [text]
    assert page.of("li") == [text]
    assert f"FAILED: {text}" in page.of("p")


def test_cells_are_those_of_the_table() -> None:
    page = Page(render_html(Report("convert", (DONE, FAILED))))
    assert "y|z" in page.of("td")
    assert ("FAILED", "bad") in page.cells
    assert ("passed", "good") in page.cells
    assert ("prelu(slope=[2x1x1])", None) in page.cells


def test_outcomes_of_a_batch_are_coloured_and_sentences_are_not() -> None:
    parts = [{"seconds": 1.0, "is_skipped": i > 0} for i in range(2)]
    entry = replace(FAILED, message="what was asked for has failed")
    batch = {"models": parts, "seconds": 2.0, "jobs": 1, "outcomes": None}
    page = Page(render_html(Report("convert", (DONE, entry), details={"batch": batch})))
    assert ("done", "good") in page.cells
    assert ("failed, before", "bad") in page.cells
    assert ("what was asked for has failed", None) in page.cells


def test_a_long_table_is_folded_and_open_where_something_failed() -> None:
    many = [output(f"o{i}", passed=True) for i in range(60)]
    page = Page(render_html(Report("convert", (replace(DONE, equivalence=equivalence(*many)),))))
    assert ("details", {}) in page.seen
    many[3] = output("o3", passed=False)
    page = Page(render_html(Report("convert", (replace(FAILED, equivalence=equivalence(*many)),))))
    assert ("details", {"open": None}) in page.seen
    assert sum(text.startswith("o") for text in page.of("td")) >= 60


def test_written_by_suffix_and_replaced_later(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    for _ in range(2):
        check_report_paths([path])
        write_report(EVERYTHING, path)
    assert path.read_text("utf-8") == render_html(EVERYTHING) + "\n"
    other = tmp_path / "other.html"
    other.write_text(re.sub("onnx-act", "else", path.read_text("utf-8")))
    with pytest.raises(UsageError, match="no report"):
        check_report_paths([other])
