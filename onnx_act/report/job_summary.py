"""Markdown that a job summary takes: long tables folded, and the whole below its limit of size.

A summary of GitHub holds 1 MiB for each step, and shows nothing at all of a longer one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: In bytes; below the limit, for what else a step may have to say.
MOST_BYTES: Final = 1_000_000
_FOLDED_FROM: Final = 16
_HEADER_LINES: Final = 2
# What is still shown of each table, if more does not fit.
_ROW_LIMITS: Final = (1000, 200, 50, 10, 3)
_WRONG: Final = ("FAILED", "WORSE", "| failed", "| refused")
_SHORTENED: Final = "> Shortened to fit a job summary: the JSON report has everything."


@dataclass(frozen=True, slots=True)
class _Table:
    header: list[str]
    rows: list[str]


def fit_summary(markdown: str, most_bytes: int = MOST_BYTES) -> str:
    """Fold tables of more than fifteen rows, and shorten what would be too long.

    Rows that say that something is wrong are the last to go, then the headlines of models.

    Args:
        markdown: a document that begins with its title, with a `##` for every model, its headline
            in the paragraph below.
        most_bytes: of the result, in UTF-8.
    """
    lines = markdown.split("\n")
    whole = _folded(lines, None)
    if _size(whole) <= most_bytes:
        return "\n".join(whole)
    for most in _ROW_LIMITS:
        shorter = _titled(_folded(lines, most))
        if _size(shorter) <= most_bytes:
            return "\n".join(shorter)
    for keeps_wrong in (True, False):
        shorter = _titled(
            _folded(list(_headlines(lines, keeps_wrong=keeps_wrong)), _ROW_LIMITS[-1])
        )
        if _size(shorter) <= most_bytes:
            return "\n".join(shorter)
    return _cut(shorter, most_bytes)


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode("utf-8")) + 1 for line in lines)


def _titled(lines: list[str]) -> list[str]:
    return [lines[0], "", _SHORTENED, *lines[1:]]


def _folded(lines: Sequence[str], most: int | None) -> list[str]:
    """The lines with long tables folded, and of longer ones than `most` only so many rows."""
    found: list[str] = []
    for is_table, group in groupby(lines, key=lambda line: line.startswith("|")):
        block = list(group)
        if not is_table or len(block) <= _HEADER_LINES:
            found.extend(block)
            continue
        table = _Table(block[:_HEADER_LINES], block[_HEADER_LINES:])
        shown, left = _chosen(table.rows, most)
        rest = ["", f"... and {left} more rows"] if left else []
        content = [*table.header, *shown, *rest]
        if len(shown) < _FOLDED_FROM:
            found.extend(content)
            continue
        # What is wrong must not need a click to be seen.
        start = "<details open>" if any(map(_is_wrong, shown)) else "<details>"
        summary = f"{start}<summary>{len(table.rows)} rows</summary>"
        found.extend([summary, "", *content, "", "</details>"])
    return found


def _chosen(rows: list[str], most: int | None) -> tuple[list[str], int]:
    """The rows to show, in their order, and how many are left out."""
    if most is None or len(rows) <= most:
        return rows, 0
    ranked = sorted(range(len(rows)), key=lambda i: not _is_wrong(rows[i]))
    shown = [rows[i] for i in sorted(ranked[:most])]
    return shown, len(rows) - len(shown)


def _is_wrong(row: str) -> bool:
    return any(word in row for word in _WRONG)


def _headlines(lines: Sequence[str], *, keeps_wrong: bool) -> Iterator[str]:
    """Of each model its headline alone; what failed may keep the rest."""
    section: list[str] = []
    for line in (*lines, "## "):
        if not line.startswith("## ") or not section:
            section.append(line)
            continue
        is_model = section[0].startswith("## ")
        is_kept = keeps_wrong and any(map(_is_wrong, section))
        yield from section if not is_model or is_kept else [*section[:3], ""]
        section = [line]


def _cut(lines: Sequence[str], most_bytes: int) -> str:
    """As many whole lines as fit."""
    found: list[str] = []
    left = most_bytes
    for line in lines:
        left -= len(line.encode("utf-8")) + 1
        if left < 0:
            break
        found.append(line)
    return "\n".join(found)
