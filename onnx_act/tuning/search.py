"""Looking for the best way to write each group of sites, within a budget.

First the neighbourhood of one site of each group is measured in every way, all cut out, which
drops what is hopeless and tells which way each group would take by itself. What is left is
measured in the whole model, because only that counts: for each family of groups (one activation,
written alike) the ways that all of its groups could take together, and the mixture that the
neighbourhoods suggest; then, where it matters, groups alone; and at last the linear layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onnx_act.errors import OnnxActError
from onnx_act.evidence.race import RaceResult, race, race_all
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.target import short_name
from onnx_act.tuning.contenders import MIXTURE, GroupState, contenders, flipped, note_neighbourhood

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from onnx_act.evidence.statistics import Interval
    from onnx_act.graph.constants import Constants
    from onnx_act.runtime.feeds import FeedRequest
    from onnx_act.tuning.clock import Clock
    from onnx_act.tuning.grouping import SiteGroup
    from onnx_act.tuning.layers import LayersState
    from onnx_act.tuning.shares import Shares
    from onnx_act.tuning.workbench import Workbench

# Part of what is left of the budget that looking at neighbourhoods may take, and time for each.
_SCREENING_PART: Final = 0.35
_SCREENING_S: Final = 0.5
# Where less of the run time than this is in a group, no race could show what it makes of it.
_LEAST_SHARE: Final = 0.004
_LEAST_SHARE_ALONE: Final = 0.02
_MOST_ALONE: Final = 5
# A race that gets less time than this shows nothing.
_LEAST_RACE_S: Final = 0.5
_GRACE_S: Final = 30.0
# On another provider less than this is slower, whatever the interval: what two sessions of one
# model may differ by.
_NO_LOSS: Final = 1 / 1.02
_NOT_SHOWN: Final = "not shown to be faster in the whole model"
_NOT_FASTER: Final = "no other way was shown to be faster"


@dataclass(frozen=True, slots=True)
class _Trials:
    """What came of measuring trials in the whole model.

    Attributes:
        winner: the place of the trial that is the fastest and nowhere slower, None if none is.
        intervals: of each, on the first provider.
        lost: place -> why a trial that is faster there is not taken.
    """

    winner: int | None
    intervals: list[Interval | None]
    lost: dict[int, str]


@dataclass(slots=True)
class Search:
    """A search under way.

    Attributes:
        states: one for each group.
        bench: builds the models.
        providers: full names; the first one decides, the others must not lose.
        threads: threads within an operator.
        feeds: what whole models run on.
        clock: the budget.
        shares: the part of the run time in each site.
        layers: linear layers that have another way to be written.
        progress: told what is going on.
        is_complete: whether nothing was left out for want of time, or because measuring failed.
    """

    states: list[GroupState]
    bench: Workbench
    providers: tuple[str, ...]
    threads: int
    feeds: FeedRequest
    clock: Clock
    shares: Shares
    layers: LayersState | None
    progress: Callable[[str], None]
    is_complete: bool = True

    def run(self, constants: Constants, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Decide about every group."""
        self._leave_what_cannot_matter()
        self._screen(constants, shapes)
        families: dict[str, list[GroupState]] = {}
        for state in self._open():
            families.setdefault(state.group.family, []).append(state)
        ordered = sorted(families.values(), key=lambda f: -sum(map(self._weight, f)))
        for index, family in enumerate(ordered):
            self._race_family(family, len(ordered) - index)
        self._race_alone()
        self._race_layers()
        for state in self.states:
            self._conclude(state)

    def choices(self) -> dict[str, str]:
        """Site -> key, as it stands."""
        chosen = {
            site.id: state.chosen
            for state in self.states
            if state.chosen is not None
            for site in state.group.sites
        }
        if self.layers is not None and self.layers.is_chosen:
            chosen |= self.layers.choices()
        return chosen

    def share_of(self, group: SiteGroup) -> float | None:
        """Part of the run time spent in a group, None where that is not known."""
        if any(s.id in self.shares.unknown for s in group.sites):
            return None
        return sum(self.shares.sites.get(s.id, 0.0) for s in group.sites)

    def _weight(self, state: GroupState) -> float:
        share = self.share_of(state.group)
        return 1.0 if share is None else share

    def _open(self) -> list[GroupState]:
        return [s for s in self.states if s.keys and not s.reason]

    def _leave_what_cannot_matter(self) -> None:
        for state in self._open():
            share = self.share_of(state.group)
            if share is not None and share + self.shares.layout < _LEAST_SHARE:
                state.reason = (
                    f"{100 * share:.1f} % of the run time is spent in it"
                    if share
                    else "the runtime runs it as part of the operator before it"
                )
                for key in list(state.keys):
                    state.drop(key, "not measured: it could not matter")

    def _screen(self, constants: Constants, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Measure neighbourhoods; drop what is hopeless there."""
        contests: list[tuple[GroupState, list[bytes]]] = []
        for state in sorted(self._open(), key=self._weight, reverse=True):
            models = self.bench.around(state.group, state.local_keys(), constants, shapes)
            if models is not None:
                contests.append((state, models))
        seconds = min(_SCREENING_PART * self.clock.left_s(), _SCREENING_S * len(contests))
        if not contests or seconds < _LEAST_RACE_S:
            return
        self.progress(f"measuring {len(contests)} neighbourhoods")
        try:
            results = run_isolated(
                race_all,
                [models for _, models in contests],
                provider=self.providers[0],
                threads=self.threads,
                seconds=seconds,
                timeout_s=seconds + _GRACE_S,
            )
        except OnnxActError:
            return
        for (state, _), result in zip(contests, results, strict=True):
            if isinstance(result, RaceResult):
                note_neighbourhood(state, result)

    def _race_family(self, family: list[GroupState], left: int) -> None:
        """Measure ways that the groups of a family could take together, in the whole model."""
        entrants = contenders(family)
        if not entrants:
            return
        name = family[0].group.sites[0].name
        self.progress(f"measuring {name} in the whole model")
        present = self.choices()
        trials = [{**present, **chosen} for _, chosen in entrants]
        best = self._race(present, trials, self.clock.left_s() / left)
        if isinstance(best, str):
            for state in family:
                state.reason = best
            return
        for place, (label, chosen) in enumerate(entrants):
            interval = best.intervals[place]
            for state in family:
                key = chosen.get(state.group.sites[0].id)
                if key is None or interval is None or label not in {key, MIXTURE}:
                    continue
                state.measured.setdefault(key, interval)
                if place in best.lost:
                    state.verdicts.setdefault(key, best.lost[place])
        if best.winner is None:
            return
        chosen = entrants[best.winner][1]
        for state in family:
            state.chosen = chosen.get(state.group.sites[0].id)

    def _race_alone(self) -> None:
        """Try other ways for groups that weigh enough to be told apart, one group at a time."""
        present = self.choices()
        flips: list[tuple[GroupState, str | None]] = []
        for state in sorted(self._open(), key=self._weight, reverse=True):
            if self._weight(state) < _LEAST_SHARE_ALONE:
                continue
            others = [k for k in (None, state.favourite) if k != state.chosen]
            family = [s for s in self.states if s.group.family == state.group.family]
            if len(family) > 1:
                flips += [(state, key) for key in dict.fromkeys(others)]
        flips = flips[:_MOST_ALONE]
        if not flips:
            return
        self.progress("measuring groups alone")
        trials = [flipped(present, state, key) for state, key in flips]
        best = self._race(present, trials, self.clock.left_s(), is_wanted=False)
        if isinstance(best, str) or best.winner is None:
            return
        better = {
            id(s): (s, key)
            for (s, key), i in zip(flips, best.intervals, strict=True)
            if i is not None and i.low > 1.0
        }
        together = dict(present)
        for state, key in better.values():
            together = flipped(together, state, key)
        verified = self._race(present, [together], self.clock.left_s(), is_wanted=False)
        if not isinstance(verified, str) and verified.winner is not None:
            for state, key in better.values():
                state.chosen = key

    def _race_layers(self) -> None:
        """Measure the linear layers in their other way."""
        if self.layers is None:
            return
        self.progress("measuring linear layers in the whole model")
        present = self.choices()
        trial = {**present, **self.layers.choices()}
        best = self._race(present, [trial], self.clock.left_s())
        if isinstance(best, str):
            self.layers.reason = best
            return
        self.layers.measured = best.intervals[0]
        if best.winner is None:
            self.layers.reason = _NOT_FASTER
            self.layers.verdict = best.lost.get(0, _NOT_SHOWN)
            return
        self.layers.is_chosen = True
        self.layers.reason = _fastest(self.layers.measured)

    def _race(
        self,
        present: Mapping[str, str],
        trials: Sequence[Mapping[str, str]],
        seconds: float,
        *,
        is_wanted: bool = True,
    ) -> _Trials | str:
        """Measure trials against the present best, on the first provider and then the others.

        Returns:
            Why nothing was measured where nothing was.
        """
        if seconds < _LEAST_RACE_S + 3 * self.shares.profile.open_s:
            self.is_complete = self.is_complete and not is_wanted
            return "there was no time left to measure it in the whole model"
        try:
            models = [self.bench.whole(c) for c in (present, *trials)]
            result = self._measured(models, self.providers[0], seconds)
        except OnnxActError as error:
            # What failed once may do so by chance: it is not remembered as the last word.
            self.is_complete = self.is_complete and not is_wanted
            return f"it could not be measured in the whole model: {error}"
        self.is_complete = self.is_complete and (result.is_decided or not is_wanted)
        intervals = [s.ratio for s in result.standings[1:]]
        order = [result.winner] if result.winner else []
        better = [k + 1 for k, i in enumerate(intervals) if i is not None and i.low > 1.0]
        order += sorted(
            (k for k in better if k != result.winner), key=lambda k: -_median(intervals[k - 1])
        )
        lost: dict[int, str] = {}
        for place in order:
            against = self._reason_against(models[0], models[place])
            if against is None:
                self.bench.forget_but(present, trials[place - 1])
                return _Trials(place - 1, intervals, lost)
            lost[place - 1] = against
        self.bench.forget_but(present)
        return _Trials(None, intervals, lost)

    def _reason_against(self, present: Path, trial: Path) -> str | None:
        """Where a trial is slower on another provider than the first; None when nowhere."""
        for provider in self.providers[1:]:
            name = short_name(provider)
            self.progress(f"measuring on {name}")
            seconds = max(1.0, self.clock.left_s() / 4)
            try:
                result = self._measured([present, trial], provider, seconds)
            except OnnxActError as error:
                return f"does not run on {name}: {error}"
            ratio = result.standings[1].ratio
            if ratio is None:
                return f"could not be measured on {name}"
            if ratio.high < 1.0 or ratio.median < _NO_LOSS:
                return f"slower on {name}: {ratio.median:.2f}x"
        return None

    def _measured(self, models: list[Path], provider: str, seconds: float) -> RaceResult:
        return run_isolated(
            race,
            models,
            provider=provider,
            threads=self.threads,
            request=self.feeds,
            seconds=seconds,
            timeout_s=seconds + _GRACE_S + 10 * self.shares.profile.open_s,
        )

    def _conclude(self, state: GroupState) -> None:
        """Say why a group is written as it is to be written."""
        if state.chosen is not None:
            for key in state.keys:
                if key == state.chosen:
                    state.verdicts[key] = "chosen"
                else:
                    state.verdicts.setdefault(key, "slower than the chosen one")
            state.reason = _fastest(state.measured.get(state.chosen))
            return
        for key in state.keys:
            state.verdicts.setdefault(key, _NOT_SHOWN)
        if not state.reason:
            state.reason = _NOT_FASTER


def _fastest(measured: Interval | None) -> str:
    shown = "" if measured is None else f": {measured.median:.2f}x"
    return f"the fastest in the whole model{shown}"


def _median(interval: Interval | None) -> float:
    return 0.0 if interval is None else interval.median
