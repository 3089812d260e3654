"""`onnx-act swap` and `onnx-act fuse`: one step of convert alone. They do not measure latency."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnx_act.cli.options import (
    DataOption,
    DryRunOption,
    ForceOption,
    FormatOption,
    OpsetOption,
    OutputFormat,
    ProviderOption,
    ReportOption,
    SeedOption,
    ShapeOption,
    SwapOption,
    ThreadsOption,
    ValidateOption,
    WhereOption,
)

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file.")]
OutArgument = Annotated[Path, typer.Argument(metavar="OUT", help="Where the result goes.")]


def swap(
    model: ModelArgument,
    out: OutArgument,
    swap: SwapOption = None,
    where: WhereOption = None,
    opset: OpsetOption = None,
    provider: ProviderOption = None,
    data: DataOption = None,
    shape: ShapeOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 0,
    validate: ValidateOption = True,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    report: ReportOption = None,
    output: FormatOption = OutputFormat.TEXT,
) -> None:
    """Exchange activations, and validate the result."""
    from onnx_act.cli.conversion import Asked, run_conversion
    from onnx_act.errors import UsageError

    if not swap:
        raise UsageError("say what to exchange: --swap FROM=TO[:name=value,...]")
    asked = Asked(
        command="swap",
        swap=swap,
        where=where or [],
        fuse=False,
        opset=opset,
        provider=provider or [],
        data=data,
        shape=shape or [],
        seed=seed,
        threads=threads,
        validate=validate,
        bench=False,
        time="5s",
        dry_run=dry_run,
        force=force,
    )
    run_conversion(asked, [model], out, None, report, output)


def fuse(
    model: ModelArgument,
    out: OutArgument,
    opset: OpsetOption = None,
    provider: ProviderOption = None,
    data: DataOption = None,
    shape: ShapeOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 0,
    validate: ValidateOption = True,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    report: ReportOption = None,
    output: FormatOption = OutputFormat.TEXT,
) -> None:
    """Fold and fuse for the named providers, and validate the result."""
    from onnx_act.cli.conversion import Asked, run_conversion

    asked = Asked(
        command="fuse",
        swap=[],
        where=[],
        fuse=True,
        opset=opset,
        provider=provider or [],
        data=data,
        shape=shape or [],
        seed=seed,
        threads=threads,
        validate=validate,
        bench=False,
        time="5s",
        dry_run=dry_run,
        force=force,
    )
    run_conversion(asked, [model], out, None, report, output)
