"""One conversion, end to end: plan, apply, stage, gather evidence, write."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnx_act.errors import UsageError
from onnx_act.graph.finding import find_sites
from onnx_act.graph.garbage import collection_paused
from onnx_act.graph.model import OnnxModel, load_model
from onnx_act.graph.opset import raise_opset
from onnx_act.graph.statistics import count_nodes
from onnx_act.graph.store import (
    StagedModel,
    check_target,
    stage_model,
    stage_temporarily,
)
from onnx_act.recipe.evidence import Evidence, gather_evidence
from onnx_act.recipe.fused_for import fused_for_others, note_fusion, note_undoing
from onnx_act.recipe.inner_values import with_coverage_of_sites
from onnx_act.recipe.inputs import suited_feeds
from onnx_act.recipe.reference import RaisedModel, stage_raised
from onnx_act.recipe.saving import check_recipe_paths, save_recipe
from onnx_act.recipe.swap_steps import check_covered, run_swaps
from onnx_act.recipe.targets import ProviderTargets
from onnx_act.recipe.tuning import run_tuning
from onnx_act.report.document import ModelEntry, Outcome
from onnx_act.rewrite.engine import Plan, run_rules
from onnx_act.rewrite.fuse_mode import FuseMode
from onnx_act.rewrite.rules import fusing_rules
from onnx_act.rewrite.undo_fusion import UndoFusion
from onnx_act.runtime.target import short_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onnx_act.graph.model import ModelSource
    from onnx_act.graph.sites import Site
    from onnx_act.recipe.request import ConversionRequest
    from onnx_act.runtime.feeds import FeedRequest
    from onnx_act.tuning.outcome import TuningOutcome

# What a report calls a model that came as an object, not as a file.
_NAMELESS: Final = "<model>"


@dataclass(frozen=True, slots=True)
class _Record:
    """What was said of something before: what a site says changes with the model around it."""

    record: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The plain JSON data."""
        return self.record


@dataclass(slots=True)
class _Work:
    """A conversion under way.

    Attributes:
        model: edited in place.
        before: the sites of the original, routine ones included.
        shown: what the report says of those that are not routine.
        nodes: how many nodes the original has.
        swapped: the model with swaps and nothing else, staged, when there were any.
        raised: the model at its new opset and nothing else, when that is judged.
        plan: what was done and refused so far.
        started: when the conversion began, by the performance counter.
        tuning: what tuning found, when that was asked for.
        notes: what a reader should know of the original.
        speedups: what measuring of fusions gave.
        feeds: what was asked to be fed, before the model told of its inputs.
        is_only_tuned: whether nothing was done but what tuning measured.
    """

    model: OnnxModel
    before: list[Site]
    shown: tuple[_Record, ...]
    nodes: int
    plan: Plan
    started: float
    swapped: Path | None = None
    raised: RaisedModel | None = None
    tuning: TuningOutcome | None = None
    notes: tuple[str, ...] = ()
    speedups: Mapping[str, float] = field(default_factory=dict)
    is_only_tuned: bool = False
    feeds: FeedRequest | None = None


def convert_model(
    source: ModelSource,
    target: Path | None,
    request: ConversionRequest,
    progress: Callable[[str], None] = lambda _: None,
) -> ModelEntry:
    """Convert one model.

    Args:
        source: a path, `onnx.ModelProto` or `onnx_ir.Model`; never written.
        target: where the result goes; None keeps it to the report.
        request: what to do.
        progress: told what is going on, in a few words.

    Returns:
        Everything that was found, done, refused and measured. Nothing was written when its
        `output` is None.

    Raises:
        OnnxActError: the request is wrong, the model cannot be read, or a provider cannot run.
            See `errors`.
    """
    with ExitStack() as stack:
        started = time.perf_counter()
        stack.enter_context(collection_paused())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onnx-act-")))
        path = _as_file(source, folder)
        if target is not None and path.exists():
            # A model that is not there is what loading it will say.
            check_target(path, target)
        check_recipe_paths(target, path, request)
        progress("reading")
        # A model that came as an object keeps its weights where they are: load it, not the file.
        given = source if path.parent == folder else path
        work = _start(given, folder, request, stack, started)
        swaps = [swap for step in request.swap for swap in step.requests]
        feeds, fed = suited_feeds(request.feeds, work.model, work.before, swaps)
        work.feeds, request = request.feeds, replace(request, feeds=feeds)
        work.notes += fed
        progress("planning")
        _rewrite(work, folder, request, stack, progress)
        entry = _entry(str(path) if isinstance(source, str | os.PathLike) else _NAMELESS, work)
        if not work.plan.changes:
            entry = _nothing_done(entry, request)
            if entry.outcome is Outcome.REFUSED:
                return entry
        if request.dry_run:
            return replace(entry, notes=(*entry.notes, "dry run: nothing was written"))
        place = target if target is not None else folder / "result.onnx"
        staged = stack.enter_context(stage_model(work.model, place))
        if not work.plan.changes and work.raised is None and request.opset is None:
            staged.keep_content_of(path)
        entry = _with_size(entry, path, staged, work)
        return _judge_and_write(entry, work, path, staged, target, request, progress)


def _as_file(source: ModelSource, folder: Path) -> Path:
    """The model as a file: itself, or staged in a temporary folder."""
    if isinstance(source, str | os.PathLike):
        return Path(source)
    with stage_model(load_model(source), folder / "model.onnx") as staged:
        staged.commit()
    return folder / "model.onnx"


def _start(
    source: ModelSource,
    folder: Path,
    request: ConversionRequest,
    stack: ExitStack,
    started: float,
) -> _Work:
    model = load_model(source)
    before = model.content.opset_imports.get("", 0)
    if request.opset is not None:
        model = raise_opset(model, request.opset)
    is_raised = model.content.opset_imports.get("", 0) != before
    sites = find_sites(model, routine=True)
    check_covered(request.swap, sites)
    shown = tuple(_Record(s.to_dict()) for s in sites if not s.routine)
    names = [short_name(p) for p in request.providers]
    notes = () if request.undo else fused_for_others(model, names)
    work = _Work(model, sites, shown, count_nodes(model), Plan(), started, notes=notes)
    if is_raised and request.validate and not request.dry_run:
        # What follows edits the model: a swap is judged against the raised model, which nothing
        # else would compare with the original.
        work.raised = stage_raised(model, before, folder, stack)
    return work


def _rewrite(
    work: _Work,
    folder: Path,
    request: ConversionRequest,
    stack: ExitStack,
    progress: Callable[[str], None],
) -> None:
    targets = ProviderTargets(
        request.providers, request.feeds, request.threads or 1, known=request.speedups
    )
    if request.swap:
        work.plan += run_swaps(request.swap, work.model, targets, work.before)
    if request.undo:
        work.plan += run_rules([UndoFusion()], work.model, targets, work.before)
        note_undoing(work.model)
    swapped = bool(work.plan.changes)
    is_judged = request.validate and not request.dry_run
    if swapped and is_judged and (request.fuse is not FuseMode.NONE or request.tune is not None):
        # The rest is judged against this: swapped, and otherwise untouched.
        work.swapped = stack.enter_context(
            stage_temporarily(work.model, folder, "swapped.onnx")
        ).path
    if request.fuse is not FuseMode.NONE:
        rules = fusing_rules(request.fuse, request.max_growth)
        fused = run_rules(rules, work.model, targets, None if swapped else work.before)
        note_fusion(work.model, fused, [short_name(p) for p in request.providers])
        work.plan += fused
    work.speedups = targets.found
    if request.tune is not None:
        spent = time.perf_counter() - work.started
        work.tuning, tuned = run_tuning(work.model, targets, request, request.tune, spent, progress)
        work.is_only_tuned = work.raised is None and not work.plan.changes
        work.plan += tuned


def _entry(path: str, work: _Work) -> ModelEntry:
    return ModelEntry(
        path=path,
        sites=work.shown,
        changes=work.plan.changes,
        refusals=work.plan.refusals,
        notes=work.notes,
        tuning=work.tuning,
    )


def _nothing_done(entry: ModelEntry, request: ConversionRequest) -> ModelEntry:
    """What it means that no rule changed anything."""
    if any(not step.optional for step in request.swap):
        return replace(
            entry,
            outcome=Outcome.REFUSED,
            exit_code=UsageError.exit_code,
            message="every site that was asked for was refused; nothing was written",
        )
    asked = "nothing was asked for"
    if request.undo:
        asked = "nothing could be undone" if entry.refusals else "there was nothing to undo"
    elif request.tune is not None:
        asked = "nothing was shown to be faster"
    elif request.fuse is not FuseMode.NONE:
        asked = "there was nothing to fold or fuse"
    elif request.swap:
        asked = "there was nothing to swap"
    return replace(entry, notes=(*entry.notes, f"{asked}: the output is the same graph"))


def _with_size(entry: ModelEntry, path: Path, staged: StagedModel, work: _Work) -> ModelEntry:
    size = {
        "bytes_before": path.stat().st_size,
        "bytes_after": staged.path.stat().st_size,
        "nodes_before": work.nodes,
        "nodes_after": count_nodes(work.model),
    }
    notes = entry.notes
    if staged.shares_weights_with:
        files = ", ".join(str(p) for p in staged.shares_weights_with)
        notes = (*notes, f"the output refers to the weights in {files}; keep them beside it")
    return replace(entry, size=size, notes=notes)


def _judge_and_write(
    entry: ModelEntry,
    work: _Work,
    path: Path,
    staged: StagedModel,
    target: Path | None,
    request: ConversionRequest,
    progress: Callable[[str], None],
) -> ModelEntry:
    evidence = gather_evidence(
        original=path,
        reference=_reference(work, path, staged),
        candidate=staged.path,
        raised=work.raised,
        work=work.model,
        plan=work.plan,
        request=request,
        progress=progress,
    )
    entry = _with_evidence(entry, evidence)
    if work.tuning is not None and not request.bench and work.is_only_tuned:
        # It was measured against the original then, with sessions in turn.
        measured = tuple(_Record(dict(c.latency)) for c in work.tuning.confirmed)
        entry = replace(entry, latency=measured or None)
    if evidence.problem and not request.force:
        return replace(
            entry,
            outcome=Outcome.FAILED,
            exit_code=evidence.exit_code,
            message=f"{evidence.problem}; nothing was written (--force writes it all the same)",
        )
    if evidence.problem:
        entry = replace(entry, exit_code=evidence.exit_code, message=evidence.problem)
    entry = with_coverage_of_sites(
        entry,
        path,
        providers=request.providers,
        feeds=request.feeds,
        threads=request.threads,
        timeout_s=request.timeout_s,
        progress=progress,
    )
    if target is None:
        return entry
    beside = staged.commit()
    if beside is not None:
        kept = f"{beside} is there already with other weights and was kept; delete it if unused"
        entry = replace(entry, notes=(*entry.notes, kept))
    if request.save_recipe:
        # What the model told of its inputs it will tell again.
        asked = replace(request, feeds=work.feeds or request.feeds)
        saved = save_recipe(target, path, asked, work.tuning, work.speedups)
        entry = replace(entry, notes=(*entry.notes, f"{saved} repeats this run"))
    return replace(entry, output=str(target))


def _reference(work: _Work, path: Path, staged: StagedModel) -> Path:
    """What the result must equal: itself where swaps are all that was done to it."""
    changes = work.plan.changes
    if changes and all(c.rule == "swap_activation" for c in changes):
        return staged.path
    return work.swapped or path


def _with_evidence(entry: ModelEntry, evidence: Evidence) -> ModelEntry:
    return replace(
        entry,
        checks=evidence.checks,
        equivalence=evidence.equivalence,
        drift=evidence.drift,
        latency=evidence.latency,
        notes=(*entry.notes, *evidence.notes),
        placement=evidence.placement,
        production=evidence.production,
        bounds=evidence.bounds,
        baseline=evidence.baseline,
    )
