"""Time per node of `inspect` and `swap` at 6,000 and at 60,000 nodes, beside ONNX Runtime's own.

Run: python benchmarks/scale.py
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL, LARGE = 2_000, 20_000
NODES_EACH = 3
REPEATS = 3
# Starting Python and importing takes the same for any model; it is measured and taken off.
MOST_GROWTH = 1.5
_OPTIMISE = """
import sys, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.optimized_model_filepath = sys.argv[2]
onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
"""


def write_chain(path: Path, length: int) -> None:
    """`length` times MatMul, Sigmoid, Mul in a row."""
    nodes = []
    x = "x"
    for k in range(length):
        nodes.append(helper.make_node("MatMul", [x, "w"], [f"m{k}"]))
        nodes.append(helper.make_node("Sigmoid", [f"m{k}"], [f"s{k}"]))
        nodes.append(helper.make_node("Mul", [f"m{k}", f"s{k}"], [f"y{k}"]))
        x = f"y{k}"
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in ("x", x)]
    weight = numpy_helper.from_array(np.eye(8, dtype=np.float32), "w")
    graph = helper.make_graph(nodes, "chain", values[:1], values[1:], [weight])
    imports = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of one run of the program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "onnx_act", *arguments], check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Measure and print; 1 when growth is not linear or the runtime was done first."""
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        paths = {n: folder / f"chain_{n}.onnx" for n in (1, SMALL, LARGE)}
        for length, path in paths.items():
            write_chain(path, length)
        commands: dict[str, Callable[[Path], list[str]]] = {
            "inspect": lambda path: ["inspect", str(path)],
            "swap": lambda path: [
                *("swap", str(path), str(folder / "out.onnx")),
                *("--swap", "silu=relu", "--where", "role:main or role:output", "--no-validate"),
            ],
        }
        holds = True
        for name, make in commands.items():
            times = {
                n: statistics.median(cpu_seconds(make(p)) for _ in range(REPEATS))
                for n, p in paths.items()
            }
            per_node = {n: (times[n] - times[1]) / (NODES_EACH * n) for n in (SMALL, LARGE)}
            growth = per_node[LARGE] / per_node[SMALL]
            holds = holds and growth <= MOST_GROWTH
            print(
                f"{name}: {1e6 * per_node[SMALL]:.0f} us a node at {NODES_EACH * SMALL:,} nodes, "
                f"{1e6 * per_node[LARGE]:.0f} at {NODES_EACH * LARGE:,}: {growth:.2f}x "
                f"(at most {MOST_GROWTH}x)"
            )
        holds = _race(paths[LARGE], commands["swap"](paths[LARGE]), folder) and holds
    return 0 if holds else 1


def _race(path: Path, swap: list[str], folder: Path) -> bool:
    """Whether inspect and swap are done while the runtime still optimises the same file."""
    started = time.monotonic()
    optimiser = subprocess.Popen(
        [sys.executable, "-c", _OPTIMISE, str(path), str(folder / "optimised.onnx")],
        stderr=subprocess.DEVNULL,
    )
    cpu_seconds(["inspect", str(path)])
    cpu_seconds(swap)
    ours = time.monotonic() - started
    still_running = optimiser.poll() is None
    optimiser.wait()
    theirs = time.monotonic() - started
    print(
        f"inspect and swap of {NODES_EACH * LARGE:,} nodes took {ours:.1f} s while the runtime's "
        f"offline optimisation of the same file took {theirs:.1f} s ({theirs / ours:.1f}x)"
    )
    return still_running


if __name__ == "__main__":
    sys.exit(main())
