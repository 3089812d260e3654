"""The metrics of a comparison in a file, from which it can be judged again without running it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from onnx_act.errors import UsageError
from onnx_act.evidence.compare import Agreement, Difference
from onnx_act.evidence.envelope import Envelope
from onnx_act.evidence.noise import NoiseFloor
from onnx_act.evidence.tolerance import Tolerance
from onnx_act.evidence.verdict import Equivalence, LevelVerdict, OutputVerdict, ProviderVerdict
from onnx_act.runtime.session import OptimizationLevel, PlacedNode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SCHEMA: Final = "onnx-act/metrics/1"
_START: Final = f'{{"schema": "{_SCHEMA}"'.encode()
# How infinity and NaN are written, which JSON has not got.
_NUMBER: Final = "float"


@dataclass(frozen=True, slots=True)
class Metrics:
    """What was measured, of which models.

    Attributes:
        reference: The path of the model that is right by definition, as it was given.
        candidate: The path of the model in question.
        equivalence: The verdict, with what it takes to judge it again.
    """

    reference: str
    candidate: str
    equivalence: Equivalence


def save_metrics(metrics: Metrics, path: Path) -> None:
    """Write metrics to a file, whole or not at all.

    Raises:
        UsageError: It cannot be written.
    """
    document = {
        "schema": _SCHEMA,
        "reference": metrics.reference,
        "candidate": metrics.candidate,
        "equivalence": _written(metrics.equivalence),
    }
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        staged.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise UsageError(f"{path}: the metrics cannot be written: {error.strerror}") from error


def check_metrics_path(path: Path) -> None:
    """Refuse a file for metrics that holds anything else, before any work.

    Raises:
        UsageError: It does.
    """
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            start = file.read(len(_START))
    except OSError as error:
        raise UsageError(f"{path}: the metrics cannot be written: {error.strerror}") from error
    if start and start != _START:
        raise UsageError(f"--save-metrics {path} would overwrite a file that holds no metrics")


def load_metrics(path: Path) -> Metrics:
    """Read what `save_metrics` wrote.

    Raises:
        UsageError: There is no such file, or something else is in it.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: the metrics cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} holds no metrics: it is not JSON") from error
    if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
        raise UsageError(f"{path} holds no metrics of this version: --save-metrics writes them")
    try:
        found = _equivalence(document["equivalence"])
        return Metrics(str(document["reference"]), str(document["candidate"]), found)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: the metrics are damaged ({error})") from error


def _written(value: Any) -> Any:
    """Everything, also what reports leave out, and numbers that JSON has not got."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _written(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {_NUMBER: str(value)}
    if isinstance(value, OptimizationLevel):
        return value.value
    if isinstance(value, (tuple, list)):
        return [_written(item) for item in value]
    return value


def _equivalence(data: Mapping[str, Any]) -> Equivalence:
    providers = tuple(_provider(p) for p in data["providers"])
    return Equivalence(**{**data, "providers": providers, "feeds": tuple(data["feeds"])})


def _provider(data: Mapping[str, Any]) -> ProviderVerdict:
    return ProviderVerdict(
        **{
            **data,
            "outputs": tuple(_output(o) for o in data["outputs"]),
            "reference_elsewhere": _placed(data["reference_elsewhere"]),
            "candidate_elsewhere": _placed(data["candidate_elsewhere"]),
            "notes": tuple(data["notes"]),
            "conditions": tuple(data["conditions"]),
        }
    )


def _placed(nodes: list[dict[str, str]] | None) -> tuple[PlacedNode, ...] | None:
    return None if nodes is None else tuple(PlacedNode(**node) for node in nodes)


def _output(data: Mapping[str, Any]) -> OutputVerdict:
    differences = ("provider_difference", "total_difference", "change_difference")
    tolerance = data["tolerance"]
    return OutputVerdict(
        **{
            **_numbers(data),
            "tolerance": None if tolerance is None else Tolerance(**_numbers(tolerance)),
            "noise_floor": NoiseFloor(**_numbers(data["noise_floor"])),
            "difference": _difference(data["difference"]),
            **{n: None if data[n] is None else _difference(data[n]) for n in differences},
            "levels": tuple(_level(level) for level in data["levels"]),
        }
    )


def _difference(data: Mapping[str, Any]) -> Difference:
    top1 = data["top1"]
    return Difference(
        **{
            **_numbers(data),
            "worst_index": tuple(data["worst_index"]),
            "top1": None if top1 is None else Agreement(**top1),
        }
    )


def _level(data: Mapping[str, Any]) -> LevelVerdict:
    held = data["envelope"]
    envelope = Envelope(
        tuple(map(float, held["magnitudes"])), tuple(map(float, held["deviations"]))
    )
    return LevelVerdict(
        **{
            **_numbers(data),
            "level": OptimizationLevel(data["level"]),
            "envelope": envelope,
        }
    )


def _numbers(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with the numbers that JSON has not got."""
    return {
        k: float(v[_NUMBER]) if isinstance(v, dict) and set(v) == {_NUMBER} else v
        for k, v in data.items()
    }
