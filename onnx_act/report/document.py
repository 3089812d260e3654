"""The document: plain data that every command produces, and that every rendering reads.

Its JSON form is the contract of `--format json`. Durations are in seconds, and their keys say so.
"""

from __future__ import annotations

import enum
import platform
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


_PACKAGES: Final = (
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "numpy",
)

_LISTS: Final = (
    "sites",
    "changes",
    "refusals",
    "checks",
    "latency",
    "operators",
    "placement",
    "bounds",
    "baseline",
)


class Plain(Protocol):
    """Anything that has a form as plain JSON data."""

    def to_dict(self) -> dict[str, Any]:
        """The plain JSON data."""


class Outcome(enum.Enum):
    """How it ended for one model."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """Everything about one input of a command.

    Attributes:
        path: the input, as it was named.
        against: the other model, of commands that compare two.
        outcome: how it ended.
        exit_code: what it contributes to the command's exit code.
        output: the file that was written, None when none was.
        message: one sentence on the outcome, "" when all is well.
        notes: what a reader should know beside the outcome.
        sites: the activations that were found.
        changes: what was done, in order.
        refusals: what was left alone, and why.
        checks: each new activation against its float64 reference.
        equivalence: whether the result computes the same, None when it was not judged.
        drift: how far outputs moved from the original, None when nothing was swapped.
        latency: times, one entry per provider.
        operators: where the time of a run goes, one entry per provider.
        size: bytes and nodes before and after.
        tuning: what was found about ways to write activations, None when that was not asked for.
        placement: where nodes run, per provider and model; None where there is but one place.
        production: equivalence on CUDA with TF32, beside `equivalence`, which is without it.
        bounds: whether each bound that was asked for holds, None where none was.
        locate: where two models part, None when that was not asked for.
        coverage: which parts of changed activations' domains were exercised, None when no
            activation was changed or the evidence does not hold.
        baseline: each figure beside that of an earlier run, None where there was none.
        duration_s: how long the command took for it, in seconds; None where nobody measured that.
    """

    path: str
    outcome: Outcome = Outcome.DONE
    exit_code: int = 0
    output: str | None = None
    message: str = ""
    notes: tuple[str, ...] = ()
    sites: tuple[Plain, ...] | None = None
    changes: tuple[Plain, ...] | None = None
    refusals: tuple[Plain, ...] | None = None
    checks: tuple[Plain, ...] | None = None
    equivalence: Plain | None = None
    drift: Plain | None = None
    latency: tuple[Plain, ...] | None = None
    size: Mapping[str, int] | None = None
    tuning: Plain | None = None
    against: str | None = None
    operators: tuple[Plain, ...] | None = None
    placement: tuple[Plain, ...] | None = None
    production: Plain | None = None
    bounds: tuple[Plain, ...] | None = None
    locate: Plain | None = None
    coverage: Plain | None = None
    baseline: tuple[Plain, ...] | None = None
    duration_s: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The entry as plain JSON data; what the command does not produce is left out."""
        entry: dict[str, Any] = {
            "path": self.path,
            **({} if self.against is None else {"against": self.against}),
            "output": self.output,
            "outcome": self.outcome.value,
            "exit_code": self.exit_code,
            "message": self.message,
            "notes": list(self.notes),
        }
        for name in _LISTS:
            items = getattr(self, name)
            if items is not None:
                entry[name] = [item.to_dict() for item in items]
        for name in ("tuning", "equivalence", "production", "locate", "drift", "coverage"):
            item = getattr(self, name)
            if item is not None:
                entry[name] = item.to_dict()
        if self.size is not None:
            entry["size"] = dict(self.size)
        if self.duration_s is not None:
            entry["duration_s"] = round(self.duration_s, 3)
        return entry


@dataclass(frozen=True, slots=True)
class Report:
    """One run of one command.

    Attributes:
        command: the verb.
        models: one entry per input.
        arguments: the command line that repeats the run.
        details: further parts of the document that belong to no model.
    """

    command: str
    models: tuple[ModelEntry, ...] = ()
    arguments: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """The worst of the parts."""
        return max((m.exit_code for m in self.models), default=0)

    def to_dict(self) -> dict[str, Any]:
        """The document as plain JSON data."""
        return {
            "schema": f"onnx-act/{self.command}/1",
            "version": package_version(),
            "environment": environment(),
            "command": list(self.arguments),
            **self.details,
            "models": [m.to_dict() for m in self.models],
        }


def package_version() -> str:
    """The version of this package."""
    return _version("onnx-act")


def environment() -> dict[str, str]:
    """What the run depended on: Python, the machine, and the packages that matter."""
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
    }
    for name in _PACKAGES:
        installed = _version(name)
        if installed != "not installed":
            found[name] = installed
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
