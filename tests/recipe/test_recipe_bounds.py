"""Bounds against made-up evidence: which figure counts, and that none means it does not hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from onnx_act.errors import UnknownNameError, UsageError
from onnx_act.evidence.compare import Agreement, DifferenceAccumulator
from onnx_act.evidence.drift import Drift, OutputDrift
from onnx_act.evidence.latency import Latency, Timing
from onnx_act.evidence.ratio import Ratio
from onnx_act.recipe.bounds import Bounds, BoundVerdict, judge_bounds, parse_bounds

if TYPE_CHECKING:
    from onnx_act.evidence.verdict import Equivalence


def _drift(*pairs: tuple[list[float], list[float]], right: int | None = None) -> Drift:
    """The drift of outputs a, b, ... between the given values."""
    outputs = []
    for name, (before, after) in zip("abc", pairs, strict=False):
        tally = DifferenceAccumulator()
        tally.add(np.array(before), np.array(after))
        accuracy = None if right is None else Agreement(right, 10, right / 10, 0.0, 1.0)
        outputs.append(OutputDrift(name, tally.result(), accuracy, accuracy))
    return Drift("CPUExecutionProvider", tuple(outputs), 1, 0, ("normal",))


def _latency(low: float, p99_s: float, provider: str = "CPUExecutionProvider") -> Latency:
    timing = Timing(1e-3, 1e-3, p99_s, 1e-3, 10, 1e-3)
    ratio = Ratio(low + 0.1, low, low + 0.2, "faster", 0.01)
    rest: Any = (4, 2, 1.0, "", "", (), ())
    return Latency(provider, 0, timing, timing, ratio, *rest)


def _judge(bounds: Bounds, **evidence: Any) -> BoundVerdict:
    given = {"equivalence": None, "drift": None, "latency": None, **evidence}
    (verdict,) = judge_bounds(bounds, **given)
    return verdict


def test_the_largest_difference_of_any_output_counts() -> None:
    drift = _drift(([0.0, 1.0], [0.0, 1.25]), ([0.0], [0.5]))
    held = _judge(Bounds(max_abs=0.5), drift=drift)
    assert (held.held, held.value) == (True, 0.5)
    failed = _judge(Bounds(max_abs=0.25), drift=drift)
    assert not failed.held
    for part in ("max_abs", "0.5", "0.25", "output b"):
        assert part in failed.message


def test_the_least_ratio_of_signal_to_noise_counts() -> None:
    drift = _drift(([3.0, 4.0], [3.0, 4.5]), ([1.0], [1.0]))
    verdict = _judge(Bounds(min_sqnr_db=10.0), drift=drift)
    assert verdict.value == pytest.approx(10 * math.log10(25 / 0.25))
    assert verdict.held
    assert not _judge(Bounds(min_sqnr_db=20.1), drift=drift).held


def test_identical_outputs_keep_every_ratio() -> None:
    verdict = _judge(Bounds(min_sqnr_db=1e6), drift=_drift(([1.0], [1.0])))
    assert verdict.held
    assert verdict.to_dict()["value"] is None


@pytest.mark.parametrize("bounds", [Bounds(max_abs=1e300), Bounds(min_sqnr_db=-1e300)])
@pytest.mark.parametrize("after", [math.nan, math.inf])
def test_where_one_has_no_number_no_bound_holds(bounds: Bounds, after: float) -> None:
    verdict = _judge(bounds, drift=_drift(([1.0, 2.0], [1.0, after])))
    assert not verdict.held


def test_equivalence_counts_where_nothing_was_swapped() -> None:
    tally = DifferenceAccumulator()
    tally.add(np.array([1.0]), np.array([1.5]))

    class Part:
        output = "y"
        difference = tally.result()

    class Provider:
        outputs = (Part, Part)

    class Judged:
        providers = (Provider,)

    verdict = _judge(Bounds(max_abs=0.4), equivalence=cast("Equivalence", Judged))
    assert (verdict.held, verdict.value) == (False, 0.5)
    assert "equivalence" in verdict.reason


def test_the_lower_end_of_the_slowest_provider_counts() -> None:
    latency = (_latency(1.5, 1e-3), _latency(1.1, 2e-3, "CUDAExecutionProvider"))
    verdict = _judge(Bounds(min_speedup=1.2), latency=latency)
    assert (verdict.held, verdict.value) == (False, 1.1)
    assert "CUDA" in verdict.message
    assert _judge(Bounds(min_speedup=1.1), latency=latency).held
    slowest = _judge(Bounds(max_latency_p99_ms=1.9), latency=latency)
    assert (slowest.held, slowest.value) == (False, 2.0)


def test_accuracy() -> None:
    drift = _drift(([1.0], [1.0]), right=9)
    assert _judge(Bounds(min_accuracy=0.9), drift=drift).held
    assert not _judge(Bounds(min_accuracy=0.91), drift=drift).held


@pytest.mark.parametrize("name", list(Bounds.__dataclass_fields__))
def test_a_bound_without_a_figure_does_not_hold(name: str) -> None:
    verdict = _judge(Bounds(**{name: 0.5}))
    assert not verdict.held
    assert "could not be evaluated" in verdict.message


def test_outputs_of_another_shape_cannot_be_compared() -> None:
    drift = Drift("", (OutputDrift("y", None, None, None),), 1, 0, ())
    assert "another shape" in _judge(Bounds(max_abs=1.0), drift=drift).message


def test_what_option_and_file_say_together() -> None:
    both = Bounds(max_abs=1.0, min_speedup=2.0).tightened_by(parse_bounds(["max-abs=1e-3"]))
    assert both.given() == {"max_abs": 1e-3, "min_speedup": 2.0}
    assert parse_bounds([]) == Bounds()


@pytest.mark.parametrize("text", ["max_abs", "max_abs=", "max_abs=x", "max_abs=-1", "max_abs=inf"])
def test_a_wrong_limit(text: str) -> None:
    with pytest.raises(UsageError, match="max_abs"):
        parse_bounds([text])


def test_a_wrong_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean max_abs"):
        parse_bounds(["max_abz=1"])
