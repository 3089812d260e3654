"""From a function that can be sampled to the activation it is, with its parameters.

A function is proposed an activation by reading its parameters back from a few samples, and
confirmed on two grids: a dense one around zero, and one of both tails, of points beside every
kink, and of huge values. The tolerance is not a number somebody chose: it is how far the function
moves when each of its constants moves by its own uncertainty (the rounding of the dtype it was
stored in, and of the digits it was typed with). Integers and halves are taken as meant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.activations.catalogue import CATALOGUE
from onnx_act.activations.primitives import (
    ArraySource,
    Expr,
    Op,
    X,
    arrays_of,
    constant,
    constant_value,
    constants_of,
    rebuild,
    remembered,
    topological,
)
from onnx_act.activations.probe_points import NEAR, far_points
from onnx_act.activations.readings import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from onnx_act.activations.activation import Activation, ParameterValue

    Array = npt.NDArray[np.float64]

# float64 arithmetic of a region and of the reference differ by a few roundings per operation, and
# a Softplus that is x from beta * x = 20 on, as torch writes it, by exp(-20) / 20 = 1.03e-10 of x.
_ROUNDING: Final = 1.1e-10
# From here on a spelling may overflow in the dtype it runs in (exp leaves float32 at 88), so
# that a non-finite value there says nothing about which function was meant.
_OVERFLOW: Final = 80.0
# A parameter this close to its default, relatively, is the default.
_DEFAULT: Final = 5e-7
_FIRST_ELEMENTS: Final = 16
_ELEMENTS_AT_ONCE: Final = 4096


@dataclass(frozen=True, slots=True)
class Identified:
    """An activation with its parameters.

    Attributes:
        activation: the catalogue's entry.
        parameters: a value for each of its parameters.
        deviation: the largest distance from the reference on the grids, where both are finite,
            relative to max(1, |reference|).
    """

    activation: Activation
    parameters: dict[str, ParameterValue]
    deviation: float


@dataclass(frozen=True, slots=True)
class Affine:
    """The function is a*x + b (per element): arithmetic, not an activation."""


@dataclass(frozen=True, slots=True)
class Unidentified:
    """The function is not affine and in no entry of the catalogue."""


Identity = Identified | Affine | Unidentified


def _is_meant_exactly(value: float) -> bool:
    return value == 0 or not math.isfinite(value) or (abs(value) <= 256 and (2 * value) % 1 == 0)


def _tolerance(region: Expr, x: Array, values: Array, arrays: dict[ArraySource, Array]) -> Array:
    """How far `region` may be from what was meant at `x`, given its constants' uncertainty."""
    total: Array = _ROUNDING * np.maximum(1.0, np.maximum(np.abs(values), _column(x, values)))
    exponents = {id(n.args[1]) for n in topological(region) if n.op is Op.POW}
    for leaf in constants_of(region):
        assert isinstance(leaf.payload, tuple)
        value, uncertainty = leaf.payload
        if uncertainty == 0 or _is_meant_exactly(value) or id(leaf) in exponents:
            continue
        widest: Array = np.zeros_like(total)
        for factor in (1 + uncertainty, 1 - uncertainty):
            nudged = constant(value * factor)
            moved = evaluate(
                rebuild(region, lambda n, a=leaf, b=nudged: b if n is a else n),  # type: ignore[misc]
                _column(x, values),
                arrays,
            )
            with np.errstate(invalid="ignore"):
                shift = np.abs(moved - values)
            widest = np.maximum(widest, np.where(np.isfinite(shift), shift, 0.0))
        total = total + widest
    return total


def _column(x: Array, values: Array) -> Array:
    """`x` shaped to broadcast against values that may have an element axis."""
    return np.reshape(x, (-1,) + (1,) * (values.ndim - 1))


def _agrees(region: Array, reference: Array, x: Array, tolerance: Array) -> bool:
    with np.errstate(invalid="ignore"):
        # The tolerance of an infinite value is infinite: it agrees with the same infinity only.
        close = (np.abs(region - reference) <= tolerance) & np.isfinite(region)
    same = close | (region == reference) | (np.isnan(region) & np.isnan(reference))
    excused = ~np.isfinite(region) & (np.abs(_column(x, region)) >= _OVERFLOW)
    return bool(np.all(same | excused))


@remembered
def identify(region: Expr, written_as: str | None = None) -> Identity:
    """What `region` computes.

    Args:
        region: an expression over x without open parameters.
        written_as: the ONNX operator when the region is a single one; among entries that are the
            same function it names the one, unless an entry without parameters fits.

    Returns:
        The entry with the fewest free parameters that is confirmed; among those the one that the
        operator is native to, then the closest. `Affine` and `Unidentified` otherwise.
    """
    sources = arrays_of(region)
    return _identify_scalar(region, written_as) if not sources else _identify_array(region, sources)


def _identify_scalar(region: Expr, written_as: str | None) -> Identity:
    if region is X:
        return Identified(CATALOGUE[0], {}, 0.0)
    near = evaluate(region, NEAR)
    if _is_affine(NEAR, near) and _is_affine(far := far_points(region), evaluate(region, far)):
        if not _agrees(near, NEAR, NEAR, _tolerance(region, NEAR, near, {})):
            return Affine()
        return Identified(CATALOGUE[0], {}, float(np.max(np.abs(near - NEAR))))
    near_tolerance = _tolerance(region, NEAR, near, {})
    found: list[tuple[int, bool, float, int, Identified]] = []
    # What is nowhere a number is nothing, though bounds could be found that make it so.
    for place, activation in enumerate(CATALOGUE if np.isfinite(near).any() else ()):
        for parameters in _proposals(region, activation):
            reference = activation.expression(parameters)
            if not _agrees(near, evaluate(reference, NEAR), NEAR, near_tolerance):
                continue
            far = far_points(region, reference)
            values, expected = evaluate(region, far), evaluate(reference, far)
            if not _agrees(values, expected, far, _tolerance(region, far, values, {})):
                continue
            gap = max(_gap(near, evaluate(reference, NEAR)), _gap(values, expected))
            free = sum(not p.choices for p in activation.parameters)
            native = any(o.op_type == written_as for o in activation.operators)
            found.append((free, not native, gap, place, Identified(activation, parameters, gap)))
    if not found:
        return Unidentified()
    # A free parameter is only taken when nothing without one fits; then the spelling decides.
    fixed = [f for f in found if f[0] == 0]
    if fixed:
        return min(fixed, key=lambda f: (f[2], f[3]))[4]
    return min(found, key=lambda f: (f[1], f[0], f[3]))[4]


def _identify_array(region: Expr, sources: tuple[ArraySource, ...]) -> Identity:
    """A region with per-channel or per-element constants: one function per element."""
    try:
        shape = np.broadcast_shapes(*(s.shape for s in sources))
    except ValueError:
        return Unidentified()  # constants that do not fit each other: the model is broken
    flat = {s: np.broadcast_to(s.values(), shape).reshape(-1) for s in sources}
    size = math.prod(shape)
    affine = True
    for activation in (a for a in CATALOGUE if any(p.per_channel for p in a.parameters)):
        assert activation.read_back is not None
        (slot,) = activation.parameters
        pieces: list[Array] = []
        worst = 0.0
        for stretch in _stretches(size):
            part = {s: v[stretch] for s, v in flat.items()}

            def sample(x: Array, part: dict[ArraySource, Array] = part) -> Array:
                return evaluate(region, x[:, None], part)

            proposal = activation.read_back(sample)
            values = None if proposal is None else proposal[slot.name]
            near = sample(NEAR)
            affine = affine and _is_affine(NEAR, near)
            if not isinstance(values, np.ndarray) or not np.isfinite(values).all():
                return Unidentified()
            gap = _array_gap(region, activation, slot.name, values, part)
            if gap is None:
                break
            worst = max(worst, gap)
            pieces.append(values)
        else:
            if affine:
                return Affine()
            whole = np.concatenate(pieces).reshape(shape)
            return Identified(activation, {slot.name: whole}, worst)
    return Affine() if affine else Unidentified()


def _stretches(size: int) -> Iterator[slice]:
    """A few elements first, which rule most regions out, then the rest in large pieces."""
    yield slice(0, _FIRST_ELEMENTS)
    for start in range(_FIRST_ELEMENTS, size, _ELEMENTS_AT_ONCE):
        yield slice(start, start + _ELEMENTS_AT_ONCE)


def _array_gap(
    region: Expr,
    activation: Activation,
    slot: str,
    values: Array,
    part: dict[ArraySource, Array],
) -> float | None:
    """The largest deviation from the reference over both grids, or None when it is another."""
    reference = activation.expression({slot: values})
    worst = 0.0
    for x in (NEAR, far_points(region)):
        actual = evaluate(region, x[:, None], part)
        expected = evaluate(reference, x[:, None])
        if not _agrees(actual, expected, x, _tolerance(region, x, actual, part)):
            return None
        worst = max(worst, _gap(actual, expected))
    return worst


def _gap(values: Array, expected: Array) -> float:
    """The largest distance of finite numbers, relative to max(1, |expected|)."""
    with np.errstate(invalid="ignore"):
        gaps = np.abs(values - expected) / np.maximum(1.0, np.abs(expected))
    return float(np.max(gaps, where=np.isfinite(gaps), initial=0.0))


def _is_affine(x: Array, values: Array) -> bool:
    """Whether the samples lie on a*x + b; a is read at the ends, so that no kink can hide."""
    if not np.isfinite(values).all():
        return False
    column = _column(x, values)
    low, high = int(np.argmin(x)), int(np.argmax(x))
    slope = (values[high] - values[low]) / (x[high] - x[low])
    offset = values[low] - slope * x[low]
    gap = np.abs(values - (slope * column + offset))
    # Of a steep line, or a far offset, float64 keeps fewer digits after the point.
    scale = np.abs(slope * column) + np.abs(offset) + np.abs(values)
    return bool(np.all(gap <= 1e-12 * scale + 1e-300))


def _proposals(region: Expr, activation: Activation) -> list[dict[str, ParameterValue]]:
    """Parameters under which `region` might be `activation`, read from its samples."""
    choices = [p for p in activation.parameters if p.choices]
    if choices:
        (slot,) = choices
        return [{slot.name: c} for c in slot.choices]
    if not activation.parameters:
        return [{}]
    if activation.read_back is None:
        return []
    proposal = activation.read_back(lambda x: evaluate(region, x))
    if proposal is None:
        return []
    known = [v for c in constants_of(region) if (v := constant_value(c)) is not None]
    tidy: dict[str, ParameterValue] = {}
    for slot in activation.parameters:
        value = proposal[slot.name]
        assert isinstance(value, float)
        if math.isnan(value) or (slot.positive and not value > 0):
            return []
        tidy[slot.name] = _tidy(value, slot.default, known)
    return [tidy]


def _tidy(value: float, default: float | str, known: list[float]) -> float:
    """`value` as it was most likely written: the default, a constant of the region, or itself."""
    assert isinstance(default, float)
    candidates = [default, 0.0, *known, *(-k for k in known), *(1 / k for k in known if k)]
    for candidate in candidates:
        near = math.isfinite(candidate) and abs(value - candidate) <= _DEFAULT * abs(candidate)
        if value == candidate or near:
            return candidate
    return value
