"""Every model of a folder, tuned for the CPU: what was chosen, whether it holds, how fast.

Each model is given to `onnx_act.tune`. Where that chose something, the result is validated and
measured again against the original, by what tuning has no hand in (ratio original / result, 95 %
interval, one thread, the runtime's default level). Where it chose nothing, the result must be the
original, byte for byte. docs/benchmarks.md says what the columns mean.

Run: python benchmarks/corpus_tune.py [FOLDER] [--budget SECONDS] [--time SECONDS]
         [--only NAME] [--write FILE.md] [--json FILE]

FOLDER is `$ONNX_ACT_CORPUS` when left out. Exit code 1 when a result is not equivalent, when the
program fails instead of answering, when a ratio lies wholly below 0.98, measured twice, or when
a model was changed though nothing was chosen.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import onnx
from corpus_fuse import status_of_failure
from corpus_tune_page import chosen, page
from onnx.external_data_helper import uses_external_data
from ratios import interval, measured_ratio

import onnx_act
from onnx_act.errors import EvidenceError, ModelError
from onnx_act.evidence.machine import busy_warning, cpu_model
from onnx_act.report.document import environment
from onnx_act.runtime.cache import CACHE_VARIABLE
from onnx_act.runtime.session import OptimizationLevel

if TYPE_CHECKING:
    from collections.abc import Sequence

_SLOWEST: Final = 0.98


def _tuned(source: Path, target: Path, budget: float) -> dict[str, Any]:
    """What tuning says of a model: a `status`, and what was chosen where it was written.

    The status is `equivalent`, `unreadable`, `not run` (by the runtime, tuned or not),
    `not equivalent`, or `defect` for what is no answer at all.
    """
    try:
        (entry,) = onnx_act.tune(source, target, budget=budget, threads=1).models
    except ModelError as error:
        return {"status": "unreadable", "reason": str(error)}
    except EvidenceError as error:
        return {"status": status_of_failure({}, source), "reason": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be listed
        return {"status": "defect", "reason": f"{type(error).__name__}: {error}"}
    told = entry.to_dict()
    if entry.exit_code:
        return {"status": status_of_failure(told, source), "reason": entry.message}
    tuning = told["tuning"]
    return {
        "status": "equivalent",
        "is_kept": tuning["is_kept"],
        "reason": tuning["reason"],
        "seconds": tuning["seconds"],
        "is_complete": tuning["is_complete"],
        "claimed": tuning["confirmed"][0]["ratio"] if tuning["confirmed"] else None,
        "groups": [
            {
                "activation": group["activation"],
                "sites": len(group["sites"]),
                "before": group["before"],
                "after": group["after"] if group["chosen"] is not None else None,
                "reason": group["reason"],
            }
            for group in tuning["groups"]
        ],
    }


def measure(source: Path, folder: Path, budget: float, seconds: float) -> dict[str, Any]:
    """One model.

    Args:
        source: the model.
        folder: for the result.
        budget: seconds of tuning.
        seconds: of measuring the result. A model that seems slower is measured once more, for
            twice as long.
    """
    target = folder / "result.onnx"
    target.unlink(missing_ok=True)
    found = _tuned(source, target, budget)
    if found["status"] != "equivalent":
        return found
    if not found["is_kept"]:
        found["is_untouched"] = _is_same(source, target)
        return found
    (judged,) = onnx_act.validate(source, target).models
    if judged.exit_code:
        return {**found, "status": "not equivalent", "reason": judged.message}
    try:
        found["ratio"] = measured_ratio(source, target, OptimizationLevel.ALL, seconds)
        if is_slower(found):
            # One pair of sessions may lie badly; what is slower is so twice.
            found["ratio_before"] = found["ratio"]
            found["ratio"] = measured_ratio(source, target, OptimizationLevel.ALL, 2 * seconds)
    except EvidenceError as error:
        return {**found, "status": "defect", "reason": f"could not be measured: {error}"}
    return found


def _is_same(source: Path, target: Path) -> bool:
    """Whether the files are equal; where weights lie beside a file may be written otherwise."""
    if source.read_bytes() == target.read_bytes():
        return True
    graph = onnx.load(source, load_external_data=False).graph
    return any(uses_external_data(weight) for weight in graph.initializer)


def is_slower(found: dict[str, Any]) -> bool:
    """Whether the interval lies wholly below what is let pass."""
    return "ratio" in found and bool(found["ratio"]["high"] < _SLOWEST)


def defects(results: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """What must be empty, by what to call it."""

    def those(status: str) -> list[str]:
        return [f"{n} ({f['reason']})" for n, f in results.items() if f["status"] == status]

    return {
        "not equivalent": those("not equivalent"),
        "failed instead of answering": those("defect"),
        f"slower than {_SLOWEST} x, twice": [
            f"{name} ({interval(found['ratio'])})"
            for name, found in results.items()
            if is_slower(found)
        ],
        "changed though nothing was chosen": [
            name for name, found in results.items() if found.get("is_untouched") is False
        ],
    }


def _shown(found: dict[str, Any]) -> str:
    """What a reader who watches wants to know of one model."""
    reason = " ".join(found["reason"].split())
    if found["status"] != "equivalent":
        return f"{found['status']}: {reason}"
    took = f"{found['seconds']:.1f} s"
    if not found["is_kept"]:
        return f"as it was, {took}: {reason}"
    return f"equivalent, {interval(found['ratio'])}, {took}: {chosen(found['groups'])}"


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=os.environ.get("ONNX_ACT_CORPUS"))
    parser.add_argument("--budget", type=float, default=15.0, help="seconds of tuning a model")
    parser.add_argument("--time", type=float, default=2.0, help="seconds of measuring a result")
    parser.add_argument("--only", default="", help="only models with this in their path")
    parser.add_argument("--write", type=Path, help="a Markdown page with the tables")
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    asked = parser.parse_args(arguments)
    if asked.folder is None:
        parser.error("name a folder of models, or set ONNX_ACT_CORPUS")
    found = {p.relative_to(asked.folder).as_posix(): p for p in asked.folder.rglob("*.onnx")}
    asked.models = {name: found[name] for name in sorted(found) if asked.only in name}
    if not asked.models:
        with_it = f" with {asked.only!r} in its path" if asked.only else ""
        parser.error(f"{asked.folder} holds no .onnx file{with_it}")
    return asked


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune, measure, print and write."""
    asked = _parsed(arguments)
    warning = busy_warning()
    if warning:
        print(warning)
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="onnx-act-") as folder:
        # What an earlier run found would be applied, and this one is to show what is found.
        os.environ[CACHE_VARIABLE] = folder
        for name, path in asked.models.items():
            results[name] = measure(path, Path(folder), asked.budget, asked.time)
            print(f"{name}: {_shown(results[name])}", flush=True)
    wrong = defects(results)
    for what, names in wrong.items():
        print(f"{what}: {'; '.join(names) or 'none'}")
    document = {
        "environment": {**environment(), "cpu": cpu_model()},
        "budget_s": asked.budget,
        "seconds_per_model": asked.time,
        "models": results,
        "defects": wrong,
    }
    if asked.json:
        asked.json.write_text(json.dumps(document, indent=1) + "\n")
    if asked.write:
        asked.write.write_text(page(document))
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
