"""What a look inside two models adds to a report: where they part, and what was exercised."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from onnx_act.errors import EvidenceError, ModelError
from onnx_act.evidence.coverage import measure_coverage, measure_coverage_between
from onnx_act.evidence.locate import locate_parting
from onnx_act.evidence.location import Location
from onnx_act.graph.model import load_model
from onnx_act.recipe.cuda import judging_environment
from onnx_act.recipe.inputs import suited_feeds
from onnx_act.runtime.isolate import run_isolated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from onnx_act.evidence.coverage import Coverage
    from onnx_act.evidence.verdict import Equivalence
    from onnx_act.report.document import ModelEntry
    from onnx_act.runtime.feeds import FeedRequest

_EQUIVALENT: Final = "nothing parts: the models are equivalent"


def with_inner_values(
    entry: ModelEntry,
    reference: Path,
    candidate: Path,
    *,
    locate: bool,
    feeds: FeedRequest,
    **options: Any,
) -> ModelEntry:
    """A verdict on two models with what a look inside them adds.

    Args:
        entry: the verdict.
        reference: the model that is right by definition.
        candidate: the model in question.
        locate: whether to say where they part.
        feeds: as the user asked for them; they are suited to the model as for the verdict.
        options: the rest of those of `with_location`.
    """
    if not locate and _is_unlike(entry):
        return entry
    if entry.equivalence is not None:
        feeds, _ = suited_feeds(feeds, load_model(reference))
    entry = with_coverage(entry, reference, candidate, feeds=feeds, **options)
    if not locate:
        return entry
    return with_location(entry, reference, candidate, feeds=feeds, **options)


def with_location(
    entry: ModelEntry,
    reference: Path,
    candidate: Path,
    *,
    providers: Sequence[str],
    feeds: FeedRequest,
    threads: int = 0,
    timeout_s: float = 1800.0,
    progress: Callable[[str], None] = lambda _: None,
) -> ModelEntry:
    """A verdict on two models with the place where they part.

    Args:
        entry: the verdict.
        reference: the model that is right by definition.
        candidate: the model in question.
        providers: what the verdict was found on, by full name; the first is looked at.
        feeds: what the models are run on.
        threads: threads within an operator, 0 for the runtime's default.
        timeout_s: how long it may take before it is given up.
        progress: told what is going on.
    """
    if not _is_unlike(entry):
        return replace(entry, locate=Location(parts=False, message=_EQUIVALENT))
    progress("looking for where they part")
    try:
        found: Location = run_isolated(
            locate_parting,
            reference,
            candidate,
            provider=providers[0],
            request=feeds,
            threads=threads,
            timeout_s=timeout_s,
            environment=judging_environment(providers[:1]),
        )
    except (EvidenceError, ModelError) as error:
        found = Location(parts=False, message=f"where they part could not be found out: {error}")
    if not found.parts and found.compared:
        message = f"{found.message}; the difference is made by the runtime's optimiser"
        if len(providers) > 1:
            message += " or by another provider"
        found = replace(found, message=message)
    return replace(entry, locate=found)


def with_coverage(
    entry: ModelEntry,
    reference: Path,
    candidate: Path,
    *,
    providers: Sequence[str],
    feeds: FeedRequest,
    threads: int = 0,
    timeout_s: float = 1800.0,
    progress: Callable[[str], None] = lambda _: None,
) -> ModelEntry:
    """A verdict that two models agree with what it was exercised on; others are left as they are.

    The arguments are those of `with_location`.
    """
    if entry.exit_code or _is_unlike(entry):
        return entry
    progress("looking at what was exercised")
    options: dict[str, Any] = {"provider": providers[0], "request": feeds, "threads": threads}
    try:
        coverage: Coverage | None = run_isolated(
            measure_coverage_between, reference, candidate, **options, timeout_s=timeout_s
        )
    except EvidenceError as error:
        return _unknown(entry, error)
    return replace(entry, coverage=coverage)


def with_coverage_of_sites(
    entry: ModelEntry,
    original: Path,
    *,
    providers: Sequence[str],
    feeds: FeedRequest,
    threads: int = 0,
    timeout_s: float = 1800.0,
    progress: Callable[[str], None] = lambda _: None,
) -> ModelEntry:
    """A conversion whose result holds with what its changed sites were exercised on.

    Args:
        entry: the conversion, with its changes.
        original: the model that was converted.
        providers: as of `with_location`.
        feeds: as of `with_location`.
        threads: as of `with_location`.
        timeout_s: as of `with_location`.
        progress: as of `with_location`.
    """
    if entry.exit_code or entry.equivalence is None or not entry.changes:
        return entry
    progress("looking at what was exercised")
    changed = tuple(dict.fromkeys(str(c.to_dict()["site"]) for c in entry.changes))
    try:
        coverage: Coverage | None = run_isolated(
            measure_coverage,
            original,
            changed,
            provider=providers[0],
            request=feeds,
            threads=threads,
            timeout_s=timeout_s,
        )
    except EvidenceError as error:
        return _unknown(entry, error)
    return replace(entry, coverage=coverage)


def _unknown(entry: ModelEntry, error: EvidenceError) -> ModelEntry:
    note = f"what was exercised of the changed activations could not be found out: {error}"
    return replace(entry, notes=(*entry.notes, note))


def _is_unlike(entry: ModelEntry) -> bool:
    """Whether the two models were found not to compute the same."""
    verdict: Equivalence | Any = entry.equivalence
    return verdict is not None and not verdict.passed
