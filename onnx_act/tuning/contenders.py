"""What is in question for groups of sites, and what they could be written as together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onnx_act.rewrite.expand_gate import GateExpansion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_act.evidence.race import RaceResult
    from onnx_act.evidence.statistics import Interval
    from onnx_act.tuning.grouping import SiteGroup

#: The label of groups each written in the way that suits it best.
MIXTURE: Final = ""
# A neighbourhood that takes so much longer in one way than in the best is not tried in the model:
# far from what measuring a few nodes alone was seen to be off by.
_HOPELESS: Final = 1.3
_MOST_CONTENDERS: Final = 4


@dataclass(slots=True)
class GroupState:
    """What is known of one group while the search goes on.

    Attributes:
        group: the group.
        keys: ways that are still in question.
        verdicts: key -> what became of it.
        screened: key -> its interval in the neighbourhood, over the way it is written.
        measured: key -> its interval in the whole model.
        favourite: the best way in the neighbourhood, None where that is the present one, or
            where it was not measured.
        is_screened: whether the neighbourhood was measured.
        chosen: the way it is to be written, None to leave it.
        reason: why.
    """

    group: SiteGroup
    keys: list[str]
    verdicts: dict[str, str] = field(default_factory=dict)
    screened: dict[str, Interval] = field(default_factory=dict)
    measured: dict[str, Interval] = field(default_factory=dict)
    favourite: str | None = None
    is_screened: bool = False
    chosen: str | None = None
    reason: str = ""

    def local_keys(self) -> list[str]:
        """Ways of which a neighbourhood can tell something: not those that are about a layout."""
        return [k for k in self.keys if not isinstance(self.group.ways[k], GateExpansion)]

    def drop(self, key: str, verdict: str) -> None:
        """Take a way out of the question."""
        if key in self.keys:
            self.keys.remove(key)
        self.verdicts[key] = verdict


def note_neighbourhood(state: GroupState, result: RaceResult) -> None:
    """Drop what is hopeless in the neighbourhood, and note the best way there."""
    state.is_screened = True
    medians = {"": 1.0}
    for key, standing in zip(state.local_keys(), result.standings[1:], strict=True):
        if standing.ratio is None:
            state.drop(key, standing.problem or "it was not measured")
            continue
        state.screened[key] = standing.ratio
        medians[key] = standing.ratio.median
    best = max(medians.values())
    for key in state.local_keys():
        interval = state.screened[key]
        if interval.high < best / _HOPELESS:
            slower = best / interval.median
            state.drop(key, f"{slower:.1f} times as slow as the best in its neighbourhood")
    if result.winner:
        ranked = sorted(state.local_keys(), key=lambda k: -medians[k])
        state.favourite = ranked[0] if ranked else None


def contenders(family: list[GroupState]) -> list[tuple[str, dict[str, str]]]:
    """What a family could be written as: a label, `MIXTURE` for one, and site -> key."""
    found: dict[frozenset[tuple[str, str]], tuple[str, dict[str, str]]] = {}

    def add(label: str, chosen: dict[str, str]) -> None:
        if chosen:
            found.setdefault(frozenset(chosen.items()), (label, chosen))

    keys = dict.fromkeys(k for s in family for k in s.keys)
    ranked = sorted(keys, key=lambda k: -sum(_gain(s, k) for s in family))
    uniform = {
        key: {site.id: key for s in family if key in s.keys for site in s.group.sites}
        for key in ranked
    }
    # Of two that cannot be told apart the first is taken: the one that changes least.
    if any(s.is_screened for s in family):
        mixture = {
            site.id: s.favourite
            for s in family
            if s.favourite is not None
            for site in s.group.sites
        }
        add(MIXTURE, mixture)
    for key in ranked[:_MOST_CONTENDERS]:
        add(key, uniform[key])
    return list(found.values())


def _gain(state: GroupState, key: str) -> float:
    """How promising a way looks for a group, by its neighbourhood and its sites."""
    if key not in state.keys:
        return 0.0
    interval = state.screened.get(key)
    return len(state.group.sites) * (1.0 if interval is None else interval.median)


def flipped(present: Mapping[str, str], state: GroupState, key: str | None) -> dict[str, str]:
    """The choices with one group written otherwise."""
    changed = dict(present)
    for site in state.group.sites:
        changed.pop(site.id, None)
        if key is not None:
            changed[site.id] = key
    return changed
