"""What people run on a model before they ship it, and `onnx_act.fuse` in its three modes.

In a module that can be imported, so that each runs in a process of its own: a program that ends
the process or prints what it likes is a line in the table, not the end of it.
"""

from __future__ import annotations

import importlib
import shutil
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import onnx
import onnxruntime

import onnx_act
from onnx_act.runtime.session import CPU

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Packages of others, none of which this project needs.
PEERS: Final = ("onnxsim", "onnxslim", "onnxoptimizer")
#: The modes of `onnx_act.fuse`.
MODES: Final = ("portable", "auto", "contrib")
#: The lines of the table that are ours to answer for.
OURS: Final = tuple(f"onnx-act {mode}" for mode in MODES)


def make(contestant: str, source: Path, target: Path) -> None:
    """Write what a contestant makes of a model."""
    CONTESTANTS[contestant](source, target)


def peer_versions() -> dict[str, str | None]:
    """The versions of the packages of others; None for those that are not installed."""
    return {name: _version(name) if find_spec(name) else None for name in PEERS}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "of unknown version"


def _original(source: Path, target: Path) -> None:
    """The model as it is: what the other lines show is real where this one shows nothing."""
    shutil.copyfile(source, target)


def _runtime_offline(source: Path, target: Path) -> None:
    """What ONNX Runtime saves at the highest level that is not bound to one machine."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(source), options, providers=[CPU])


def _onnxsim(source: Path, target: Path) -> None:
    """The defaults of onnxsim."""
    simplified, holds = importlib.import_module("onnxsim").simplify(onnx.load(source))
    if not holds:
        raise RuntimeError("its own check of the result failed")
    onnx.save(simplified, target)


def _onnxslim(source: Path, target: Path) -> None:
    """The defaults of onnxslim."""
    onnx.save(importlib.import_module("onnxslim").slim(onnx.load(source)), target)


def _onnxoptimizer(source: Path, target: Path) -> None:
    """All passes of onnxoptimizer that fuse or eliminate."""
    module = importlib.import_module("onnxoptimizer")
    passes = module.get_fuse_and_elimination_passes()
    onnx.save(module.optimize(onnx.load(source), passes), target)


def _ours(mode: str, source: Path, target: Path) -> None:
    """Without our own validation: all contestants are judged alike, afterwards."""
    report = onnx_act.fuse(source, target, fuse=mode, validate=False)
    if report.exit_code:
        raise RuntimeError(report.models[0].message)


#: Name -> what writes its result, in the order of the table.
CONTESTANTS: Final[dict[str, Callable[[Path, Path], None]]] = {
    "original": _original,
    "ONNX Runtime offline": _runtime_offline,
    "onnxsim": _onnxsim,
    "onnxslim": _onnxslim,
    "onnxoptimizer": _onnxoptimizer,
    **{name: partial(_ours, mode) for name, mode in zip(OURS, MODES, strict=True)},
}
