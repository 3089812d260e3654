"""What a batch costs over bare conversions, and what two jobs bring over one.

Run: python benchmarks/batch.py FOLDER
     python benchmarks/batch.py FOLDER --planted   everything, with processes that misbehave
     python benchmarks/batch.py --small 1000       memory of the parent over so many models

Without an option: the 40 models of the folder whose bare conversion takes longest, by a recipe
that measures nothing (portable folding and fusing, validated, `--no-bench`, one thread within an
operator). In turn: one after the other in this process, as a batch of one job, of two jobs. What
the processors did is told beside the time: it says more where others use the machine, too.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import onnxruntime
from batch_memory import memory_of_small
from batch_planted import planted

import onnx_act
from onnx_act.errors import OnnxActError

COUNT: Final = 40
ROUNDS: Final = 3
MOST_OVERHEAD: Final = 1.10
LEAST_GAIN: Final = 1.7
MOST_GROWTH: Final = 1.2
RECIPE: Final[dict[str, Any]] = {"fuse": "portable", "bench": False, "threads": 1}


def main() -> int:
    """Measure what is asked for; 1 where it is not what is promised."""
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("folder", type=Path, nargs="?")
    asked.add_argument("--rounds", type=int, default=ROUNDS)
    asked.add_argument("--count", type=int, default=COUNT)
    asked.add_argument("--planted", action="store_true")
    asked.add_argument("--small", type=int, metavar="N")
    given = asked.parse_args()
    print(f"{len(os.sched_getaffinity(0))} processors, onnxruntime {onnxruntime.__version__}")
    if given.small is not None:
        return 0 if memory_of_small(given.small) <= MOST_GROWTH else 1
    if given.folder is None:
        asked.error("say which folder")
    if given.planted:
        return 0 if planted(given.folder) else 1
    with tempfile.TemporaryDirectory() as scratch:
        return throughput(given.folder, Path(scratch), given.count, given.rounds)


def throughput(folder: Path, scratch: Path, count: int, rounds: int) -> int:
    """Bare conversions, a batch of one job and of two, in turn."""
    copy = scratch / "in"
    shutil.copytree(folder, copy)
    models = leave_longest(copy, scratch / "first", count)
    if not models:
        print(f"no model below {folder} is converted")
        return 1
    seconds: dict[str, list[float]] = {"bare": [], "one job": [], "two jobs": []}
    work: dict[str, list[float]] = {way: [] for way in seconds}
    took: dict[str, dict[Path, list[float]]] = {w: {m: [] for m in models} for w in seconds}
    for k in range(rounds):
        ways = list(seconds)
        for way in ways[k % 3 :] + ways[: k % 3]:
            out = scratch / f"{k}-{way.replace(' ', '-')}"
            started, used = time.perf_counter(), processor_seconds()
            if way == "bare":
                each = bare(models, out)
            else:
                each = batch(copy, out, 1 if way == "one job" else 2)
            seconds[way].append(time.perf_counter() - started)
            work[way].append(processor_seconds() - used)
            for path, value in each.items():
                took[way][path].append(value)
            print(
                f"round {k + 1}: {way}: {seconds[way][-1]:.1f} s, processors {work[way][-1]:.1f} s",
                flush=True,
            )
    overheads = [b / a for a, b in zip(seconds["bare"], seconds["one job"], strict=True)]
    gains = [a / b for a, b in zip(seconds["one job"], seconds["two jobs"], strict=True)]
    overhead, gain = statistics.median(overheads), statistics.median(gains)
    print(f"one job over bare, time of the batch: {_told(overheads)}")
    spent = [b / a for a, b in zip(work["bare"], work["one job"], strict=True)]
    print(f"one job over bare, work of processors: {_told(spent)}")
    # Within a round, for a machine that others use is now faster and now slower.
    pairs = {m: zip(took["one job"][m], took["bare"][m], strict=True) for m in models}
    ratios = [statistics.median(one / bare for one, bare in pairs[m]) for m in models]
    tenth, *_, last = statistics.quantiles(ratios, n=10)
    print(
        f"one job over bare, time by model: median {statistics.median(ratios):.3f}, "
        f"tenth {tenth:.3f}, ninth tenth {last:.3f}"
    )
    print(f"one job over two: {_told(gains)}")
    return 0 if overhead <= MOST_OVERHEAD and gain >= LEAST_GAIN else 1


def processor_seconds() -> float:
    """User and system time of this process and of all that it waited for."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))


def _told(ratios: list[float]) -> str:
    every = ", ".join(f"{r:.3f}" for r in ratios)
    return f"{statistics.median(ratios):.3f} (rounds: {every})"


def leave_longest(folder: Path, out: Path, count: int) -> list[Path]:
    """Remove all models but those whose conversion takes longest and ends in a result that holds.

    Args:
        folder: a copy that may be changed.
        out: where results go.
        count: how many to leave.
    """
    took = []
    models = sorted(folder.rglob("*.onnx"))
    for path in models:
        started = time.perf_counter()
        try:
            report = onnx_act.convert(path, out / path.relative_to(folder), **RECIPE)
        except OnnxActError:
            continue
        if report.exit_code == 0:
            took.append((time.perf_counter() - started, path))
    took.sort(reverse=True)
    kept = took[:count]
    if kept:
        print(
            f"{len(kept)} of {len(took)} models: {kept[0][0]:.2f} s to {kept[-1][0]:.2f} s each, "
            f"{sum(s for s, _ in kept):.1f} s in all"
        )
    found = [path for _, path in kept]
    for path in set(models) - set(found):
        path.unlink()
    return found


def bare(models: list[Path], out: Path) -> dict[Path, float]:
    """Convert one after the other here; seconds by path."""
    found = {}
    for k, path in enumerate(models):
        started = time.perf_counter()
        onnx_act.convert(path, out / str(k) / path.name, **RECIPE)
        found[path] = time.perf_counter() - started
    return found


def batch(folder: Path, out: Path, jobs: int) -> dict[Path, float]:
    """Convert as a batch; seconds by path."""
    outcomes = list(onnx_act.convert_batch(folder, out_dir=out, jobs=jobs, **RECIPE))
    codes = {o.exit_code for o in outcomes}
    if codes != {0}:
        print(f"exit codes of a batch: {sorted(codes)}", file=sys.stderr)
    return {Path(o.path): o.seconds for o in outcomes}


if __name__ == "__main__":
    sys.exit(main())
