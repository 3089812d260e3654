"""The document as one HTML file: nothing is loaded from elsewhere, and it reads in light and dark.

It is the Markdown document, which this turns over line by line: a heading, a table, a list or a
paragraph, which is all that the other rendering writes.
"""

from __future__ import annotations

import re
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Final

from onnx_act.report.markdown import document_markdown, plain_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from onnx_act.report.document import Report

_STYLE: Final = """
:root { color-scheme: light dark; --line: #d0d7de; --soft: #f6f8fa; --good: #1a7f37;
  --bad: #cf222e; --text: #1f2328; --back: #ffffff; --faint: #59636e; }
@media (prefers-color-scheme: dark) { :root { --line: #3d444d; --soft: #151b23; --good: #3fb950;
  --bad: #f85149; --text: #e6edf3; --back: #0d1117; --faint: #9198a1; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
  max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; overflow-wrap: anywhere;
  border-bottom: 1px solid var(--line); } h3 { font-size: 1rem; margin-bottom: .4rem; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { border: 1px solid var(--line); padding: .25rem .6rem; text-align: left;
  vertical-align: top; font-variant-numeric: tabular-nums; overflow-wrap: break-word;
  max-width: 28rem; }
th { background: var(--soft); } tbody tr:nth-child(even) {
  background: var(--soft); }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
p, li { overflow-wrap: anywhere; } li { color: var(--faint); font-size: .9rem; }
@media print { body { max-width: none; margin: 0; } }
"""
_BAD: Final = ("FAILED", "REFUSED", "WORSE")
_GOOD: Final = ("PASSED", "DONE", "passed", "held", "faster")
# Of the table of a batch: cells of these words alone, for within a sentence they tell nothing.
_OUTCOMES: Final = {"done": "good", "failed": "bad", "refused": "bad"}
_CELL: Final = re.compile(r"(?<!\\)\|")
# The reader of a report looks for what is wrong: of this many rows on, the rest is folded.
_FOLDED_FROM: Final = 40


def render_html(report: Report) -> str:
    """The document as one HTML text."""
    lines = document_markdown(report).split("\n")
    title = escape(f"onnx-act {report.command}")
    body = "\n".join(_blocks(lines))
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta name="generator" content="onnx-act {escape(report.to_dict()["version"])}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            f"<body>\n{body}\n</body>",
            "</html>",
        )
    )


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    for kind, group in groupby(lines, key=_kind):
        block = list(group)
        if kind == "table":
            yield _table(block)
        elif kind == "list":
            items = (f"<li>{_text(line[2:])}</li>" for line in block)
            yield f"<ul>{''.join(items)}</ul>"
        elif kind == "heading":
            yield from map(_heading, block)
        elif kind == "text":
            yield from (_paragraph(line) for line in block)


def _kind(line: str) -> str:
    if line.startswith("|"):
        return "table"
    if line.startswith("- "):
        return "list"
    if line.startswith("#"):
        return "heading"
    return "text" if line else ""


def _heading(line: str) -> str:
    marks, _, text = line.partition(" ")
    return f"<h{len(marks)}>{_text(text)}</h{len(marks)}>"


def _paragraph(line: str) -> str:
    if line.startswith("**") and line.endswith("**"):
        text = line[2:-2]
        return f'<p class="{_class(text)}">{_text(text)}</p>'
    return f"<p>{_text(line)}</p>"


def _table(lines: Sequence[str]) -> str:
    names, _, *rows = map(_cells, lines)
    head = "".join(f"<th>{_text(name)}</th>" for name in names)
    body = "\n".join(map(_row, rows))
    table = (
        f'<div class="table"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )
    if len(rows) < _FOLDED_FROM:
        return table
    is_open = " open" if any(_class(cell) == "bad" for row in rows for cell in row) else ""
    return f"<details{is_open}><summary>{len(rows)} rows</summary>{table}</details>"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in _CELL.split(line)[1:-1]]


def _row(cells: Iterable[str]) -> str:
    shown = []
    for cell in cells:
        name = _class(cell)
        shown.append(f"<td{f' class={chr(34)}{name}{chr(34)}' if name else ''}>{_text(cell)}</td>")
    return f"<tr>{''.join(shown)}</tr>"


def _class(text: str) -> str:
    """What a cell or headline is a sign of, by its first or last word."""
    outcome = _OUTCOMES.get(text.removesuffix(", before"))
    if outcome is not None:
        return outcome
    words = text.split()
    ends = {words[0].rstrip(":;"), words[-1]} if words else set()
    if not ends.isdisjoint(_BAD) or "slower" in ends:
        return "bad"
    return "good" if not ends.isdisjoint(_GOOD) else ""


def _text(text: str) -> str:
    """Text of a Markdown line, escaped for HTML in the place of Markdown."""
    return escape(plain_text(text))
