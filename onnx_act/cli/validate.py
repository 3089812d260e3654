"""`onnx-act validate`: are two models the same on these providers."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import Annotated

import typer

from onnx_act.cli.options import (
    BaselineBoundOption,
    BaselineOption,
    DataOption,
    FormatOption,
    InputRangeOption,
    NormalizeOption,
    OutputFormat,
    ProviderOption,
    ReportOption,
    SeedOption,
    ShapeOption,
    StrictPlacementOption,
    ThreadsOption,
    TimeoutOption,
)
from onnx_act.recipe.option_values import parse_duration, parse_shapes


def validate(
    reference: Annotated[
        Path | None,
        typer.Argument(metavar="REFERENCE", help="The model that is right by definition."),
    ] = None,
    candidate: Annotated[
        Path | None, typer.Argument(metavar="CANDIDATE", help="The model in question.")
    ] = None,
    provider: ProviderOption = None,
    data: DataOption = None,
    shape: ShapeOption = None,
    input_range: InputRangeOption = None,
    normalize: NormalizeOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 0,
    strict_placement: StrictPlacementOption = False,
    timeout: TimeoutOption = "30m",
    locate: Annotated[
        bool,
        typer.Option(
            "--locate",
            help="Where they are not equivalent, find the first value inside at which they part.",
        ),
    ] = False,
    atol: Annotated[
        list[str] | None,
        typer.Option(
            "--atol",
            metavar="[OUTPUT:]NUMBER",
            help="Allow this absolute difference in the place of what is derived, for one output "
            "or for all of floats; where no --rtol is given with it, no more; repeatable.",
        ),
    ] = None,
    rtol: Annotated[
        list[str] | None,
        typer.Option(
            "--rtol",
            metavar="[OUTPUT:]NUMBER",
            help="The same relative to the reference's element; the two are added.",
        ),
    ] = None,
    save_metrics: Annotated[
        Path | None,
        typer.Option(
            "--save-metrics", metavar="FILE", help="Write what --rejudge takes to a .json file."
        ),
    ] = None,
    rejudge: Annotated[
        Path | None,
        typer.Option(
            "--rejudge",
            metavar="FILE",
            help="Judge what --save-metrics wrote by --atol and --rtol, and run nothing.",
        ),
    ] = None,
    baseline: BaselineOption = None,
    baseline_bound: BaselineBoundOption = None,
    report: ReportOption = None,
    output: FormatOption = OutputFormat.TEXT,
) -> None:
    """Run both models at every optimisation level and judge whether they compute the same."""
    from onnx_act.cli.baseline import open_baseline
    from onnx_act.cli.present import invoked, present, progress, reporting_failure
    from onnx_act.errors import UsageError
    from onnx_act.evidence.overrides import tolerances_from_texts
    from onnx_act.recipe.compare_models import validate_models
    from onnx_act.recipe.inner_values import with_inner_values
    from onnx_act.recipe.inputs import make_feed_request, parse_ranges
    from onnx_act.recipe.rejudged import rejudge_metrics
    from onnx_act.recipe.request import require_providers
    from onnx_act.report.document import Report
    from onnx_act.report.write import check_report_paths

    tolerances = tolerances_from_texts(atol, rtol)
    if rejudge is not None:
        if reference is not None or save_metrics is not None:
            raise UsageError("--rejudge runs nothing: it goes with no model and no --save-metrics")
        check_report_paths(report or [], [rejudge], baseline)
        entry = rejudge_metrics(rejudge, tolerances)
        earlier = open_baseline(baseline, baseline_bound, "validate", [entry.path])
        entry = entry if earlier is None else earlier.compared(entry)
        details = {} if earlier is None else earlier.details()
        present(Report("validate", (entry,), invoked(), details), output, report)
        return
    if reference is None or candidate is None:
        raise UsageError(
            "missing argument: name the REFERENCE and the CANDIDATE, or metrics with "
            "--rejudge FILE; see onnx-act validate --help"
        )
    check_report_paths(report or [], [reference, candidate, data], baseline)
    earlier = open_baseline(baseline, baseline_bound, "validate", [str(candidate)])
    started = time.perf_counter()
    with reporting_failure("validate", candidate, report, output):
        providers = require_providers(provider or [])
    feeds = make_feed_request(
        seed=seed,
        data=data,
        shapes=parse_shapes(shape),
        ranges=parse_ranges(input_range),
        normalize=normalize,
    )
    timeout_s = parse_duration(timeout, "--timeout")
    with reporting_failure("validate", candidate, report, output), progress() as tell:
        entry = validate_models(
            reference,
            candidate,
            providers=providers,
            feeds=feeds,
            threads=threads,
            timeout_s=timeout_s,
            strict_placement=strict_placement,
            tolerances=tolerances,
            save_to=save_metrics,
            progress=tell,
        )
        entry = with_inner_values(
            entry,
            reference,
            candidate,
            locate=locate,
            providers=providers,
            feeds=feeds,
            threads=threads,
            timeout_s=timeout_s,
            progress=tell,
        )
    entry = entry if earlier is None else earlier.compared(entry)
    entry = replace(entry, duration_s=time.perf_counter() - started)
    details = {} if earlier is None else earlier.details()
    present(Report("validate", (entry,), invoked(), details), output, report)
