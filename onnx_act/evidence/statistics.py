"""Intervals and quantiles; numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Z95 = 1.959963984540054

# Two-sided 95 % quantiles of Student's t for 1..30 degrees of freedom.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip

# The same of 98 %.
_T98 = (
    31.821, 6.965, 4.541, 3.747, 3.365, 3.143, 2.998, 2.896, 2.821, 2.764,
    2.718, 2.681, 2.650, 2.624, 2.602, 2.583, 2.567, 2.552, 2.539, 2.528,
    2.518, 2.508, 2.500, 2.492, 2.485, 2.479, 2.473, 2.467, 2.462, 2.457,
)  # fmt: skip


ENOUGH_ROUNDS = 4
"""From so many pairs of sessions on, their own spread is known."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval.

    Attributes:
        median: The estimate.
        low: Lower end.
        high: Upper end.
    """

    median: float
    low: float
    high: float


def percentile(values: npt.ArrayLike, q: float) -> float:
    """The q-th percentile (0..100), by linear interpolation; NaN of nothing."""
    array = np.asarray(values, np.float64)
    return float(np.percentile(array, q)) if array.size else math.nan


def weighted_percentile(counts: dict[float, int], q: float) -> float:
    """The q-th percentile (0..100, nearest rank) of values that occur `counts` times."""
    if not counts:
        return math.nan
    values = np.array(sorted(counts))
    upto = np.cumsum([counts[value] for value in values])
    return float(values[np.searchsorted(upto, math.ceil(q / 100 * upto[-1]) or 1)])


def wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a proportion.

    Wilson (1927): unlike the normal interval it stays within 0..1 and does not shrink to
    nothing when every trial succeeds.
    """
    if total == 0:
        return 0.0, 1.0
    z2 = _Z95**2
    p = successes / total
    middle = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z95 / (1 + z2 / total) * math.sqrt(p * (1 - p) / total + z2 / (4 * total**2))
    # At 0 and at 1 the formula gives exactly these ends, but for its rounding.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == total else min(1.0, middle + half)
    return low, high


def ratio_interval(rounds: Sequence[Sequence[float]], *, looked_often: bool = False) -> Interval:
    """The ratio of two times, from blocks that were measured in several rounds.

    Blocks of one round share their pair of sessions, and with it an error of up to a percent
    that no number of blocks averages away. So each round counts once, by its median logarithm,
    and the interval is that of their trimmed mean (see `trimmed_interval`): a round in which
    somebody else was at work moves it little. With fewer than `ENOUGH_ROUNDS` that says nothing;
    all blocks count alike then, and the caller has to allow for the error that they share. Of a
    single block the interval is the block.

    Args:
        rounds: For every pair of sessions, the ratio time A / time B of each block; positive.
        looked_often: Whether the interval is taken after every round, to stop as soon as it is
            narrow. Stopping at a spread that is small by chance makes intervals too short: of
            normal, heavy-tailed and disturbed rounds, up to 8 % of those at 95 % missed in
            simulation. Those at 98 % then missed in less than 5 %, and are what is returned.

    Raises:
        ValueError: There is no block.
    """
    logs = [np.log(np.asarray(blocks, np.float64)) for blocks in rounds if len(blocks)]
    if not logs:
        raise ValueError("no block was measured")
    values = np.concatenate(logs)
    if len(logs) >= ENOUGH_ROUNDS:
        values = np.array([np.median(blocks) for blocks in logs])
    if len(values) == 1:
        only = math.exp(float(values[0]))
        return Interval(only, only, only)
    middle, half = trimmed_interval(values, student_t98 if looked_often else student_t95)
    return Interval(math.exp(middle), math.exp(middle - half), math.exp(middle + half))


def trimmed_interval(
    values: npt.NDArray[np.float64], quantile: Callable[[int], float]
) -> tuple[float, float]:
    """The mean without the eighth at either end, and the half-width of its interval.

    Tukey and McLaughlin (1963): the spread is that of the values with those ends pulled in to
    what is left, and its degrees of freedom are those of what is left. With fewer than eight
    values nothing is cut, and it is Student's interval of the mean.

    Args:
        values: At least two, symmetric about their middle, as differences of equals are.
        quantile: Of Student's t, by degrees of freedom.
    """
    ordered = np.sort(values)
    count = len(ordered)
    cut = count // 8
    left = ordered[cut : count - cut]
    spread = float(np.clip(ordered, left[0], left[-1]).std(ddof=1))
    error = spread * math.sqrt(count) / len(left)
    return float(left.mean()), quantile(len(left) - 1) * error


def student_t95(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t for at least one degree of freedom."""
    return _T95[freedom - 1] if freedom <= len(_T95) else _Z95 + 2.4 / freedom


def student_t98(freedom: int) -> float:
    """The two-sided 98 % quantile of Student's t for at least one degree of freedom."""
    return _T98[freedom - 1] if freedom <= len(_T98) else 2.3263478740408408 + 4.0 / freedom


def median_interval(values: Sequence[float]) -> Interval | None:
    """The median with an interval of at least 95 %, of any distribution.

    Between order statistics: the number of values below the median is binomial with one half.

    Args:
        values: Independent; in any order.

    Returns:
        None of fewer than six, of which even the least and the largest do not reach 95 %.
    """
    ordered = sorted(values)
    count = len(ordered)
    tail, k = 0.0, 0
    # The k-th from each end is outside with probability 2 P(fewer than k below).
    while k < count // 2 and 2 * (tail + math.comb(count, k) / 2**count) <= 0.05:
        tail += math.comb(count, k) / 2**count
        k += 1
    if k == 0:
        return None
    return Interval(float(np.median(ordered)), ordered[k - 1], ordered[count - k])
