"""Every model of a folder, folded and fused for the CPU: what was done, whether it holds, how fast.

Each model is given to `onnx_act.fuse` in its default mode, which validates at all optimisation
levels, and is then timed against the original at the runtime's default level and with its
optimiser off (ratio original / result, 95 % interval, one thread). docs/benchmarks.md says what
the columns mean.

Run: python benchmarks/corpus_fuse.py [FOLDER] [--time SECONDS] [--write FILE.md] [--json FILE]

FOLDER is `$ONNX_ACT_CORPUS` when left out. Exit code 1 when a result is not equivalent, when the
program fails instead of answering, when a ratio lies wholly below 0.98 at the default level,
measured twice, or when a BatchNormalization is left that could be folded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import onnx
from corpus_fuse_page import page, shown_ratio
from ratios import interval, measured_ratio
from unfolded import left_behind

import onnx_act
from onnx_act.errors import EvidenceError, ModelError, OnnxActError
from onnx_act.evidence.machine import busy_warning, cpu_model
from onnx_act.report.document import environment
from onnx_act.runtime.session import OptimizationLevel

if TYPE_CHECKING:
    from collections.abc import Sequence

_SLOWEST: Final = 0.98


def _kind(rule: str) -> str:
    if rule.startswith("fold_"):
        return "folds"
    return "fusions" if rule.startswith(("fuse_", "raise_")) else "simplified"


def _fused(source: Path, target: Path) -> dict[str, Any]:
    """What fusing says of a model: a `status`, and the counts where it was written.

    The status is `equivalent`, `unreadable`, `not run` (by the runtime, fused or not),
    `not equivalent`, or `defect` for what is no answer at all.
    """
    try:
        (entry,) = onnx_act.fuse(source, target).models
    except ModelError as error:
        return {"status": "unreadable", "reason": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be listed
        return {"status": "defect", "reason": f"{type(error).__name__}: {error}"}
    told = entry.to_dict()
    if entry.exit_code:
        return {"status": status_of_failure(told, source), "reason": entry.message}
    rules = Counter(_kind(change["rule"]) for change in told["changes"])
    refusals = told["refusals"]
    return {
        "status": "equivalent",
        "nodes": [told["size"]["nodes_before"], told["size"]["nodes_after"]],
        **{kind: rules[kind] for kind in ("simplified", "folds", "fusions")},
        "left_to_runtime": sum(r["left_to_runtime"] for r in refusals),
        "refused": dict(
            Counter(f"{r['rule']}: {r['reason']}" for r in refusals if not r["left_to_runtime"])
        ),
    }


def status_of_failure(told: dict[str, Any], source: Path) -> str:
    """Of a model of which nothing was written: `not equivalent` or `not run`."""
    if "equivalence" in told:
        return "not equivalent"
    try:
        alone = onnx_act.validate(source, source).exit_code
    except OnnxActError:
        return "not run"
    # The original runs, so what could not be validated is what we made of it.
    return "not run" if alone else "not equivalent"


def measure(source: Path, folder: Path, seconds: float) -> dict[str, Any]:
    """One model.

    Args:
        source: the model.
        folder: for the result.
        seconds: of measuring, both levels together. A model that seems slower is measured once
            more, for as long again.
    """
    target = folder / "result.onnx"
    target.unlink(missing_ok=True)
    found = _fused(source, target)
    if found["status"] != "equivalent":
        return found
    found["left_behind"] = left_behind(onnx.load(target))
    changed = found["simplified"] + found["folds"] + found["fusions"] > 0
    if not changed:
        return found
    try:
        found["ratio"] = measured_ratio(source, target, OptimizationLevel.ALL, seconds / 2)
        found["ratio_off"] = measured_ratio(source, target, OptimizationLevel.DISABLE, seconds / 2)
        if is_slower(found):
            # One pair of sessions may lie badly; what is slower is so twice.
            found["ratio_before"] = found["ratio"]
            found["ratio"] = measured_ratio(source, target, OptimizationLevel.ALL, seconds)
    except EvidenceError as error:
        found["not_measured"] = str(error)
    return found


def is_slower(found: dict[str, Any]) -> bool:
    """Whether the interval at the default level lies wholly below what is let pass."""
    return "ratio" in found and bool(found["ratio"]["high"] < _SLOWEST)


def defects(results: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """What must be empty, by what to call it."""
    return {
        "not equivalent": [
            f"{name} ({found['reason']})"
            for name, found in results.items()
            if found["status"] == "not equivalent"
        ],
        "failed instead of answering": [
            f"{name} ({found['reason']})"
            for name, found in results.items()
            if found["status"] == "defect"
        ],
        f"slower than {_SLOWEST} x at the default level, twice": [
            f"{name} ({interval(found['ratio'])})"
            for name, found in results.items()
            if is_slower(found)
        ],
        "BatchNormalization left that could be folded": [
            f"{name} ({', '.join(found['left_behind'])})"
            for name, found in results.items()
            if found.get("left_behind")
        ],
    }


def _shown(found: dict[str, Any]) -> str:
    """One line for a reader who watches."""
    if found["status"] != "equivalent":
        return f"{found['status']}: {' '.join(found['reason'].split())}"
    nodes = "{} -> {} nodes".format(*found["nodes"])
    timed = found.get("not_measured") or shown_ratio(found.get("ratio"))
    return f"{nodes}, equivalent, {timed}"


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=os.environ.get("ONNX_ACT_CORPUS"))
    parser.add_argument("--time", type=float, default=2.0, help="seconds of measuring a model")
    parser.add_argument("--write", type=Path, help="a Markdown page with the tables")
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    asked = parser.parse_args(arguments)
    if asked.folder is None:
        parser.error("name a folder of models, or set ONNX_ACT_CORPUS")
    asked.paths = sorted(asked.folder.rglob("*.onnx"))
    if not asked.paths:
        parser.error(f"{asked.folder} holds no .onnx file")
    return asked


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    asked = _parsed(arguments)
    warning = busy_warning()
    if warning:
        print(warning)
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="onnx-act-") as folder:
        for path in asked.paths:
            name = path.relative_to(asked.folder).as_posix()
            results[name] = measure(path, Path(folder), asked.time)
            print(f"{name}: {_shown(results[name])}", flush=True)
    wrong = defects(results)
    for what, names in wrong.items():
        print(f"{what}: {'; '.join(names) or 'none'}")
    made_on = {**environment(), "cpu": cpu_model()}
    if asked.json:
        document = {
            "environment": made_on,
            "seconds_per_model": asked.time,
            "models": results,
            "defects": wrong,
        }
        asked.json.write_text(json.dumps(document, indent=1) + "\n")
    if asked.write:
        asked.write.write_text(page(results, wrong, made_on, asked.time))
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
