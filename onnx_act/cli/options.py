"""Options that several commands take, declared once."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer


class OutputFormat(enum.StrEnum):
    """What goes to stdout."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[
    OutputFormat,
    typer.Option("--format", help="What goes to stdout; JSON is exactly one document."),
]
ProviderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="What it must run on: cpu, cuda, openvino, ... or a full name; repeatable.",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FILE|DIR",
        help="Real inputs: .npz keyed by input name (labels under 'labels'), .npy, an image "
        "(.png, .jpg), or a folder of one sort.",
    ),
]
NormalizeOption = Annotated[
    str | None,
    typer.Option(
        "--normalize",
        metavar="HOW",
        help="What becomes of the pixels of images: 0..1 (the default), -1..1, 0..255, imagenet, "
        "or mean=0.5,0.5,0.5;std=0.5,0.5,0.5.",
    ),
]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="NAME:1,3,224,224",
        help="The size of an input whose dimensions are free; repeatable.",
    ),
]
InputRangeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input-range",
        metavar="NAME:LOW,HIGH",
        help="What a generated input is drawn from, ends included, as ids:0,30521; repeatable. "
        "Indices into tables are bounded without it.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seeds the generated inputs.")]
ThreadsOption = Annotated[
    int, typer.Option("--threads", min=0, help="Threads within an operator; 0: the default.")
]
ReportOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write the report to a .json, .md, .html or .junit.xml file; repeatable.",
    ),
]
BaselineOption = Annotated[
    Path | None,
    typer.Option(
        "--baseline",
        metavar="FILE",
        help="Fail where the evidence got worse than in this .json report of an earlier run.",
    ),
]
BaselineBoundOption = Annotated[
    list[str] | None,
    typer.Option(
        "--baseline-bound",
        metavar="NAME=LIMIT",
        help="By how much it may be worse: speedup=5% (may fall, where the intervals do not "
        "overlap), tolerance=2 (the factor by which what is needed may grow, beyond noise); "
        "repeatable.",
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        metavar="N",
        help="Convert so many models at a time, each in a process of its own.",
    ),
]
MemoryLimitOption = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        metavar="AMOUNT",
        help="How much memory each process of a job may have: 4GB, 512MB.",
    ),
]
OutcomesOption = Annotated[
    Path | None,
    typer.Option(
        "--outcomes",
        metavar="FILE",
        help="Where a line of JSON goes for each model that is done; else OUT_DIR/outcomes.jsonl.",
    ),
]
RetryOption = Annotated[
    str | None,
    typer.Option(
        "--retry",
        metavar="failed|all",
        help="Convert again what an earlier run failed at, or all; else only what is new.",
    ),
]
DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        help="Convert on the workers of a Dask cluster: tcp://scheduler:8786.",
    ),
]
SwapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--swap",
        metavar="FROM=TO[:name=value,...]",
        help="Exchange an activation, as relu=leaky_relu:negative_slope=0.1; a value @FILE.npz "
        "gives one array per channel; repeatable.",
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="SELECTOR",
        help="Which sites to swap, as 'after:Conv and not name:head*'; repeated ones must all "
        "hold. Without it gates and outputs are left alone.",
    ),
]
FuseOption = Annotated[
    str | None,
    typer.Option(
        "--fuse",
        metavar="[portable|auto|contrib]",
        help="Fold and fuse for the named providers: into standard ONNX only (portable), also "
        "into contrib operators where that was measured faster than what the runtime makes of the "
        "model by itself (auto; also --fuse alone), or into every contrib operator that all "
        "providers have (contrib). --no-fuse: not at all.",
    ),
]
GrowthOption = Annotated[
    float,
    typer.Option(
        "--max-growth",
        metavar="FACTOR",
        help="Folding a weight that other nodes share needs a copy; refuse when all copies "
        "together would grow the file by more than this factor.",
    ),
]
OpsetOption = Annotated[
    int | None, typer.Option("--opset", metavar="N", help="Raise the model to this opset first.")
]
BudgetOption = Annotated[
    str,
    typer.Option(
        "--budget", metavar="TIME", help="How long tuning may take, with validating: 60s, 5m."
    ),
]
ContribOption = Annotated[
    bool,
    typer.Option(
        "--allow-contrib",
        help="Also use operators of com.microsoft, which only ONNX Runtime has.",
    ),
]
ApproximateOption = Annotated[
    bool,
    typer.Option(
        "--allow-approximate",
        help="Also use formulas that round worse than the operator (catalog NAME --accuracy).",
    ),
]
ProfileOption = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        metavar="FILE",
        help="Apply what was measured on the machine that wrote this file; measure nothing here.",
    ),
]
SaveProfileOption = Annotated[
    Path | None,
    typer.Option(
        "--save-profile", metavar="FILE", help="Write what was measured, for --profile elsewhere."
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Write the output even when the evidence does not hold.")
]
ValidateOption = Annotated[
    bool,
    typer.Option("--validate/--no-validate", help="Run both models and judge equivalence."),
]
StrictPlacementOption = Annotated[
    bool,
    typer.Option(
        "--strict-placement",
        help="Fail when the runtime gives a node to another provider than the one named.",
    ),
]
TimeoutOption = Annotated[
    str,
    typer.Option(
        "--timeout",
        metavar="TIME",
        help="How long one piece of evidence may take before it is given up: 90s, 30m.",
    ),
]
BoundOption = Annotated[
    list[str] | None,
    typer.Option(
        "--bound",
        metavar="NAME=LIMIT",
        help="What must hold, or nothing is written: max_abs, min_sqnr_db, min_speedup, "
        "min_accuracy, max_latency_p99_ms; repeatable.",
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="FILE|NAME",
        help="Do what a recipe says where options say nothing; onnx-act recipe list has names.",
    ),
]
SaveRecipeOption = Annotated[
    bool,
    typer.Option(
        "--save-recipe", help="Write OUT.recipe.toml beside the output, which repeats this run."
    ),
]
