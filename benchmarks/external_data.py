"""Swap activations in a model with 2.5 GB of external weights: memory, reads and writes.

Run: python benchmarks/external_data.py [FOLDER], a folder with 6 GB to spare
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

LAYERS, WIDTH = 40, 4096
MOST_MEMORY = 500e6
_MEASURED = """
import resource, sys
from onnx_act.cli.app import run
code = run(sys.argv[1:])
usage = resource.getrusage(resource.RUSAGE_SELF)
counts = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())
print(code, usage.ru_maxrss * 1024, counts["rchar"], counts["wchar"], file=sys.stderr)
"""


def write_model(folder: Path) -> tuple[Path, Path]:
    """A stack of MatMul and SiLU whose weights lie beside it in one file."""
    model, weights = folder / "model.onnx", folder / "weights.bin"
    nodes, tensors = [], []
    x = "x"
    rng = np.random.default_rng(0)
    with weights.open("wb") as out:
        for k in range(LAYERS):
            start = out.tell()
            out.write((rng.standard_normal((WIDTH, WIDTH), dtype=np.float32) / 64).tobytes())
            tensor = TensorProto(name=f"w{k}", data_type=TensorProto.FLOAT, dims=[WIDTH, WIDTH])
            tensor.data_location = TensorProto.EXTERNAL
            length = str(out.tell() - start)
            for key, value in (
                ("location", weights.name),
                ("offset", str(start)),
                ("length", length),
            ):
                tensor.external_data.add(key=key, value=value)
            tensors.append(tensor)
            nodes.append(helper.make_node("MatMul", [x, f"w{k}"], [f"m{k}"]))
            nodes.append(helper.make_node("Sigmoid", [f"m{k}"], [f"s{k}"]))
            nodes.append(helper.make_node("Mul", [f"m{k}", f"s{k}"], [f"y{k}"]))
            x = f"y{k}"
    nodes.append(helper.make_node("ReduceSum", [x], ["z"], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "stack",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [])],
        tensors,
    )
    imports = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), model)
    return model, weights


def swap(model: Path, out: Path) -> tuple[int, float, float, float]:
    """Exit code, peak memory, bytes read and bytes written by read and write calls."""
    arguments = ["swap", str(model), str(out), "--swap", "silu=relu", "--no-validate"]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    code, memory, read, written = done.stderr.split()[-4:]
    return int(code), float(memory), float(read), float(written)


def main(folder_name: str) -> int:
    """Measure and print; 1 when a promise does not hold."""
    with tempfile.TemporaryDirectory(dir=folder_name) as inner:
        folder = Path(inner)
        model, weights = write_model(folder)
        size = weights.stat().st_size
        stamp = weights.stat().st_mtime_ns
        print(f"weights: {size / 1e9:.2f} GB in {weights.name}")
        holds = True
        for place, copies in (("beside it", False), ("in another folder", True)):
            target = folder / ("other/out.onnx" if copies else "out.onnx")
            code, memory, read, written = swap(model, target)
            data = target.with_name(target.name + ".data")
            grown = data.stat().st_size if data.exists() else 0
            print(
                f"output {place}: exit {code}, peak memory {memory / 1e6:.0f} MB, "
                f"read {read / 1e6:.0f} MB, wrote {written / 1e6:.0f} MB into our memory and out; "
                f"weights file of the output: {grown / 1e9:.2f} GB"
            )
            holds = holds and code == 0 and memory < MOST_MEMORY
            holds = holds and grown == (size if copies else 0)
        holds = holds and weights.stat().st_mtime_ns == stamp
    print("holds" if holds else "DOES NOT HOLD")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir()))
