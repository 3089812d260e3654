"""`onnx-act swap`, `fuse` and `tune`: one step of convert alone.

Only `tune` measures latency, which is its nature.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnx_act.cli.options import (
    ApproximateOption,
    BudgetOption,
    ContribOption,
    DataOption,
    DryRunOption,
    ForceOption,
    FormatOption,
    FuseOption,
    GrowthOption,
    InputRangeOption,
    NormalizeOption,
    OpsetOption,
    OutputFormat,
    ProfileOption,
    ProviderOption,
    ReportOption,
    SaveProfileOption,
    SeedOption,
    ShapeOption,
    StrictPlacementOption,
    SwapOption,
    ThreadsOption,
    TimeoutOption,
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
    input_range: InputRangeOption = None,
    normalize: NormalizeOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 0,
    validate: ValidateOption = True,
    strict_placement: StrictPlacementOption = False,
    timeout: TimeoutOption = "30m",
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
        where=where,
        opset=opset,
        provider=provider,
        data=data,
        shape=shape,
        input_range=input_range,
        normalize=normalize,
        seed=seed,
        threads=threads,
        validate=validate,
        strict_placement=strict_placement,
        timeout=timeout,
        dry_run=dry_run,
        force=force,
    )
    run_conversion(asked, [model], out, None, report, output)


def fuse(
    model: ModelArgument,
    out: OutArgument,
    fuse: FuseOption = None,
    undo: Annotated[
        bool,
        typer.Option(
            "--undo",
            help="Take fused contrib operators apart into plain ONNX instead, for any provider.",
        ),
    ] = False,
    max_growth: GrowthOption = 1.1,
    opset: OpsetOption = None,
    provider: ProviderOption = None,
    data: DataOption = None,
    shape: ShapeOption = None,
    input_range: InputRangeOption = None,
    normalize: NormalizeOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 0,
    validate: ValidateOption = True,
    strict_placement: StrictPlacementOption = False,
    timeout: TimeoutOption = "30m",
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    report: ReportOption = None,
    output: FormatOption = OutputFormat.TEXT,
) -> None:
    """Fold and fuse for the named providers (auto where --fuse is not given), or undo it."""
    from onnx_act.cli.conversion import Asked, run_conversion
    from onnx_act.errors import UsageError
    from onnx_act.rewrite.fuse_mode import FuseMode

    if undo and fuse is not None:
        raise UsageError("--undo takes fused operators apart: it cannot be combined with --fuse")
    mode = FuseMode.AUTO if fuse is None else FuseMode.parse(fuse, "--fuse")
    if undo:
        mode = FuseMode.NONE
    elif mode is FuseMode.NONE:
        raise UsageError("say how far to fuse: --fuse=portable, auto or contrib; or --undo")
    asked = Asked(
        command="fuse",
        fuse=mode,
        undo=undo,
        max_growth=max_growth,
        opset=opset,
        provider=provider,
        data=data,
        shape=shape,
        input_range=input_range,
        normalize=normalize,
        seed=seed,
        threads=threads,
        validate=validate,
        strict_placement=strict_placement,
        timeout=timeout,
        dry_run=dry_run,
        force=force,
    )
    run_conversion(asked, [model], out, None, report, output)


def tune(
    model: ModelArgument,
    out: OutArgument,
    budget: BudgetOption = "60s",
    provider: ProviderOption = None,
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="Threads within an operator; 0 is one.")
    ] = 0,
    data: DataOption = None,
    shape: ShapeOption = None,
    input_range: InputRangeOption = None,
    normalize: NormalizeOption = None,
    seed: SeedOption = 0,
    opset: OpsetOption = None,
    allow_contrib: ContribOption = False,
    allow_approximate: ApproximateOption = False,
    profile: ProfileOption = None,
    save_profile: SaveProfileOption = None,
    validate: ValidateOption = True,
    strict_placement: StrictPlacementOption = False,
    timeout: TimeoutOption = "30m",
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    report: ReportOption = None,
    output: FormatOption = OutputFormat.TEXT,
) -> None:
    """Write activations in the fastest exact way, measured in the model; keep it if it wins."""
    from onnx_act.cli.conversion import Asked, run_conversion

    asked = Asked(
        command="tune",
        tune=True,
        budget=budget,
        contrib=allow_contrib,
        approximate=allow_approximate,
        profile=profile,
        save_profile=save_profile,
        opset=opset,
        provider=provider,
        data=data,
        shape=shape,
        input_range=input_range,
        normalize=normalize,
        seed=seed,
        threads=threads,
        validate=validate,
        strict_placement=strict_placement,
        timeout=timeout,
        dry_run=dry_run,
        force=force,
    )
    run_conversion(asked, [model], out, None, report, output)
