"""Two models, or one, on the runtime: are they the same, and how fast are they."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_act.errors import EvidenceError
from onnx_act.evidence.equivalence import judge_equivalence
from onnx_act.evidence.latency import measure_latency
from onnx_act.graph.model import load_model
from onnx_act.graph.statistics import coarsest_float, measure_depth
from onnx_act.report.document import ModelEntry, Outcome
from onnx_act.runtime.isolate import run_isolated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from onnx_act.runtime.feeds import FeedRequest


def validate_models(
    reference: Path,
    candidate: Path,
    *,
    providers: Sequence[str],
    feeds: FeedRequest,
    threads: int = 0,
    timeout_s: float = 1800.0,
    progress: Callable[[str], None] = lambda _: None,
) -> ModelEntry:
    """Judge whether two models compute the same on every named provider.

    Raises:
        ModelError: the reference cannot be read.
        EvidenceError: the reference cannot be run.
    """
    progress("reading")
    model = load_model(reference)
    load_model(candidate)
    progress("judging equivalence")
    equivalence = run_isolated(
        judge_equivalence,
        reference,
        candidate,
        providers=tuple(providers),
        request=feeds,
        threads=threads,
        depth=measure_depth(model),
        coarsest_dtype=coarsest_float(model),
        timeout_s=timeout_s,
    )
    passed = equivalence.passed
    return ModelEntry(
        path=str(candidate),
        against=str(reference),
        outcome=Outcome.DONE if passed else Outcome.FAILED,
        exit_code=0 if passed else EvidenceError.exit_code,
        message="" if passed else f"not equivalent: {equivalence.reason}",
        equivalence=equivalence,
    )


def bench_models(
    model: Path,
    other: Path | None,
    *,
    providers: Sequence[str],
    feeds: FeedRequest,
    seconds: float,
    threads: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> ModelEntry:
    """Measure one model, or two in turn and their ratio, on every named provider.

    Raises:
        ModelError: a model cannot be read.
        EvidenceError: a model cannot be run.
    """
    for path in (model, other):
        if path is not None:
            load_model(path)
    measured = []
    for provider in providers:
        progress("measuring")
        measured.append(
            run_isolated(
                measure_latency,
                model,
                other,
                provider=provider,
                seconds=seconds,
                threads=threads,
                request=feeds,
                timeout_s=10 * seconds + 600,
            )
        )
    return ModelEntry(
        path=str(model), against=None if other is None else str(other), latency=tuple(measured)
    )
