"""Whether a wrong change shows: the rule that says which of them a validator has to catch.

It knows nothing of the validator's tolerances. Both models run without optimisation on the CPU on
twelve generated feeds, of which four are those that the validator takes by itself. How far the
original moves from rounding alone is measured on each feed: four runs with every float input and
every float initializer moved by one unit in the last place, up or down at random, and for a 16-bit
model the same model with the same weights in float32 as well, in which there are no roundings to
16 bits. A change shows *n* times beyond the noise floor when, on some feed and output,

* the root mean square of what it moves is n times that of the worst of those runs, or
* the largest single move is n times the largest of those runs,

where rounding is never taken to be less than one unit roundoff of the root mean square. Of 16-bit
models both are run in float32 for that, so that what a change moves is not hidden by rounding that
happens to both alike. Other shapes, other places of NaN or infinity, other integers (more than ten
times as many as rounding flips) and a model that does not run show without doubt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import numpy_helper
from proto_edits import FLOAT, FLOAT16, graphs_in, holds_type, retyped

from onnx_act.errors import OnnxActError
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.session import CPU, OptimizationLevel, SessionSettings, open_session

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Results = list[dict[str, npt.NDArray[Any]]]

#: From here on a change must be caught.
SHOWS: Final = 10.0
_REPETITIONS: Final = 4
_UNITS: Final = {2: 2.0**-11, 4: 2.0**-24, 8: 2.0**-53}
_PLAIN: Final = SessionSettings(CPU, OptimizationLevel.DISABLE, threads=1)


@dataclass(frozen=True)
class _Noise:
    """What rounding alone does to one output on one feed."""

    rms: float
    largest: float
    flips: int
    unstable: npt.NDArray[np.bool_]


class Truth:
    """An original, and how far rounding moves it.

    Raises:
        OnnxActError: it does not run.
    """

    def __init__(self, original: onnx.ModelProto) -> None:
        self._short = holds_type(original, FLOAT16)
        session = open_session(original.SerializeToString(), _PLAIN)
        own = feeds_for(session, FeedRequest(seed=0, count=6)).feeds
        more = feeds_for(session, FeedRequest(seed=97, count=6)).feeds
        self._feeds = (*own, *more)
        plain = self._run(original)
        moved = []
        for repetition in range(_REPETITIONS):
            rng = np.random.default_rng((5, repetition))
            feeds = [{k: _moved(v, rng) for k, v in feed.items()} for feed in self._feeds]
            moved.append(self._run(_shaken(original, rng), feeds))
        self._units = {k: _UNITS.get(v.dtype.itemsize, 2.0**-24) for k, v in plain[0].items()}
        self._base = plain
        if self._short:
            self._base = self._run(self._wide(original))
            moved += [plain]
        self._noise = [
            {
                name: _noise(array, [run[index][name] for run in moved], self._units[name])
                for name, array in results.items()
            }
            for index, results in enumerate(self._base)
        ]

    def beyond_noise(self, changed: onnx.ModelProto) -> float:
        """How many times beyond the noise floor a change shows; infinite without doubt."""
        try:
            results = self._run(self._wide(changed) if self._short else changed)
        except OnnxActError:
            return math.inf
        worst = 0.0
        for noises, base, other in zip(self._noise, self._base, results, strict=True):
            if set(base) != set(other):
                return math.inf
            for name, array in base.items():
                worst = max(worst, _times(array, other[name], noises[name]))
        return worst

    def _wide(self, model: onnx.ModelProto) -> onnx.ModelProto:
        return retyped(model, FLOAT16, FLOAT)

    def _run(self, model: onnx.ModelProto, feeds: Any = None) -> Results:
        session = open_session(model.SerializeToString(), _PLAIN)
        names = [spec.name for spec in session.tensor_outputs]
        types = {spec.name: spec.dtype for spec in session.inputs}
        found = []
        for feed in self._feeds if feeds is None else feeds:
            fed = {k: v.astype(types[k]) if v.dtype.kind == "f" else v for k, v in feed.items()}
            found.append(dict(zip(names, session.run(fed, names), strict=True)))
        return found


def _times(base: npt.NDArray[Any], other: npt.NDArray[Any], noise: _Noise) -> float:
    if base.shape != other.shape:
        return math.inf
    if base.dtype.kind != "f":
        flips = int(np.count_nonzero(base != other))
        return math.inf if flips > SHOWS * noise.flips else 0.0
    kept = ~noise.unstable
    a, b = base[kept].astype(np.float64), other[kept].astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    if np.any(~finite & ~((a == b) | (np.isnan(a) & np.isnan(b)))):
        return math.inf
    moves = np.abs(b[finite] - a[finite])
    if not moves.any():
        return 0.0
    rms = math.sqrt(float(np.mean(moves * moves)))
    return max(_over(rms, noise.rms), _over(float(moves.max()), noise.largest))


def _over(value: float, noise: float) -> float:
    return value / noise if noise > 0.0 else math.inf


def _noise(base: npt.NDArray[Any], runs: list[npt.NDArray[Any]], unit: float) -> _Noise:
    unstable = np.zeros(base.shape, bool)
    if base.dtype.kind != "f":
        flips = max(int(np.count_nonzero(run != base)) for run in runs)
        return _Noise(0.0, 0.0, flips, unstable)
    a = base.astype(np.float64)
    for run in runs:
        unstable |= np.isfinite(a) != np.isfinite(run)
    finite = np.isfinite(a) & ~unstable
    size = math.sqrt(float(np.mean(a[finite] ** 2))) if finite.any() else 0.0
    rms = largest = unit * size
    for run in runs:
        moves = np.abs(run.astype(np.float64)[finite] - a[finite])
        if moves.size:
            rms = max(rms, math.sqrt(float(np.mean(moves * moves))))
            largest = max(largest, float(moves.max()))
    return _Noise(rms, largest, 0, unstable)


def _moved(array: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
    if array.dtype.kind != "f":
        return array
    to = np.where(rng.random(array.shape) < 0.5, np.inf, -np.inf).astype(array.dtype)
    with np.errstate(over="ignore", under="ignore"):
        other = np.nextafter(array, to)
    # A rounding error has a third of the square of half a unit; one of a whole unit is rarer.
    chosen = (rng.random(array.shape) < 1.0 / 12.0) | (array.dtype.itemsize > 2)
    return np.where(chosen & (array != 0) & np.isfinite(other), other, array).astype(array.dtype)


def _shaken(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto:
    made = type(model)()
    made.CopyFrom(model)
    for graph in graphs_in(made.graph):
        for tensor in graph.initializer:
            if tensor.data_type in {FLOAT, FLOAT16}:
                array = numpy_helper.to_array(tensor)
                # Not sizes and scales of a Resize: they decide on shapes.
                if array.size >= 16:
                    moved = numpy_helper.from_array(_moved(array, rng), tensor.name)
                    tensor.CopyFrom(moved)
    return made
