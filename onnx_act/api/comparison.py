"""Whether two models compute the same, and which one is faster."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from onnx_act.api.sources import as_file, earlier_report, shown, timed_report
from onnx_act.errors import UsageError
from onnx_act.evidence.overrides import tolerances_from_mappings
from onnx_act.recipe.bench import DEFAULT_PRECISION, BenchRequest, bench_models, parse_levels
from onnx_act.recipe.compare_models import validate_models
from onnx_act.recipe.inner_values import with_inner_values
from onnx_act.recipe.python_options import feeds_from
from onnx_act.recipe.rejudged import rejudge_metrics
from onnx_act.recipe.request import require_providers
from onnx_act.report.document import Report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_act.api.sources import InputRanges, PathLike, Shapes
    from onnx_act.graph.model import ModelSource


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
    earlier = earlier_report(baseline, baseline_bounds, "validate", shown(candidate))
    started = perf_counter()
    with as_file(reference) as first, as_file(candidate) as second:
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
    entry = replace(entry, path=shown(candidate), against=shown(reference))
    entry = entry if earlier is None else earlier.compared(entry)
    return timed_report("validate", entry, earlier, started)


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
    earlier = earlier_report(baseline, baseline_bounds, "bench", shown(model))
    with as_file(model) as first, nullcontext() if other is None else as_file(other) as second:
        entry = bench_models(
            first,
            second,
            providers=require_providers(providers),
            feeds=feeds_from(data, shapes, seed, input_ranges, normalize),
            request=request,
        )
    entry = replace(entry, path=shown(model), against=None if other is None else shown(other))
    entry = entry if earlier is None else earlier.compared(entry)
    return timed_report("bench", entry, earlier, started)
