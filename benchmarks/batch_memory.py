"""Memory of the process that runs a batch, over many small models."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

EARLY: Final = 100
_WIDTH: Final = 8
_LOOK_S: Final = 0.02


def memory_of_small(count: int) -> float:
    """Memory of the parent after `count` models over that after 100; the larger of two kinds."""
    with tempfile.TemporaryDirectory() as scratch:
        models, out = Path(scratch, "in"), Path(scratch, "out")
        for k in range(count):
            save_small(models / f"{k % 10}" / f"{k}.onnx", k)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "onnx_act", "convert", str(models), "--out-dir", str(out)),
                *("--jobs", "2", "--swap", "relu=leaky_relu", "--no-validate", "--no-bench"),
            ],
            stdout=subprocess.DEVNULL,
        )
        seen: dict[int, tuple[int, int]] = {}
        started = time.monotonic()
        while process.poll() is None:
            done = _lines(out / "outcomes.jsonl")
            memory = _memory(process.pid)
            if memory is not None and done:
                seen[done] = memory
            time.sleep(_LOOK_S)
        seconds = time.monotonic() - started
        outcomes = _lines(out / "outcomes.jsonl")
    print(f"{outcomes} outcomes of {count} models, exit code {process.returncode}, {seconds:.0f} s")
    early = seen[min(n for n in seen if n >= min(EARLY, count // 10))]
    ratios = []
    for name, k in (("resident", 0), ("of its own", 1)):
        most = max(memory[k] for n, memory in seen.items() if n >= EARLY or count < EARLY)
        last = seen[max(seen)][k]
        ratios.append(max(most, last) / early[k])
        print(
            f"memory {name}: {early[k] / 1e6:.1f} MB at {min(EARLY, count // 10)} models, at most "
            f"{most / 1e6:.1f} MB afterwards: {ratios[-1]:.3f}"
        )
    return max(ratios) if outcomes == count else float("inf")


def save_small(path: Path, seed: int) -> None:
    """MatMul, Relu and Add over a few numbers."""
    rng = np.random.default_rng(seed)
    weights = [
        numpy_helper.from_array(rng.standard_normal((_WIDTH, _WIDTH)).astype(np.float32), "w"),
        numpy_helper.from_array(rng.standard_normal(_WIDTH).astype(np.float32), "b"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Relu", ["m"], ["a"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, _WIDTH]) for n in "xy"]
    graph = helper.make_graph(nodes, "small", values[:1], values[1:], weights)
    imports = [helper.make_opsetid("", 17)]
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0


def _memory(pid: int) -> tuple[int, int] | None:
    """Resident memory of a process, and what of it is its own, in bytes."""
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    sizes = {
        line.split(":")[0]: int(line.split()[1]) * 1024
        for line in told.splitlines()
        if line.endswith("kB")
    }
    if "Rss" not in sizes:
        return None
    return sizes["Rss"], sizes["Private_Clean"] + sizes["Private_Dirty"]
