"""The document as Markdown: tables hold together whatever stands in them."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from markdown_it import MarkdownIt
from sample_reports import CHECK, DIFFERENT_CHECK, DONE, ENTRIES, EVERYTHING, FAILED, Given

from onnx_act.report.document import ModelEntry, Report
from onnx_act.report.markdown import render_markdown

# Names of values and files, and what a reader must see of them.
_TEXTS = {
    "*a* and **b**": "*a* and **b**",
    "__init__ _x leaky_relu": "__init__ _x leaky_relu",
    "`code` ``": "`code` ``",
    "~~gone~~": "~~gone~~",
    "[x](http://example.org) Conv[Relu] [1, 2]": "[x](http://example.org) Conv[Relu] [1, 2]",
    "<b>&lt;&amp;& <!-- x": "<b>&lt;&amp;& <!-- x",
    "C:\\new\\*.onnx \\| \\": "C:\\new\\*.onnx \\| \\",
    "a\r\nb\tc\x1b[31m": r"a\r b\tc\x1b[31m",
    "\u202exnno.a\u2028": r"\u202exnno.a\u2028",
    "名前 é": "名前 é",
    "l" * 3000: "l" * 3000,
}
_BAR = re.compile(r"(?<!\\)\|")


def _tables(text: str) -> list[list[str]]:
    """Runs of lines that start with a bar."""
    found: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("|"):
            if not inside:
                found.append([])
            found[-1].append(line)
        inside = line.startswith("|")
    return found


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
def test_tables_are_well_formed(entry: ModelEntry) -> None:
    text = render_markdown(Report("convert", (entry,)))
    for table in _tables(text):
        columns = {len(_BAR.findall(line)) for line in table}
        assert len(columns) == 1, table
        assert re.fullmatch(r"\|( --- \|)+", table[1])
        assert all(line.endswith("|") for line in table)
        assert len(table) > 2 or entry.sites == ()


def test_every_table_stands_apart() -> None:
    lines = render_markdown(EVERYTHING).splitlines()
    for before, line in pairwise(lines):
        if line.startswith("|") and not before.startswith("|"):
            assert before == ""
        if line.startswith("#"):
            assert before == ""


def test_no_name_becomes_markup() -> None:
    text = render_markdown(EVERYTHING)
    assert "<i>" not in text
    assert "&lt;i>" in text
    assert "a\\|b" in text


def test_what_it_says() -> None:
    text = render_markdown(EVERYTHING)
    for part in (
        "# onnx-act convert",
        "## models/[a\\|b].onnx",
        "**PASSED; wrote out.onnx**",
        "**FAILED: not equivalent: on cpu: output 'y' differs**",
        "### Left to the runtime",
        "| 2 | fuse_conv_activation | Conv, Relu -> Conv[Relu] when the runtime loads the model |",
        "### Left as it is",
        "### Equivalence",
        "### Drift from the original",
        "### Latency",
        "- dry run: nothing was written",
        "onnxruntime 1.",
    ):
        assert part in text, part


def test_where_new_activations_differ_is_shown_where_they_do() -> None:
    assert "differs at" not in render_markdown(Report("convert", (DONE,)))
    entry = replace(DONE, checks=(CHECK, DIFFERENT_CHECK))
    lines = render_markdown(Report("convert", (entry,))).splitlines()
    assert any(line.endswith("| differs at |") for line in lines)
    assert any(line.endswith("| - |") and "elu(alpha=0.5)" in line for line in lines)
    assert any(line.endswith("| nan, -inf |") and "elu (Elu)" in line for line in lines)


def test_two_providers_that_fail_each_tell_why() -> None:
    assert FAILED.equivalence is not None
    judged = FAILED.equivalence.to_dict()
    other = {**judged["providers"][0], "provider": "CUDAExecutionProvider", "reason": "a|b"}
    both = Given({**judged, "providers": [*judged["providers"], other]})
    entry = ModelEntry("a.onnx", equivalence=both)
    assert "- cuda: a\\|b" in render_markdown(Report("validate", (entry,)))


@pytest.mark.parametrize(("text", "shown"), _TEXTS.items(), ids=range(len(_TEXTS)))
def test_a_reader_of_markdown_sees_the_text_and_nothing_else(text: str, shown: str) -> None:
    change = Given({"rule": text, "site": "s", "before": text, "after": "x"})
    entry = ModelEntry(text, message=text, changes=(change,), notes=(text,), exit_code=3)
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = reader.parse(render_markdown(Report("convert", (entry,))))
    lines = [token.children or [] for token in tokens if token.type == "inline"]
    found = ["".join(child.content for child in line) for line in lines]
    assert found[1] == shown
    assert found[2].endswith(f": {shown}")
    assert shown in found
    assert f"{shown} -> x" in found
    marks = {child.type for line in lines for child in line}
    assert marks <= {"text", "strong_open", "strong_close", "text_special"}
