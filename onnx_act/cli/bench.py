"""`onnx-act bench`: latency; of two models, their ratio with its interval."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import Annotated

import typer

from onnx_act.cli.options import (
    DataOption,
    FormatOption,
    OutputFormat,
    ProviderOption,
    ReportOption,
    SeedOption,
    ShapeOption,
    ThreadsOption,
    parse_duration,
    parse_shapes,
)


def bench(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file.")],
    other: Annotated[
        Path | None, typer.Argument(metavar="[OTHER]", help="Another, to compare it with.")
    ] = None,
    time: Annotated[
        str, typer.Option("--time", metavar="TIME", help="How long to measure, per provider.")
    ] = "10s",
    provider: ProviderOption = None,
    data: DataOption = None,
    shape: ShapeOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 0,
    report: ReportOption = None,
    output: FormatOption = OutputFormat.TEXT,
) -> None:
    """Measure latency in ONNX Runtime at its default optimisation, two models in turn."""
    from onnx_act.cli.present import invoked, present, progress
    from onnx_act.recipe.compare_models import bench_models
    from onnx_act.recipe.request import require_providers
    from onnx_act.report.document import Report
    from onnx_act.report.write import check_report_paths
    from onnx_act.runtime.feeds import FeedRequest

    check_report_paths(report or [], [model, other, data])
    providers = require_providers(provider or [])
    with progress() as tell:
        entry = bench_models(
            model,
            other,
            providers=providers,
            feeds=FeedRequest(seed=seed, shapes=parse_shapes(shape), data=data),
            seconds=parse_duration(time, "--time"),
            threads=threads,
            progress=tell,
        )
    present(Report("bench", (entry,), invoked()), output, report)
