"""What a recipe may not say although each of its fields is right by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from onnx_act.activations.catalogue import find
from onnx_act.errors import UsageError
from onnx_act.recipe.schema import KINDS, NEEDS, Recipe, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_act.recipe.key_lines import KeyPath
    from onnx_act.recipe.schema import Swap

_OUT_OF_ORDER: Final = {
    ("swap", "fuse"): "a swap after fuse cannot be judged: a fused model must equal one that was "
    "swapped and nothing else, and that model does not exist any more; put the swap first",
    ("swap", "tune"): "a swap after tune cannot be judged: what was tuned was measured with "
    "the activations that it replaces; put the swap first",
    ("fuse", "tune"): "fuse after tune would change the model that was measured; put fuse first",
    ("opset", "swap"): "raising the opset is judged by itself, against the original, and decides "
    "how a swap can be written; put it first",
    ("opset", "fuse"): "raising the opset is judged by itself, against the original; put it first",
    ("opset", "tune"): "raising the opset is judged by itself, against the original; put it first",
}
_ALONE: Final = (
    "undo takes fused operators apart, for the runtime at hand or any other: it goes with "
    "neither {other} nor anything else but opset; use a recipe of its own"
)


def steps_of(recipe: Recipe) -> list[tuple[KeyPath, str, Step]]:
    """The steps in order: where each stands, what it does, and its fields.

    A recipe without a list of steps does what its own fields say, in the order of `KINDS`.
    """
    if recipe.step:
        return [
            (("step", number), kinds[0], step)
            for number, step in enumerate(recipe.step)
            if (kinds := _kinds(step))
        ]
    return [((), kind, recipe) for kind in _kinds(recipe)]


def problems_of(recipe: Recipe) -> list[tuple[KeyPath, str]]:
    """Where and why a recipe makes no sense; none when it does."""
    return list(_problems(recipe))


def _problems(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    for name in (*KINDS, *NEEDS) if recipe.step else ():
        if name in recipe.model_fields_set:
            yield (name,), "this recipe has a list of steps: it belongs into one of them"
    for number, step in enumerate(recipe.step):
        kinds = _kinds(step)
        if len(kinds) != 1:
            has = f"it has {' and '.join(kinds)}" if kinds else "it has none of them"
            what = f"a step does exactly one of {', '.join(KINDS)}; {has}"
            yield ("step", number), what
        yield from _needs(step, ("step", number), recipe_wide=False)
    if not recipe.step:
        yield from _needs(recipe, (), recipe_wide=True)
    yield from _order(recipe)
    for place, kind, step in steps_of(recipe):
        if kind == "swap":
            if not step.swap:
                yield (*place, "swap"), "it swaps nothing: name what, as FROM=TO"
            for number, swap in enumerate(step.swap or ()):
                yield from _parameters(swap, (*place, "swap", number))


def _kinds(step: Step) -> list[str]:
    return [kind for kind in KINDS if getattr(step, kind) is not None]


def _needs(step: Step, place: KeyPath, *, recipe_wide: bool) -> Iterator[tuple[KeyPath, str]]:
    for name, kind in NEEDS.items():
        if name in step.model_fields_set and getattr(step, kind) is None:
            where = "" if recipe_wide else " in the same step"
            yield (*place, name), f"it says how to {kind}: it needs {kind}{where}"


def _order(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    before: list[str] = []
    for place, kind, step in steps_of(recipe):
        if kind == "undo" and not step.undo:
            continue
        others = [k for k in before if "undo" in {kind, k} and "opset" not in {kind, k}]
        later = [k for k in before if KINDS.index(k) > KINDS.index(kind)]
        if others and kind != others[0]:
            other = others[0] if kind == "undo" else kind
            yield (*place, kind), _ALONE.format(other=other)
        elif later:
            reason = _OUT_OF_ORDER.get((kind, later[-1]), f"it goes before {later[-1]}")
            yield (*place, kind), reason
        elif kind in before and kind != "swap":
            yield (*place, kind), f"there is a step with {kind} before: say it once"
        before.append(kind)


def _parameters(swap: Swap, place: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    target, _ = find(swap.target)
    for name, value in swap.parameters.items():
        try:
            slot = target.parameter_named(name)
            if isinstance(value, str) and value.startswith("@"):
                if not slot.per_channel:
                    yield (
                        (*place, "parameters", name),
                        f"{target.name}:{slot.name} takes one number, not a file",
                    )
            else:
                slot.check(_as_given(value), target.name)
        except UsageError as error:
            yield (*place, "parameters", name), str(error)


def _as_given(value: float | str) -> Any:
    return value
