"""The figures of `corpus_fuse.py` as a Markdown page."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from ratios import interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_HEAD: Final = (
    "model",
    "nodes",
    "simplified",
    "folds",
    "fusions",
    "left to the runtime",
    "refused",
    "equivalent",
    "default level",
    "optimiser off",
)
_LONGEST: Final = 160
# What is particular to one model in a reason: a figure, or the name of a value before "of Conv".
_FIGURE: Final = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w])")
_NAMED: Final = re.compile(r"^\S+(?= of (?:Conv|ConvTranspose|Gemm|MatMul|BatchNormalization) )")


def shown_ratio(ratio: Mapping[str, Any] | None) -> str:
    """A ratio with its interval; None is that of a model in which nothing was changed."""
    return "same graph" if ratio is None else interval(ratio)


def page(
    results: Mapping[str, dict[str, Any]],
    wrong: Mapping[str, Sequence[str]],
    made_on: Mapping[str, str],
    seconds: float,
) -> str:
    """The page.

    Args:
        results: by model, as `corpus_fuse.measure` gives them.
        wrong: what should be empty, by what it is called.
        made_on: names of the machine and versions of packages.
        seconds: of measuring, for each model.
    """
    sound = {n: f for n, f in results.items() if f["status"] == "equivalent"}
    others = {n: f for n, f in results.items() if f["status"] != "equivalent"}
    changed = {n: f for n, f in sound.items() if "ratio" in f}
    faster = sum(f["ratio"]["verdict"] == "faster" for f in changed.values())
    slower = sum(f["ratio"]["verdict"] == "slower" for f in changed.values())
    written = (
        f"Written by `python benchmarks/corpus_fuse.py` with {seconds:g} s of measuring a model, "
        f"ONNX Runtime {made_on.get('onnxruntime', '?')}, {made_on['cpu']}, one thread. "
        f"[Benchmarks](benchmarks.md) says what the columns mean."
    )
    summary = (
        f"{len(sound)} of {len(results)} files are models that run here. {len(changed)} of them "
        f"were changed and measured: {faster} became faster at the runtime's default level, "
        f"{slower} slower, and of {len(changed) - faster - slower} neither was shown."
    )
    checks = (
        f"{what}: {_cell('; '.join(names), 10**6) or 'none'}" for what, names in wrong.items()
    )
    parts = [
        "# Folding and fusing a corpus for the CPU",
        written,
        summary,
        _list(checks),
        "## Models",
        _table(_HEAD, (_row(name, found) for name, found in sound.items())),
        "## Why something was left as it is",
        _reasons(sound.values()),
        "## What could not be fused",
        _table(
            ("file", "is", "because"),
            ((name, f["status"], _cell(_local(f["reason"]))) for name, f in others.items()),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _row(name: str, found: dict[str, Any]) -> tuple[str, ...]:
    missing = found.get("not_measured")
    ratios = [shown_ratio(found.get(key)) for key in ("ratio", "ratio_off")]
    if missing is not None:
        ratios = [_cell(_local(missing)), ""]
    refused = Counter[str]()
    for reason, count in found["refused"].items():
        refused[reason.split(": ", 1)[0]] += count
    return (
        name,
        "{} -> {}".format(*found["nodes"]),
        *(str(found[key]) for key in ("simplified", "folds", "fusions", "left_to_runtime")),
        ", ".join(f"{count} {rule}" for rule, count in refused.most_common()),
        "yes",
        *ratios,
    )


def _reasons(found: Iterable[dict[str, Any]]) -> str:
    total: Counter[tuple[str, str]] = Counter()
    for one in found:
        for reason, count in one["refused"].items():
            rule, because = reason.split(": ", 1)
            total[rule, general(because)] += count
    rows = ((str(n), f"`{rule}`", _cell(because)) for (rule, because), n in total.most_common())
    return _table(("count", "rule", "because"), rows)


def general(reason: str) -> str:
    """A reason without the names and figures of one model."""
    return _FIGURE.sub("N", _NAMED.sub("NAME", reason))


def _local(reason: str) -> str:
    """A reason without the folders of this machine."""
    return re.sub(r"(?<!\S)/\S*/(?=\S)", "", reason)


def _cell(text: str, longest: int = _LONGEST) -> str:
    plain = " ".join(text.split()).replace("|", "/")
    return plain if len(plain) <= longest else f"{plain[:longest]} ..."


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"* {item}" for item in items)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
