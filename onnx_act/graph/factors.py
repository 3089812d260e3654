"""Whether 16-bit numbers are others times a factor for each channel, rounded again.

They are where every one is within one and a half units in the last place of the old one times its
channel's factor. Half a unit is what rounding the product does; a whole one is the most that a fold
before it did, to a number just above a power of two that came to lie just below one. One element
further off (a flipped bit, a lost one) and there is no factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Numbers = npt.NDArray[np.generic]
    Floats = npt.NDArray[np.float64]

#: Bits of the mantissa that are stored, and the exponent of the smallest normal number.
_BITS: Final[dict[Any, tuple[int, int]]] = {
    np.dtype(np.float16): (10, -14),
    np.dtype(ml_dtypes.bfloat16): (7, -126),
}
# A factor is fitted to as many elements at least, on the average over channels: one for each
# element would explain anything.
_ELEMENTS: Final = 4
_UNITS: Final = 1.5
# Elements that are looked at at once: each takes 8 bytes, several times over.
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Factors:
    """What the numbers of each channel may have been multiplied by.

    Attributes:
        low: the least factor of every channel, float64 [channels] or, of several weights,
            [weights, channels].
        high: the greatest; not below `low`.
    """

    low: Floats
    high: Floats

    def explain(self, before: Numbers, after: Numbers) -> bool:
        """Whether numbers of which each channel has one, a bias, were multiplied by these too.

        Args:
            before: float16 or bfloat16, of one dimension.
            after: of the same dtype and shape.
        """
        low, high = (np.atleast_2d(side) for side in (self.low, self.high))
        if before.shape != low.shape[1:]:
            return False
        found = _bounds(before.reshape(-1, 1), after.reshape(-1, 1))
        if found is None:
            return False
        # Most are unlike in the first channel.
        like = (low[:, 0] <= found.high[0]) & (found.low[0] <= high[:, 0])
        meets = (low[like] <= found.high) & (found.low <= high[like])
        return bool(meets.all(axis=1).any())


def together(several: Sequence[Factors]) -> list[Factors]:
    """Factors of several weights, those of one number of channels in one piece."""
    by_count: dict[int, list[Factors]] = {}
    for factors in several:
        by_count.setdefault(len(factors.low), []).append(factors)
    return [
        Factors(np.stack([f.low for f in like]), np.stack([f.high for f in like]))
        for like in by_count.values()
    ]


def factors_between(before: Numbers, after: Numbers) -> list[Factors]:
    """The factors along each axis whose channels have one each; nothing where none has.

    Args:
        before: float16 or bfloat16, of one dimension (which is one channel) or more.
        after: of the same dtype and shape.
    """
    if before.ndim == 1:
        before, after = before.reshape(1, -1), after.reshape(1, -1)
    found = (_along(before, after, axis) for axis in range(before.ndim))
    return [factors for factors in found if factors is not None]


def unit_in_last_place(array: Numbers) -> Floats:
    """The distance between neighbours in each number's binade, in float64, of the same shape.

    Args:
        array: float16 or bfloat16, finite.
    """
    mantissa, lowest = _BITS[array.dtype]
    _, exponents = np.frexp(array.astype(np.float64))
    # frexp's mantissa is in [0.5, 1): its exponent is one more than that of the standard's.
    exponents = np.maximum(np.where(array == 0, lowest, exponents - 1), lowest)
    return np.asarray(np.ldexp(1.0, exponents - mantissa))


def _along(before: Numbers, after: Numbers, axis: int) -> Factors | None:
    old, new = np.moveaxis(before, axis, 0), np.moveaxis(after, axis, 0)
    # Unlike weights part in their first channel: it comes alone.
    pieces = []
    at, step = 0, 1
    while at < len(old):
        piece = _bounds(old[at : at + step], new[at : at + step])
        if piece is None:
            return None
        pieces.append(piece)
        at, step = at + step, max(1, _PIECE * len(old) // old.size)
    used = int(np.count_nonzero(np.any(old != 0, axis=tuple(range(1, old.ndim)))))
    if np.count_nonzero(old) < _ELEMENTS * max(used, 1):
        return None
    return Factors(
        np.concatenate([piece.low for piece in pieces]),
        np.concatenate([piece.high for piece in pieces]),
    )


def _bounds(before: Numbers, after: Numbers) -> Factors | None:
    """The factors s, not zero, with `|c - s * w| <= 1.5 ulp(c)`, of every row; None without."""
    rows = len(before)
    w = before.astype(np.float64).reshape(rows, -1)
    c = after.astype(np.float64).reshape(rows, -1)
    if not (np.isfinite(w).all() and np.isfinite(c).all()):
        return None
    reach = _UNITS * unit_in_last_place(after).reshape(rows, -1)
    is_zero = w == 0.0
    divisor = np.where(is_zero, 1.0, w)
    ends = (c - reach) / divisor, (c + reach) / divisor
    low = np.where(is_zero, -np.inf, np.minimum(*ends)).max(axis=1)
    high = np.where(is_zero, np.inf, np.maximum(*ends)).min(axis=1)
    # Zero times anything is zero; and a channel that was zeroed was lost, not multiplied.
    is_lost = ~is_zero.all(axis=1) & np.all(c == 0.0, axis=1)
    if np.any(low > high) or np.any(c[is_zero]) or is_lost.any():
        return None
    return Factors(low, high)
