"""How exact a way of writing an activation is on the installed runtime, over both tails."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onnx_act.activations.catalogue import named
from onnx_act.activations.readings import evaluate
from onnx_act.errors import EvidenceError
from onnx_act.evidence.compare import as_float64
from onnx_act.evidence.plain import plain
from onnx_act.runtime.session import CPU, SessionSettings, open_session
from onnx_act.runtime.tensors import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from onnx_act.activations.activation import Parameters
    from onnx_act.runtime.session import Session

    Floats = npt.NDArray[np.float64]

#: An error in units in the last place with which no digit of a float32 is right.
NO_DIGIT: Final = 2.0**23
_SLACK: Final = 1.01
_SLACK_ULP: Final = 0.05
# Beyond 100 every activation is at its limit or its line in every dtype; the rest of a float's
# range is in the special inputs.
_REACH: Final = 100.0
_BEND: Final = 20.0
_LEAST: Final = 1e-6
_SPECIAL: Final = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "0": 0.0,
    "-0": -0.0,
    "1e30": 1e30,
    "-1e30": -1e30,
}
_HUGE_OF_16_BITS: Final = 6e4
# A special input has no neighbours that a mistake could hide among: what is off by more than this
# is another result.
_SPECIAL_RELATIVE: Final = 1e-2


@dataclass(frozen=True, slots=True)
class WrittenForm:
    """One way of writing one activation, as a model of its own.

    Attributes:
        activation: The catalogue's name.
        parameters: All its parameters, arrays as their first value.
        model: A serialised model from one input to one output of the same shape.
    """

    activation: str
    parameters: Parameters
    model: bytes


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The error of an activation as it is written, on one runtime.

    Attributes:
        median_ulp: Median of the absolute error, in units in the last place of the true result
            in the model's dtype. Errors below the least normal number, which processors may flush
            to zero, count as none.
        p99_ulp: Its 99th percentile.
        max_abs: The largest absolute error for inputs in [-100, 100].
        wrong_at: The inputs out of nan, inf, -inf, 0, -0 and +-1e30 for which the result is not
            the limit of the function.
    """

    median_ulp: float
    p99_ulp: float
    max_abs: float
    wrong_at: tuple[str, ...]

    def is_worse_than(self, other: Accuracy) -> bool:
        """Whether its errors are larger, or it is wrong where the other is right.

        The 99th percentile decides, to a hundredth of it: the same function rounded elsewhere
        moves it by as much. Beyond `NO_DIGIT` one percentile is as bad as another, and the rest
        decides: the median, and the largest error, which is that of one input and may double.
        """
        if not set(self.wrong_at) <= set(other.wrong_at) or not self.p99_ulp >= 0.0:
            return True
        if min(self.p99_ulp, other.p99_ulp) < NO_DIGIT:
            return self.p99_ulp > _SLACK * other.p99_ulp + _SLACK_ULP
        return (
            self.median_ulp > _SLACK * other.median_ulp + _SLACK_ULP
            or self.max_abs > 2.0 * other.max_abs
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(self)


def accuracy_grid(size: int = 40_000) -> Floats:
    """Inputs of both signs: half of them evenly in [-20, 20], where activations bend, a quarter
    evenly in [-100, 100], and a quarter by orders of magnitude from 1e-6 to 100.

    Args:
        size: about how many.
    """  # noqa: D205 - one sentence, too long for a line
    quarter = size // 8
    magnitudes = np.concatenate(
        [
            np.linspace(0.0, _BEND, 2 * quarter + 1)[1:],
            np.linspace(0.0, _REACH, quarter + 1)[1:],
            np.geomspace(_LEAST, _REACH, quarter),
        ]
    )
    return np.sort(np.concatenate([-magnitudes, magnitudes]))


def measure_accuracies(
    forms: Sequence[WrittenForm], provider: str = CPU
) -> tuple[Accuracy | str, ...]:
    """The accuracy of each form at the runtime's default optimisation, or why it has none.

    Args:
        forms: What to run.
        provider: The full name of an execution provider.
    """
    found: list[Accuracy | str] = []
    for form in forms:
        try:
            found.append(_measure(form, provider))
        except EvidenceError as error:
            found.append(str(error))
    return tuple(found)


def _measure(form: WrittenForm, provider: str) -> Accuracy:
    session = open_session(form.model, SessionSettings(provider, threads=1))
    dtype = numpy_dtype(session.inputs[0].dtype)
    x = accuracy_grid().astype(dtype)
    y = _run(session, x)
    exact = _reference(form, as_float64(x))
    with np.errstate(over="ignore"):
        # What the dtype cannot hold is infinite in it, and right to be.
        is_beyond = np.isinf(y) & (as_float64(exact.astype(dtype)) == y)
    error = np.where(is_beyond, 0.0, np.abs(y - exact))
    # NaN where the function has a value is infinitely wrong.
    error = np.where(np.isnan(error), np.inf, error)
    bits, least_normal, least_counted = _FORMATS[str(dtype)]
    exponent = np.floor(np.log2(np.maximum(np.abs(exact), 2.0**least_normal)))
    ulps = np.where(error < 2.0**least_counted, 0.0, error / np.exp2(exponent - bits))
    return Accuracy(
        median_ulp=float(np.median(ulps)),
        p99_ulp=float(np.quantile(ulps, 0.99, method="higher")),
        max_abs=float(np.max(error)),
        wrong_at=tuple(name for name, value in _SPECIAL.items() if _is_wrong(form, session, value)),
    )


def _run(session: Session, x: npt.NDArray[np.generic]) -> Floats:
    """The results for all inputs, in as many runs as the model's shape asks for."""
    spec = session.inputs[0]
    dims = tuple(d if isinstance(d, int) else 1 for d in spec.shape)
    size = math.prod(dims)
    padded = np.concatenate([x, np.zeros(-x.size % size, x.dtype)])
    parts = [
        as_float64(session.run({spec.name: part.reshape(dims)})[0]).reshape(-1)
        for part in np.split(padded, padded.size // size)
    ]
    return np.concatenate(parts)[: x.size]


def _is_wrong(form: WrittenForm, session: Session, value: float) -> bool:
    """Whether the result for one input, by itself among zeros, is not the function's limit.

    At both ends of the tensor: kernels take the first elements together, the last one by one.
    """
    spec = session.inputs[0]
    dtype = numpy_dtype(spec.dtype)
    if dtype.itemsize == 2 and math.isfinite(value):
        value = math.copysign(min(abs(value), _HUGE_OF_16_BITS), value)
    dims = tuple(d if isinstance(d, int) else 1 for d in spec.shape)
    with np.errstate(over="ignore"):
        # What the dtype cannot hold is infinite in it, and right to be.
        expected = float(as_float64(np.array(_limit(form, value)).astype(dtype)))
    for place in (0, -1):
        x = np.zeros(math.prod(dims), dtype)
        x[place] = value
        got = float(as_float64(session.run({spec.name: x.reshape(dims)})[0]).reshape(-1)[place])
        if not _is_same(got, expected):
            return True
    return False


def _limit(form: WrittenForm, value: float) -> float:
    """The function at a special input; at an infinity the limit, which a formula may not give."""
    if math.isinf(value):
        near = float(_reference(form, np.array([math.copysign(1e300, value)]))[0])
        if abs(near) > 1e200:
            return math.copysign(math.inf, near)
        return near
    return float(_reference(form, np.array([value]))[0])


def _is_same(got: float, expected: float) -> bool:
    if math.isnan(expected) or math.isnan(got):
        return math.isnan(expected) and math.isnan(got)
    if math.isinf(expected) or math.isinf(got):
        return got == expected
    return abs(got - expected) <= _SPECIAL_RELATIVE * max(1.0, abs(expected))


def _reference(form: WrittenForm, x: Floats) -> Floats:
    return evaluate(named(form.activation).expression(form.parameters), x)


# Bits of the fraction, the exponent of the least normal number, and that of the least error that
# counts: processors may flush what is not normal to zero, but in 16 bits nobody does.
_FORMATS: Final = {
    "float16": (10, -14, -24),
    "bfloat16": (7, -126, -126),
    "float32": (23, -126, -126),
    "float64": (52, -1022, -1022),
}
