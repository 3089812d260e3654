"""Bounds that the evidence of a conversion must keep."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from onnx_act.errors import UnknownNameError, UsageError
from onnx_act.recipe.option_values import parse_limit, parse_named_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from onnx_act.evidence.compare import Difference
    from onnx_act.evidence.drift import Drift
    from onnx_act.evidence.latency import Latency
    from onnx_act.evidence.verdict import Equivalence


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a result must keep; None where nothing is asked.

    Attributes:
        max_abs: the largest absolute difference of any output from the original, at least 0.
        min_sqnr_db: the least signal-to-noise ratio of any output against the original, in dB.
        min_speedup: what the time of the original over that of the result must be shown to reach:
            the lower end of its 95 % interval counts, on every provider.
        min_accuracy: the least accuracy on labelled data, from 0 to 1.
        max_latency_p99_ms: the 99th percentile of the result's run time, in milliseconds, on
            every provider.

    Raises:
        UsageError: a limit that no result could keep, or every one.
    """

    max_abs: float | None = None
    min_sqnr_db: float | None = None
    min_speedup: float | None = None
    min_accuracy: float | None = None
    max_latency_p99_ms: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.given().items():
            low, high = _SENSIBLE[name]
            if not low <= limit <= high or not math.isfinite(limit):
                span = f"from {low:g} to {high:g}" if high < math.inf else f"at least {low:g}"
                if low == -math.inf:
                    span = "a finite number"
                raise UsageError(f"bound {name} is {span}, not {limit:g}")

    def given(self) -> dict[str, float]:
        """The limits that are asked for, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: limit for name, limit in values.items() if limit is not None}

    def tightened_by(self, others: Bounds) -> Bounds:
        """These, with the limits of others in the place of those of the same name."""
        return replace(self, **others.given())


_SENSIBLE: Final = {
    "max_abs": (0.0, math.inf),
    "min_sqnr_db": (-math.inf, math.inf),
    "min_speedup": (0.0, math.inf),
    "min_accuracy": (0.0, 1.0),
    "max_latency_p99_ms": (0.0, math.inf),
}


@dataclass(frozen=True, slots=True)
class BoundVerdict:
    """One bound, judged.

    Attributes:
        name: the bound.
        limit: what was asked.
        value: what was found, at the worst; None when it could not be found out.
        held: whether it holds; never where there is no value.
        reason: where the value comes from, or why there is none.
    """

    name: str
    limit: float
    value: float | None
    held: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; a value that is not finite becomes None, and the reason says which."""
        finite = self.value is not None and math.isfinite(self.value)
        return {
            "name": self.name,
            "limit": self.limit,
            "value": self.value if finite else None,
            "held": self.held,
            "reason": self.reason,
        }

    @property
    def message(self) -> str:
        """Bound, value and limit in one sentence."""
        if self.value is None:
            return f"bound {self.name} could not be evaluated: {self.reason}"
        side = "at most" if self.name.startswith("max") else "at least"
        return (
            f"bound {self.name} does not hold: {self.value:.4g}, must be {side} "
            f"{self.limit:g} ({self.reason})"
        )


def parse_bounds(texts: Iterable[str]) -> Bounds:
    """Bounds as `--bound` writes them: `max_abs=1e-3`; of one name the last counts.

    Raises:
        UsageError: one of them does not parse, or has a limit that cannot be.
        UnknownNameError: there is no such bound.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, limit = parse_named_limit(text, "--bound", "max_abs=1e-3")
        found[name] = parse_limit(limit, f"--bound {name}")
    return bounds_from(found)


def bounds_from(limits: Mapping[str, float]) -> Bounds:
    """Bounds from a mapping of names to limits.

    Raises:
        UsageError: a limit that cannot be.
        UnknownNameError: there is no such bound.
    """
    for name in limits:
        if name not in _SENSIBLE:
            raise UnknownNameError("bound", name, _SENSIBLE)
    return Bounds(**limits)


def judge_bounds(
    bounds: Bounds,
    *,
    equivalence: Equivalence | None,
    drift: Drift | None,
    latency: Sequence[Latency] | None,
) -> tuple[BoundVerdict, ...]:
    """Whether each bound holds.

    Differences are those of the drift where that was measured, which is from the original; else
    those of the equivalence, which then is against the original too. A bound for which there is no
    figure does not hold.

    Args:
        bounds: what must hold.
        equivalence: None when it was not judged.
        drift: None when it was not measured.
        latency: one entry for each provider; None or empty when none was measured.
    """
    ask: dict[str, Callable[[], tuple[float | None, str]]] = {
        "max_abs": lambda: _worst_difference(equivalence, drift, _largest, max),
        "min_sqnr_db": lambda: _worst_difference(equivalence, drift, _ratio, min),
        "min_speedup": lambda: _speedup(latency),
        "min_accuracy": lambda: _accuracy(drift),
        "max_latency_p99_ms": lambda: _p99(latency),
    }
    verdicts = []
    for name, limit in bounds.given().items():
        value, reason = ask[name]()
        if value is None:
            held = False
        else:
            held = value <= limit if name.startswith("max") else value >= limit
        verdicts.append(BoundVerdict(name, limit, value, held, reason))
    return tuple(verdicts)


def _largest(difference: Difference) -> float:
    agrees = difference.nan_agrees and difference.inf_agrees
    return difference.max_abs if agrees else math.inf


def _ratio(difference: Difference) -> float:
    if not (difference.nan_agrees and difference.inf_agrees):
        return -math.inf
    return math.inf if difference.identical else difference.sqnr_db


def _worst_difference(
    equivalence: Equivalence | None,
    drift: Drift | None,
    figure: Callable[[Difference], float],
    worst: Callable[[Iterable[float]], float],
) -> tuple[float | None, str]:
    found: list[tuple[float, str]] = []
    for name, difference in _differences(equivalence, drift):
        if difference is None:
            return None, f"output {name} has another shape than in the original"
        value = figure(difference)
        if math.isnan(value):
            return None, f"output {name} cannot be compared"
        found.append((value, name))
    if not found:
        return None, "no output was compared; it needs --validate"
    value = worst(v for v, _ in found)
    kind = "equivalence" if drift is None else "drift"
    what = "" if math.isfinite(value) else _unlike(value)
    return value, f"{kind}, output {next(n for v, n in found if v == value)}{what}"


def _unlike(value: float) -> str:
    return "" if value == math.inf else ", where NaN or infinities differ"


def _differences(
    equivalence: Equivalence | None, drift: Drift | None
) -> Iterator[tuple[str, Difference | None]]:
    if drift is not None:
        yield from ((o.output, o.difference) for o in drift.outputs)
    elif equivalence is not None:
        for provider in equivalence.providers:
            yield from ((o.output, o.difference) for o in provider.outputs)


def _speedup(latency: Sequence[Latency] | None) -> tuple[float | None, str]:
    found = []
    for measured in latency or ():
        if measured.ratio is None:
            return None, f"no ratio was measured on {measured.provider}"
        found.append((measured.ratio.low, measured))
    if not found:
        return None, "latency was not measured; it needs --bench"
    low, slowest = min(found, key=lambda pair: pair[0])
    assert slowest.ratio is not None
    shown = f"{slowest.ratio.median:.4g} [{low:.4g}, {slowest.ratio.high:.4g}]"
    return low, f"the lower end of {shown} on {slowest.provider}"


def _p99(latency: Sequence[Latency] | None) -> tuple[float | None, str]:
    found = [(m.b.p99_s * 1e3, m.provider) for m in latency or () if m.b is not None]
    if not found or len(found) != len(latency or ()):
        return None, "the latency of the result was not measured; it needs --bench"
    value, provider = max(found)
    return value, f"on {provider}"


def _accuracy(drift: Drift | None) -> tuple[float | None, str]:
    if drift is None:
        return None, "no accuracy was measured; it needs --validate, and labels in --data"
    found = [(o.accuracy_after, o.output) for o in drift.outputs if o.accuracy_after is not None]
    if not found:
        return None, "no output has a known accuracy; it needs labels in --data"
    value, name = min((agreement.rate, name) for agreement, name in found)
    return value, f"output {name}"
