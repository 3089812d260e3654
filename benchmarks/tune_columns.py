"""What is measured of each network in the benchmark of tuning, one function a column."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from fuse_peers import make
from ratios import measured_ratio

import onnx_act
from onnx_act.errors import EvidenceError
from onnx_act.evidence.statistics import ratio_interval
from onnx_act.graph.constants import Constants
from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.session import CPU, OptimizationLevel, SessionSettings, open_session
from onnx_act.tuning.exactness import Exactness
from onnx_act.tuning.grouping import group_sites

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Who the result of tuning stands beside; names of `fuse_peers`.
OTHERS: Final = ("ONNX Runtime offline", "onnxsim", "onnxslim")
_OPENVINO_SCRIPT: Final = Path(__file__).with_name("tune_openvino.py")
_TIME_LIMIT_S: Final = 600.0
# Another library may sum in another order; what it calculates in half precision is off by more.
_OPENVINO_RELATIVE: Final = 1e-3


def failure(error: BaseException) -> str:
    """What went wrong, in one line; a traceback of another process ends with what it is about."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def judged(source: Path, target: Path, seconds: float) -> dict[str, Any]:
    """Whether a result is equivalent to the original and, only then, how fast it is.

    Raises:
        OnnxActError: the original does not run.
    """
    (entry,) = onnx_act.validate(source, target).models
    if entry.exit_code:
        return {"equivalent": False, "reason": entry.message}
    ratio = measured_ratio(source, target, OptimizationLevel.ALL, seconds)
    return {"equivalent": True, "ratio": ratio}


def tuned(source: Path, target: Path, budget: float) -> dict[str, Any]:
    """What `onnx_act.tune` says of a model: the choices, and the time that it took.

    Raises:
        EvidenceError: it did not give a result.
    """
    (entry,) = onnx_act.tune(source, target, budget=budget, threads=1).models
    if entry.exit_code:
        raise EvidenceError(entry.message)
    told = entry.to_dict()["tuning"]
    return {
        "is_kept": told["is_kept"],
        "reason": told["reason"],
        "seconds": told["seconds"],
        "is_complete": told["is_complete"],
        "source": told["source"],
        "share_before": told["share_before"],
        "share_after": told["share_after"],
        "groups": told["groups"],
        "is_untouched": source.read_bytes() == target.read_bytes(),
    }


def made_by(other: str, source: Path, target: Path, seconds: float) -> dict[str, Any]:
    """What someone else makes of a model, judged as ours is."""
    run_isolated(make, other, source, target, timeout_s=_TIME_LIMIT_S)
    return judged(source, target, seconds)


def on_openvino(python: Path, source: Path, folder: Path, seconds: float) -> dict[str, Any]:
    """The original on OpenVINO, against itself on the CPU provider of the same environment.

    Raises:
        EvidenceError: it does not run there.
    """
    feed_file = folder / "feed.npz"
    session = open_session(source, SessionSettings(CPU, threads=1))
    feed = feeds_for(session, FeedRequest(count=1, batch=1)).feeds[0]
    arrays = {f"v{k}": np.asarray(array) for k, array in enumerate(feed.values())}
    np.savez(feed_file, names=np.array(list(feed)), **arrays)  # type: ignore[arg-type]
    ran = subprocess.run(
        [python, _OPENVINO_SCRIPT, source, feed_file, str(seconds)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIME_LIMIT_S,
    )
    if ran.returncode:
        raise EvidenceError(failure(RuntimeError(ran.stderr)))
    told = json.loads(ran.stdout.strip().splitlines()[-1])
    apart = told["furthest"] / max(told["largest"], 1e-30)
    found = {key: told[key] for key in ("version", "left_to_cpu")} | {"apart": apart}
    if not apart <= _OPENVINO_RELATIVE:
        return {**found, "equivalent": False, "reason": f"its results are off by {apart:.1g}"}
    interval = ratio_interval(told["rounds"])
    ratio = {
        "median": interval.median,
        "low": interval.low,
        "high": interval.high,
        "sessions": len(told["rounds"]),
    }
    return {**found, "equivalent": True, "ratio": ratio}


def spellings(source: Path, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How activations are written before and after, and how exact that is; alike ones together.

    What was chosen and then not kept, because the whole result was not shown to be faster, is
    unchanged.

    The error of what was there is that of the activation's operator, or of its formula where it
    has none: the one that tuning compares with.
    """
    standard = _standard_p99(source)
    rows: dict[tuple[str, str, str | None], dict[str, Any]] = {}
    for group in told["groups"]:
        is_changed = told["is_kept"] and group["chosen"] is not None
        after = group["after"] if is_changed else None
        key = (group["activation"].partition("(")[0], group["before"], after)
        chosen = [c for c in group["candidates"] if is_changed and c["key"] == group["chosen"]]
        row = rows.setdefault(
            key,
            {
                "activation": key[0],
                "before": key[1],
                "after": after,
                "sites": 0,
                "share": 0.0,
                "reason": group["reason"] if told["is_kept"] else told["reason"],
                "p99_before": standard.get(group["sites"][0]),
                "p99_after": _p99(chosen[0]["accuracy"]) if chosen else None,
            },
        )
        row["sites"] += len(group["sites"])
        row["share"] += group["share"] or 0.0
    return list(rows.values())


def _standard_p99(source: Path) -> dict[str, float | None]:
    """Site -> the error of its activation's operator, in ulp."""
    model = load_model(source)
    groups = group_sites(find_sites(model), Constants(model), {}, contrib=False)
    exactness = Exactness(CPU, model.content.ir_version)
    exactness.measure(groups)
    found: dict[str, float | None] = {}
    for group in groups:
        accuracy = exactness.of_standard(group)
        known = None if isinstance(accuracy, str) else accuracy.p99_ulp
        found |= {site.id: known for site in group.sites}
    return found


def _p99(accuracy: Mapping[str, Any] | None) -> float | None:
    return None if accuracy is None else accuracy["p99_ulp"]
