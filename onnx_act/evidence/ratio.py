"""What rounds of blocks say of the ratio of two times, and when they say enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onnx_act.evidence.statistics import ENOUGH_ROUNDS, Interval, ratio_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

MINIMUM_BLOCKS: Final = 3
"""Fewer have no spread to speak of, and claim nothing."""

# What one pair of sessions may be off by; several pairs less, and many show it themselves.
_ONE_PAIR_DOUBT: Final = 1.01
# A tenth of a percent is never claimed: of 150 comparisons of a model with itself, on a quiet
# machine, 7 intervals missed 1, all of them by less.
_LEAST_DOUBT: Final = 1.001


@dataclass(frozen=True, slots=True)
class Ratio:
    """Time of A over time of B.

    Attributes:
        median: The estimate; above 1, B is the faster.
        low: Lower end of its 95 % interval.
        high: Upper end.
        verdict: `faster` or `slower` (B than A), or `no difference shown`.
        resolution: The smallest relative difference that this run could have shown.
    """

    median: float
    low: float
    high: float
    verdict: str
    resolution: float


def judge_ratio(rounds: Sequence[Sequence[float]], *, looked_often: bool = False) -> Ratio:
    """The ratio of two times with its interval and what it shows.

    Args:
        rounds: For every pair of sessions, time A / time B of each block; at least one block.
        looked_often: Whether measuring stops as soon as the interval is narrow.
    """
    interval = session_interval(rounds, looked_often=looked_often)
    verdict = "no difference shown"
    if sum(len(blocks) for blocks in rounds) >= MINIMUM_BLOCKS:
        if interval.low > 1.0:
            verdict = "faster"
        elif interval.high < 1.0:
            verdict = "slower"
    return Ratio(interval.median, interval.low, interval.high, verdict, half_width(interval))


def session_interval(rounds: Sequence[Sequence[float]], *, looked_often: bool = False) -> Interval:
    """An interval of what rounds of fresh sessions measure, with the doubt that they share.

    Args:
        rounds: For every round, the times or ratios of its blocks; positive, at least one.
        looked_often: Whether measuring stops as soon as the interval is narrow.
    """
    interval = ratio_interval(rounds, looked_often=looked_often)
    count = sum(bool(blocks) for blocks in rounds)
    doubt = _LEAST_DOUBT if count >= ENOUGH_ROUNDS else _ONE_PAIR_DOUBT ** (1.0 / math.sqrt(count))
    return Interval(interval.median, interval.low / doubt, interval.high * doubt)


def half_width(interval: Interval) -> float:
    """How far the ends are from the middle, the farther of them, as a part of it."""
    return max(interval.median / interval.low, interval.high / interval.median) - 1.0


def is_narrow(rounds: Sequence[Sequence[float]], precision: float) -> bool:
    """Whether measuring may stop: the interval is no wider than asked for to either side.

    Where the interval lies plays no part, so that stopping favours no verdict.

    Args:
        rounds: As for `session_interval`, with looking often.
        precision: The half-width wanted, as a part of the estimate.
    """
    if sum(bool(blocks) for blocks in rounds) < ENOUGH_ROUNDS:
        return False
    return half_width(session_interval(rounds, looked_often=True)) <= precision
