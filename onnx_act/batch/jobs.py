"""A job, and what became of it: small values that travel between processes and machines."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnx_act.errors import EvidenceError, OnnxActError, UsageError
from onnx_act.report.document import ModelEntry, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_act.recipe.request import ConversionRequest


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may use.

    Attributes:
        seconds: how long it may take in all, without the time that it stands in line to measure.
        memory_bytes: how much memory of its own each of its processes may have; None for no limit.
    """

    seconds: float = 1800.0
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One conversion to be made somewhere.

    Attributes:
        path: the model, as it was named.
        target: where the result goes; None for a dry run.
        request: what to do.
        limits: what it may use.
        folder: the folder that paths are relative to.
        report: where its part of the report goes; None to have it in the outcome.
        batch: tells the batch that it belongs to from others in this process.
    """

    path: str
    target: str | None
    request: ConversionRequest
    limits: Limits = field(default_factory=Limits)
    folder: str = "."
    report: str | None = None
    batch: str = ""


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What became of one model of a batch.

    Attributes:
        path: the model, as it was named.
        outcome: how it ended.
        exit_code: what it contributes to the exit code of the batch.
        output: the file that was written, None when none was.
        message: one sentence on the outcome, "" when all is well.
        seconds: how long it took, the time that it stood in line to measure included.
        waited_s: how much of that it stood in line.
        cause: "crash", "timeout", "memory" or "lost" when its process did not end by itself.
        is_skipped: whether it was converted by an earlier run, alike, and left as it was.
        report: the file with everything that was found, as JSON; None where nothing was kept.
        entry: everything that was found, where there is no such file.
        versions: what it was made with.
        inputs: digests of the model's files, by their names relative to its folder.
        outputs: digests of the result's files, by their names relative to its folder.
    """

    path: str
    outcome: Outcome
    exit_code: int = 0
    output: str | None = None
    message: str = ""
    seconds: float = 0.0
    waited_s: float = 0.0
    cause: str = ""
    is_skipped: bool = False
    report: str | None = None
    entry: Mapping[str, Any] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data: one line of the file of outcomes; durations are in seconds."""
        return {
            "path": self.path,
            "output": self.output,
            "outcome": self.outcome.value,
            "exit_code": self.exit_code,
            "message": self.message,
            "seconds": round(self.seconds, 3),
            "waited_s": round(self.waited_s, 3),
            "cause": self.cause,
            "is_skipped": self.is_skipped,
            "report": self.report,
            "versions": dict(self.versions),
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
        }

    def to_entry(self) -> ModelEntry:
        """Its part of the report: all of it where it was kept, else how it ended."""
        kept = self.entry if self.entry is not None else self._kept()
        found = entry_from(kept) if kept is not None else ModelEntry(self.path)
        if kept is None and self.report is not None:
            gone = f"what was found is not told again: {self.report} is gone or damaged"
            found = replace(found, notes=(gone,))
        return replace(
            found,
            path=self.path,
            outcome=self.outcome,
            exit_code=self.exit_code,
            output=self.output,
            message=self.message,
            duration_s=self.seconds,
        )

    def _kept(self) -> dict[str, Any] | None:
        if self.report is None:
            return None
        try:
            found = json.loads(Path(self.report).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None


def outcome_from(record: Mapping[str, Any]) -> JobOutcome:
    """What `to_dict` told.

    Raises:
        KeyError: something is missing.
        TypeError: something is of another type.
        ValueError: there is no such outcome.
    """
    return JobOutcome(
        path=str(record["path"]),
        outcome=Outcome(record["outcome"]),
        exit_code=int(record["exit_code"]),
        output=None if record["output"] is None else str(record["output"]),
        message=str(record["message"]),
        seconds=float(record["seconds"]),
        waited_s=float(record["waited_s"]),
        cause=str(record["cause"]),
        is_skipped=bool(record["is_skipped"]),
        report=None if record["report"] is None else str(record["report"]),
        versions=dict(record["versions"]),
        inputs=dict(record["inputs"]),
        outputs=dict(record["outputs"]),
    )


def failure(path: str, error: Exception, *, seconds: float = 0.0, cause: str = "") -> JobOutcome:
    """The outcome of a job that raised."""
    is_ours = isinstance(error, OnnxActError)
    code = error.exit_code if isinstance(error, OnnxActError) else OnnxActError.exit_code
    refused = isinstance(error, UsageError)
    return JobOutcome(
        path,
        Outcome.REFUSED if refused else Outcome.FAILED,
        code,
        message=str(error) if is_ours else f"this is a bug: {type(error).__name__}: {error}",
        seconds=seconds,
        cause=cause,
    )


def ended(path: str, message: str, cause: str, seconds: float) -> JobOutcome:
    """The outcome of a job whose process did not end by itself."""
    code = EvidenceError.exit_code
    return JobOutcome(path, Outcome.FAILED, code, message=message, seconds=seconds, cause=cause)


@dataclass(frozen=True, slots=True)
class _Record:
    """A part of a report that was read back."""

    record: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return dict(self.record)


# Parts of an entry that are no parts with a form of their own.
_PLAIN: Final = frozenset({"path", "against", "output", "exit_code", "message", "size"})


def entry_from(record: Mapping[str, Any]) -> ModelEntry:
    """An entry of a report, from its plain JSON data."""
    parts: dict[str, Any] = {}
    for name in (f.name for f in fields(ModelEntry) if f.name in record):
        value = record[name]
        if name in _PLAIN or isinstance(value, int | float):
            parts[name] = value
        elif name == "notes":
            parts[name] = tuple(value)
        elif name == "outcome":
            parts[name] = Outcome(value)
        elif isinstance(value, list):
            parts[name] = tuple(_Record(item) for item in value)
        elif value is not None:
            parts[name] = _Record(value)
    return ModelEntry(**parts)
