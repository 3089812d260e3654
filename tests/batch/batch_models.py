"""Models for batches, and workers that misbehave where a model's name says so."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnx_act.batch.inputs import collect_inputs
from onnx_act.batch.run import BatchRequest, run_batch
from onnx_act.recipe.request import ConversionRequest
from onnx_act.recipe.swap_steps import SwapStep
from onnx_act.rewrite.swap_request import parse_swap

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from onnx_act.batch.jobs import JobOutcome

# Loaded by every Python that is started with it on its path, such as the process of a job.
_MISBEHAVING = """
import os, signal, sys, time
if "onnx_act.batch.worker" in " ".join(sys.orig_argv):
    from onnx_act.recipe import convert
    usual = convert.convert_model
    def convert_model(source, target, request, progress=lambda _: None):
        name = source.name
        if name.startswith("crash"):
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("abort"):
            print("something is rotten", file=sys.stderr, flush=True)
            os.abort()
        if name.startswith("hang"):
            time.sleep(600)
        if name.startswith("hog"):
            held = bytearray(3_000_000_000)
        if name.startswith("grow"):
            len(b"x" * 400_000_000)
        if name.startswith("bug"):
            raise ZeroDivisionError("by zero")
        if name.startswith("full"):
            raise OSError(28, "No space left on device")
        return usual(source, target, request, progress)
    convert.convert_model = convert_model
"""


def save_model(
    path: Path, operator: str = "Relu", *, seed: int = 0, size: int = 4, external: bool = False
) -> Path:
    """x -> MatMul -> operator -> Add -> y."""
    rng = np.random.default_rng(seed)
    weights = [
        numpy_helper.from_array(rng.standard_normal((size, size)).astype(np.float32), "w"),
        numpy_helper.from_array(rng.standard_normal(size).astype(np.float32), "b"),
    ]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"], "matmul"),
            helper.make_node(operator, ["m"], ["a"], "act"),
            helper.make_node("Add", ["a", "b"], ["y"], "add"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, size])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    if external:
        place = path.name + ".weights"
        (path.parent / place).unlink(missing_ok=True)
        onnx.save(model, path, save_as_external_data=True, location=place, size_threshold=0)
    else:
        onnx.save(model, path)
    return path


def swapping(target: str = "leaky_relu", **fields: Any) -> ConversionRequest:
    """A request that needs no evidence, so that a job takes no longer than its process."""
    step = SwapStep((parse_swap(f"relu={target}"),))
    given: dict[str, Any] = {"validate": False, "bench": False, **fields}
    return ConversionRequest(swap=(step,), **given)


def convert_all(
    named: Path | list[Path],
    out_dir: Path,
    request: ConversionRequest | None = None,
    **fields: Any,
) -> dict[str, JobOutcome]:
    """Outcomes by the names of models."""
    inputs = collect_inputs(named if isinstance(named, list) else [named], out_dir)
    wanted = BatchRequest(request or swapping(), out_dir, **{"jobs": 2, **fields})
    found = list(run_batch(inputs, wanted))
    assert len(found) == len(inputs)
    names = [os.path.basename(outcome.path) for outcome in found]  # noqa: PTH119
    return dict(zip(names, found, strict=True))


def misbehave(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """From now on jobs end as the names of their models say."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_MISBEHAVING)
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)


def visible_files(folder: Path) -> set[str]:
    """Every file below a folder that is no bookkeeping; temporary ones too."""
    names = (str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    return {n for n in names if not n.startswith(".onnx-act/") and n != "outcomes.jsonl"}


def start_batch(*arguments: object, **environment: str) -> subprocess.Popen[bytes]:
    """`onnx-act convert` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "onnx_act", "convert", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
