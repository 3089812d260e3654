"""Which providers a model was fused for, as its metadata says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onnx_act.rewrite.rules import CONTRIB
from onnx_act.rewrite.undo_fusion import can_be_undone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_act.graph.model import OnnxModel
    from onnx_act.rewrite.engine import Plan

_KEY: Final = "onnx_act.fused_for"


def fused_for(model: OnnxModel) -> tuple[str, ...]:
    """The short names of the providers that a model was fused for; none when it was not."""
    stated = model.content.metadata_props.get(_KEY, "")
    return tuple(name.strip() for name in stated.split(",") if name.strip())


def note_fusion(model: OnnxModel, plan: Plan, names: Sequence[str]) -> None:
    """Write down whom a model was fused for, where the plan put contrib operators in.

    A model that was fused before runs where both fusions do.

    Args:
        model: fused already.
        plan: what was done to it.
        names: the short names of the providers that it was done for.
    """
    contrib = {rule.name for rule in CONTRIB}
    if any(change.rule in contrib for change in plan.changes):
        stamp_providers(model, names)


def stamp_providers(model: OnnxModel, names: Sequence[str]) -> None:
    """Write down for whom contrib operators were put into a model, by short name."""
    before = fused_for(model)
    both = [name for name in names if name in before]
    model.content.metadata_props[_KEY] = ",".join(both or names)


def note_undoing(model: OnnxModel) -> None:
    """Forget whom a model was fused for, once nothing in it can be taken apart any more."""
    if not can_be_undone(model):
        model.content.metadata_props.pop(_KEY, None)


def fused_for_others(model: OnnxModel, names: Sequence[str], what: str = "it") -> tuple[str, ...]:
    """A note where a model was fused for other providers than it is wanted for.

    Args:
        model: as it was read.
        names: the short names of those that it is wanted for.
        what: what the note calls the model.

    Returns:
        One note, or none.
    """
    stated = fused_for(model)
    others = [name for name in names if name not in stated]
    if not stated or not others:
        return ()
    apart = "take it apart first: onnx-act fuse --undo MODEL OUT"
    return (f"{what} was fused for {', '.join(stated)}; for {', '.join(others)} {apart}",)
