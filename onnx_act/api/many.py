"""`convert` for many models."""

from __future__ import annotations

import os
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnx_act.api.conversion import convert
from onnx_act.batch.inputs import collect_inputs, place_of
from onnx_act.batch.jobs import Limits
from onnx_act.batch.manifest import state_folder
from onnx_act.batch.memory_size import parse_memory
from onnx_act.batch.run import BatchRequest, default_jobs, run_batch
from onnx_act.recipe.python_options import request_from_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from onnx_act.api.sources import PathLike
    from onnx_act.batch.jobs import JobOutcome


# Where a parameter is called otherwise than the option.
_OPTION_OF: Final = {
    "providers": "provider",
    "shapes": "shape",
    "input_ranges": "input_range",
    "bench_seconds": "time",
    "bounds": "bound",
}
_MANY: Final = frozenset({"swap", "providers", "shapes", "input_ranges", "bounds"})


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
    `is_skipped`. Breaking off ends the jobs that
    threads of this process wait for, and leaves what is finished.

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
    named = [paths] if isinstance(paths, str | os.PathLike) else paths
    results = None if out_dir is None else place_of(os.fspath(out_dir))
    inputs = collect_inputs([place_of(os.fspath(path)) for path in named], results)
    request = request_from_options(
        as_options(options),
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


def as_options(given: Mapping[str, Any]) -> dict[str, Any]:
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
