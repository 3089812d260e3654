"""The verbs of the command line as functions, with the same words and the same results."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Union

from onnx_act.errors import UsageError
from onnx_act.evidence.overrides import tolerances_from_mappings
from onnx_act.graph.model import load_model
from onnx_act.graph.selectors import parse_selector
from onnx_act.graph.store import stage_model
from onnx_act.recipe.baseline import baseline_bounds_from, read_baseline
from onnx_act.recipe.bench import DEFAULT_PRECISION, BenchRequest, bench_models, parse_levels
from onnx_act.recipe.compare_models import validate_models
from onnx_act.recipe.convert import convert_model
from onnx_act.recipe.inner_values import with_inner_values
from onnx_act.recipe.inspect import inspect_model
from onnx_act.recipe.python_options import feeds_from, mode_from, request_from_options
from onnx_act.recipe.rejudged import rejudge_metrics
from onnx_act.recipe.request import require_providers
from onnx_act.report.document import Report
from onnx_act.rewrite.fuse_mode import FuseMode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

    from onnx_act.activations.activation import ParameterValue
    from onnx_act.batch.jobs import JobOutcome
    from onnx_act.graph.model import ModelSource
    from onnx_act.recipe.baseline import Baseline
    from onnx_act.report.document import ModelEntry

PathLike = Union[str, "os.PathLike[str]"]
#: What to put in an activation's place: its name, `name:parameter=value`, or name and parameters.
SwapTarget = Union[str, "tuple[str, Mapping[str, ParameterValue]]"]
Shapes = Mapping[str, Sequence[int]]
#: The ends of what an input is drawn from, by its name.
InputRanges = Mapping[str, "tuple[float, float]"]
#: How far to fold and fuse: "portable", "auto" (or True), "contrib", "none" (or False).
FuseTarget = bool | str
# Where a parameter is called otherwise than the option.
_OPTION_OF: Final = {
    "providers": "provider",
    "shapes": "shape",
    "input_ranges": "input_range",
    "bench_seconds": "time",
    "bounds": "bound",
}
_MANY: Final = frozenset({"swap", "providers", "shapes", "input_ranges", "bounds"})


def inspect(model: ModelSource, *, where: str | None = None, routine: bool = False) -> Report:
    """What activations a model has, and where.

    Args:
        model: a path, `onnx.ModelProto` or `onnx_ir.Model`.
        where: a selector, see `graph.selectors`.
        routine: whether to list exp, erf, identity and bounds of integers too.

    Raises:
        ModelError: the model cannot be read.
        SelectorError: the selector does not parse.
    """
    selector = None if where is None else parse_selector(where)
    return Report("inspect", (inspect_model(model, routine=routine, where=selector),))


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
    earlier = _earlier(baseline, baseline_bounds, "convert", _shown(model))
    if earlier is not None:
        request = replace(request, baseline=earlier.of(_shown(model)))
    entry = convert_model(model, None if out is None else Path(out), request)
    return _report("convert", entry, earlier, started)


def convert_batch(
    paths: PathLike | Sequence[PathLike],
    recipe: PathLike | None = None,
    *,
    out_dir: PathLike | None = None,
    executor: Executor | None = None,
    jobs: int | None = None,
    memory_limit: int | str | None = None,
    outcomes: PathLike | None = None,
    retry: str = "",
    **options: Any,
) -> Iterator[JobOutcome]:
    """`convert` for many models, each in a process of its own; their outcomes as they come.

    Nothing is done before the first outcome is asked for. What was converted before from the same
    bytes, by an equal request and equal versions, is not converted again, and its outcome
    `is_skipped`. Breaking off ends the jobs of this machine, and leaves what is finished.

    Args:
        paths: models, folders of them, or patterns; the tree below a folder is kept. URLs are
            read through fsspec.
        recipe: as of `convert`.
        out_dir: where results go, `outcomes.jsonl`, and what is needed to resume; of a URL the
            latter two are kept in the cache folder of this machine. It may be left out with
            `dry_run=True`.
        executor: who carries the jobs out: any `concurrent.futures.Executor`, such as that of a
            Dask client. It is not shut down. Processes of this machine when left out.
        jobs: how many at a time, when there is no executor; half of the processors if left out.
        memory_limit: how much memory each process of a job may have, in bytes or as "4GB".
        outcomes: another file than `outcomes.jsonl` in `out_dir`.
        retry: "failed" to convert again what an earlier run failed at, "all" for everything.
        options: as of `convert`; `timeout` bounds the whole of one model, too.

    Raises:
        UsageError: as of `convert`; a folder without models, two models with one result, or a
            folder of results that another batch writes to or that cannot be written.
        ProviderUnavailableError: a named provider cannot run here.
    """
    from onnx_act.batch.inputs import (  # noqa: PLC0415 - for many models only
        collect_inputs,
        place_of,
    )
    from onnx_act.batch.jobs import Limits  # noqa: PLC0415
    from onnx_act.batch.manifest import state_folder  # noqa: PLC0415
    from onnx_act.batch.memory_size import parse_memory  # noqa: PLC0415
    from onnx_act.batch.run import BatchRequest, default_jobs, run_batch  # noqa: PLC0415

    named = [paths] if isinstance(paths, str | os.PathLike) else paths
    results = None if out_dir is None else place_of(os.fspath(out_dir))
    inputs = collect_inputs([place_of(os.fspath(path)) for path in named], results)
    request = request_from_options(
        _as_options(options),
        None if recipe is None else os.fspath(recipe),
    )
    wanted = BatchRequest(
        request=request,
        out_dir=state_folder(results) if isinstance(results, str) else results,
        limits=Limits(
            request.timeout_s,
            parse_memory(memory_limit) if isinstance(memory_limit, str) else memory_limit,
        ),
        jobs=default_jobs() if jobs is None else jobs,
        executor=executor,
        outcomes=None if outcomes is None else Path(outcomes),
        retry=retry,
        results=results if isinstance(results, str) else "",
    )
    return run_batch(inputs, wanted)


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


def validate(
    reference: ModelSource,
    candidate: ModelSource,
    *,
    providers: Sequence[str] = (),
    data: PathLike | None = None,
    shapes: Shapes | None = None,
    input_ranges: InputRanges | None = None,
    normalize: str | None = None,
    seed: int = 0,
    threads: int = 0,
    strict_placement: bool = False,
    timeout: float = 1800.0,
    locate: bool = False,
    atol: float | Mapping[str, float] | None = None,
    rtol: float | Mapping[str, float] | None = None,
    save_metrics: PathLike | None = None,
    baseline: PathLike | None = None,
    baseline_bounds: Mapping[str, float] | None = None,
) -> Report:
    """Whether two models compute the same on every provider; `exit_code` is 0 when they do.

    `atol` and `rtol` stand in the place of the derived tolerance, for every output of floats or
    for those that are named; of the two, one that is left out is 0. `save_metrics` is a file for
    `rejudge`.

    With `strict_placement` a node of the candidate that runs on another provider than the one that
    was named is a failure. `timeout` is in seconds, for each piece of evidence. With `locate`
    the report's model says in `locate` where two models part that are not equivalent.
    `baseline` and `baseline_bounds` are as of `convert`, of an earlier `validate`.

    Raises:
        ModelError: a model cannot be read.
        EvidenceError: the reference cannot be run.
        ProviderUnavailableError: a named provider cannot run here.
    """
    earlier = _earlier(baseline, baseline_bounds, "validate", _shown(candidate))
    started = perf_counter()
    with _as_file(reference) as first, _as_file(candidate) as second:
        wanted = require_providers(providers)
        feeds = feeds_from(data, shapes, seed, input_ranges, normalize)
        entry = validate_models(
            first,
            second,
            providers=wanted,
            feeds=feeds,
            threads=threads,
            strict_placement=strict_placement,
            timeout_s=timeout,
            tolerances=tolerances_from_mappings(atol, rtol),
            save_to=None if save_metrics is None else Path(save_metrics),
        )
        entry = with_inner_values(
            entry,
            first,
            second,
            locate=locate,
            providers=wanted,
            feeds=feeds,
            threads=threads,
            timeout_s=timeout,
        )
    entry = replace(entry, path=_shown(candidate), against=_shown(reference))
    entry = entry if earlier is None else earlier.compared(entry)
    return _report("validate", entry, earlier, started)


def rejudge(
    metrics: PathLike,
    *,
    atol: float | Mapping[str, float] | None = None,
    rtol: float | Mapping[str, float] | None = None,
) -> Report:
    """What `validate` would have said with other tolerances, from its `save_metrics` file.

    Nothing is run. Outputs that neither `atol` nor `rtol` speaks of keep their verdict.

    Raises:
        UsageError: the file holds no metrics, or a name is of no output in it.
    """
    entry = rejudge_metrics(Path(metrics), tolerances_from_mappings(atol, rtol))
    return Report("validate", (entry,))


def bench(
    model: ModelSource,
    other: ModelSource | None = None,
    *,
    seconds: float = 10.0,
    providers: Sequence[str] = (),
    data: PathLike | None = None,
    shapes: Shapes | None = None,
    input_ranges: InputRanges | None = None,
    normalize: str | None = None,
    seed: int = 0,
    threads: int | Sequence[int] = 0,
    levels: Sequence[str] = ("all",),
    batch: int | Sequence[int] | None = None,
    precision: float | None = DEFAULT_PRECISION,
    per_op: bool = False,
    baseline: PathLike | None = None,
    baseline_bounds: Mapping[str, float] | None = None,
) -> Report:
    """The latency of a model, or of two and their ratio, under every combination of settings.

    Args:
        model: the first model; the original, where there is one.
        other: another to compare it with.
        seconds: how long measuring times may take, per provider, in all combinations together.
        providers: where to run, by short or full name; the CPU when empty.
        data: real inputs; the first batch of them is used.
        shapes: sizes of inputs whose dimensions are free.
        input_ranges: as of `convert`.
        normalize: as of `convert`.
        seed: seeds generated inputs and the order of runs.
        threads: threads within an operator, one number or several; 0 for the runtime's default.
        levels: optimisation levels of the runtime: "disable", "basic", "extended", "all".
        batch: rows, one number or several; None for one row, or for those of the data.
        precision: stop when the ratio (of one model, the time) is known to this part of it, to
            either side; None takes all the time.
        per_op: also tell where the time goes, by operator, from the runtime's profile.
        baseline: as of `convert`, of an earlier `bench`; it needs `other`, for only ratios compare.
        baseline_bounds: as of `convert`.

    Raises:
        UsageError: a number or level that makes no sense, or rows that a model does not take.
        ModelError: a model cannot be read.
        EvidenceError: a model cannot be run.
        ProviderUnavailableError: a named provider cannot run here.
    """
    request = BenchRequest(
        seconds=seconds,
        precision=precision,
        levels=parse_levels(levels),
        threads=(threads,) if isinstance(threads, int) else tuple(threads),
        batches=(batch,) if batch is None or isinstance(batch, int) else tuple(batch),
        per_op=per_op,
    )
    if baseline is not None and other is None:
        raise UsageError(
            "baseline compares ratios, for times of two runs do not compare: give other"
        )
    started = perf_counter()
    earlier = _earlier(baseline, baseline_bounds, "bench", _shown(model))
    with _as_file(model) as first, nullcontext() if other is None else _as_file(other) as second:
        entry = bench_models(
            first,
            second,
            providers=require_providers(providers),
            feeds=feeds_from(data, shapes, seed, input_ranges, normalize),
            request=request,
        )
    entry = replace(entry, path=_shown(model), against=None if other is None else _shown(other))
    entry = entry if earlier is None else earlier.compared(entry)
    return _report("bench", entry, earlier, started)


def catalog(name: str | None = None) -> dict[str, Any]:
    """The catalogue, or one activation of it, as plain data.

    Raises:
        UnknownNameError: nobody knows the activation.
    """
    from onnx_act.report.catalog_page import catalog_document  # noqa: PLC0415 - draws in rich

    return catalog_document(name)


def _as_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `convert` by the names that they have in a recipe.

    Raises:
        TypeError: `convert` has no such argument.
    """
    known = signature(convert).parameters.keys() - {"model", "out", "recipe"}
    for name in given:
        if name not in known:
            raise TypeError(f"convert_batch() got an unexpected keyword argument {name!r}")
    # What holds nothing says nothing, as it does for `convert`.
    said = {n: None if n in _MANY and not v else v for n, v in given.items()}
    return {_OPTION_OF.get(name, name): value for name, value in said.items()}


def _earlier(
    baseline: PathLike | None, bounds: Mapping[str, float] | None, command: str, model: str
) -> Baseline | None:
    limits = baseline_bounds_from(bounds or {})
    if baseline is not None:
        return read_baseline(Path(baseline), command, [model], limits)
    if bounds:
        raise UsageError("baseline_bounds says how much worse it may be: it needs baseline")
    return None


def _report(command: str, entry: ModelEntry, earlier: Baseline | None, started: float) -> Report:
    timed = replace(entry, duration_s=perf_counter() - started)
    return Report(command, (timed,), details={} if earlier is None else earlier.details())


def _shown(source: ModelSource) -> str:
    """What a report calls a model: an object has no path worth showing."""
    return str(source) if isinstance(source, str | os.PathLike) else "<model>"


@contextmanager
def _as_file(source: ModelSource) -> Iterator[Path]:
    """A model as a file, staged in a temporary folder when it is not one."""
    if isinstance(source, str | os.PathLike):
        yield Path(source)
    else:
        with TemporaryDirectory(prefix="onnx-act-") as folder:
            with stage_model(load_model(source), Path(folder) / "model.onnx") as staged:
                staged.commit()
            yield Path(folder) / "model.onnx"
