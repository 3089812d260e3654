"""One model on the CPU provider and on OpenVINO, in turn: run by the interpreter that has both.

`onnxruntime-openvino` and `onnxruntime` share one package folder, so this is the one script that
runs in another environment; it needs nothing there but that package and numpy. It prints one JSON
document: for every pair of sessions, the ratio CPU / OpenVINO of each block.

Run: PYTHON tune_openvino.py MODEL FEED.npz SECONDS
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Callable

_OPENVINO: Final = "OpenVINOExecutionProvider"
_ROUNDS: Final = 6
_SEGMENT_S: Final = 0.01
_WARM_UP: Final = 5
_QUIET: Final = 3


def _session(model: str, provider: str, *, profile: str | None = None) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = _QUIET
    if profile is not None:
        settings.enable_profiling = True
        settings.profile_file_prefix = profile
    options = {"device_type": "CPU", "num_of_threads": "1"} if provider == _OPENVINO else {}
    session = onnxruntime.InferenceSession(model, settings, providers=[(provider, options)])
    if session.get_providers()[0] != provider:
        raise RuntimeError(f"{provider} cannot be loaded")
    return session


def _left_to_cpu(model: str, feed: dict[str, Any]) -> int:
    """How many nodes OpenVINO leaves to the CPU provider; the runtime does not say so by itself.

    Raises:
        RuntimeError: it leaves all of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = _session(model, _OPENVINO, profile=str(Path(folder) / "profile"))
        session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
    ran = [e["args"]["provider"] for e in events if e.get("args", {}).get("provider")]
    if _OPENVINO not in ran:
        raise RuntimeError("OpenVINO takes no node of it")
    return len(ran) - ran.count(_OPENVINO)


def _median_s(run: Callable[[], object], count: int) -> float:
    times = []
    for _ in range(count):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def measure(model: str, feed: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Ratios of blocks, in rounds of fresh sessions, and how far apart the results are."""
    left_to_cpu = _left_to_cpu(model, feed)
    rounds: list[list[float]] = []
    furthest, largest = 0.0, 0.0
    started = time.perf_counter()
    for index in range(_ROUNDS):
        runs: list[Callable[[], list[Any]]] = []
        for provider in ("CPUExecutionProvider", _OPENVINO):
            session = _session(model, provider)
            runs.append(partial(session.run, None, feed))
        for a, b in zip(runs[0](), runs[1](), strict=True):
            furthest = max(furthest, float(np.max(np.abs(a - b), initial=0.0)))
            largest = max(largest, float(np.max(np.abs(a), initial=0.0)))
        typical = [max(1e-7, _median_s(run, _WARM_UP)) for run in runs]
        counts = [max(1, round(_SEGMENT_S / t)) for t in typical]
        blocks: list[float] = []
        end = started + seconds * (index + 1) / _ROUNDS
        while not blocks or time.perf_counter() < end:
            order = (0, 1, 1, 0) if len(blocks) % 2 else (1, 0, 0, 1)
            logs = [0.0, 0.0]
            for which in order:
                logs[which] += math.log(_median_s(runs[which], counts[which])) / 2
            blocks.append(math.exp(logs[0] - logs[1]))
        rounds.append(blocks)
    return {
        "rounds": rounds,
        "furthest": furthest,
        "largest": largest,
        "left_to_cpu": left_to_cpu,
        "version": onnxruntime.__version__,
    }


def main() -> None:
    """Measure what the command line names."""
    model, feed, seconds = sys.argv[1:]
    with np.load(Path(feed)) as arrays:
        names = [str(name) for name in arrays["names"]]
        inputs = {name: arrays[f"v{k}"] for k, name in enumerate(names)}
    print(json.dumps(measure(model, inputs, float(seconds))))


if __name__ == "__main__":
    main()
