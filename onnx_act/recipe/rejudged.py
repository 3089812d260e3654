"""A comparison judged again from its metrics, as an entry of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_act.errors import EvidenceError
from onnx_act.evidence.metrics import load_metrics
from onnx_act.evidence.rejudge import rejudge
from onnx_act.report.document import ModelEntry, Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_act.evidence.overrides import GivenTolerances


def rejudge_metrics(path: Path, tolerances: GivenTolerances) -> ModelEntry:
    """What `validate` would have said with other tolerances; nothing is run.

    Raises:
        UsageError: the file holds no metrics, or a name in `tolerances` is of no output in it.
    """
    metrics = load_metrics(path)
    found = rejudge(metrics.equivalence, tolerances)
    return ModelEntry(
        path=metrics.candidate,
        against=metrics.reference,
        outcome=Outcome.DONE if found.passed else Outcome.FAILED,
        exit_code=0 if found.passed else EvidenceError.exit_code,
        message="" if found.passed else f"not equivalent: {found.reason}",
        notes=(f"judged again from {path}; nothing was run",),
        equivalence=found,
    )
