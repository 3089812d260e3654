"""The document for a person at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.markup import escape
from rich.table import Table

from onnx_act.report.baseline_summary import (
    BASELINE_NAMES,
    BASELINE_TITLE,
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
    compare_kinds,
    drift_rows,
    equivalence_rows,
    headline,
    left_lines,
    parameters_text,
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

    from rich.console import Console

    from onnx_act.report.document import ModelEntry, Report

_MOST_REFUSALS: Final = 12
_MOST_OUTPUTS: Final = 8
_MOST_WAYS: Final = 40


def render_report(console: Console, report: Report, *, every_site: bool = False) -> None:
    """Print every part of the document that the command produced.

    Args:
        console: where to.
        report: what.
        every_site: one line per site instead of one per kind.
    """
    shown = report.models
    if "batch" in report.details:
        _batch(console, report)
        return
    if report.command == "inspect" and not every_site:
        read = [entry for entry in report.models if entry.sites is not None]
        if len(read) > 1:
            console.print(_side_by_side(read))
            console.print()
            shown = tuple(entry for entry in report.models if entry.sites is None)
    for entry in shown:
        _entry(console, entry, report.command, every_site=every_site)
    if "baseline" in report.details:
        for line in baseline_lines(report.details["baseline"]):
            console.print(_shown(line))


def _shown(text: str) -> str:
    """Text that is neither markup nor a command to the terminal."""
    return escape(printable(text))


def _batch(console: Console, report: Report) -> None:
    batch, models = report.details["batch"], [entry.to_dict() for entry in report.models]
    console.print(_table("models", BATCH_NAMES, batch_rows(batch, models)))
    for line in batch_lines(batch, models):
        style = "bold red" if report.exit_code else "bold green"
        console.print(_shown(line), style=style)


def _side_by_side(entries: Sequence[ModelEntry]) -> Table:
    """One line per kind of activation, one column per model."""
    names, rows = compare_kinds([entry.to_dict() for entry in entries])
    return _table("activations", names, rows)


def _entry(console: Console, entry: ModelEntry, command: str, *, every_site: bool) -> None:
    beside = f" against {entry.against}" if entry.against else ""
    console.print(f"[bold]{_shown(entry.path + beside)}[/bold]")
    data = entry.to_dict()
    if every_site and "sites" in data:
        console.print(_site_table(data["sites"]))
    elif "sites" in data:
        console.print(_kind_table(data["sites"]))
    if data.get("changes"):
        rows = [(str(n), r, f"{b} -> {a}") for n, r, b, a in change_lines(data["changes"])]
        console.print(_table("changes", ("count", "rule", "what"), rows))
    if "tuning" in data:
        _tuning(console, data["tuning"])
    if data.get("refusals"):
        _refusals(console, data["refusals"])
    if data.get("checks"):
        _checks(console, data["checks"])
    if "equivalence" in data:
        _equivalence(console, data["equivalence"], placed="placement" in data)
        if command == "validate":
            _apart(console, data["equivalence"])
    if "production" in data:
        apart = production_rows(data["production"])[:_MOST_OUTPUTS]
        console.print(_table(PRODUCTION_TITLE, PRODUCTION_NAMES, apart))
    if data.get("placement"):
        console.print(_table("placement", PLACEMENT_NAMES, placement_rows(data["placement"])))
    if "locate" in data:
        _titled(console, "where they part", locate_lines(data["locate"]))
    if "drift" in data:
        names = ("output", "max abs", "mean abs", "SQNR", "cosine", "top-1 agrees", "accuracy")
        console.print(_table("drift from the original", names, drift_rows(data["drift"])))
    if "coverage" in data:
        coverage = data["coverage"]
        title = "what was exercised of changed activations"
        console.print(_table(title, COVERAGE_NAMES, coverage_rows(coverage)))
        for line in coverage_lines(coverage):
            console.print(f"note: {_shown(line)}")
    if data.get("latency"):
        _latency(console, data)
    if "bounds" in data:
        console.print(_table("bounds", BOUND_NAMES, bound_rows(data["bounds"])))
    if data.get("baseline"):
        console.print(_table(BASELINE_TITLE, BASELINE_NAMES, baseline_rows(data["baseline"])))
    if "size" in data:
        size = data["size"]
        console.print(
            f"nodes {size['nodes_before']} -> {size['nodes_after']}, "
            f"bytes {size['bytes_before']:,} -> {size['bytes_after']:,}"
        )
    for note in data["notes"]:
        console.print(f"note: {_shown(note)}")
    if command not in {"inspect", "bench"} or entry.exit_code:
        style = "bold red" if entry.exit_code else "bold green"
        console.print(_shown(headline(entry)), style=style)
    console.print()


def _table(title: str, names: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in names:
        right = name in {"count", "max abs", "mean abs", "noise floor", "median", "p90", "p99"}
        table.add_column(_shown(name), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_shown(cell) for cell in row))
    return table


def _kind_table(sites: list[dict[str, Any]]) -> Table:
    names = ("count", "activation", "written as", "spelling", "after", "role")
    rows = [
        (str(k.count), k.activation, k.written, k.spelling, k.after, k.role)
        for k in site_kinds(sites)
    ]
    return _table("activations", names, rows or [("0", "none found", "", "", "", "")])


def _site_table(sites: list[dict[str, Any]]) -> Table:
    names = ("index", "activation", "id", "written as", "after", "before", "role", "depth")
    rows = [
        (
            str(s["index"]),
            s["activation"] + parameters_text(s["parameters"])
            if s["activation"] != "unknown"
            else f"unknown: {s['formula']}",
            s["id"],
            ", ".join(s["operators"]),
            s["producer"],
            ", ".join(s["consumers"]),
            s["role"],
            str(s["depth"]),
        )
        for s in sites
    ]
    return _table("activations", names, rows or [("", "none found", "", "", "", "", "", "")])


def _refusals(console: Console, refusals: list[dict[str, Any]]) -> None:
    left = [(str(n), rule, what) for n, rule, what in left_lines(refusals)]
    if left:
        shown = left[:_MOST_REFUSALS]
        console.print(_table("left to the runtime", ("count", "rule", "what"), shown))
        _say_more(console, len(left), "kinds")
    lines = refusal_lines(refusals)
    if lines:
        rows = [(str(n), rule, act, reason) for n, rule, act, reason in lines[:_MOST_REFUSALS]]
        console.print(_table("left as it is", ("count", "rule", "activation", "because"), rows))
        _say_more(console, len(lines), "reasons")


def _say_more(console: Console, count: int, what: str) -> None:
    if count > _MOST_REFUSALS:
        console.print(f"... and {count - _MOST_REFUSALS} more {what}; see --report")


def _checks(console: Console, checks: list[dict[str, Any]]) -> None:
    names, rows = check_rows(checks)
    console.print(_table("new activations against their float64 reference", names, rows))


def _equivalence(console: Console, equivalence: dict[str, Any], *, placed: bool) -> None:
    names = ("on", "output", "verdict", "max abs", "tolerance needed", "noise floor")
    # Of many outputs, those that failed must be among the ones that are shown.
    rows = sorted(equivalence_rows(equivalence), key=lambda row: row[2] != "FAILED")
    console.print(_table("equivalence", names, rows[:_MOST_OUTPUTS]))
    if len(rows) > _MOST_OUTPUTS:
        failed = sum(r[2] == "FAILED" for r in rows)
        console.print(f"... and {len(rows) - _MOST_OUTPUTS} more; {failed} failed in all")
    for reason in provider_reasons(equivalence):
        console.print(_shown(reason))
    for provider in equivalence["providers"]:
        for note in provider["notes"]:
            console.print(f"note: {_shown(note)}")
        elsewhere = provider["candidate_elsewhere"]
        if elsewhere and not placed:
            kinds = sorted({n["op_type"] for n in elsewhere})
            console.print(
                f"note: {len(elsewhere)} nodes run elsewhere than asked ({', '.join(kinds)})"
            )


def _apart(console: Console, equivalence: dict[str, Any]) -> None:
    rows = difference_rows(equivalence)
    if rows:
        console.print(_table(DIFFERENCE_TITLE, DIFFERENCE_NAMES, rows[:_MOST_OUTPUTS]))
    sources = source_rows(equivalence)
    if sources:
        console.print(_table(SOURCE_TITLE, SOURCE_NAMES, sources[:_MOST_OUTPUTS]))


def _titled(console: Console, title: str, lines: Iterable[str]) -> None:
    console.print(_shown(title), style="bold")
    for line in lines:
        console.print(_shown(line))


def _tuning(console: Console, tuning: dict[str, Any]) -> None:
    groups, ways = group_rows(tuning), way_rows(tuning)
    if groups:
        console.print(_table("tuning", GROUP_NAMES, groups[:_MOST_REFUSALS]))
        _say_more(console, len(groups), "groups")
    if ways:
        title = "ways to write them: how many times as fast"
        console.print(_table(title, WAY_NAMES, ways[:_MOST_WAYS]))
    for line in tuning_lines(tuning):
        console.print(_shown(line))


def _latency(console: Console, data: dict[str, Any]) -> None:
    latency, operators = data["latency"], data.get("operators", [])
    for table in (*latency_tables(latency), *operator_tables(operators)):
        console.print(_table(*table))
    for note in (*operator_notes(operators), *latency_notes(latency)):
        console.print(f"note: {_shown(note)}")
