"""Whether the runtime's optimiser leaves alone what a model computes.

That a model runs at the default optimisation does not say that it is right there: ONNX Runtime
before 1.27 gives FusedConv, when it changes the layout of convolutions on x86, a fourth input
that it forgot to bring into that layout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.errors import EvidenceError
from onnx_act.runtime.feeds import make_feeds
from onnx_act.runtime.session import CPU, OptimizationLevel, SessionSettings, open_session
from onnx_act.runtime.tensors import FLOATS

if TYPE_CHECKING:
    from onnx_act.runtime.tensors import Array

# Unit roundoff: half the distance from 1 to the next larger number.
_UNIT: Final = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
# Unit roundoffs of the largest number around that two orders of summation may differ by. A sum
# of n terms is off by the root of n roundings; this is one of a thousand, twice over.
_ALLOWED: Final = 64.0


def miscomputation(model: bytes, provider: str = CPU) -> str | None:
    """How the optimiser changes what a tiny model computes; None when it does not.

    Runs it at no and at the default optimisation on the same inputs. What is allowed is the
    rounding of sums of up to a thousand terms with factors that are not large.

    Args:
        model: A serialised model of our own making (see `onnx_act.runtime.probe.can_run`).
        provider: The full name of an execution provider.

    Raises:
        ProviderUnavailableError: The provider is not there.
    """
    try:
        plain = open_session(model, SessionSettings(provider, OptimizationLevel.DISABLE, threads=1))
        feeds = make_feeds(plain.inputs)
        expected = [plain.run(feed) for feed in feeds]
    except EvidenceError as error:
        return f"whether its optimiser changes the result cannot be told: {error}"
    try:
        tuned = open_session(model, SessionSettings(provider, OptimizationLevel.ALL, threads=1))
        found = [tuned.run(feed) for feed in feeds]
    except EvidenceError as error:
        return f"its optimiser makes something of it that does not run: {error}"
    worst = 0.0
    for feed, wanted, given in zip(feeds, expected, found, strict=True):
        largest = max((_largest(value) for value in (*feed.values(), *wanted)), default=0.0)
        for one, other in zip(wanted, given, strict=True):
            distance = _distance(one, other)
            if distance > _allowed(one) * max(largest, 1.0):
                worst = max(worst, distance)
    return f"its optimiser changes the result (max difference {worst:.2g})" if worst else None


def _allowed(value: Array) -> float:
    unit = _UNIT.get(value.dtype.name)
    return 0.0 if unit is None else _ALLOWED * unit


def _largest(value: Array) -> float:
    """The largest finite magnitude."""
    if value.dtype.name not in FLOATS:
        return 0.0
    wide = value.astype(np.float64)
    return float(np.max(np.abs(wide), where=np.isfinite(wide), initial=0.0))


def _distance(one: Array, other: Array) -> float:
    """The largest difference; infinite where one is no number, or infinite, and the other is."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return float("inf")
    if one.dtype.name not in FLOATS:
        return 0.0 if np.array_equal(one, other) else float("inf")
    first, second = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.abs(first - second)
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    apart = np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))
    return float(np.max(apart, initial=0.0))
