"""The figures of `corpus_tune.py` as a Markdown page."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from ratios import interval
from tune_page import cell, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ALL = 10**6


def page(document: Mapping[str, Any]) -> str:
    """The page, of what `corpus_tune.py` writes as JSON."""
    results: Mapping[str, dict[str, Any]] = document["models"]
    wrong: Mapping[str, Sequence[str]] = document["defects"]
    about = document["environment"]
    sound = {n: f for n, f in results.items() if f["status"] == "equivalent"}
    kept = {n: f for n, f in sound.items() if f["is_kept"]}
    left = {n: f for n, f in sound.items() if not f["is_kept"]}
    others = {n: f for n, f in results.items() if f["status"] != "equivalent"}
    verdicts = Counter(f["ratio"]["verdict"] for f in kept.values())
    written = (
        f"Written by `python benchmarks/corpus_tune.py` with a budget of "
        f"{document['budget_s']:g} s a model and {document['seconds_per_model']:g} s of measuring "
        f"its result, ONNX Runtime {about.get('onnxruntime', '?')}, {about['cpu']}, one thread. "
        f"[Benchmarks](benchmarks.md) says what the columns mean."
    )
    summary = (
        f"{len(sound)} of {len(results)} files are models that run here. {len(kept)} of them were "
        f"written otherwise: measured again, {verdicts['faster']} are faster, "
        f"{verdicts['slower']} slower, and of {verdicts['no difference shown']} neither was "
        f"shown. {len(left)} were left as they are."
    )
    checks = (
        f"* {what}: {cell('; '.join(names), _ALL) or 'none'}" for what, names in wrong.items()
    )
    parts = [
        "# Tuning a corpus for the CPU",
        written,
        summary,
        "\n".join(checks),
        "## What became faster",
        table(
            ("model", "chosen", "ratio", "said by tuning", "equivalent", "seconds"),
            (
                (
                    name,
                    chosen(found["groups"]),
                    interval(found["ratio"]),
                    _claim(found["claimed"]),
                    "yes",
                    f"{found['seconds']:.1f}",
                )
                for name, found in kept.items()
            ),
        ),
        "## What was left as it is",
        table(
            ("model", "groups", "because", "seconds"),
            (
                (name, str(len(f["groups"])), cell(_local(f["reason"])), f"{f['seconds']:.1f}")
                for name, f in left.items()
            ),
        ),
        "## What could not be tuned",
        table(
            ("file", "is", "because"),
            ((name, f["status"], cell(_local(f["reason"]))) for name, f in others.items()),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def chosen(groups: Sequence[Mapping[str, Any]]) -> str:
    """Counts of sites by how they were and are written, the most of them first."""
    total: Counter[str] = Counter()
    for group in groups:
        after = "unchanged" if group["after"] is None else f"`{group['after']}`"
        total[f"{group['before']} -> {after}"] += group["sites"]
    return cell("; ".join(f"{count} {what}" for what, count in total.most_common()), _ALL)


def _claim(ratio: Mapping[str, float] | None) -> str:
    return "" if ratio is None else f"{ratio['median']:.2f}"


def _local(reason: str) -> str:
    """A reason without the folders of this machine."""
    return re.sub(r"(?<!\S)/\S*/(?=\S)", "", reason)
