"""The rules behind a verdict, on numbers that are made up: no clock is read here."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnx_act.evidence.ratio import is_narrow, judge_ratio, session_interval
from onnx_act.evidence.statistics import student_t95, student_t98

if TYPE_CHECKING:
    from collections.abc import Callable

    Rounds = list[list[float]]

_NEAR = [1.004 + 1e-4 * (i % 3) for i in range(30)]


def test_one_pair_of_sessions_claims_nothing_small() -> None:
    assert judge_ratio([_NEAR]).verdict == "no difference shown"
    assert judge_ratio([[1.05 + 1e-4 * (i % 3) for i in range(30)]]).verdict == "faster"
    assert judge_ratio([[0.95 + 1e-4 * (i % 3) for i in range(30)]]).verdict == "slower"
    assert judge_ratio([[0.5, 0.5]]).verdict == "no difference shown"
    # What a machine under load gives a model in a short time.
    assert judge_ratio([[0.99], [0.76], [0.98]]).verdict == "no difference shown"


def test_several_pairs_claim_less_but_never_a_tenth_of_a_percent() -> None:
    several = judge_ratio([_NEAR] * 4)
    assert several.verdict == "faster"
    assert several.resolution < 0.003
    assert judge_ratio([[1.0008] * 30] * 8).verdict == "no difference shown"


def test_fewer_than_four_rounds_are_never_narrow() -> None:
    assert not is_narrow([[1.0] * 30] * 3, 0.5)
    assert is_narrow([[1.0] * 30] * 4, 0.01)
    assert not is_narrow([[1.0] * 30] * 4, 0.0005)


def test_where_the_ratio_lies_does_not_decide_when_to_stop() -> None:
    rng = np.random.default_rng(0)
    for spread in (0.001, 0.003, 0.01):
        rounds = [[math.exp(x)] for x in rng.normal(0, spread, 6)]
        moved = [[3.0 * block for block in blocks] for blocks in rounds]
        assert is_narrow(rounds, 0.005) == is_narrow(moved, 0.005)


def test_looking_often_makes_the_interval_wider() -> None:
    rounds = [[1.0 + 0.001 * k] for k in range(6)]
    once, often = session_interval(rounds), session_interval(rounds, looked_often=True)
    assert once.median == often.median
    assert often.low < once.low
    assert often.high > once.high


def test_quantiles_of_student() -> None:
    """Against the normal quantiles at infinity, and each other: more certain is wider."""
    for freedom in range(1, 200):
        assert student_t98(freedom) > student_t95(freedom)
    assert student_t98(10**6) == pytest.approx(2.3263, abs=1e-3)
    assert all(student_t98(f) >= student_t98(g) for f, g in pairwise(range(1, 60)))


def _normal(rng: np.random.Generator, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return rng.normal(0, 1, count)


def _heavy(rng: np.random.Generator, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return rng.standard_t(3, count)


def _loaded(rng: np.random.Generator, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Every seventh round or so, somebody else was at work."""
    return rng.normal(0, 1, count) * np.where(rng.random(count) < 0.15, 8.0, 1.0)


@pytest.mark.parametrize("noise", [_normal, _heavy, _loaded])
@pytest.mark.parametrize(
    ("spread", "precision"), [(0.004, 0.005), (0.01, 0.005), (0.05, 0.05), (0.1, 0.05)]
)
def test_stopping_early_claims_nothing_that_is_not_there(
    noise: Callable[[np.random.Generator, int], np.ndarray[tuple[int], np.dtype[np.float64]]],
    spread: float,
    precision: float,
) -> None:
    """Equal models with sessions that differ: at most one comparison of twenty claims something.

    Of 200 comparisons that err in 5 %, more than 17 err once in fifty; the seeds are fixed.
    """
    rng = np.random.default_rng(5)
    claims = 0
    for _ in range(200):
        logs = spread * noise(rng, 24)
        rounds: Rounds = []
        for log in logs:
            rounds.append([math.exp(log)])
            if is_narrow(rounds, precision):
                break
        claims += judge_ratio(rounds, looked_often=True).verdict != "no difference shown"
    assert claims <= 17
