"""`onnx-act validate`: are two models the same on these providers."""

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
    StrictPlacementOption,
    ThreadsOption,
    TimeoutOption,
    parse_duration,
    parse_shapes,
)


def validate(
    reference: Annotated[
        Path, typer.Argument(metavar="REFERENCE", help="The model that is right by definition.")
    ],
    candidate: Annotated[Path, typer.Argument(metavar="CANDIDATE", help="The model in question.")],
    provider: ProviderOption = None,
    data: DataOption = None,
    shape: ShapeOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 0,
    strict_placement: StrictPlacementOption = False,
    timeout: TimeoutOption = "30m",
    report: ReportOption = None,
    output: FormatOption = OutputFormat.TEXT,
) -> None:
    """Run both models at every optimisation level and judge whether they compute the same."""
    from onnx_act.cli.present import invoked, present, progress
    from onnx_act.recipe.compare_models import validate_models
    from onnx_act.recipe.request import require_providers
    from onnx_act.report.document import Report
    from onnx_act.report.write import check_report_paths
    from onnx_act.runtime.feeds import FeedRequest

    check_report_paths(report or [], [reference, candidate, data])
    providers = require_providers(provider or [])
    with progress() as tell:
        entry = validate_models(
            reference,
            candidate,
            providers=providers,
            feeds=FeedRequest(seed=seed, shapes=parse_shapes(shape), data=data),
            threads=threads,
            timeout_s=parse_duration(timeout, "--timeout"),
            strict_placement=strict_placement,
            progress=tell,
        )
    present(Report("validate", (entry,), invoked()), output, report)
