"""Models on disk, with their weights inside or in files of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
from graph_sketch import Sketch

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 64


def weights() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    return {k: rng.normal(size=(SIDE, SIDE)).astype(np.float32) for k in ("w1", "w2", "unused")}


def proto() -> onnx.ModelProto:
    """x @ w1, Relu, @ w2; and one weight that nothing uses."""
    sketch = Sketch(shape=("N", SIDE))
    for name, array in weights().items():
        sketch.initializers.append(onnx.numpy_helper.from_array(array, name))
    y = sketch("MatMul", sketch("Relu", sketch("MatMul", "x", "w1")), "w2")
    return sketch.model(y)


def save(folder: Path, *, layout: str = "inline") -> Path:
    """Write the model: inline, in one data file, or with a file per tensor."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    if layout == "inline":
        onnx.save(proto(), path)
    else:
        onnx.save(
            proto(),
            path,
            save_as_external_data=True,
            all_tensors_to_one_file=layout == "one",
            location="weights.bin" if layout == "one" else None,
            size_threshold=16,
        )
    return path


def run(path: Path) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = np.linspace(-1, 1, 3 * SIDE, dtype=np.float32).reshape(3, SIDE)
    return session.run(None, {"x": x})[0]


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Of every file: its inode, the time of its last change, its size."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            stat = path.stat()
            found[str(path.relative_to(folder))] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    return found
