"""`onnx-act bench`: latency; of two models, their ratio with its interval."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from time import perf_counter
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
)
from onnx_act.recipe.option_values import parse_counts, parse_duration, parse_part, parse_shapes

LEVEL_NAMES = ("disable", "basic", "extended", "all")


def bench(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file.")],
    other: Annotated[
        Path | None, typer.Argument(metavar="[OTHER]", help="Another, to compare it with.")
    ] = None,
    time: Annotated[
        str,
        typer.Option(
            "--time", metavar="TIME", help="How long to measure at most, per provider, in all."
        ),
    ] = "10s",
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="PERCENT",
            help="Stop when the ratio (of one model, its time) is known to this, to either side: "
            "1%; 0 takes all the time.",
        ),
    ] = "0.5%",
    levels: Annotated[
        bool, typer.Option("--levels", help="At all four optimisation levels of the runtime.")
    ] = False,
    batch: Annotated[
        str | None,
        typer.Option("--batch", metavar="N[,N...]", help="Rows; every number that is named."),
    ] = None,
    per_op: Annotated[
        bool,
        typer.Option("--per-op", help="Also tell where the time goes, by operator."),
    ] = False,
    provider: ProviderOption = None,
    data: DataOption = None,
    shape: ShapeOption = None,
    input_range: InputRangeOption = None,
    normalize: NormalizeOption = None,
    seed: SeedOption = 0,
    threads: Annotated[
        str,
        typer.Option(
            "--threads",
            metavar="N[,N...]",
            help="Threads within an operator, every number that is named; 0: the default.",
        ),
    ] = "0",
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            metavar="TIME",
            help="When to give a provider up that does not come to an end; left out, after ten "
            "times --time and ten minutes.",
        ),
    ] = None,
    baseline: BaselineOption = None,
    baseline_bound: BaselineBoundOption = None,
    report: ReportOption = None,
    output: FormatOption = OutputFormat.TEXT,
) -> None:
    """Measure latency in ONNX Runtime, two models in turn.

    At the runtime's default optimisation, unless --levels asks for all. Several levels, numbers of
    threads or of rows make a table of every combination.
    """
    from onnx_act.cli.baseline import open_baseline
    from onnx_act.cli.present import invoked, present, progress, reporting_failure
    from onnx_act.errors import UsageError
    from onnx_act.recipe.bench import BenchRequest, bench_models, parse_levels
    from onnx_act.recipe.inputs import make_feed_request, parse_ranges
    from onnx_act.recipe.request import require_providers
    from onnx_act.report.document import Report
    from onnx_act.report.write import check_report_paths

    check_report_paths(report or [], [model, other, data], baseline)
    if baseline is not None and other is None:
        raise UsageError(
            "--baseline compares ratios, for times of two runs do not compare: name OTHER too"
        )
    earlier = open_baseline(baseline, baseline_bound, "bench", [str(model)])
    started = perf_counter()
    request = BenchRequest(
        seconds=parse_duration(time, "--time"),
        precision=parse_part(precision, "--precision"),
        levels=parse_levels(LEVEL_NAMES if levels else ("all",)),
        threads=parse_counts(threads, "--threads", 0),
        batches=(None,) if batch is None else parse_counts(batch, "--batch", 1),
        per_op=per_op,
        timeout_s=None if timeout is None else parse_duration(timeout, "--timeout"),
    )
    with reporting_failure("bench", model, report, output):
        providers = require_providers(provider or [])
    with reporting_failure("bench", model, report, output), progress() as tell:
        entry = bench_models(
            model,
            other,
            providers=providers,
            feeds=make_feed_request(
                seed=seed,
                data=data,
                shapes=parse_shapes(shape),
                ranges=parse_ranges(input_range),
                normalize=normalize,
            ),
            request=request,
            progress=tell,
        )
    entry = entry if earlier is None else earlier.compared(entry)
    entry = replace(entry, duration_s=perf_counter() - started)
    details = {} if earlier is None else earlier.details()
    present(Report("bench", (entry,), invoked(), details), output, report)
