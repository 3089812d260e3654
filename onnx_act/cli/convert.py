"""`onnx-act convert`: the whole job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnx_act.cli.options import (
    ApproximateOption,
    BaselineBoundOption,
    BaselineOption,
    BoundOption,
    BudgetOption,
    ContribOption,
    DaskOption,
    DataOption,
    DryRunOption,
    ForceOption,
    FormatOption,
    FuseOption,
    GrowthOption,
    InputRangeOption,
    JobsOption,
    MemoryLimitOption,
    NormalizeOption,
    OpsetOption,
    OutcomesOption,
    OutputFormat,
    ProfileOption,
    ProviderOption,
    RecipeOption,
    ReportOption,
    RetryOption,
    SaveProfileOption,
    SaveRecipeOption,
    SeedOption,
    ShapeOption,
    StrictPlacementOption,
    SwapOption,
    ThreadsOption,
    TimeoutOption,
    ValidateOption,
    WhereOption,
)


def convert(
    context: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL", help="ONNX files, folders of them, patterns, or URLs."),
    ],
    output_path: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT", help="Where the result goes.")
    ] = None,
    out_dir: Annotated[
        str | None,
        typer.Option("--out-dir", metavar="DIR", help="A folder for the results of several."),
    ] = None,
    recipe: RecipeOption = None,
    save_recipe: SaveRecipeOption = False,
    swap: SwapOption = None,
    where: WhereOption = None,
    fuse: FuseOption = None,
    max_growth: GrowthOption = 1.1,
    undo: Annotated[
        bool,
        typer.Option("--undo/--no-undo", help="Take fused contrib operators apart, and no more."),
    ] = False,
    tune: Annotated[
        bool, typer.Option("--tune/--no-tune", help="Look for faster ways to write what is left.")
    ] = False,
    budget: BudgetOption = "60s",
    allow_contrib: ContribOption = False,
    allow_approximate: ApproximateOption = False,
    profile: ProfileOption = None,
    save_profile: SaveProfileOption = None,
    opset: OpsetOption = None,
    provider: ProviderOption = None,
    data: DataOption = None,
    shape: ShapeOption = None,
    input_range: InputRangeOption = None,
    normalize: NormalizeOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 0,
    validate: ValidateOption = True,
    bench: Annotated[
        bool, typer.Option("--bench/--no-bench", help="Measure the latency of both models.")
    ] = True,
    time: Annotated[
        str, typer.Option("--time", metavar="TIME", help="How long to measure, per provider.")
    ] = "5s",
    strict_placement: StrictPlacementOption = False,
    timeout: TimeoutOption = "30m",
    bound: BoundOption = None,
    baseline: BaselineOption = None,
    baseline_bound: BaselineBoundOption = None,
    jobs: JobsOption = None,
    memory_limit: MemoryLimitOption = None,
    outcomes: OutcomesOption = None,
    retry: RetryOption = None,
    dask: DaskOption = None,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    report: ReportOption = None,
    output: FormatOption = OutputFormat.TEXT,
) -> None:
    """Find, swap, fuse, validate and measure; write the result when the evidence holds."""
    from onnx_act.cli.batching import BatchOptions, is_batch, run_batch_command
    from onnx_act.cli.conversion import Asked, run_conversion
    from onnx_act.rewrite.fuse_mode import FuseMode

    asked = Asked(
        command="convert",
        swap=swap,
        where=where,
        fuse=FuseMode.NONE if fuse is None else FuseMode.parse(fuse, "--fuse"),
        max_growth=max_growth,
        undo=undo,
        tune=tune,
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
        bench=bench,
        time=time,
        strict_placement=strict_placement,
        timeout=timeout,
        dry_run=dry_run,
        force=force,
        bound=bound,
        baseline=baseline,
        baseline_bound=baseline_bound,
        recipe=recipe,
        save_recipe=save_recipe,
        given=_typed(context),
    )
    batch = BatchOptions(jobs, memory_limit, outcomes, retry, dask)
    if is_batch(models, output_path, out_dir, batch):
        run_batch_command(asked, batch, models, output_path, out_dir, report, output)
        return
    folder = None if out_dir is None else Path(out_dir)
    run_conversion(asked, [Path(m) for m in models], output_path, folder, report, output)


def _typed(context: typer.Context) -> frozenset[str]:
    """The names of the parameters that stood on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    # Newer typer carries its own click: the enumeration is known by its names alone.
    return frozenset(n for n, s in sources.items() if s is not None and s.name == "COMMANDLINE")
