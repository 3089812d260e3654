"""Which absolute and relative tolerances a comparison passes, kept in a few points.

Every element with deviation d beside a reference of magnitude m asks that `d <= atol + rtol * m`.
That is a half-plane of tolerances, and of all elements only those on the upper convex hull of the
points (m, d) bound what passes for tolerances that are not negative. The hull answers for any atol
and rtol what all the elements would answer, and has a few dozen points where they are millions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from onnx_act.evidence.compare import Floats

# A point so much below the chord of its neighbours is no vertex, however the test is rounded.
_MARGIN: Final = 1e-12
_MOST_STAIRS: Final = 4096
_MOST_POINTS: Final = 256
_SORTABLE: Final = 1 << 15
_SAMPLE: Final = 1 << 13


@dataclass(frozen=True, slots=True)
class Envelope:
    """The upper convex hull of deviations over magnitudes.

    Attributes:
        magnitudes: Absolute values of the reference, ascending.
        deviations: Absolute differences there, ascending. Both are empty where nothing differs.
    """

    magnitudes: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()

    def factor(self, atol: float, rtol: float) -> float:
        """By what both tolerances must be multiplied so that every element passes just so.

        At most 1 means that they pass as they are; infinite where no factor would do.
        """
        limits = [atol + rtol * m for m in self.magnitudes]
        pairs = zip(self.deviations, limits, strict=True)
        return max((d / limit if limit > 0.0 else math.inf for d, limit in pairs), default=0.0)

    def minimum_atol(self, rtol: float) -> float:
        """The smallest atol with which, beside that rtol, every element passes."""
        pairs = zip(self.deviations, self.magnitudes, strict=True)
        return max((d - rtol * m for d, m in pairs), default=0.0) if self.deviations else 0.0

    def minimum_rtol(self, atol: float) -> float:
        """The smallest rtol with which, beside that atol, every element passes."""
        found = 0.0
        for d, m in zip(self.deviations, self.magnitudes, strict=True):
            if d > atol:
                found = max(found, (d - atol) / m if m > 0.0 else math.inf)
        return found

    def merged(self, other: Envelope) -> Envelope:
        """That of the elements of both."""
        if not other.deviations:
            return self
        return envelope_of(
            np.array(self.magnitudes + other.magnitudes),
            np.array(self.deviations + other.deviations),
        )


def envelope_of(magnitudes: Floats, deviations: Floats) -> Envelope:
    """The envelope of elements.

    Where it would have more than 256 points, neighbours are taken together as a point that is
    harder to pass than either: never does it pass what the elements do not.

    Args:
        magnitudes: Absolute values of the reference, any shape, float64, finite.
        deviations: Absolute differences, of the same shape, finite.
    """
    m, d = magnitudes.reshape(-1), deviations.reshape(-1)
    differing = d > 0.0
    m, d = _stairs(m[differing], d[differing])
    m, d = _thinned(m, d, _MOST_STAIRS)
    hull: list[tuple[float, float]] = []
    for point in zip(m.tolist(), d.tolist(), strict=True):
        while len(hull) > 1 and _is_below(hull[-1], hull[-2], point):
            hull.pop()
        hull.append(point)
    m, d = _thinned(np.array([p[0] for p in hull]), np.array([p[1] for p in hull]), _MOST_POINTS)
    return Envelope(tuple(m.tolist()), tuple(d.tolist()))


def _stairs(m: Floats, d: Floats) -> tuple[Floats, Floats]:
    """The points whose deviation none of a smaller or the same magnitude reaches, by magnitude.

    Of many points, those of a sample take most others away before the rest needs to be sorted.
    """
    if m.size > _SORTABLE:
        step = m.size // _SAMPLE
        sample_m, sample_d = _stairs(m[::step], d[::step])
        place = np.searchsorted(sample_m, m, side="right") - 1
        above = (place < 0) | (d > sample_d[place])
        m, d = np.concatenate([sample_m, m[above]]), np.concatenate([sample_d, d[above]])
    order = np.lexsort((-d, m))
    m, d = m[order], d[order]
    if d.size:
        rising = np.concatenate([[True], d[1:] > np.maximum.accumulate(d)[:-1]])
        m, d = m[rising], d[rising]
    return m, d


def _thinned(m: Floats, d: Floats, most: int) -> tuple[Floats, Floats]:
    """At most so many stairs: of neighbours the smallest magnitude and the largest deviation."""
    if m.size <= most:
        return m, d
    starts = np.linspace(0, m.size, most, endpoint=False).astype(np.intp)
    ends = np.append(starts[1:], m.size) - 1
    return m[starts], d[ends]


def _is_below(
    middle: tuple[float, float], before: tuple[float, float], after: tuple[float, float]
) -> bool:
    """Whether a point lies clearly below the chord of its neighbours."""
    share = (middle[0] - before[0]) / (after[0] - before[0])
    chord = before[1] + share * (after[1] - before[1])
    return middle[1] < chord - _MARGIN * after[1]
