"""Making the choices of a profile, which was measured on another machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_act.tuning.memory import AS_IT_IS
from onnx_act.tuning.outcome import FLATTENED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx_act.tuning.contenders import GroupState
    from onnx_act.tuning.layers import LayersState
    from onnx_act.tuning.memory import TuningProfile


def apply_profile(
    profile: TuningProfile, states: Iterable[GroupState], layers: LayersState | None
) -> None:
    """Decide about every group, and about linear layers, as a profile says."""
    for state in states:
        _decide(state, profile.choices.get(state.group.signature))
    if layers is not None:
        layers.is_chosen = profile.choices.get(layers.signature) == FLATTENED
        says = "the profile says so" if layers.is_chosen else "not the choice of the profile"
        layers.reason = says


def _decide(state: GroupState, chosen: str | None) -> None:
    if chosen is None:
        state.reason = "the profile says nothing about such sites"
    elif chosen == AS_IT_IS:
        state.reason = "the profile leaves such sites as they are"
    elif chosen in state.keys:
        state.chosen, state.reason = chosen, "the profile says so"
    else:
        why = state.verdicts.get(chosen, "it is not known here")
        state.reason = f"the profile says {chosen}, but: {why}"
    for key in state.keys:
        verdict = "chosen" if key == state.chosen else "not the choice of the profile"
        state.verdicts.setdefault(key, verdict)
