"""The document as Markdown, fit for a job summary."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from onnx_act.report.baseline_summary import (
    BASELINE_NAMES,
    baseline_lines,
    baseline_rows,
)
from onnx_act.report.batch_summary import BATCH_NAMES, batch_lines, batch_rows
from onnx_act.report.characters import printable
from onnx_act.report.equivalence_summary import (
    DIFFERENCE_NAMES,
    DIFFERENCE_TITLE,
    SOURCE_NAMES,
    SOURCE_TITLE,
    difference_rows,
    source_rows,
)
from onnx_act.report.job_summary import fit_summary
from onnx_act.report.latency_summary import (
    latency_notes,
    latency_tables,
    operator_notes,
    operator_tables,
)
from onnx_act.report.locate_summary import (
    COVERAGE_NAMES,
    coverage_lines,
    coverage_rows,
    locate_lines,
)
from onnx_act.report.placement_summary import (
    PLACEMENT_NAMES,
    PRODUCTION_NAMES,
    PRODUCTION_TITLE,
    placement_rows,
    production_rows,
)
from onnx_act.report.summary import (
    BOUND_NAMES,
    bound_rows,
    change_lines,
    check_rows,
    drift_rows,
    equivalence_rows,
    headline,
    left_lines,
    provider_reasons,
    refusal_lines,
    site_kinds,
)
from onnx_act.report.tuning_summary import (
    GROUP_NAMES,
    WAY_NAMES,
    group_rows,
    tuning_lines,
    way_rows,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onnx_act.report.document import ModelEntry, Report


# What Markdown would take for emphasis, code, a link or the end of a cell. Within a word, an
# underline is one.
_MARKS: Final = re.compile(r"[\\`*~|]|(?<=\])\(|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_WRITTEN: Final = re.compile(r"\\([\\`*~|(_])")


def render_markdown(report: Report) -> str:
    """The document as Markdown text that fits a job summary."""
    return fit_summary(document_markdown(report))


def document_markdown(report: Report) -> str:
    """The whole document as Markdown text, however long it is."""
    parts = [f"# onnx-act {report.command}", ""]
    if "batch" in report.details:
        batch, models = report.details["batch"], [entry.to_dict() for entry in report.models]
        parts.extend(_section("models", BATCH_NAMES, batch_rows(batch, models)))
        parts.extend([*(_cell(line) + "  " for line in batch_lines(batch, models)), ""])
    for entry in report.models:
        parts.extend(_entry(entry))
    if "baseline" in report.details:
        lines = baseline_lines(report.details["baseline"])
        parts.extend([*(f"- {_cell(line)}" for line in lines), ""])
    data = report.to_dict()
    environment = ", ".join(f"{k} {v}" for k, v in data["environment"].items())
    parts.extend([f"onnx-act {data['version']}; {environment}", ""])
    return "\n".join(parts)


def _entry(entry: ModelEntry) -> list[str]:
    data = entry.to_dict()
    beside = f" against {entry.against}" if entry.against else ""
    parts = [f"## {_cell(entry.path + beside)}", "", f"**{_cell(headline(entry))}**", ""]
    if "sites" in data:
        rows = [
            (str(k.count), k.activation, k.written, k.spelling, k.after, k.role)
            for k in site_kinds(data["sites"])
        ]
        names: tuple[str, ...]
        names = ("count", "activation", "written as", "spelling", "after", "role")
        parts.extend(_section("Activations", names, rows))
    if data.get("changes"):
        rows3 = [(str(n), r, f"{b} -> {a}") for n, r, b, a in change_lines(data["changes"])]
        parts.extend(_section("Changes", ("count", "rule", "what"), rows3))
    if "tuning" in data:
        parts.extend(_tuning(data["tuning"]))
    left = [(str(n), r, what) for n, r, what in left_lines(data.get("refusals", ()))]
    if left:
        parts.extend(_section("Left to the runtime", ("count", "rule", "what"), left))
    rows4 = [(str(n), r, a, why) for n, r, a, why in refusal_lines(data.get("refusals", ()))]
    if rows4:
        names = ("count", "rule", "activation", "because")
        parts.extend(_section("Left as it is", names, rows4))
    parts.extend(_evidence(data))
    parts.extend(f"- {_cell(note)}" for note in data["notes"])
    parts.append("")
    return parts


def _tuning(tuning: dict[str, Any]) -> list[str]:
    parts = _section("Tuning", GROUP_NAMES, group_rows(tuning))
    parts.extend(_section("Ways to write them", WAY_NAMES, way_rows(tuning)))
    return [*parts, *(f"- {_cell(line)}" for line in tuning_lines(tuning)), ""]


def _evidence(data: dict[str, Any]) -> list[str]:
    parts: list[str] = []
    if data.get("checks"):
        names, rows = check_rows(data["checks"])
        parts.extend(_section("New activations against their reference", names, rows))
    if "equivalence" in data:
        names = ("on", "output", "verdict", "max abs", "tolerance needed", "noise floor")
        parts.extend(_section("Equivalence", names, equivalence_rows(data["equivalence"])))
        parts.extend(_apart(data["equivalence"]))
        reasons = provider_reasons(data["equivalence"])
        parts.extend([*(f"- {_cell(r)}" for r in reasons), ""] if reasons else [])
    if "production" in data:
        title = PRODUCTION_TITLE[:1].upper() + PRODUCTION_TITLE[1:]
        parts.extend(_section(title, PRODUCTION_NAMES, production_rows(data["production"])))
    if data.get("placement"):
        parts.extend(_section("Placement", PLACEMENT_NAMES, placement_rows(data["placement"])))
    if "locate" in data:
        lines = locate_lines(data["locate"])
        parts.extend(["### Where they part", "", *(f"- {_cell(line)}" for line in lines), ""])
    if "drift" in data:
        names = ("output", "max abs", "mean abs", "SQNR", "cosine", "top-1 agrees", "accuracy")
        parts.extend(_section("Drift from the original", names, drift_rows(data["drift"])))
    if "coverage" in data:
        rows = coverage_rows(data["coverage"])
        parts.extend(_section("What was exercised of changed activations", COVERAGE_NAMES, rows))
        lines = coverage_lines(data["coverage"])
        parts.extend([*(f"- {_cell(line)}" for line in lines), ""] if lines else [])
    if data.get("latency"):
        parts.extend(_latency(data["latency"], data.get("operators", [])))
    if "bounds" in data:
        parts.extend(_section("Bounds", BOUND_NAMES, bound_rows(data["bounds"])))
    if data.get("baseline"):
        rows = baseline_rows(data["baseline"])
        parts.extend(_section("Against the baseline", BASELINE_NAMES, rows))
    return parts


def _latency(latency: list[dict[str, Any]], operators: list[dict[str, Any]]) -> list[str]:
    tables = (*latency_tables(latency), *operator_tables(operators))
    parts = [
        line
        for title, names, rows in tables
        for line in _section(title[0].upper() + title[1:], names, rows)
    ]
    notes = (*operator_notes(operators), *latency_notes(latency))
    return [*parts, *(f"- {_cell(note)}" for note in notes), *([""] if notes else [])]


def _apart(equivalence: dict[str, Any]) -> list[str]:
    parts: list[str] = []
    for title, names, rows in (
        (DIFFERENCE_TITLE, DIFFERENCE_NAMES, difference_rows(equivalence)),
        (SOURCE_TITLE, SOURCE_NAMES, source_rows(equivalence)),
    ):
        if rows:
            parts.extend(_section(title[:1].upper() + title[1:], names, rows))
    return parts


def _section(title: str, names: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"### {title}", "", _row(names), _row(["---"] * len(names))]
    lines.extend(_row([_cell(c) for c in row]) for row in rows)
    lines.append("")
    return lines


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    line = printable(text.replace("\n", " ")).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKS.sub(r"\\\g<0>", line)


def plain_text(text: str) -> str:
    """What stood in a cell, heading or line of a document before it was written as Markdown."""
    return _WRITTEN.sub(r"\1", text).replace("&lt;", "<").replace("&amp;", "&")
