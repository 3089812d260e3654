"""The table of a batch: one line a model, and one for all of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BATCH_NAMES: Final = ("model", "outcome", "exit", "changes", "ratio", "time", "what")


def batch_rows(
    batch: Mapping[str, Any], models: Sequence[Mapping[str, Any]]
) -> list[tuple[str, ...]]:
    """One row for each model, in the order of the report.

    Args:
        batch: the part `batch` of the document.
        models: its entries.
    """
    common = _common_folder([entry["path"] for entry in models])
    return [
        (
            _below(entry["path"], common),
            entry["outcome"] + (", before" if part["is_skipped"] else ""),
            str(entry["exit_code"]),
            str(len(entry["changes"])) if "changes" in entry else "",
            "; ".join(_ratio(latency) for latency in entry.get("latency", [])),
            f"{part['seconds']:.1f} s",
            " ".join(entry["message"].split()),
        )
        for part, entry in zip(batch["models"], models, strict=True)
    ]


def batch_lines(batch: Mapping[str, Any], models: Sequence[Mapping[str, Any]]) -> list[str]:
    """What became of all of them together."""
    counts = Counter(entry["outcome"] for entry in models)
    parts = [f"{counts[name]} {name}" for name in ("done", "refused", "failed") if counts[name]]
    jobs = f", {batch['jobs']} at a time" if batch["jobs"] else ""
    lines = [f"{len(models)} models: {', '.join(parts)} in {batch['seconds']:.1f} s{jobs}"]
    before = [
        entry for part, entry in zip(batch["models"], models, strict=True) if part["is_skipped"]
    ]
    if before:
        failed = sum(1 for entry in before if entry["exit_code"])
        again = f", {failed} of them failed (--retry failed tries again)" if failed else ""
        lines.append(f"{len(before)} were done before, from the same bytes, alike{again}")
    if batch["outcomes"]:
        lines.append(f"outcomes: {batch['outcomes']}")
    return lines


def _ratio(latency: Mapping[str, Any]) -> str:
    ratio = latency.get("ratio")
    if not ratio:
        return ""
    return f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def _common_folder(paths: Sequence[str]) -> Path | None:
    """The folder that all of several are below."""
    if len(paths) < 2:
        return None
    parents = [set(Path(path).parents) for path in paths]
    shared = set.intersection(*parents)
    return max(shared, key=lambda p: len(p.parts), default=None)


def _below(path: str, folder: Path | None) -> str:
    return path if folder is None else str(Path(path).relative_to(folder))
