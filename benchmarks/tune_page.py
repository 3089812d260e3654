"""The figures of `tune.py` as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ratios import interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: The columns of ratios, as keys of the figures and as headings.
COLUMNS: Final = {
    "tune": "onnx-act tune",
    "ONNX Runtime offline": "ONNX Runtime offline",
    "onnxsim": "onnxsim",
    "onnxslim": "onnxslim",
    "limit": "Relu instead",
    "openvino": "OpenVINO",
}
_LONGEST: Final = 120


def shown(found: Mapping[str, Any] | None) -> str:
    """One cell: a ratio only where the result is equivalent, else what is the matter."""
    if found is None:
        return ""
    if "failed" in found:
        return cell(f"failed: {found['failed']}")
    if not found["equivalent"]:
        return cell(f"not equivalent: {found['reason']}")
    remark = ", as it was" if found.get("is_untouched") else ""
    if found.get("left_to_cpu"):
        remark = f", {found['left_to_cpu']} nodes left to the CPU"
    return interval(found["ratio"]) + remark


def over_limit(results: Mapping[str, Any]) -> float | None:
    """Time of the tuned network over its time with Relu; None where either is not known."""
    ours, limit = results["tune"].get("ratio"), (results.get("limit") or {}).get("ratio")
    if ours is None or limit is None:
        return None
    return float(limit["median"] / ours["median"])


def targets(nets: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Network, what was wanted, what was reached, and whether that is enough."""
    rows = []
    for name, results in nets.items():
        ratio = results["tune"].get("ratio")
        wanted = results["wanted"]
        # What should merely not be slower may be so within its interval.
        end = "high" if wanted < 1.0 else "median"
        is_reached = ratio is not None and ratio[end] >= wanted
        reached = "nothing" if ratio is None else f"{ratio['median']:.2f}"
        rows.append((name, f"{wanted:.2f}", reached, "yes" if is_reached else "NO"))
    return rows


def page(document: Mapping[str, Any]) -> str:
    """The page, of what `tune.py` writes as JSON."""
    nets = document["nets"]
    about = document["environment"]
    peers = ", ".join(f"{name} {number}" for name, number in document["peers"].items() if number)
    openvino = sorted({v for r in nets.values() if (v := (r.get("openvino") or {}).get("version"))})
    written = (
        f"Written by `python benchmarks/tune.py` with a budget of {document['budget_s']:g} s a "
        f"network and {document['seconds_per_ratio']:g} s a ratio: "
        f"ONNX Runtime {about.get('onnxruntime', '?')}, {peers or 'no other tool'}"
        f"{f', onnxruntime-openvino {openvino[0]}' if openvino else ''}, {document['cpu']}, one "
        f"thread. Ratios are time of the original over time of the result, with 95 % intervals, "
        f"measured in turn at the runtime's default level; above 1 the result is the faster. "
        f"[Benchmarks](benchmarks.md) says what the columns mean."
    )
    keys = [key for key in COLUMNS if any(r.get(key) for r in nets.values())]
    parts = [
        "# Tuning beside others",
        written,
        table(
            ("network", *(COLUMNS[key] for key in keys), "time / Relu's"),
            (
                (name, *(shown(r.get(key)) for key in keys), _factor(over_limit(r)))
                for name, r in nets.items()
            ),
        ),
        "## What was chosen",
        table(
            (
                "network",
                "activation",
                "sites",
                "share of time",
                "before",
                "after",
                "p99 ulp before",
                "p99 ulp after",
            ),
            (row for name, r in nets.items() for row in _choices(name, r)),
        ),
        "## What was hoped for",
        table(("network", "wanted", "reached", "enough"), targets(nets)),
    ]
    return "\n\n".join(parts) + "\n"


def _choices(name: str, results: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    for row in results.get("spellings", ()):
        after = "" if row["after"] is None else f"`{row['after']}`"
        yield (
            name,
            row["activation"],
            str(row["sites"]),
            f"{100 * row['share']:.1f} %",
            cell(row["before"]),
            cell(after or f"unchanged: {row['reason']}"),
            ulp(row["p99_before"]),
            ulp(row["p99_after"]),
        )


def ulp(error: float | None) -> str:
    """An error in units in the last place; above 10,000 only its size matters."""
    if error is None:
        return ""
    return f"{error:.1f}" if error < 10_000.0 else f"{error:.0e}"


def _factor(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def cell(text: str, longest: int = _LONGEST) -> str:
    """Text as it may stand in a table."""
    plain = " ".join(text.split()).replace("|", "/")
    return plain if len(plain) <= longest else f"{plain[:longest]} ..."


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
