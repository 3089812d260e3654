"""Whether a provider computes what a model says, optimised and not.

That a model runs does not say that it is right: ONNX Runtime before 1.27 gives FusedConv, when it
changes the layout of convolutions on x86, a fourth input that it forgot to bring into that layout,
and OpenVINO (1.24.1) takes a FusedGemm with Elu for something else. A Softplus of opset 18 for
whose dtype ONNX Runtime (1.31) has no kernel it computes as log(exp(x) + 1), in which exp
overflows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.errors import EvidenceError
from onnx_act.runtime.attendant import ATTENDANT
from onnx_act.runtime.feeds import make_feeds
from onnx_act.runtime.session import CPU, CUDA, OptimizationLevel, SessionSettings, open_session
from onnx_act.runtime.tensors import FLOATS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_act.runtime.tensors import Array

    Feed = Mapping[str, Array]
    Result = tuple[Array, ...]

# Unit roundoff: half the distance from 1 to the next larger number.
_UNIT: Final = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
# Unit roundoffs of the largest number around that two orders of summation may differ by. A sum
# of n terms is off by the root of n roundings; this is one of a thousand, twice over.
_ALLOWED: Final = 64.0
_TIME_LIMIT_S: Final = 60.0
# exp leaves float16 at 11, float32 at 89 and float64 at 710.
_SIZES: Final = tuple(sign * size for size in (12.0, 100.0, 1000.0) for sign in (1, -1))


def miscomputation(model: bytes, provider: str = CPU) -> str | None:
    """How a provider's result of a tiny model is wrong; None when it is not.

    Runs it at no and at the default optimisation on the same inputs. What both are held against
    is the CPU provider without optimisation, or, where that has no kernel for it, the provider
    itself without optimisation. What is allowed is the rounding of sums of up to a thousand terms
    with factors that are not large.

    Args:
        model: A serialised model of our own making (see `onnx_act.runtime.probe.can_run`).
        provider: The full name of an execution provider.

    Returns:
        The reason; also why nothing can be told, as when the runtime crashes. Models for other
        providers than the CPU run in another process.

    Raises:
        ProviderUnavailableError: The provider is not there.
    """
    if provider == CPU:
        return _found(model, provider)
    try:
        return ATTENDANT.call(_found, _TIME_LIMIT_S, model, provider)
    except EvidenceError as error:
        return f"whether its result is right cannot be told: {error}"


def overflow(model: bytes, provider: str = CPU) -> str | None:
    """Where a provider's result of a tiny model of one activation is not finite; else None.

    Every activation that an operator computes is finite, in every float type, where its input is
    no larger than a thousand; only a slope of more than 65 takes it out of float16, and such a
    spelling is then left as it is.

    Args:
        model: A serialised model of our own making, of one input and one output.
        provider: The full name of an execution provider.

    Returns:
        What it makes of what; None too where it cannot be told.

    Raises:
        ProviderUnavailableError: The provider is not there.
    """
    try:
        if provider == CPU:
            return _overflow(model, provider)
        return ATTENDANT.call(_overflow, _TIME_LIMIT_S, model, provider)
    except EvidenceError:
        return None


def _overflow(model: bytes, provider: str) -> str | None:
    settings = SessionSettings(provider, OptimizationLevel.DISABLE, threads=1)
    session = open_session(model, settings)
    ((name, given),) = make_feeds(session.inputs)[0].items()
    for size in _SIZES:
        (y,) = session.run({name: np.full_like(given, size)})
        if not np.isfinite(y.astype(np.float64)).all():
            return f"it makes {float(y.flat[0]):g} of {size:g}"
    return None


def _found(model: bytes, provider: str) -> str | None:
    # TF32 rounds to 10 bits, which is no mistake.
    options = (("use_tf32", "0"),) if provider == CUDA else ()
    plain = SessionSettings(
        provider, OptimizationLevel.DISABLE, threads=1, provider_options=options
    )
    tuned = replace(plain, level=OptimizationLevel.ALL)
    try:
        session = open_session(model, plain)
        feeds = make_feeds(session.inputs)
        given = [session.run(feed) for feed in feeds]
    except EvidenceError as error:
        return f"whether its result is right cannot be told: {error}"
    wanted = None if provider == CPU else _on_the_cpu(model, feeds)
    if wanted is not None and (worst := _worst(feeds, wanted, given)):
        return f"its result is not the CPU's (max difference {worst:.2g})"
    try:
        optimised = [open_session(model, tuned).run(feed) for feed in feeds]
    except EvidenceError as error:
        return f"its optimiser makes something of it that does not run: {error}"
    worst = _worst(feeds, given, optimised)
    return f"its optimiser changes the result (max difference {worst:.2g})" if worst else None


def _on_the_cpu(model: bytes, feeds: Sequence[Feed]) -> list[Result] | None:
    """The result of the CPU provider; None where it has no kernel."""
    settings = SessionSettings(CPU, OptimizationLevel.DISABLE, threads=1)
    try:
        session = open_session(model, settings)
        return [session.run(feed) for feed in feeds]
    except EvidenceError:
        return None


def _worst(feeds: Sequence[Feed], expected: Sequence[Result], found: Sequence[Result]) -> float:
    """The largest difference that is more than rounding; 0 when there is none."""
    worst = 0.0
    for feed, wanted, given in zip(feeds, expected, found, strict=True):
        largest = max((_largest(value) for value in (*feed.values(), *wanted)), default=0.0)
        for one, other in zip(wanted, given, strict=True):
            distance = _distance(one, other)
            if distance > _allowed(one) * max(largest, 1.0):
                worst = max(worst, distance)
    return worst


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
