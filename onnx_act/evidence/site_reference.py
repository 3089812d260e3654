"""New activations against their float64 reference, one by one, on the runtime they will run on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onnx_act.activations.catalogue import named
from onnx_act.activations.readings import evaluate
from onnx_act.evidence.plain import plain
from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session
from onnx_act.runtime.target import short_name
from onnx_act.runtime.tensors import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from onnx_act.activations.activation import Parameters
    from onnx_act.runtime.session import Session
    from onnx_act.runtime.tensors import Array

# Runtimes approximate sigmoid, tanh, erf and exp by polynomials that are a few units in the last
# place off around their largest value, and spell products of them; the error of a product grows
# with |x|. In float32 64 units (8e-6) cover every kernel that was met, and are a fiftieth of the
# smallest difference between two activations. In 16 bits those polynomials are exact to the last
# digit, and what is left is the rounding of a handful of operations: 8 units.
_UNITS: Final = 64.0
_UNITS_OF_16_BITS: Final = 8.0
# Inputs that no formula has to get right, and that kernels treat each in its own way.
_SPECIAL: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "-0.0": -0.0}


@dataclass(frozen=True, slots=True)
class ActivationProbe:
    """One way of writing one activation, as a model of its own.

    Attributes:
        activation: the catalogue's name.
        parameters: all its parameters, arrays as their first value.
        written: how it is written.
        model: a serialised model from `x` to `y`, both of shape [1, n].
        count: how many sites of the result are written so.
    """

    activation: str
    parameters: Parameters
    written: str
    model: bytes
    count: int


@dataclass(frozen=True, slots=True)
class ActivationCheck:
    """How a written activation compares with its float64 reference.

    Attributes:
        activation: the catalogue's name.
        written: how it is written.
        provider: where it ran.
        passed: whether the error is within what the dtype allows.
        max_abs: the largest absolute error over the grid.
        allowed: what was allowed at that point.
        at: the input where the error is closest to, or most above, what is allowed.
        count: how many sites are written so.
        differs_at: which of `nan`, `inf`, `-inf` and `-0.0` give another result than the formula
            of the catalogue gives in float64, where NaN equals NaN, and 0.0 equals -0.0.
            Reported and not judged: it does not enter `passed`.
    """

    activation: str
    written: str
    provider: str
    passed: bool
    max_abs: float
    allowed: float
    at: float
    count: int
    differs_at: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(self)


def probe_grid(size: int) -> npt.NDArray[np.float64]:
    """`size` inputs that are dense around zero and reach both tails, zero included."""
    half = size // 2
    dense = np.linspace(0.0, 12.0, half // 2 + 1)[1:]
    tail = np.geomspace(12.5, 100.0, half - dense.size)
    magnitudes = np.concatenate([dense, tail])
    grid = np.concatenate([-magnitudes[::-1], [0.0], magnitudes])
    return grid[:size] if grid.size >= size else np.pad(grid, (0, size - grid.size))


def check_activations(
    probes: Sequence[ActivationProbe], providers: Sequence[str]
) -> tuple[ActivationCheck, ...]:
    """Run each probe on each provider and compare with the catalogue, in float64.

    Raises:
        EvidenceError: a probe does not run.
    """
    return tuple(_check(p, provider) for provider in providers for p in probes)


def _check(probe: ActivationProbe, provider: str) -> ActivationCheck:
    session = open_session(probe.model, SessionSettings(provider, level=OptimizationLevel.DISABLE))
    spec = session.inputs[0]
    dims = tuple(d if isinstance(d, int) else 1 for d in spec.shape)
    x = probe_grid(int(np.prod(dims))).reshape(dims).astype(numpy_dtype(spec.dtype))
    (y,) = session.run({spec.name: x})
    exact = x.astype(np.float64)
    reference = _reference(probe, exact)
    allowed = _relative(spec.dtype) * np.maximum(1.0, np.maximum(np.abs(reference), np.abs(exact)))
    error = _error(y, reference)
    excess = np.where(np.isfinite(error), error / allowed, np.inf)
    worst = np.unravel_index(int(np.argmax(excess)), excess.shape)
    return ActivationCheck(
        activation=probe.activation,
        written=probe.written,
        provider=short_name(provider),
        passed=bool(excess[worst] <= 1.0),
        max_abs=float(np.max(error)),
        allowed=float(allowed[worst]),
        at=float(exact[worst]),
        count=probe.count,
        differs_at=tuple(
            name for name, value in _SPECIAL.items() if _differs(probe, session, value)
        ),
    )


def _differs(probe: ActivationProbe, session: Session, value: float) -> bool:
    """Whether the result for one input, by itself among zeros, is not the formula's.

    By itself because a fused operator multiplies it into its neighbours, and in runs apart from
    that of the grid so that nothing of it gets there.
    """
    spec = session.inputs[0]
    dims = tuple(d if isinstance(d, int) else 1 for d in spec.shape)
    expected = float(_reference(probe, np.array([value]))[0])
    # Relative to the result alone, and only where there is one: next to infinity all is small.
    size = abs(expected) if math.isfinite(expected) else 0.0
    allowed = _relative(spec.dtype) * max(1.0, size)
    # Kernels take the first element with their neighbours, and what is left at the end one by one.
    for place in (0, -1):
        x = np.zeros(math.prod(dims), numpy_dtype(spec.dtype))
        x[place] = value
        (y,) = session.run({spec.name: x.reshape(dims)})
        got = y.reshape(-1)[[place]]
        both_nan = math.isnan(expected) and bool(np.isnan(got.astype(np.float64))[0])
        if not both_nan and not _error(got, np.array([expected]))[0] <= allowed:
            return True
    return False


def _reference(probe: ActivationProbe, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return evaluate(named(probe.activation).expression(probe.parameters), x)


def _relative(dtype: str) -> float:
    """The error that is allowed for results and inputs around 1."""
    units = _UNITS_OF_16_BITS if dtype in {"float16", "bfloat16"} else _UNITS
    return units * 2.0 ** -{"float16": 10, "bfloat16": 7, "float64": 52}.get(dtype, 23)


def _error(y: Array, reference: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The absolute difference; NaN where a result is NaN, infinite where only one is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        # What the dtype cannot hold is infinite in it, and right to be.
        beyond = reference.astype(y.dtype) == y
        return np.where(beyond, 0.0, np.abs(y.astype(np.float64) - reference))
