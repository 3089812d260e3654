"""A machine whose clock is a table: what a model costs there is the sum over its operators.

It stands in for the measurements of tuning and for nothing else: models are built, profiled and
compared with float64 for real, in this process.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from capabilities import Cpu
from onnx import numpy_helper, parser

from onnx_act.errors import EvidenceError
from onnx_act.evidence.latency import measure_latency
from onnx_act.evidence.race import RaceResult, Standing, race, race_all
from onnx_act.evidence.statistics import Interval
from onnx_act.graph.model import load_model
from onnx_act.runtime.cache import CACHE_VARIABLE, forget_answers
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.session import CPU
from onnx_act.tuning.tuner import TuningRequest, tune_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pytest

    from onnx_act.tuning.outcome import GroupOutcome, TuningOutcome

#: Slow where activations are operators of their own, and otherwise one for each operator.
COSTS: Final[dict[str, float]] = {"Elu": 30.0, "Softplus": 40.0, "Selu": 30.0, "Constant": 0.0}
_PLACES: Final = ("exactness", "shares", "search", "confirmation")


@dataclass(frozen=True, slots=True)
class SimulatedRatio:
    """What a latency says of two models."""

    median: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True, slots=True)
class SimulatedLatency:
    """What measuring two models gives."""

    provider: str
    ratio: SimulatedRatio

    def to_dict(self) -> dict[str, Any]:
        return {"provider": self.provider, "ratio": {"median": self.ratio.median}}


@dataclass(slots=True)
class Machine:
    """The simulated machine.

    Attributes:
        costs: provider -> operator -> what it costs there, 1 where it is not listed.
        doubt: what intervals are wide to either side, as a factor.
        proof: the interval of every comparison at the end instead of the costs', by provider.
        fails: what raises instead of measuring.
        decides: whether races end by themselves.
        asked: every measurement: what, and on which provider.
    """

    costs: dict[str, Mapping[str, float]] = field(default_factory=lambda: {CPU: COSTS})
    doubt: float = 1.02
    proof: dict[str, tuple[float, float]] = field(default_factory=dict)
    fails: frozenset[str] = frozenset()
    decides: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)

    def install(self, patch: pytest.MonkeyPatch, folder: Path) -> Machine:
        """Let it answer, and remember nothing but what is kept in a folder from now on."""
        patch.setenv(CACHE_VARIABLE, str(folder))
        forget_answers()
        for place in _PLACES:
            patch.setattr(f"onnx_act.tuning.{place}.run_isolated", self.answer)
        return self

    def measured(self, what: str) -> int:
        return sum(name == what for name, _ in self.asked)

    def answer(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        options.pop("timeout_s")
        self.asked.append((function.__name__, options.get("provider", CPU)))
        if function.__name__ in self.fails:
            raise EvidenceError(f"{function.__name__} fell over")
        if function is race:
            return self._race(args[0], options["provider"])
        if function is race_all:
            return tuple(self._race(models, options["provider"]) for models in args[0])
        if function is measure_latency:
            return self._latency(args[0], args[1], options["provider"])
        return function(*args, **options)

    def cost(self, model: Path | bytes, provider: str) -> float:
        proto = onnx.load(model) if isinstance(model, Path) else onnx.load_from_string(model)
        costs = self.costs[provider]
        return sum(costs.get(n.op_type, 1.0) for n in proto.graph.node) + 1e-9

    def _ratio(self, before: Path | bytes, after: Path | bytes, provider: str) -> Interval:
        ratio = self.cost(before, provider) / self.cost(after, provider)
        return Interval(ratio, ratio / self.doubt, ratio * self.doubt)

    def _race(self, models: Sequence[Path | bytes], provider: str) -> RaceResult:
        ratios = [self._ratio(models[0], m, provider) for m in models]
        best = max(range(len(models)), key=lambda k: ratios[k].median)
        return RaceResult(
            tuple(Standing(r, 9) for r in ratios),
            best if ratios[best].low > 1 else 0,
            self.decides,
            0.1,
        )

    def _latency(self, before: Path, after: Path, provider: str) -> SimulatedLatency:
        found = self._ratio(before, after, provider)
        if provider in self.proof:
            low, high = self.proof[provider]
            found = Interval((low * high) ** 0.5, low, high)
        verdict = "no difference shown"
        if found.low > 1:
            verdict = "faster"
        elif found.high < 1:
            verdict = "slower"
        return SimulatedLatency(
            provider, SimulatedRatio(found.median, found.low, found.high, verdict)
        )


def network(*activations: str, opset: int = 17, rows: int = 64) -> onnx.ModelProto:
    """x, then each of these operators with a product behind it, then y."""
    body, last = "", "x"
    for k, operator in enumerate(activations):
        body += f"a{k} = {operator} ({last}) m{k} = MatMul (a{k}, w) "
        last = f"m{k}"
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[{rows},16] x) => (float[{rows},16] {last}) {{ {body} }}"""
    )
    assert isinstance(model, onnx.ModelProto)
    weight = np.random.default_rng(0).normal(0, 0.3, (16, 16)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return model


def tuned(proto: onnx.ModelProto, **options: Any) -> TuningOutcome:
    """What tuning makes of a model, on the CPU alone unless told otherwise."""
    options.setdefault("providers", (CPU,))
    options.setdefault("feeds", FeedRequest())
    options.setdefault("budget_s", 30.0)
    return tune_model(load_model(proto), Cpu(), TuningRequest(**options))


def group_of(outcome: TuningOutcome, activation: str) -> GroupOutcome:
    (found,) = [g for g in outcome.groups if g.activation.partition("(")[0] == activation]
    return found


def verdicts(group: GroupOutcome) -> dict[str, str]:
    return {c.key: c.verdict for c in group.candidates}
