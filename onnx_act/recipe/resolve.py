"""What a recipe and the options beside it ask for, together: options win."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from onnx_act.errors import UsageError
from onnx_act.recipe.bounds import Bounds
from onnx_act.recipe.content import content_hash
from onnx_act.recipe.inputs import parse_ranges
from onnx_act.recipe.loading import load_recipe
from onnx_act.recipe.option_values import parse_shapes
from onnx_act.recipe.request import require_providers
from onnx_act.recipe.schema import NEEDS
from onnx_act.recipe.sense import steps_of
from onnx_act.recipe.swap_steps import SwapStep
from onnx_act.recipe.tuning import TuneOptions
from onnx_act.rewrite.swap_request import make_swap
from onnx_act.runtime.images import parse_normalization

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from onnx_act.recipe.loading import LoadedRecipe
    from onnx_act.recipe.request import ConversionRequest
    from onnx_act.recipe.schema import Step, Swap
    from onnx_act.rewrite.swap_request import SwapRequest

# Fields of a request that are called otherwise in a recipe.
_PLAIN: Final = {
    "max_growth": "max_growth",
    "opset": "opset",
    "undo": "undo",
    "threads": "threads",
    "bench": "bench",
    "time": "bench_seconds",
    "timeout": "timeout_s",
    "strict_placement": "strict_placement",
}
_OF_TUNING: Final = {
    "budget": "budget_s",
    "allow_contrib": "contrib",
    "allow_approximate": "approximate",
}


def apply_recipe(
    source: str | Path,
    request: ConversionRequest,
    *,
    given: Collection[str],
    where: Sequence[str] = (),
    tuning: TuneOptions | None = None,
) -> ConversionRequest:
    """A request with what a recipe says, where options say nothing.

    Args:
        source: a recipe's file or name.
        request: what the options ask for.
        given: the fields, by their names in a recipe, that options state.
        where: selectors stated by options: of all swaps, in the place of those of the recipe.
        tuning: how options would tune, whether or not they ask for it.

    Raises:
        UsageError: the recipe is wrong, a file that it names is not the one that it was written
            with, or the two do not go together.
        ProviderUnavailableError: a provider that it names cannot run here.
    """
    return _Resolving(load_recipe(source), request, frozenset(given)).run(tuple(where), tuning)


class _Resolving:
    def __init__(
        self, loaded: LoadedRecipe, request: ConversionRequest, given: frozenset[str]
    ) -> None:
        self.loaded = loaded
        self.recipe = loaded.recipe
        self.request = request
        self.given = given

    def run(self, where: tuple[str, ...], tuning: TuneOptions | None) -> ConversionRequest:
        changes: dict[str, Any] = {}
        swaps = []
        for place, kind, step in steps_of(self.recipe):
            if kind == "swap" and "swap" not in self.given:
                swaps.append(self._swap_step(place, step))
            elif kind == "fuse" and "fuse" not in self.given:
                changes["fuse"] = step.fuse
            elif kind == "tune" and (self.request.tune or "tune" not in self.given):
                changes["tune"] = self._tuning(place, step, tuning)
            changes |= self._stated(step)
        changes |= self._stated(self.recipe)
        swap = tuple(swaps) or self.request.swap
        if where:
            if not swap:
                raise UsageError(
                    f"--where selects what is swapped, and {self.loaded.shown} swaps nothing"
                )
            swap = tuple(replace(step, where=where) for step in swap)
        changes["swap"] = swap
        if self.recipe.provider and "provider" not in self.given:
            changes["providers"] = require_providers(self.recipe.provider)
        if self.recipe.is_validated is not None and "validate" not in self.given:
            changes["validate"] = self.recipe.is_validated
        changes["feeds"] = self._feeds()
        changes["bounds"] = self._bounds()
        changes["speedups"] = dict(self.recipe.measured)
        changes["recipe"] = self.loaded.path
        result = replace(self.request, **changes)
        useless = sorted({n for n, kind in NEEDS.items() if kind == "tune"} & self.given)
        if useless and result.tune is None:
            option = useless[0].replace("_", "-")
            raise UsageError(f"--{option} says how to tune: it needs --tune")
        return result

    def _stated(self, step: Step) -> dict[str, Any]:
        """Fields that need no more than another name."""
        found = {}
        for name, field in _PLAIN.items():
            value = getattr(step, name, None)
            if value is not None and name not in self.given:
                found[field] = value
        return found

    def _swap_step(self, place: tuple[str | int, ...], step: Step) -> SwapStep:
        requests = tuple(
            self._swap((*place, "swap", number), swap)
            for number, swap in enumerate(step.swap or ())
        )
        return SwapStep(requests, tuple(step.where or ()), step.optional or False)

    def _swap(self, place: tuple[str | int, ...], swap: Swap) -> SwapRequest:
        values = {
            name: f"@{self._file(value[1:], place)}"
            if isinstance(value, str) and value.startswith("@")
            else value
            for name, value in swap.parameters.items()
        }
        try:
            return make_swap(swap.source, swap.target, values)
        except UsageError as error:
            raise UsageError(f"{self.loaded.at(*place)}: {error}") from None

    def _tuning(
        self, place: tuple[str | int, ...], step: Step, options: TuneOptions | None
    ) -> TuneOptions | None:
        if not step.tune and self.request.tune is None:
            return None
        found = options or TuneOptions()
        changes: dict[str, Any] = {
            field: value
            for name, field in _OF_TUNING.items()
            if (value := getattr(step, name)) is not None and name not in self.given
        }
        asked = {"profile", "save_profile"} & self.given
        if step.profile is not None and not asked:
            changes["profile"] = self._file(step.profile, (*place, "profile"))
        if step.save_profile is not None and not asked:
            changes["save_profile"] = self.loaded.folder / step.save_profile
        try:
            return replace(found, **changes)
        except UsageError as error:
            raise UsageError(f"{self.loaded.at(*place, 'tune')}: {error}") from None

    def _feeds(self) -> Any:
        changes: dict[str, Any] = {}
        if self.recipe.data is not None and "data" not in self.given:
            changes["data"] = self._file(self.recipe.data, ("data",))
        if self.recipe.shape is not None and "shape" not in self.given:
            changes["shapes"] = parse_shapes(self.recipe.shape)
        if self.recipe.input_range is not None and "input_range" not in self.given:
            changes["ranges"] = parse_ranges(self.recipe.input_range)
        if self.recipe.normalize is not None and "normalize" not in self.given:
            changes["normalize"] = parse_normalization(self.recipe.normalize)
        if self.recipe.seed is not None and "seed" not in self.given:
            changes["seed"] = self.recipe.seed
        feeds = replace(self.request.feeds, **changes)
        if feeds.normalize is not None and feeds.data is None:
            raise UsageError("normalize says what becomes of images: it needs data")
        if feeds.data is not None and feeds.ranges:
            raise UsageError("input_range bounds generated inputs: it does not go with data")
        return feeds

    def _bounds(self) -> Bounds:
        stated = self.recipe.bound
        mine = Bounds() if stated is None else Bounds(**stated.model_dump())
        return mine.tightened_by(self.request.bounds)

    def _file(self, written: str, place: tuple[str | int, ...]) -> Path:
        """A path of the recipe, whose content is what it was where the recipe says what."""
        path = self.loaded.folder / written
        wanted = self.recipe.files.get(written)
        if wanted is None:
            return path
        try:
            found = content_hash(path)
        except OSError as error:
            where = self.loaded.at(*place)
            raise UsageError(f"{where}: cannot read {path}: {error.strerror or error}") from None
        if found != wanted:
            raise UsageError(
                f"{self.loaded.at('files', written)}: {path} is not what it was when this recipe "
                f"was written: its content is {found}, not {wanted}"
            )
        return path
