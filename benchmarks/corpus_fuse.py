"""Every model of a folder, folded and fused for the CPU: what was done, whether it holds, how fast.

Each model is given to `onnx_act.fuse` in its default mode, which validates at all optimisation
levels, and is then timed against the original at the runtime's default level and with its
optimiser off (ratio original / result, 95 % interval, one thread).

Run: python benchmarks/corpus_fuse.py [FOLDER] [--time SECONDS] [--write FILE.md] [--json FILE]

FOLDER is `$ONNX_ACT_CORPUS` when left out. Exit code 1 when a model that runs is not equivalent,
when its interval lies below 0.98 at the default level, measured twice, or when a
BatchNormalization is left that could be folded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import onnx_act
from onnx_act.errors import ModelError, OnnxActError
from onnx_act.evidence.latency import measure_latency
from onnx_act.runtime.session import OptimizationLevel, runtime_version

SLOWEST = 0.98
FOLDS = ("fold_",)
FUSIONS = ("fuse_", "raise_")


def _kind(rule: str) -> str:
    if rule.startswith(FOLDS):
        return "folds"
    return "fusions" if rule.startswith(FUSIONS) else "simplified"


def _ratio(a: Path, b: Path, level: OptimizationLevel, seconds: float) -> list[float]:
    ratio = measure_latency(a, b, seconds=seconds, threads=1, level=level).ratio
    assert ratio is not None
    return [ratio.median, ratio.low, ratio.high]


def measure(source: Path, folder: Path, seconds: float) -> dict[str, Any] | None:
    """One model; None where the file is none."""
    target = folder / "result.onnx"
    target.unlink(missing_ok=True)
    try:
        (entry,) = onnx_act.fuse(source, target).models
    except ModelError:
        return None
    except OnnxActError as error:
        return {"failed": str(error)}
    if entry.exit_code or entry.size is None:
        return {"failed": entry.message}
    told = entry.to_dict()
    refusals = told["refusals"]
    counts = Counter(_kind(change["rule"]) for change in told["changes"])
    found: dict[str, Any] = {
        "nodes": [entry.size["nodes_before"], entry.size["nodes_after"]],
        **{kind: counts[kind] for kind in ("simplified", "folds", "fusions")},
        "left_to_runtime": sum(r["left_to_runtime"] for r in refusals),
        "refused": dict(
            Counter(f"{r['rule']}: {r['reason']}" for r in refusals if not r["left_to_runtime"])
        ),
        "ratio": None,
        "ratio_off": None,
    }
    if told["changes"]:
        found["ratio"] = _ratio(source, target, OptimizationLevel.ALL, seconds)
        if found["ratio"][2] < SLOWEST:
            # One pair of sessions may lie badly; what is slower is so twice.
            found["ratio"] = _ratio(source, target, OptimizationLevel.ALL, 3 * seconds)
        found["ratio_off"] = _ratio(source, target, OptimizationLevel.DISABLE, seconds)
    return found


def _is_foldable_left(found: dict[str, Any]) -> bool:
    """Whether a BatchNormalization was refused for a reason that is not its own."""
    own = (
        "it follows",
        "something else uses",
        "its channels are",
        "can be overridden",
        "is computed",
        "it is in training",
    )
    return any(
        reason.startswith("fold_batch_normalization:") and not any(text in reason for text in own)
        for reason in found.get("refused", ())
    )


def _interval(ratio: list[float] | None) -> str:
    return "same graph" if ratio is None else "{:.3f} [{:.3f}, {:.3f}]".format(*ratio)


def _table(results: dict[str, dict[str, Any]]) -> str:
    head = (
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
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, found in results.items():
        if "failed" in found:
            reason = _shortened(found["failed"])
            lines.append(f"| {name} |" + " |" * 6 + f" {reason} | | |")
            continue
        cells = (
            name,
            "{} -> {}".format(*found["nodes"]),
            *(found[k] for k in ("simplified", "folds", "fusions", "left_to_runtime")),
            sum(found["refused"].values()),
            "yes",
            _interval(found["ratio"]),
            _interval(found["ratio_off"]),
        )
        lines.append("| " + " | ".join(str(c) for c in cells) + " |")
    return "\n".join(lines)


def _shortened(reason: str) -> str:
    """A reason in a cell: without the folder that this machine keeps the model in."""
    words = [w.rsplit("/", 1)[-1] if w.startswith("/") else w for w in reason.split()]
    return " ".join(words).replace("|", "/")[:150]


def _reasons(results: dict[str, dict[str, Any]]) -> str:
    total: Counter[str] = Counter()
    for found in results.values():
        for reason, count in found.get("refused", {}).items():
            total[_general(reason)] += count
    lines = ["| count | rule | because |", "|---|---|---|"]
    for reason, count in total.most_common():
        rule, because = reason.split(": ", 1)
        lines.append(f"| {count} | `{rule}` | {because} |")
    return "\n".join(lines)


def _general(reason: str) -> str:
    """A reason without the names and figures of one model."""
    words = [("N" if word.replace(".", "").isdigit() else word) for word in reason.split(" ")]
    for marker in (" of Conv ", " of Gemm ", " of BatchNormalization "):
        if marker in reason and words[1:2]:
            words[1] = "NAME"
            break
    return " ".join(words)


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=os.environ.get("ONNX_ACT_CORPUS"))
    parser.add_argument("--time", type=float, default=2.0, help="seconds for each ratio")
    parser.add_argument("--write", type=Path, help="a Markdown page with the tables")
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    asked = parser.parse_args()
    if asked.folder is None:
        parser.error("name a folder of models, or set ONNX_ACT_CORPUS")
    results: dict[str, dict[str, Any]] = {}
    unreadable = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(asked.folder.rglob("*.onnx")):
            name = str(path.relative_to(asked.folder))
            found = measure(path, Path(folder), asked.time)
            if found is None:
                unreadable += 1
                continue
            results[name] = found
            shown = found.get("failed") or f"{found['nodes']} {_interval(found['ratio'])}"
            print(f"{name}: {shown}", flush=True)
    slower = [n for n, f in results.items() if f.get("ratio") and f["ratio"][2] < SLOWEST]
    left = [n for n, f in results.items() if _is_foldable_left(f)]
    print(f"slower than {SLOWEST} x: {', '.join(slower) or 'none'}")
    print(f"BatchNormalization left that could be folded: {', '.join(left) or 'none'}")
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1))
    if asked.write:
        asked.write.write_text(
            "# Folding and fusing a corpus for the CPU\n\n"
            f"Written by `python benchmarks/corpus_fuse.py`, ONNX Runtime "
            f"{runtime_version()}.\n\n"
            f"{len(results)} models; {unreadable} more files cannot be read as one.\n\n"
            f"{_table(results)}\n\n## Why something was left as it is\n\n{_reasons(results)}\n"
        )
    wrong = [n for n, f in results.items() if "not equivalent" in str(f.get("failed", ""))]
    return 1 if slower or left or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
