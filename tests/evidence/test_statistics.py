from __future__ import annotations

import math

import numpy as np
import pytest

from onnx_act.evidence.statistics import (
    Interval,
    percentile,
    ratio_interval,
    student_t95,
    trimmed_interval,
    weighted_percentile,
    wilson_interval,
)


def test_percentiles() -> None:
    assert percentile([1, 2, 3, 4, 5], 50) == 3.0
    assert percentile([0, 10], 90) == pytest.approx(9.0)
    assert math.isnan(percentile([], 50))
    assert weighted_percentile({0.0: 98, 7.0: 1, 9.0: 1}, 50) == 0.0
    assert weighted_percentile({0.0: 98, 7.0: 1, 9.0: 1}, 99) == 7.0
    assert weighted_percentile({0.0: 98, 7.0: 1, 9.0: 1}, 100) == 9.0


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [(10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (50, 100, 0.4038, 0.5962), (0, 0, 0.0, 1.0)],
)
def test_wilson_interval_against_its_published_values(
    successes: int, total: int, low: float, high: float
) -> None:
    assert wilson_interval(successes, total) == pytest.approx((low, high), abs=1e-4)


def test_students_t_joins_the_table() -> None:
    assert student_t95(1) == 12.706
    assert student_t95(30) > student_t95(31) > student_t95(1000) > 1.959


def rounds(rng: np.random.Generator, ratio: float, sessions: float = 0.005) -> list[list[float]]:
    """Eight pairs of sessions with an error of their own, twenty noisy blocks each."""
    return [
        (ratio * np.exp(rng.normal(0, sessions) + rng.normal(0, 0.02, 20))).tolist()
        for _ in range(8)
    ]


def test_the_interval_holds_its_ratio_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(300):
        interval = ratio_interval(rounds(rng, 1.0))
        assert interval.low <= interval.median <= interval.high
        inside += interval.low <= 1.0 <= interval.high
    # 95 % of 300 is 285, with a standard deviation of 4; too wide would be no use either.
    assert 273 <= inside <= 299


def test_the_interval_is_narrow_enough_to_show_three_percent() -> None:
    rng = np.random.default_rng(2)
    shown = sum(ratio_interval(rounds(rng, 1.03)).low > 1.0 for _ in range(50))
    assert shown >= 48


def test_of_few_rounds_every_block_counts() -> None:
    """Else three rounds of one block each would have no spread at all, and claim anything."""
    spread = ratio_interval([[0.8], [0.9], [0.7]])
    assert spread.low < 0.6
    assert spread.high > 1.0
    assert ratio_interval([[0.8, 0.9, 0.7]]) == ratio_interval([[0.9], [0.8, 0.7]])
    assert ratio_interval([[0.8]]) == Interval(0.8, 0.8, 0.8)
    with pytest.raises(ValueError, match="no block"):
        ratio_interval([[]])


def test_a_trimmed_mean_of_few_is_the_mean_of_student() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    middle, half = trimmed_interval(values, student_t95)
    assert middle == 4.0
    assert half == pytest.approx(3.182 * values.std(ddof=1) / 2.0)


def test_a_trimmed_mean_against_a_worked_example() -> None:
    """Of 8, one is cut at each end: 6 left, whose ends stand in for those that were cut."""
    values = np.array([100.0, 3.0, 1.0, 2.0, 4.0, 5.0, 6.0, -50.0])
    middle, half = trimmed_interval(values, float)
    assert middle == 3.5
    pulled_in = np.array([1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 6.0])
    # The quantile here is the degrees of freedom, 5; the share that is left is 6 / 8.
    assert half == pytest.approx(5 * pulled_in.std(ddof=1) / (6 / 8 * math.sqrt(8)))


def test_one_disturbed_round_of_many_hardly_matters() -> None:
    rng = np.random.default_rng(4)
    calm = [[math.exp(x)] for x in rng.normal(0.03, 0.003, 24)]
    disturbed = [*calm[:-1], [0.6]]
    first, second = ratio_interval(calm), ratio_interval(disturbed)
    assert abs(first.median / second.median - 1.0) < 0.001
    assert second.high / second.low - 1.0 < 1.5 * (first.high / first.low - 1.0)
