"""What counts as worse than an earlier run, and what is only the uncertainty of a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from onnx_act.errors import UsageError
from onnx_act.recipe.regressions import BaselineBounds, EarlierModel, with_comparison
from onnx_act.report.document import ModelEntry, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_act.recipe.regressions import Compared

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"


def _latency(
    median: float, low: float, high: float, provider: str = _CPU, **settings: Any
) -> dict[str, Any]:
    ratio = {"median": median, "low": low, "high": high, "verdict": "faster", "resolution": 0.01}
    machine = {"cpu": "one", "runtime_version": "1.23"}
    return {"provider": provider, "ratio": ratio, **machine, **settings}


def _judged(
    tolerance: float | None,
    *,
    passed: bool = True,
    given: tuple[float, float] | None = None,
    provider: str = _CPU,
) -> dict[str, Any]:
    allowed = (1e-6, 1e-6) if given is None else given
    output = {
        "output": "y",
        "passed": passed,
        "minimum_tolerance": tolerance,
        "is_given": given is not None,
        "tolerance": {"atol": allowed[0], "rtol": allowed[1]},
        "noise_floor": {"max_abs": 1e-6},
    }
    found = {"provider": provider, "passed": passed, "outputs": [output]}
    return {"passed": passed, "providers": [found]}


def _speed(
    then: dict[str, Any] | None,
    now: Sequence[dict[str, Any]] | None,
    bounds: BaselineBounds | None = None,
) -> Compared:
    """Two runs that agree on everything but the speed-up."""
    before = {"path": "m", "equivalence": _judged(0.1), "latency": [] if then is None else [then]}
    earlier = EarlierModel("old.json", before, bounds or BaselineBounds())
    return earlier.compare(_judged(0.1), now)


def _tolerance(
    then: dict[str, Any], now: dict[str, Any] | None, bounds: BaselineBounds | None = None
) -> Compared:
    record = {"path": "m", "equivalence": then}
    return EarlierModel("old.json", record, bounds or BaselineBounds()).compare(now, None)


@pytest.mark.parametrize(
    ("then", "now", "is_worse"),
    [
        ((1.50, 1.45, 1.55), (1.50, 1.45, 1.55), False),
        ((1.50, 1.45, 1.55), (2.00, 1.95, 2.05), False),
        # More than 5 % less, and apart.
        ((1.50, 1.45, 1.55), (1.40, 1.38, 1.42), True),
        # As much less, but the intervals overlap: neither run knows it well.
        ((1.50, 1.35, 1.65), (1.40, 1.38, 1.42), False),
        ((1.50, 1.45, 1.55), (1.40, 1.30, 1.50), False),
        ((1.50, 1.42, 1.55), (1.40, 1.38, 1.42), False),
        # Apart, but within 5 %.
        ((1.50, 1.499, 1.501), (1.43, 1.429, 1.431), False),
        ((1.50, 1.499, 1.501), (1.42, 1.419, 1.421), True),
    ],
)
def test_a_speed_up_is_worse_where_intervals_part_and_the_bound_is_passed(
    then: tuple[float, float, float], now: tuple[float, float, float], is_worse: bool
) -> None:
    compared = _speed(_latency(*then), [_latency(*now)])
    (speed,) = (c for c in compared.comparisons if c.kind == "speedup")
    assert speed.is_worse == is_worse
    assert bool(compared.problem) == is_worse
    assert (speed.then_value, speed.now_value) == (then[0], now[0])


def test_what_is_worse_says_what_then_now_and_the_bound() -> None:
    problem = _speed(_latency(1.5, 1.45, 1.55), [_latency(1.2, 1.19, 1.21)]).problem
    for part in ("speed-up on cpu", "1.500x [1.450, 1.550]", "1.200x [1.190", "at least 1.425x"):
        assert part in problem


def test_the_bound_on_the_speed_up_is_the_users() -> None:
    then, now = _latency(1.5, 1.49, 1.51), [_latency(1.2, 1.19, 1.21)]
    assert not _speed(then, now, BaselineBounds(speedup=0.25)).problem
    assert _speed(then, now, BaselineBounds(speedup=0.15)).problem
    assert _speed(then, [_latency(1.48, 1.475, 1.485)], BaselineBounds(speedup=0.0)).problem


def test_settings_are_compared_with_their_like() -> None:
    then = _latency(1.5, 1.49, 1.51, threads=1)
    compared = _speed(then, [_latency(1.0, 0.99, 1.01, threads=2), _latency(1.5, 1.4, 1.6)])
    assert [c.now for c in compared.comparisons if c.is_worse] == ["not measured"]
    assert "speed-up on cpu (threads 2) was not compared: there is none in the baseline" in (
        compared.notes
    )


def test_a_speed_up_that_could_not_be_measured_is_worse_and_one_not_asked_for_is_not() -> None:
    then = _latency(1.5, 1.49, 1.51)
    assert "now not measured" in _speed(then, []).problem
    skipped = _speed(then, None)
    assert not skipped.problem
    assert skipped.notes == ("speed-up on cpu was not compared: it was not measured now",)
    elsewhere = _speed(_latency(1.5, 1.49, 1.51, _CUDA), [_latency(1.5, 1.4, 1.6)])
    assert not elsewhere.problem
    assert any("cuda was not compared" in note for note in elsewhere.notes)


def test_another_machine_is_said() -> None:
    now = {**_latency(1.5, 1.4, 1.6), "cpu": "two"}
    (note,) = _speed(_latency(1.5, 1.4, 1.6), [now]).notes
    assert "then one, now two" in note


@pytest.mark.parametrize(
    ("then", "now", "is_worse"),
    [
        (0.30, 0.30, False),
        (0.30, 0.60, False),
        (0.30, 0.61, True),
        # A third of the tolerance is the reference's own noise.
        (0.001, 0.33, False),
        (0.0, 0.33, False),
        (0.0, 0.34, True),
        (0.9, 0.1, False),
        (None, 5.0, False),
        (0.5, None, True),
        (None, None, False),
    ],
)
def test_a_tolerance_is_worse_by_a_factor_beyond_noise(
    then: float | None, now: float | None, is_worse: bool
) -> None:
    compared = _tolerance(_judged(then), _judged(now))
    (tolerance,) = (c for c in compared.comparisons if c.kind == "tolerance")
    assert tolerance.is_worse == is_worse
    assert bool(compared.problem) == is_worse


def test_of_a_given_tolerance_the_noise_takes_what_it_takes() -> None:
    given = (1e-3, 0.0)
    # Noise of 1e-6 needs a thousandth of it.
    assert not _tolerance(_judged(1e-4, given=given), _judged(9e-4, given=given)).problem
    assert _tolerance(_judged(1e-4, given=given), _judged(2e-3, given=given)).problem
    compared = _tolerance(_judged(0.1, given=given), _judged(0.5, given=(1e-4, 0.0)))
    assert not compared.problem
    assert "other tolerances than in the baseline" in compared.notes[0]


def test_the_bound_on_the_tolerance_is_the_users() -> None:
    bounds = BaselineBounds(tolerance=4.0)
    assert not _tolerance(_judged(0.2), _judged(0.79), bounds).problem
    assert _tolerance(_judged(0.2), _judged(0.81), bounds).problem


def test_a_verdict_that_was_passed_must_be() -> None:
    compared = _tolerance(_judged(0.5), _judged(0.9, passed=False))
    assert compared.problem.startswith("verdict on cpu: worse than the baseline: then passed, now")
    assert not _tolerance(_judged(12.0, passed=False), _judged(12.0, passed=False)).problem
    assert not _tolerance(_judged(12.0, passed=False), _judged(0.5)).problem


def test_where_nothing_is_in_both_nothing_holds() -> None:
    assert "nothing of it can be compared" in _tolerance(_judged(0.5), None).problem
    apart = _tolerance(_judged(0.5, provider=_CUDA), _judged(0.5))
    assert "equivalence on cuda was not compared: there is none now" in apart.problem
    nothing = EarlierModel("old.json", {"path": "m"}, BaselineBounds()).compare(None, None)
    assert "neither equivalence nor a speed-up is in both" in nothing.problem


@pytest.mark.parametrize("outcome", ["refused", "failed"])
def test_what_was_not_done_then_is_not_worse_now(outcome: str) -> None:
    record = {"path": "m", "outcome": outcome, "latency": []}
    compared = EarlierModel("old.json", record, BaselineBounds()).compare(_judged(0.1), None)
    assert compared.problem == ""
    assert f"nothing was compared: it was {outcome} in the baseline" in compared.notes
    # What was done, but not judged, has to be compared all the same.
    planned = EarlierModel("old.json", {**record, "outcome": "done"}, BaselineBounds())
    assert "nothing of it can be compared" in planned.compare(_judged(0.1), None).problem


def test_an_entry_that_is_worse_fails() -> None:
    class _Given:
        def to_dict(self) -> dict[str, Any]:
            return _judged(0.9)

    earlier = EarlierModel("old.json", {"path": "m", "equivalence": _judged(0.2)}, BaselineBounds())
    entry = with_comparison(ModelEntry("m", equivalence=_Given()), earlier)
    assert (entry.outcome, entry.exit_code) == (Outcome.FAILED, 1)
    assert "tolerance needed on cpu by output y" in entry.message
    worse = [c["what"] for c in entry.to_dict()["baseline"] if c["is_worse"]]
    assert worse == ["tolerance needed on cpu by output y"]
    read = ModelEntry("m", Outcome.FAILED, 3, message="no model", equivalence=_Given())
    assert with_comparison(read, earlier).exit_code == 3
    assert with_comparison(read, earlier).message == "no model"


@pytest.mark.parametrize(
    "record",
    [
        {"equivalence": {"providers": [{}]}},
        {"equivalence": {"providers": [{"provider": _CPU, "passed": True, "outputs": 3}]}},
        {"equivalence": [1]},
        {"latency": [{"provider": _CPU}]},
        {"latency": [{"provider": _CPU, "ratio": {"median": "much"}}]},
    ],
)
def test_a_damaged_report_is_said_to_be(record: dict[str, Any]) -> None:
    earlier = EarlierModel("old.json", {"path": "m.onnx", **record}, BaselineBounds())
    with pytest.raises(UsageError, match=r"old\.json is damaged in the entry of m\.onnx"):
        earlier.compare(_judged(0.1), [_latency(1.0, 0.9, 1.1)])


@pytest.mark.parametrize(
    "limits",
    [{"speedup": -0.1}, {"speedup": 1.0}, {"tolerance": 0.9}, {"tolerance": float("nan")}],
)
def test_bounds_that_cannot_be(limits: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="baseline bound"):
        BaselineBounds(**limits)
