"""How far a swapped model is from the original: measured and reported, not judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_act.errors import EvidenceError
from onnx_act.evidence.compare import (
    Agreement,
    Difference,
    DifferenceAccumulator,
    agreement,
    is_classifier_shaped,
)
from onnx_act.evidence.pairing import FeedAdapter, pair
from onnx_act.evidence.plain import plain
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.session import CPU, SessionSettings, open_session

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_act.runtime.tensors import Array


@dataclass(frozen=True, slots=True)
class OutputDrift:
    """How far one output drifted.

    Attributes:
        output: Its name in the original.
        difference: All measures; None when the two have different shapes.
        accuracy_before: The original against the labels, for the classifier's output.
        accuracy_after: The candidate against the labels.
    """

    output: str
    difference: Difference | None
    accuracy_before: Agreement | None
    accuracy_after: Agreement | None


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a model drifted from its original.

    Attributes:
        provider: The provider's full name.
        outputs: One entry for each output that is a tensor.
        feeds: How many feeds were run.
        rows: Rows with a label; 0 without labels.
        origin: `data`, or the kinds of the generated feeds.
    """

    provider: str
    outputs: tuple[OutputDrift, ...]
    feeds: int
    rows: int
    origin: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(self)


def measure_drift(
    original: Path,
    candidate: Path,
    *,
    provider: str = CPU,
    request: FeedRequest | None = None,
    threads: int = 0,
) -> Drift:
    """Run both models at the runtime's default optimisation and compare their outputs.

    Args:
        original: The model before.
        candidate: The model after.
        provider: The full name of an execution provider.
        request: What to run them on; where its data has labels, accuracies are measured.
        threads: Threads within an operator; 0 is the runtime's default.

    Raises:
        EvidenceError: A model does not run.
        ProviderUnavailableError: The provider is not there.
        UsageError: Shapes or data do not fit the model.
    """
    settings = SessionSettings(provider, threads=threads)
    before = open_session(original, settings)
    after = open_session(candidate, settings)
    feeds = feeds_for(before, request or FeedRequest()).ordinary()
    if not before.tensor_outputs:
        raise EvidenceError("the model has no output that is a tensor")
    adapt = FeedAdapter(before.inputs, after)
    names = pair("output", before.tensor_outputs, after.tensor_outputs)
    tallies = [_Tally(name, feeds.labels) for name in names]
    for feed in feeds.feeds:
        results = zip(
            tallies,
            before.run(feed, list(names)),
            after.run(adapt(feed), list(names.values())),
            strict=True,
        )
        for tally, old, new in results:
            tally.add(old, new)
    origin = ("data",) if "data" in feeds.origin else feeds.origin
    rows = 0 if feeds.labels is None else len(feeds.labels)
    return Drift(
        provider, tuple(tally.result() for tally in tallies), len(feeds.feeds), rows, origin
    )


class _Tally:
    """One output over feeds."""

    def __init__(self, name: str, labels: Array | None) -> None:
        self._name = name
        self._labels = labels
        self._row = 0
        self._right = [0, 0]
        self._classifies = labels is not None and labels.ndim == 1
        self._same_shape = True
        self._difference = DifferenceAccumulator()

    def add(self, old: Array, new: Array) -> None:
        if old.shape != new.shape:
            self._same_shape = False
            self._classifies = False
            return
        self._difference.add(old, new)
        self._classifies &= is_classifier_shaped(old)
        if self._labels is None or not self._classifies:
            return
        wanted = self._labels[self._row : self._row + len(old)]
        self._row += len(old)
        if len(wanted) != len(old):
            self._classifies = False
            return
        for side, output in enumerate((old, new)):
            self._right[side] += int(np.count_nonzero(np.argmax(output, axis=-1) == wanted))

    def result(self) -> OutputDrift:
        known = self._classifies and self._row > 0
        return OutputDrift(
            output=self._name,
            difference=self._difference.result() if self._same_shape else None,
            accuracy_before=agreement(self._right[0], self._row) if known else None,
            accuracy_after=agreement(self._right[1], self._row) if known else None,
        )
