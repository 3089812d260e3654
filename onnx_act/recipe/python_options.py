"""Options as the Python functions take them, turned into requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_act.errors import UsageError
from onnx_act.recipe.bounds import bounds_from
from onnx_act.recipe.inputs import make_feed_request
from onnx_act.recipe.request import ConversionRequest, require_providers
from onnx_act.recipe.resolve import apply_recipe
from onnx_act.recipe.swap_steps import SwapStep
from onnx_act.recipe.tuning import TuneOptions
from onnx_act.rewrite.fuse_mode import FuseMode
from onnx_act.rewrite.swap_request import make_swap, parse_swap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from onnx_act.rewrite.swap_request import SwapRequest
    from onnx_act.runtime.feeds import FeedRequest


def request_from_options(options: Mapping[str, Any], recipe: str | None) -> ConversionRequest:
    """The request of `onnx_act.convert`.

    Args:
        options: by the names that they have in a recipe; None where nothing is said.
        recipe: a file or a name; options win over what it says.

    Raises:
        UsageError: an option or the recipe is wrong, or they do not go together.
        ProviderUnavailableError: a named provider cannot run here.
    """
    given = {name: value for name, value in options.items() if value is not None}
    where = (given["where"],) if "where" in given else ()
    if where and "swap" not in given and recipe is None:
        raise UsageError("where selects what is swapped: it needs swap")
    requests = tuple(_swaps(given.get("swap", ())))
    tuning = _renamed(
        TuneOptions(),
        given,
        {
            "budget": "budget_s",
            "allow_contrib": "contrib",
            "allow_approximate": "approximate",
            "profile": "profile",
            "save_profile": "save_profile",
        },
    )
    feeds = (given.get(k) for k in ("data", "shape", "seed", "input_range", "normalize"))
    request: ConversionRequest = replace(
        _renamed(
            ConversionRequest(),
            given,
            {
                "undo": "undo",
                "max_growth": "max_growth",
                "opset": "opset",
                "threads": "threads",
                "validate": "validate",
                "bench": "bench",
                "time": "bench_seconds",
                "dry_run": "dry_run",
                "force": "force",
                "strict_placement": "strict_placement",
                "timeout": "timeout_s",
                "save_recipe": "save_recipe",
            },
        ),
        swap=(SwapStep(requests, where),) if requests else (),
        fuse=mode_from(given.get("fuse", False)),
        tune=tuning if given.get("tune") else None,
        providers=require_providers(given.get("provider", ())),
        feeds=feeds_from(*feeds),
        bounds=bounds_from(given.get("bound", {})),
    )
    if recipe is None:
        return request
    return apply_recipe(recipe, request, given=given.keys(), where=where, tuning=tuning)


def _renamed(base: Any, given: Mapping[str, Any], names: Mapping[str, str]) -> Any:
    """A dataclass with the options that were given, in its own words."""
    paths = {"profile", "save_profile"}
    values = {n: Path(v) if n in paths else v for n, v in given.items() if n in names}
    return replace(base, **{names[n]: v for n, v in values.items()})


def mode_from(fuse: bool | str) -> FuseMode:
    """How far to fuse, from a name or a boolean.

    Raises:
        UnknownNameError: there is no such mode.
    """
    if isinstance(fuse, bool):
        return FuseMode.AUTO if fuse else FuseMode.NONE
    return FuseMode.parse(fuse, "fuse")


def feeds_from(
    data: str | PathLike[str] | None,
    shapes: Mapping[str, Sequence[int]] | None,
    seed: int | None,
    ranges: Mapping[str, tuple[float, float]] | None,
    normalize: str | None,
) -> FeedRequest:
    """What models are run on.

    Raises:
        UsageError: the parts do not go together, or one of them cannot be.
    """
    return make_feed_request(
        seed=seed or 0,
        data=None if data is None else Path(data),
        shapes=tuple((k, tuple(v)) for k, v in (shapes or {}).items()),
        ranges=tuple((k, (float(low), float(high))) for k, (low, high) in (ranges or {}).items()),
        normalize=normalize,
    )


def _swaps(swap: Mapping[str, Any] | Sequence[str]) -> Iterator[SwapRequest]:
    if not isinstance(swap, Mapping):
        yield from (parse_swap(text) for text in swap)
        return
    for source, target in swap.items():
        if isinstance(target, str):
            yield parse_swap(f"{source}={target}")
        else:
            name, parameters = target
            yield make_swap(source, name, parameters)
