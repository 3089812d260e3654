"""Tuning one model: find the ways, measure them, and prove that the result is faster."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from onnx_act.activations.catalogue import catalogue_digest
from onnx_act.errors import EvidenceError, OnnxActError
from onnx_act.evidence.accuracy import Accuracy
from onnx_act.graph.concrete_shapes import concrete_shapes
from onnx_act.graph.constants import Constants
from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model
from onnx_act.graph.probe_models import activation_probe
from onnx_act.rewrite.engine import run_rules
from onnx_act.rewrite.expand_gate import GateExpansion, expansion_probe
from onnx_act.rewrite.flatten_matmul import FlattenMatMul
from onnx_act.rewrite.respell_activation import RespellActivation
from onnx_act.runtime.cache import Question
from onnx_act.runtime.target import short_name
from onnx_act.tuning.clock import Clock
from onnx_act.tuning.confirmation import MOST_CONFIRMING_S, confirm
from onnx_act.tuning.contenders import GroupState
from onnx_act.tuning.exactness import Exactness
from onnx_act.tuning.grouping import group_sites
from onnx_act.tuning.layers import find_layers
from onnx_act.tuning.memory import (
    is_measured_here,
    keep_group,
    keep_outcome,
    recall_group,
    recall_outcome,
)
from onnx_act.tuning.outcome import CandidateOutcome, GroupOutcome, TuningOutcome
from onnx_act.tuning.profiled import apply_profile
from onnx_act.tuning.search import Search
from onnx_act.tuning.shares import Shares, measure_shares
from onnx_act.tuning.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx_act.graph.model import OnnxModel
    from onnx_act.graph.sites import Site
    from onnx_act.rewrite.rule import Capabilities, Rule
    from onnx_act.runtime.feeds import FeedRequest
    from onnx_act.tuning.grouping import SiteGroup
    from onnx_act.tuning.memory import TuningProfile

# What is kept back for proving the result, as a part of the budget, and the least that shows
# anything.
_CONFIRMING_PART: Final = 0.25
_LEAST_CONFIRMING_S: Final = 3.0
# What validating takes beside running the model: starting processes, judging outputs.
_VALIDATING_S: Final = 4.0
_VALIDATING_OPENINGS: Final = 10
_VALIDATING_RUNS: Final = 80
# Of either, so that something is left to measure in the least budget too.
_MOST_RESERVED_PART: Final = 0.3


@dataclass(frozen=True, slots=True)
class TuningRequest:
    """How to tune.

    Attributes:
        providers: full names; the first one decides, on the others the result must not be slower.
        feeds: what to run on.
        threads: threads within an operator.
        budget_s: how long it may take in all, in seconds.
        contrib: whether operators outside the standard may be used.
        approximate: whether ways that round worse than the operator may be used.
        profile: what was measured on another machine, to be applied without measuring here.
        is_validated: whether the result will be validated afterwards, within the budget.
        spent_s: what was used of the budget before, in seconds.
    """

    providers: tuple[str, ...]
    feeds: FeedRequest
    threads: int = 1
    budget_s: float = 60.0
    contrib: bool = False
    approximate: bool = False
    profile: TuningProfile | None = None
    is_validated: bool = True
    spent_s: float = 0.0


def tune_model(
    model: OnnxModel,
    targets: Capabilities,
    request: TuningRequest,
    progress: Callable[[str], None] = lambda _: None,
) -> TuningOutcome:
    """Find the fastest exact way to write the activations of a model.

    Args:
        model: left as it is; `chosen_rules` make the outcome's choices.
        targets: what the result must run on.
        request: how.
        progress: told what is going on.

    Raises:
        EvidenceError: the model does not run.
        ProviderUnavailableError: a provider is not there.
        UsageError: shapes or data do not fit the model.
    """
    clock = Clock(request.budget_s - request.spent_s)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="onnx-act-")))
        bench = Workbench(model, targets, folder, stack)
        question = _question(bench.whole({}), request)
        if request.profile is None:
            kept = recall_outcome(question)
            if kept is not None and (kept.is_complete or kept.budget_s >= request.budget_s):
                return replace(kept, source="cache", seconds=clock.spent_s())
        tuning = _Tuning(model, targets, request, progress, clock, bench, folder)
        outcome = _as_decided(replace(tuning.run(), seconds=clock.spent_s()))
        if request.profile is None:
            keep_outcome(question, outcome)
            for group in outcome.groups if outcome.is_kept else ():
                # What was not shown to be faster in this model may be so in the next.
                if group.chosen is not None:
                    keep_group(group, request.providers[0], request.threads)
        return outcome


def _as_decided(outcome: TuningOutcome) -> TuningOutcome:
    """What is not kept was chosen for nothing: its groups stay as they are, and say so."""
    if outcome.is_kept:
        return outcome
    groups = tuple(
        group
        if group.chosen is None
        else replace(
            group,
            chosen=None,
            after=group.before,
            reason=f"{group.reason}, but the whole result was not kept",
        )
        for group in outcome.groups
    )
    return replace(outcome, groups=groups)


def chosen_rules(outcome: TuningOutcome) -> tuple[Rule, ...]:
    """The rules that make the choices of an outcome, none where nothing was chosen."""
    places = (outcome.channels, outcome.images)
    respelling = RespellActivation(outcome.choices, *places, outcome.approximate)
    flattening = FlattenMatMul(outcome.flattened)
    return (
        *((respelling,) if outcome.choices else ()),
        *((flattening,) if outcome.flattened else ()),
    )


def _question(base: Path, request: TuningRequest) -> Question:
    settings = (
        ", ".join(request.providers),
        f"{request.threads} threads",
        repr(request.feeds),
        f"contrib {request.contrib}",
        f"approximate {request.approximate}",
        catalogue_digest(),
    )
    return Question("tuning", request.providers[0], (base.read_bytes(),), settings)


@dataclass(slots=True)
class _Tuning:
    """One model under way."""

    model: OnnxModel
    targets: Capabilities
    request: TuningRequest
    progress: Callable[[str], None]
    clock: Clock
    bench: Workbench
    folder: Path
    notes: list[str] = field(default_factory=list)

    def run(self) -> TuningOutcome:
        """Everything from the sites to the proof."""
        sites = find_sites(self.model)
        constants = Constants(self.model)
        layers = find_layers(self.model, self.targets, sites)
        has_ways = bool(group_sites(sites, constants, {}, contrib=self.request.contrib))
        if not has_ways and layers is None:
            return self._outcome((), "no activation of the model has another way to be written")
        self.progress("profiling")
        shares = self._shares(self.model, sites)
        self._reserve(shares)
        shapes = concrete_shapes(self.model, dict(shares.profile.shapes))
        groups = group_sites(sites, constants, shapes, contrib=self.request.contrib)
        self.progress("measuring accuracy")
        exactness = Exactness(self.request.providers[0], self.model.content.ir_version)
        exactness.measure(groups)
        self.bench.learn(groups)
        states = [self._state(group, exactness) for group in groups]
        search = Search(
            states,
            self.bench,
            self.request.providers,
            self.request.threads,
            self.request.feeds,
            self.clock,
            shares,
            layers,
            self.progress,
        )
        if self.request.profile is not None:
            apply_profile(self.request.profile, states, layers)
            self._note_where_it_was_measured(self.request.profile)
        else:
            search.run(constants, shapes)
        outcomes = [_group_outcome(s, search, exactness) for s in states]
        outcomes += [] if layers is None else [layers.outcome()]
        outcome = self._outcome(tuple(outcomes), "", shares.all_sites)
        if self.request.profile is not None:
            return replace(outcome, source="profile", is_kept=bool(search.choices()))
        outcome = replace(outcome, is_complete=search.is_complete)
        if not search.choices():
            return replace(outcome, reason="no other way was shown to be faster")
        return self._confirm(outcome, search)

    def _outcome(
        self, groups: tuple[GroupOutcome, ...], reason: str, share: float | None = None
    ) -> TuningOutcome:
        return TuningOutcome(
            groups=groups,
            reason=reason,
            providers=self.request.providers,
            threads=self.request.threads,
            budget_s=self.request.budget_s,
            share_before=share,
            notes=tuple(self.notes),
        )

    def _shares(self, model: OnnxModel, sites: list[Site]) -> Shares:
        return measure_shares(
            model,
            sites,
            self.folder,
            provider=self.request.providers[0],
            threads=self.request.threads,
            feeds=self.request.feeds,
        )

    def _reserve(self, shares: Shares) -> None:
        """Keep time back for validating and for proving the result."""
        budget, profile = self.request.budget_s, shares.profile
        if self.request.is_validated:
            validating = len(self.request.providers) * (
                _VALIDATING_S
                + _VALIDATING_OPENINGS * profile.open_s
                + _VALIDATING_RUNS * profile.run_s
            )
            self.clock.reserve(min(validating, _MOST_RESERVED_PART * budget))
        self.clock.reserve(self._confirming_s())

    def _confirming_s(self) -> float:
        wanted = max(_LEAST_CONFIRMING_S, _CONFIRMING_PART * self.request.budget_s)
        return min(wanted, MOST_CONFIRMING_S, _MOST_RESERVED_PART * self.request.budget_s)

    def _state(self, group: SiteGroup, exactness: Exactness) -> GroupState:
        """A group with the ways that the targets run and that are exact enough."""
        state = GroupState(group, list(group.ways))
        standard = exactness.of_standard(group)
        site = group.sites[0]
        for key, way in group.ways.items():
            assert site.activation is not None
            assert site.dtype is not None
            version = self.model.content.ir_version
            if isinstance(way, GateExpansion):
                probe = expansion_probe(way, site.dtype, site.scope, version)
                against = self.targets.reason_against(probe)
                if against is not None:
                    state.drop(key, f"cannot run: {against}")
                continue
            accuracy = exactness.of(group, way)
            if isinstance(accuracy, str):
                state.drop(key, f"cannot run: {accuracy}")
                continue
            given = (way, site.activation, site.parameters, site.dtype, site.scope, version)
            against = self.targets.reason_against(activation_probe(*given))
            if against is not None:
                state.drop(key, f"cannot run: {against}")
            elif _is_approximate(accuracy, standard) and not self.request.approximate:
                state.drop(key, "less exact than the operator")
        if not state.keys:
            state.reason = "no other way runs and is as exact as the operator"
        elif self.request.profile is None:
            self._use_what_is_known(state)
        return state

    def _use_what_is_known(self, state: GroupState) -> None:
        """Try only the way that was the best for such a group in another model, if that is known.

        It is measured in this model all the same.
        """
        signature = state.group.signature
        known = recall_group(signature, self.request.providers[0], self.request.threads)
        if known not in state.keys:
            return
        for key in [k for k in state.keys if k != known]:
            state.drop(key, "was not the best for such sites in another model")

    def _note_where_it_was_measured(self, profile: TuningProfile) -> None:
        if (profile.providers, profile.threads) != (self.request.providers, self.request.threads):
            made = ", ".join(short_name(p) for p in profile.providers)
            self.notes.append(f"the choices were measured on {made}, {profile.threads} threads")
        if not is_measured_here(profile):
            where = f"ONNX Runtime {profile.runtime}, {profile.processor}"
            self.notes.append(f"the choices were measured elsewhere ({where}), and not here")

    def _confirm(self, outcome: TuningOutcome, search: Search) -> TuningOutcome:
        """Measure the result against the model before, on every provider."""
        self.progress("proving the result")
        self.clock.release(self._confirming_s())
        before = self.bench.whole({})
        after = self.bench.whole(search.choices())
        request = self.request
        given = (request.providers, request.threads, request.feeds)
        try:
            confirmed = confirm(before, after, *given, self.clock)
        except EvidenceError as error:
            return replace(outcome, reason=f"the result could not be measured: {error}")
        first, *others = confirmed
        outcome = replace(outcome, confirmed=confirmed)
        if first.verdict != "faster":
            shown = f"[{first.ratio.low:.3f}, {first.ratio.high:.3f}]"
            return replace(
                outcome, reason=f"the interval of the whole result, {shown}, is not above 1"
            )
        lost = [c for c in others if c.verdict == "slower"]
        if lost:
            return replace(outcome, reason=f"the result is slower on {lost[0].provider}")
        return replace(outcome, is_kept=True, share_after=self._share_after(outcome))

    def _share_after(self, outcome: TuningOutcome) -> float | None:
        if not self.clock.left_s():
            return None
        trial = load_model(self.model.content)
        run_rules(chosen_rules(replace(outcome, is_kept=True)), trial, self.targets)
        # Read again: what was written has no types and shapes yet, by which sites are found.
        trial = load_model(trial.content)
        try:
            return self._shares(trial, find_sites(trial)).all_sites
        except OnnxActError:
            return None


def _is_approximate(accuracy: Accuracy, standard: Accuracy | str) -> bool:
    return isinstance(standard, Accuracy) and accuracy.is_worse_than(standard)


def _group_outcome(state: GroupState, search: Search, exactness: Exactness) -> GroupOutcome:
    group = state.group
    standard = exactness.of_standard(group)
    candidates = []
    for key, way in group.ways.items():
        accuracy = "" if isinstance(way, GateExpansion) else exactness.of(group, way)
        known = accuracy if isinstance(accuracy, Accuracy) else None
        candidates.append(
            CandidateOutcome(
                key=key,
                spelling=way.label,
                verdict=state.verdicts.get(key, state.reason),
                accuracy=known,
                is_approximate=known is not None and _is_approximate(known, standard),
                neighbourhood=state.screened.get(key),
                model=state.measured.get(key),
            )
        )
    after = group.before if state.chosen is None else group.ways[state.chosen].label
    return GroupOutcome(
        signature=group.signature,
        activation=group.activation,
        sites=tuple(s.id for s in group.sites),
        before=group.before,
        chosen=state.chosen,
        after=after,
        reason=state.reason,
        share=search.share_of(group),
        channels=group.channels,
        image=group.image,
        candidates=tuple(candidates),
    )
