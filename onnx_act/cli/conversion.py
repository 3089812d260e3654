"""What convert, swap and fuse share: options to a request, and models to their outputs."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx_act.cli.baseline import open_baseline
from onnx_act.cli.present import failed_entry, invoked, present, progress, write_failure
from onnx_act.errors import EvidenceError, ModelError, ProviderUnavailableError, UsageError
from onnx_act.recipe.option_values import parse_duration, parse_shapes
from onnx_act.rewrite.fuse_mode import FuseMode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onnx_act.cli.options import OutputFormat
    from onnx_act.errors import OnnxActError
    from onnx_act.recipe.request import ConversionRequest
    from onnx_act.report.document import ModelEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of a conversion, as they were typed; what a command has not got stays out."""

    command: str
    swap: Sequence[str] | None = None
    where: Sequence[str] | None = None
    fuse: FuseMode = FuseMode.NONE
    tune: bool = False
    budget: str = "60s"
    contrib: bool = False
    approximate: bool = False
    profile: Path | None = None
    save_profile: Path | None = None
    undo: bool = False
    max_growth: float = 1.1
    opset: int | None = None
    provider: Sequence[str] | None = None
    data: Path | None = None
    shape: list[str] | None = None
    input_range: Sequence[str] | None = None
    normalize: str | None = None
    seed: int = 0
    threads: int = 0
    validate: bool = True
    bench: bool = False
    time: str = "5s"
    dry_run: bool = False
    force: bool = False
    strict_placement: bool = False
    timeout: str = "30m"
    bound: Sequence[str] | None = None
    baseline: Path | None = None
    baseline_bound: Sequence[str] | None = None
    recipe: str | None = None
    save_recipe: bool = False
    #: The options that were typed, as fields of a recipe: they win over what it says.
    given: frozenset[str] = frozenset()


def run_conversion(
    asked: Asked,
    models: list[Path],
    output_path: Path | None,
    out_dir: Path | None,
    reports: list[Path] | None,
    output: OutputFormat,
) -> None:
    """Convert every model and show what became of it."""
    from onnx_act.recipe.convert import convert_model
    from onnx_act.report.document import Report
    from onnx_act.report.write import check_report_paths
    from onnx_act.tuning.memory import check_profile_path

    pairs = _pairs(asked, models, output_path, out_dir)
    files = [asked.data, asked.profile, *(p for pair in pairs for p in pair)]
    check_report_paths([*(reports or [])], [*files, asked.save_profile], asked.baseline)
    if asked.save_profile is not None:
        check_profile_path(asked.save_profile, files)
    try:
        request = make_request(asked)
    except ProviderUnavailableError as error:
        write_failure(asked.command, [failed_entry(m, error) for m in models], reports, output)
        raise
    earlier = open_baseline(
        asked.baseline, asked.baseline_bound, asked.command, [str(m) for m in models]
    )
    if earlier is not None and (asked.dry_run or not (request.validate or request.bench)):
        raise UsageError("--baseline compares evidence, and this run gathers none")
    if asked.recipe is not None:
        check_report_paths([*(reports or [])], [request.recipe, request.feeds.data])
        if request.tune is not None and request.tune.save_profile is not None:
            check_profile_path(request.tune.save_profile, [*files, request.recipe])
    entries: list[ModelEntry] = []
    failure: OnnxActError | None = None
    with progress() as tell:
        for model, target in pairs:
            started = time.perf_counter()
            if earlier is not None:
                request = replace(request, baseline=earlier.of(str(model)))
            try:
                entry = convert_model(model, target, request, tell)
            except (ModelError, UsageError, EvidenceError) as error:
                # What one model cannot take must not end the others, nor lose their report.
                entry, failure = failed_entry(model, error), error
            entries.append(replace(entry, duration_s=time.perf_counter() - started))
            gc.collect()  # it is paused while the program runs, and a graph is full of cycles
    if failure is not None and len(pairs) == 1:
        write_failure(asked.command, entries, reports, output)
        raise failure
    details = {} if earlier is None else earlier.details()
    present(Report(asked.command, tuple(entries), invoked(), details), output, reports)


def _pairs(
    asked: Asked, models: list[Path], output_path: Path | None, out_dir: Path | None
) -> list[tuple[Path, Path | None]]:
    if output_path is not None and out_dir is not None:
        raise UsageError("give -o OUT or --out-dir DIR, not both")
    if output_path is not None:
        if len(models) != 1:
            raise UsageError(
                f"-o names one file, and there are {len(models)} models: use --out-dir"
            )
        return [(models[0], output_path)]
    if out_dir is None:
        if not asked.dry_run:
            raise UsageError("say where the result goes: -o OUT or --out-dir DIR (or --dry-run)")
        return [(m, None) for m in models]
    targets = [out_dir / m.name for m in models]
    if len(set(targets)) != len(targets):
        raise UsageError("two models of one name would be written to one file in --out-dir")
    return list(zip(models, targets, strict=True))


def make_request(asked: Asked, *, elsewhere: bool = False) -> ConversionRequest:
    """The request that the options spell.

    Args:
        asked: the options.
        elsewhere: whether it is for other machines, so that providers need not run on this one.

    Raises:
        UsageError: an option does not parse, or names what nobody knows.
        ProviderUnavailableError: a named provider cannot run here.
    """
    from onnx_act.recipe.bounds import parse_bounds
    from onnx_act.recipe.inputs import make_feed_request, parse_ranges
    from onnx_act.recipe.request import ConversionRequest, name_providers, require_providers
    from onnx_act.recipe.swap_steps import SwapStep
    from onnx_act.recipe.tuning import TuneOptions
    from onnx_act.rewrite.swap_request import parse_swap

    _check_tuning(asked)
    where = tuple(asked.where or ())
    requests = tuple(parse_swap(s) for s in asked.swap or ())
    swap = SwapStep(requests, where)  # a selector that does not parse is said before it is useless
    if where and not requests and asked.recipe is None:
        raise UsageError("--where selects what is swapped: it needs --swap")
    tuning = TuneOptions(
        budget_s=parse_duration(asked.budget, "--budget"),
        contrib=asked.contrib,
        approximate=asked.approximate,
        profile=asked.profile,
        save_profile=asked.save_profile,
    )
    request = ConversionRequest(
        swap=(swap,) if requests else (),
        fuse=asked.fuse,
        tune=tuning if asked.tune else None,
        undo=asked.undo,
        max_growth=asked.max_growth,
        opset=asked.opset,
        providers=(name_providers if elsewhere else require_providers)(asked.provider or ()),
        feeds=make_feed_request(
            seed=asked.seed,
            data=asked.data,
            shapes=parse_shapes(asked.shape),
            ranges=parse_ranges(asked.input_range),
            normalize=asked.normalize,
        ),
        threads=asked.threads,
        validate=asked.validate,
        bench=asked.bench,
        bench_seconds=parse_duration(asked.time, "--time"),
        dry_run=asked.dry_run,
        force=asked.force,
        strict_placement=asked.strict_placement,
        timeout_s=parse_duration(asked.timeout, "--timeout"),
        bounds=parse_bounds(asked.bound or ()),
        save_recipe=asked.save_recipe,
    )
    if asked.recipe is None:
        return request
    from onnx_act.recipe.resolve import apply_recipe

    return apply_recipe(asked.recipe, request, given=asked.given, where=where, tuning=tuning)


def _check_tuning(asked: Asked) -> None:
    """What says how to tune needs tuning to be asked for.

    Raises:
        UsageError: it is not.
    """
    if asked.tune or asked.recipe is not None:
        return
    given = {
        "--budget": asked.budget != Asked.__dataclass_fields__["budget"].default,
        "--allow-contrib": asked.contrib,
        "--allow-approximate": asked.approximate,
        "--profile": asked.profile is not None,
        "--save-profile": asked.save_profile is not None,
    }
    wrong = [option for option, is_given in given.items() if is_given]
    if wrong:
        raise UsageError(f"{wrong[0]} says how to tune: it needs --tune")
