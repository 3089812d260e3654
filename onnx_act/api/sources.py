"""What a caller may give, and how it becomes what the verbs work on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Union

from onnx_act.errors import UsageError
from onnx_act.graph.model import load_model
from onnx_act.graph.store import stage_model
from onnx_act.recipe.baseline import baseline_bounds_from, read_baseline
from onnx_act.report.document import Report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_act.activations.activation import ParameterValue
    from onnx_act.graph.model import ModelSource
    from onnx_act.recipe.baseline import Baseline
    from onnx_act.report.document import ModelEntry

PathLike = Union[str, "os.PathLike[str]"]
#: What to put in an activation's place: its name, `name:parameter=value`, or name and parameters.
SwapTarget = Union[str, "tuple[str, Mapping[str, ParameterValue]]"]
Shapes = Mapping[str, Sequence[int]]
#: The ends of what an input is drawn from, by its name.
InputRanges = Mapping[str, "tuple[float, float]"]
#: How far to fold and fuse: "portable", "auto" (or True), "contrib", "none" (or False).
FuseTarget = bool | str


def earlier_report(
    baseline: PathLike | None, bounds: Mapping[str, float] | None, command: str, model: str
) -> Baseline | None:
    """The earlier report to compare with, None where none was given.

    Raises:
        UsageError: it cannot be read, is of something else, or there are bounds without it.
    """
    limits = baseline_bounds_from(bounds or {})
    if baseline is not None:
        return read_baseline(Path(baseline), command, [model], limits)
    if bounds:
        raise UsageError("baseline_bounds says how much worse it may be: it needs baseline")
    return None


def timed_report(
    command: str, entry: ModelEntry, earlier: Baseline | None, started: float
) -> Report:
    """The report on one model, with how long it took since `started`, in seconds."""
    timed = replace(entry, duration_s=perf_counter() - started)
    return Report(command, (timed,), details={} if earlier is None else earlier.details())


def shown(source: ModelSource) -> str:
    """What a report calls a model: an object has no path worth showing."""
    return str(source) if isinstance(source, str | os.PathLike) else "<model>"


@contextmanager
def as_file(source: ModelSource) -> Iterator[Path]:
    """A model as a file, staged in a temporary folder when it is not one."""
    if isinstance(source, str | os.PathLike):
        yield Path(source)
    else:
        with TemporaryDirectory(prefix="onnx-act-") as folder:
            with stage_model(load_model(source), Path(folder) / "model.onnx") as staged:
                staged.commit()
            yield Path(folder) / "model.onnx"
