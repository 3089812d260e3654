"""What the named providers can run, how well, and what they do by themselves: found by asking."""

from __future__ import annotations

import hashlib
import math
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from onnx_act.errors import OnnxActError
from onnx_act.graph.store import stage_temporarily
from onnx_act.graph.tags import tagged
from onnx_act.recipe.loaded import LoadedEverywhere, LoadedNodes
from onnx_act.runtime import miscomputation, probe, speed
from onnx_act.runtime.cache import Question, keep, recall
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.load import LoadedNode, optimized_nodes
from onnx_act.runtime.session import CPU, OptimizationLevel
from onnx_act.runtime.target import short_name
from onnx_act.runtime.turn import measuring_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onnx_act.graph.model import OnnxModel

_LEVEL = OptimizationLevel.ALL.value
# For measuring two models in turn, which bounds itself where they are not very slow.
_TIME_LIMIT_S = 300.0
_Traces = dict[tuple[str, str], tuple[LoadedNode, ...] | None]


@dataclass(frozen=True, slots=True)
class ProviderTargets:
    """The providers that a result must run on, together: the weakest of them decides.

    Something can run when every one of them runs it by itself, is right when every one computes
    it rightly, is as many times as fast as on the one that gains least, and is fused at load when
    every one does so. What a provider answered is kept on disk (see `onnx_act.runtime.cache`),
    with one exception: what failed anywhere but on the CPU may be a passing trouble of a device,
    and is asked again the next time.

    Attributes:
        providers: their full names.
        feeds: what whole models are run on.
        threads: threads within an operator when two models are measured: one unless it is said,
            since the threads of two sessions stand in each other's way.
        known: speedups that a recipe remembers, which are not measured again.
        found: the speedups that were asked for, for a recipe to remember.
    """

    providers: tuple[str, ...]
    feeds: FeedRequest = field(default_factory=FeedRequest)
    threads: int = 1
    known: Mapping[str, float] = field(default_factory=dict, compare=False)
    found: dict[str, float] = field(default_factory=dict, init=False, compare=False)
    _traces: _Traces = field(default_factory=dict, init=False, repr=False, compare=False)

    def reason_against(self, model: bytes, *, may_crash: bool = False) -> str | None:
        """Why some provider cannot run this tiny model; None when every one does."""
        for provider in self.providers:
            reason = _reason_against(model, provider, may_crash=may_crash)
            if reason:
                return f"{short_name(provider)}: {reason}"
        return None

    def miscomputation(self, model: bytes) -> str | None:
        """How some provider computes this tiny model wrongly; None when every one is right."""
        return self._first_reason("miscomputation", miscomputation.miscomputation, model)

    def overflow(self, model: bytes) -> str | None:
        """How some provider's result of this tiny model is not finite; None when every one's is."""
        return self._first_reason("overflow", miscomputation.overflow, model)

    def _first_reason(
        self, kind: str, ask: Callable[[bytes, str], str | None], model: bytes
    ) -> str | None:
        for provider in self.providers:
            reason = _remembered(kind, ask, model, provider)
            if reason:
                return f"{short_name(provider)}: {reason}"
        return None

    def speedup(self, old: OnnxModel, new: OnnxModel) -> float:
        """How many times as fast as `old` is `new` on the provider that gains least by it.

        Both run in a process of their own.

        Returns:
            0.0 where one of them does not run, as nothing is known to be gained then.
        """
        with ExitStack() as stack:
            try:
                paths = [_staged(m, stack) for m in (old, new)]
            except (OnnxActError, OSError):
                return 0.0
            ratios = (self._remembered_speedup(paths, provider) for provider in self.providers)
            return min(ratios, default=0.0)

    def _remembered_speedup(self, paths: list[Path], provider: str) -> float:
        """The speedup that a recipe remembers, or else the measured one."""
        digest = hashlib.sha256(provider.encode())
        for path in paths:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        key = digest.hexdigest()
        ratio = self.known.get(key)
        if ratio is None:
            ratio = self._speedup(paths, provider)
        self.found[key] = ratio
        return ratio

    def _speedup(self, paths: list[Path], provider: str) -> float:
        settings = (_LEVEL, f"{self.threads} threads", repr(self.feeds))
        models = tuple(path.read_bytes() for path in paths)
        question = Question("speedup", provider, models, settings)
        kept = (recall(question) or {}).get("ratio")
        if isinstance(kept, float) and math.isfinite(kept) and kept > 0.0:
            return kept
        try:
            with measuring_turn():
                ratio = run_isolated(
                    speed.speedup,
                    *paths,
                    provider,
                    threads=self.threads,
                    request=self.feeds,
                    timeout_s=_TIME_LIMIT_S,
                )
        except OnnxActError:
            return 0.0
        keep(question, {"ratio": ratio})
        return ratio

    def at_load(self, model: OnnxModel) -> LoadedEverywhere:
        """What each provider makes of a whole model when it loads it.

        Loads the model once per provider, in a process of its own. A model, or a provider, with
        which that cannot be done gives a graph of which nothing is known.
        """
        with ExitStack() as stack:
            tags = stack.enter_context(tagged(model))
            try:
                folder = Path(stack.enter_context(TemporaryDirectory(prefix="onnx-act-")))
                staged = stack.enter_context(stage_temporarily(model, folder, "at-load.onnx"))
                digest = hashlib.sha256(staged.path.read_bytes()).hexdigest()
            except (OnnxActError, OSError):
                return LoadedEverywhere(tags.numbers, (None,) * len(self.providers))
            traces = [self._trace(staged.path, digest, provider) for provider in self.providers]
        known = tuple(None if t is None else LoadedNodes(t, tags) for t in traces)
        return LoadedEverywhere(tags.numbers, known)

    def _trace(self, path: Path, digest: str, provider: str) -> tuple[LoadedNode, ...] | None:
        """The loaded nodes, remembered for the model that was asked about last."""
        for stale in [key for key in self._traces if key[0] != digest]:
            del self._traces[stale]
        key = (digest, provider)
        if key not in self._traces:
            try:
                self._traces[key] = optimized_nodes(path, provider)
            except OnnxActError:
                self._traces[key] = None
        return self._traces[key]


def _reason_against(model: bytes, provider: str, *, may_crash: bool) -> str:
    """Why one provider cannot run it; "" when it does."""
    question = Question("capability", provider, (model,), (_LEVEL,))
    kept = _kept_reason(question)
    if kept is not None:
        return kept
    found = probe.can_run(model, provider, may_crash=may_crash)
    # A process that came to grief may have done so for want of memory or time.
    if found.ok or (provider == CPU and not may_crash):
        keep(question, {"reason": found.reason})
    return found.reason


def _remembered(
    kind: str, ask: Callable[[bytes, str], str | None], model: bytes, provider: str
) -> str:
    """How one provider's result is wrong, as `ask` finds; "" when it is not."""
    question = Question(kind, provider, (model,), (_LEVEL,))
    kept = _kept_reason(question)
    if kept is not None:
        return kept
    try:
        reason = ask(model, provider) or ""
    except OnnxActError as error:
        return str(error)
    if not reason or provider == CPU:
        keep(question, {"reason": reason})
    return reason


def _kept_reason(question: Question) -> str | None:
    reason = (recall(question) or {}).get("reason")
    return reason if isinstance(reason, str) else None


def _staged(model: OnnxModel, stack: ExitStack) -> Path:
    """A model as a file, for as long as the stack is open."""
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="onnx-act-")))
    return stack.enter_context(stage_temporarily(model, folder, "measured.onnx")).path
