"""Changing one model: `convert`, and those that do a part of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from onnx_act.api.sources import earlier_report, shown, timed_report
from onnx_act.errors import UsageError
from onnx_act.recipe.convert import convert_model
from onnx_act.recipe.python_options import mode_from, request_from_options
from onnx_act.rewrite.fuse_mode import FuseMode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_act.api.sources import FuseTarget, InputRanges, PathLike, Shapes, SwapTarget
    from onnx_act.graph.model import ModelSource
    from onnx_act.report.document import Report


def convert(
    model: ModelSource,
    out: PathLike | None = None,
    *,
    swap: Mapping[str, SwapTarget] | Sequence[str] = (),
    where: str | None = None,
    fuse: FuseTarget | None = None,
    tune: bool | None = None,
    budget: float | None = None,
    allow_contrib: bool | None = None,
    allow_approximate: bool | None = None,
    profile: PathLike | None = None,
    save_profile: PathLike | None = None,
    undo: bool | None = None,
    max_growth: float | None = None,
    opset: int | None = None,
    providers: Sequence[str] = (),
    data: PathLike | None = None,
    shapes: Shapes | None = None,
    input_ranges: InputRanges | None = None,
    normalize: str | None = None,
    seed: int | None = None,
    threads: int | None = None,
    validate: bool | None = None,
    bench: bool | None = None,
    bench_seconds: float | None = None,
    dry_run: bool = False,
    force: bool = False,
    strict_placement: bool | None = None,
    timeout: float | None = None,
    bounds: Mapping[str, float] | None = None,
    recipe: PathLike | None = None,
    save_recipe: bool = False,
    baseline: PathLike | None = None,
    baseline_bounds: Mapping[str, float] | None = None,
) -> Report:
    """Swap, fold, fuse, validate and measure one model; write it when the evidence holds.

    What is None is as the recipe says, and without one as `onnx-act convert` does it.

    Args:
        model: a path, `onnx.ModelProto` or `onnx_ir.Model`; never changed.
        out: where the result goes; None writes nothing.
        swap: activation -> its replacement, or texts as `--swap` takes them.
        where: a selector of the sites to swap; without it gates and outputs are left alone.
        fuse: how far to fold and fuse for the providers: "portable" into standard ONNX only,
            "auto" (or True) also into contrib operators where the runtime would not do so itself
            and that was measured faster, "contrib" into all that every provider has.
        tune: write what is left in the fastest exact way, measured in the model; keep it only
            where the whole result was shown to be faster on the first provider, and on no other
            one slower.
        budget: how long tuning may take, validating included, in seconds.
        allow_contrib: tune with operators of com.microsoft too.
        allow_approximate: tune with formulas that round worse than the operator too.
        profile: a file that `save_profile` wrote on another machine, to be applied without
            measuring here.
        save_profile: where to write what tuning measured.
        undo: take fused contrib operators apart into plain ONNX, and do nothing else.
        max_growth: folding a weight that other nodes share needs a copy; it is refused when all
            copies together would grow the file by more than this factor.
        opset: the opset to raise the model to first.
        providers: what the result must run on, by short or full name; the CPU when empty.
        data: real inputs (`.npz`, `.npy`, images or a folder), with labels where there are any.
        shapes: sizes of inputs whose dimensions are free.
        input_ranges: what generated inputs are drawn from, by input name, both ends included.
        normalize: what becomes of the pixels of images, as `--normalize` writes it.
        seed: seeds generated inputs.
        threads: threads within an operator, 0 for the runtime's default.
        validate: whether to run both models and judge.
        bench: whether to measure latency.
        bench_seconds: how long measuring may take, per provider.
        dry_run: plan only.
        force: write even when the evidence does not hold.
        strict_placement: a node that runs on another provider than the one that was named is a
            failure.
        timeout: how long one piece of evidence may take before it is given up, in seconds.
        bounds: limits that must hold, by the names that `--bound` takes.
        recipe: a recipe's file, or the name of one that comes with the program; what is given
            here wins over what it says.
        save_recipe: write `OUT.recipe.toml`, which repeats this run.
        baseline: a JSON report of an earlier `convert`: nothing is written, and `exit_code` is 1,
            where the evidence got worse than it was there.
        baseline_bounds: by how much it may be worse: `speedup`, the part by which that may fall,
            and `tolerance`, the factor by which what is needed may grow.

    Raises:
        UsageError: a wrong name, value, selector, recipe or path; or no site that was asked for.
        ModelError: the model cannot be read.
        ProviderUnavailableError: a named provider cannot run here.
    """
    request = request_from_options(
        {
            "swap": swap or None,
            "where": where,
            "fuse": fuse,
            "tune": tune,
            "budget": budget,
            "allow_contrib": allow_contrib,
            "allow_approximate": allow_approximate,
            "profile": profile,
            "save_profile": save_profile,
            "undo": undo,
            "max_growth": max_growth,
            "opset": opset,
            "provider": providers or None,
            "data": data,
            "shape": shapes or None,
            "input_range": input_ranges or None,
            "normalize": normalize,
            "seed": seed,
            "threads": threads,
            "validate": validate,
            "bench": bench,
            "time": bench_seconds,
            "dry_run": dry_run,
            "force": force,
            "strict_placement": strict_placement,
            "timeout": timeout,
            "bound": bounds or None,
            "save_recipe": save_recipe,
        },
        None if recipe is None else os.fspath(recipe),
    )
    started = perf_counter()
    earlier = earlier_report(baseline, baseline_bounds, "convert", shown(model))
    if earlier is not None:
        request = replace(request, baseline=earlier.of(shown(model)))
    entry = convert_model(model, None if out is None else Path(out), request)
    return timed_report("convert", entry, earlier, started)


def swap(
    model: ModelSource,
    out: PathLike | None,
    swap: Mapping[str, SwapTarget] | Sequence[str],
    **options: Any,
) -> Report:
    """`convert` that only swaps, and does not measure; the options are those of `convert`."""
    report = convert(model, out, swap=swap, fuse=False, bench=False, **options)
    return replace(report, command="swap")


def fuse(
    model: ModelSource,
    out: PathLike | None,
    *,
    undo: bool = False,
    fuse: FuseTarget | None = None,
    **options: Any,
) -> Report:
    """`convert` that only folds and fuses, or undoes it, and does not measure.

    Args:
        model: as of `convert`.
        out: as of `convert`.
        undo: take fused contrib operators apart into plain ONNX instead.
        fuse: how far to go, as of `convert`; "auto" when it is left out.
        options: as of `convert`.

    Raises:
        UsageError: as of `convert`; or both `undo` and `fuse`.
    """
    mode = mode_from(not undo if fuse is None else fuse)
    if not undo and mode is FuseMode.NONE:
        raise UsageError("fuse is False: say how far to fuse, or undo=True")
    report = convert(model, out, fuse=mode, undo=undo, bench=False, **options)
    return replace(report, command="fuse")


def tune(model: ModelSource, out: PathLike | None = None, **options: Any) -> Report:
    """`convert` that only tunes; the options are those of `convert`.

    The `tuning` of the report's model says what was measured and chosen, and its `latency` how
    the result compares with the original.

    Raises:
        UsageError: as of `convert`.
        EvidenceError: the model cannot be run.
    """
    report = convert(model, out, tune=True, bench=False, **options)
    return replace(report, command="tune")
