"""What the text renderings share: the same facts, counted and worded once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onnx_act.report.document import ModelEntry


@dataclass(frozen=True, slots=True)
class SiteKind:
    """Sites of one activation that are written and placed alike."""

    count: int
    activation: str
    written: str
    spelling: str
    after: str
    role: str


_MOST_KINDS = 3


def parameters_text(parameters: dict[str, Any]) -> str:
    """Parameters in brackets, arrays by their shape."""
    shown = [f"{k}={_value_text(v)}" for k, v in parameters.items()]
    return f"({', '.join(shown)})" if shown else ""


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        dims = []
        inner: Any = value
        while isinstance(inner, list):
            dims.append(str(len(inner)))
            inner = inner[0] if inner else None
        return f"[{'x'.join(dims)}]"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def site_kinds(sites: Iterable[dict[str, Any]]) -> list[SiteKind]:
    """One line per kind of site, the most frequent first."""
    kinds: dict[tuple[str, ...], Counter[str]] = {}
    for site in sites:
        name = site["activation"]
        if name == "unknown":
            shown = f"unknown: {site['formula']}"
        else:
            shown = name + parameters_text(site["parameters"])
        written = ", ".join(site["operators"])
        key = (shown, written, site["spelling"], site["role"])
        kinds.setdefault(key, Counter())[site["producer"]] += 1
    found = [
        SiteKind(after.total(), shown, written, spelling, _names(after), role)
        for (shown, written, spelling, role), after in kinds.items()
    ]
    return sorted(found, key=lambda k: (-k.count, k.activation))


def compare_kinds(
    entries: Sequence[dict[str, Any]],
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Column names and rows of several models side by side: kinds of site, counted per model."""
    counts: dict[tuple[str, str, str], Counter[int]] = {}
    for column, entry in enumerate(entries):
        for kind in site_kinds(entry["sites"]):
            key = (kind.activation, kind.written, kind.role)
            counts.setdefault(key, Counter())[column] += kind.count
    rows = [
        (*key, *(str(found[c]) if found[c] else "-" for c in range(len(entries))))
        for key, found in sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
    ]
    totals = (str(sum(found[c] for found in counts.values())) for c in range(len(entries)))
    rows.append(("all", "", "", *totals))
    paths = _short_names([entry["path"] for entry in entries])
    return ("activation", "written as", "role", *paths), rows


def _short_names(paths: Sequence[str]) -> list[str]:
    """The file names, with as many folders before them as it takes to tell them apart."""
    parts = [path.replace("\\", "/").split("/") for path in paths]
    for length in range(1, max(len(p) for p in parts) + 1):
        names = ["/".join(p[-length:]) for p in parts]
        if len(set(names)) == len(set(paths)):
            return names
    return list(paths)


def _names(counts: Counter[str]) -> str:
    common = [name for name, _ in counts.most_common(_MOST_KINDS)]
    more = len(counts) - len(common)
    return ", ".join(common) + (f" and {more} more" if more else "")


def change_lines(changes: Iterable[dict[str, Any]]) -> list[tuple[int, str, str, str]]:
    """(count, rule, before, after), in the order in which they were made."""
    counts = Counter((c["rule"], c["before"], c["after"]) for c in changes)
    return [(n, *key) for key, n in counts.items()]


def refusal_lines(refusals: Iterable[dict[str, Any]]) -> list[tuple[int, str, str, str]]:
    """(count, rule, activation, reason) of what is refused, not of what is left to the runtime."""
    counts = Counter((r["rule"], r["activation"], r["reason"]) for r in refusals if not _is_left(r))
    return [(n, *key) for key, n in counts.most_common()]


def left_lines(refusals: Iterable[dict[str, Any]]) -> list[tuple[int, str, str]]:
    """(count, rule, what) of what the runtime does itself when it loads the model."""
    counts = Counter((r["rule"], r["reason"]) for r in refusals if _is_left(r))
    return [(n, *key) for key, n in counts.most_common()]


def _is_left(refusal: dict[str, Any]) -> bool:
    return bool(refusal.get("left_to_runtime", False))


def check_rows(checks: Sequence[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Column names and rows of the checks of new activations."""
    names: tuple[str, ...]
    names = ("count", "new activation", "on", "verdict", "max abs", "allowed there")
    rows: list[tuple[str, ...]] = [
        (
            str(c["count"]),
            c["written"],
            c["provider"],
            "passed" if c["passed"] else "FAILED",
            figure(c["max_abs"]),
            figure(c["allowed"]),
        )
        for c in checks
    ]
    if not any(c["differs_at"] for c in checks):
        return names, rows
    differ = [", ".join(c["differs_at"]) or "-" for c in checks]
    return (*names, "differs at"), [(*r, d) for r, d in zip(rows, differ, strict=True)]


def equivalence_rows(equivalence: dict[str, Any]) -> list[tuple[str, ...]]:
    """provider, output, verdict, max abs, allowed share, noise floor, per output."""
    rows: list[tuple[str, ...]] = []
    for provider in equivalence["providers"]:
        name = short_provider(provider["provider"])
        if not provider["outputs"]:
            rows.append((name, "-", "FAILED", "-", "-", "-"))
        rows.extend(
            (
                name,
                output["output"],
                "passed" if output["passed"] else "FAILED",
                figure(output["max_abs"]),
                f"{figure(output['minimum_tolerance'])} x"
                + (" of what was given" if output.get("is_given") else ""),
                figure(output["noise_floor"]["max_abs"]),
            )
            for output in provider["outputs"]
        )
    return rows


def provider_reasons(equivalence: dict[str, Any]) -> list[str]:
    """Why each provider failed, where there are several; the headline tells the reason of one."""
    if len(equivalence["providers"]) < 2:
        return []
    return [
        f"{short_provider(p['provider'])}: {p['reason']}"
        for p in equivalence["providers"]
        if not p["passed"]
    ]


def drift_rows(drift: dict[str, Any]) -> list[tuple[str, ...]]:
    """output, max abs, mean abs, SQNR, cosine, top-1 agreement, accuracy."""
    rows: list[tuple[str, ...]] = []
    for output in drift["outputs"]:
        difference = output["difference"]
        if difference is None:
            rows.append((output["output"], "-", "-", "-", "-", "shapes differ", "-"))
            continue
        rows.append(
            (
                output["output"],
                figure(difference["max_abs"]),
                figure(difference["mean_abs"]),
                "identical" if difference["identical"] else f"{figure(difference['sqnr_db'])} dB",
                figure(difference["cosine"]),
                share(difference["top1"]),
                _accuracies(output),
            )
        )
    return rows


def _accuracies(output: dict[str, Any]) -> str:
    before, after = output["accuracy_before"], output["accuracy_after"]
    return "-" if before is None or after is None else f"{share(before)} -> {share(after)}"


def share(agreement: dict[str, Any] | None) -> str:
    """An agreement as a percentage, `-` when there is none."""
    if agreement is None or not agreement["total"]:
        return "-"
    return f"{100 * agreement['agreed'] / agreement['total']:.2f} %"


def latency_rows(entry: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """provider, model, median, p90, p99, ratio."""
    rows: list[tuple[str, ...]] = []
    for latency in entry:
        name = short_provider(latency["provider"])
        for key, label in (("a", "original"), ("b", "result")):
            timing = latency[key]
            if timing is None:
                continue
            figures = (duration(timing[k]) for k in ("median_s", "p90_s", "p99_s"))
            ratio = ratio_text(latency["ratio"]) if key == "b" else ""
            label_shown = label if latency["b"] is not None else "model"
            rows.append((name, label_shown, *figures, ratio))
    return rows


def ratio_text(ratio: dict[str, Any] | None) -> str:
    """A ratio with its interval and verdict."""
    if ratio is None:
        return ""
    span = f"{ratio['median']:.3f}x [{ratio['low']:.3f}, {ratio['high']:.3f}]"
    if ratio["verdict"] == "no difference shown":
        return f"{span} {ratio['verdict']} (could show {100 * ratio['resolution']:.1f} %)"
    return f"{span} {ratio['verdict']}"


def short_provider(name: str) -> str:
    """`cpu` for CPUExecutionProvider."""
    return name.removesuffix("ExecutionProvider").lower()


def figure(value: Any) -> str:
    """A number with three digits; JSON's null stands for what is not finite."""
    return "not finite" if value is None else f"{value:.3g}"


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1.0:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


BOUND_NAMES = ("bound", "limit", "value", "verdict", "from")


def bound_rows(bounds: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    """One row for each bound that was asked for."""
    rows: list[tuple[str, ...]] = []
    for bound in bounds:
        value = "-" if bound["value"] is None else f"{bound['value']:.4g}"
        verdict = "held" if bound["held"] else "FAILED"
        rows.append((bound["name"], f"{bound['limit']:g}", value, verdict, bound["reason"]))
    return rows


def headline(entry: ModelEntry) -> str:
    """PASSED, FAILED or REFUSED, with what it rests on."""
    if entry.outcome.value == "failed":
        return f"FAILED: {entry.message}"
    if entry.outcome.value == "refused":
        return f"REFUSED: {entry.message}"
    where = f"; wrote {entry.output}" if entry.output else ""
    if entry.exit_code:
        return f"FAILED: {entry.message}{where}"
    if entry.equivalence is None:
        # Where nothing was to be changed there is nothing that could be validated.
        return f"DONE{where}" if entry.changes is None else f"DONE (not validated){where}"
    if entry.coverage is not None and not entry.coverage.to_dict()["is_complete"]:
        return f"PASSED on what was exercised{where}"
    return f"PASSED{where}"
