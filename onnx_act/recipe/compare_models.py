"""Two models on the runtime: are they the same."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onnx_act.errors import EvidenceError
from onnx_act.evidence.equivalence import judge_equivalence
from onnx_act.evidence.metrics import Metrics, check_metrics_path, save_metrics
from onnx_act.graph.model import load_model
from onnx_act.graph.statistics import coarsest_float, measure_depth
from onnx_act.recipe.cuda import judge_production, judging_environment
from onnx_act.recipe.fused_for import fused_for_others
from onnx_act.recipe.inputs import suited_feeds
from onnx_act.recipe.placement import find_placement
from onnx_act.report.document import ModelEntry, Outcome
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.target import short_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from onnx_act.evidence.overrides import GivenTolerances
    from onnx_act.graph.model import OnnxModel
    from onnx_act.runtime.feeds import FeedRequest


def validate_models(
    reference: Path,
    candidate: Path,
    *,
    providers: Sequence[str],
    feeds: FeedRequest,
    threads: int = 0,
    timeout_s: float = 1800.0,
    strict_placement: bool = False,
    tolerances: GivenTolerances | None = None,
    save_to: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> ModelEntry:
    """Judge whether two models compute the same on every named provider.

    With `strict_placement` a node of the candidate that runs elsewhere than asked is a failure.
    `tolerances` stand in the place of what is derived. Metrics go to the file `save_to`.

    Raises:
        ModelError: the reference cannot be read.
        EvidenceError: the reference cannot be run.
        UsageError: the reference has no output of a name in `tolerances`, or metrics cannot be
            written.
    """
    if save_to is not None:
        check_metrics_path(save_to)
    progress("reading")
    model = load_model(reference)
    notes = running_notes(
        {"the reference": model, "the candidate": load_model(candidate)}, providers
    )
    feeds, fed = suited_feeds(feeds, model)
    notes = (*notes, *fed)
    progress("judging equivalence")
    options: dict[str, Any] = {
        "providers": tuple(providers),
        "request": feeds,
        "threads": threads,
        "depth": measure_depth(model),
        "coarsest_dtype": coarsest_float(model),
        "tolerances": tolerances,
        "timeout_s": timeout_s,
    }
    with explained(notes):
        equivalence = run_isolated(
            judge_equivalence,
            reference,
            candidate,
            environment=judging_environment(providers),
            **options,
        )
    if save_to is not None:
        save_metrics(Metrics(str(reference), str(candidate), equivalence), save_to)
    production, more = judge_production(reference, candidate, **options)
    placed = find_placement(
        {"reference": reference, "candidate": candidate},
        providers=providers,
        feeds=feeds,
        threads=threads,
        strict=strict_placement,
        timeout_s=timeout_s,
    )
    message = placed.problem if equivalence.passed else f"not equivalent: {equivalence.reason}"
    return ModelEntry(
        path=str(candidate),
        against=str(reference),
        outcome=Outcome.FAILED if message else Outcome.DONE,
        exit_code=EvidenceError.exit_code if message else 0,
        message=message,
        notes=(*notes, *more, *placed.notes),
        equivalence=equivalence,
        production=production,
        placement=placed.placements,
    )


def running_notes(models: Mapping[str, OnnxModel], providers: Sequence[str]) -> tuple[str, ...]:
    """What stands against running the models, by what to call them, on the providers."""
    names = [short_name(p) for p in providers]
    found = (
        fused_for_others(model, names, what if len(models) > 1 else "it")
        for what, model in models.items()
    )
    return tuple(note for notes in found for note in notes)


@contextmanager
def explained(notes: Sequence[str]) -> Iterator[None]:
    """Have a failure say what the notes say: no report will."""
    try:
        yield
    except EvidenceError as error:
        raise EvidenceError("; ".join((str(error), *notes))) from error
