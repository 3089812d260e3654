"""The document as test cases: one for every model, and one for every piece of its evidence.

What a rendering for test reports needs, whatever its format. A report has a case that did not
pass exactly when its exit code is not 0.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from onnx_act.errors import EvidenceError
from onnx_act.report.baseline_summary import comparison_text
from onnx_act.report.latency_summary import setting_text
from onnx_act.report.summary import (
    bound_rows,
    change_lines,
    drift_rows,
    duration,
    figure,
    headline,
    ratio_text,
    short_provider,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_act.report.document import ModelEntry, Report

#: Commands that judge whether a result computes the same, unless they are told not to.
_JUDGING: Final = frozenset({"convert", "swap", "fuse", "tune", "validate"})


class Status(enum.Enum):
    """How a case ended."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        name: what was looked at, the model's path first; no two of a report are the same.
        status: how it ended.
        message: one sentence on why it did not pass, "" where it did.
        lines: the figures, and what else a reader should know.
        seconds: how long it took, None where nobody measured that.
        kind: what sort of failure it is: `evidence`, `usage`, `model`, `provider`, `bug`.
    """

    name: str
    status: Status = Status.PASSED
    message: str = ""
    lines: tuple[str, ...] = ()
    seconds: float | None = None
    kind: str = "evidence"


def cases_of(report: Report) -> list[Case]:
    """The cases of every model: itself, then its evidence in the order in which it is gathered."""
    seen: Counter[str] = Counter()
    found: list[Case] = []
    for entry in report.models:
        for case in _of_entry(entry, report.command):
            name = f"{entry.path}: {case.name}" if case.name else entry.path
            seen[name] += 1
            # A file may be named twice, and its outputs are called what they are called.
            numbered = name if seen[name] == 1 else f"{name} ({seen[name]})"
            found.append(replace(case, name=numbered))
    return found


def _of_entry(entry: ModelEntry, command: str) -> list[Case]:
    data = entry.to_dict()
    found: list[Case] = []
    for part in (_checks, _equivalence, _bounds, _baseline, _latency, _placement):
        found.extend(part(data))
    if "equivalence" not in data and command in _JUDGING and not entry.exit_code:
        found.append(Case("equivalence", Status.SKIPPED, "it was not validated"))
    spent = sum(case.seconds or 0.0 for case in found)
    return [_model(entry, data, spent), *found]


def _model(entry: ModelEntry, data: dict[str, Any], spent: float) -> Case:
    """The model itself; its time is what its evidence did not take."""
    lines = [] if entry.exit_code else [headline(entry)]
    if entry.against is not None:
        lines.append(f"against {entry.against}")
    lines.extend(
        f"{count} x {rule}: {before} -> {after}"
        for count, rule, before, after in change_lines(data.get("changes", ()))
    )
    lines.extend(
        f"drift of {row[0]}: max abs {row[1]}, SQNR {row[3]}, accuracy {row[6]}"
        for row in drift_rows(data.get("drift", {"outputs": ()}))
    )
    lines.extend(f"note: {note}" for note in entry.notes)
    total = data.get("duration_s")
    seconds = None if total is None else max(0.0, total - spent)
    status = Status.PASSED
    if entry.exit_code == EvidenceError.exit_code:
        status = Status.FAILED
    elif entry.exit_code:
        status = Status.ERROR
    message = (entry.message or headline(entry)) if entry.exit_code else ""
    return Case("", status, message, tuple(lines), seconds, _kind(entry.exit_code))


def _kind(code: int) -> str:
    return {0: "evidence", 1: "evidence", 2: "usage", 3: "model", 4: "provider"}.get(code, "bug")


def _judged(name: str, reason: str, lines: tuple[str, ...], *, passed: bool) -> Case:
    status = Status.PASSED if passed else Status.FAILED
    return Case(name, status, "" if passed else reason, lines)


def _checks(data: dict[str, Any]) -> Iterator[Case]:
    for check in data.get("checks", ()):
        found = f"max abs {figure(check['max_abs'])}, allowed there {figure(check['allowed'])}"
        name = f"new activation {check['written']} on {check['provider']}"
        reason = f"{check['written']} is off its float64 reference: {found}"
        yield _judged(name, reason, (found,), passed=check["passed"])


def _equivalence(data: dict[str, Any]) -> Iterator[Case]:
    if "equivalence" not in data:
        return
    for provider in data["equivalence"]["providers"]:
        where = short_provider(provider["provider"])
        notes = tuple(f"note: {note}" for note in provider["notes"])
        if not provider["outputs"]:
            reason = provider["reason"] or "nothing was compared"
            yield _judged(f"equivalence on {where}", reason, notes, passed=provider["passed"])
        for output in provider["outputs"]:
            found = (
                f"max abs {figure(output['max_abs'])}",
                f"tolerance needed {figure(output['minimum_tolerance'])} x"
                + (" of what was given" if output.get("is_given") else ""),
                f"noise floor {figure(output['noise_floor']['max_abs'])}",
            )
            name = f"equivalence on {where}: output {output['output']}"
            reason = output.get("reason") or provider["reason"] or ", ".join(found)
            yield _judged(name, reason, (*found, *notes), passed=output["passed"])


def _bounds(data: dict[str, Any]) -> Iterator[Case]:
    bounds = data.get("bounds", ())
    for bound, row in zip(bounds, bound_rows(bounds), strict=True):
        said = f"{row[2]}, the limit is {row[1]} ({row[4]})"
        reason = f"bound {bound['name']} does not hold: {said}"
        yield _judged(f"bound {bound['name']}", reason, (said,), passed=bound["held"])


def _baseline(data: dict[str, Any]) -> Iterator[Case]:
    for comparison in data.get("baseline", ()):
        said = comparison_text(comparison)
        name = f"baseline: {comparison['what']}"
        yield _judged(name, said, (said,), passed=not comparison["is_worse"])


def _latency(data: dict[str, Any]) -> Iterator[Case]:
    measured = data.get("latency")
    if measured == []:
        reasons = [note for note in data["notes"] if "latency" in note]
        yield Case("latency", Status.SKIPPED, "; ".join(reasons) or "it was not measured")
    for latency in measured or ():
        models = [(k, latency[k]) for k in ("a", "b") if latency[k] is not None]
        labels = {"a": "original", "b": "result"} if len(models) > 1 else {"a": "model"}
        lines = [
            f"{labels[key]}: median {duration(timing['median_s'])}, p90 "
            f"{duration(timing['p90_s'])}, p99 {duration(timing['p99_s'])}"
            for key, timing in models
        ]
        if latency["ratio"] is not None:
            lines.append(f"original / result {ratio_text(latency['ratio'])}")
        lines.extend(f"warning: {warning}" for warning in latency["warnings"])
        yield Case(
            f"latency on {short_provider(latency['provider'])}{setting_text(latency)}",
            lines=tuple(lines),
            seconds=latency.get("seconds"),
        )


def _placement(data: dict[str, Any]) -> Iterator[Case]:
    for placed in data.get("placement", ()):
        where = short_provider(placed["provider"])
        nodes = placed["nodes"] or {}
        counted = ", ".join(f"{n} {short_provider(p)}" for p, n in nodes.items())
        elsewhere = [f"{node['op_type']} {node['name']!r}" for node in placed["elsewhere"]]
        lines = [f"nodes: {counted or 'not known'}"]
        if elsewhere:
            lines.append(f"elsewhere: {', '.join(elsewhere)}")
        # The complaint of the strict judgement, which alone makes nodes elsewhere a failure.
        held_against = f"instead of {where} in the {placed['model']}:" in data["message"]
        reason = f"{len(elsewhere)} nodes run elsewhere than on {where}"
        name = f"placement on {where}: {placed['model']}"
        yield _judged(name, reason, tuple(lines), passed=not (elsewhere and held_against))
