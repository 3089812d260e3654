"""What became worse since an earlier run: the verdict, the tolerance that is needed, the speed-up.

A figure of one run is itself uncertain, and none of these judgements takes that for a change:

* A speed-up is worse when the 95 % intervals of then and now do not overlap, and the estimate
  fell by more than the bound. Bounds alone would find fault with a busy machine; intervals alone,
  where each is narrow, with a difference that nobody feels.
* The tolerance that an output needs is worse when it grew by more than the bound, and is more
  than the reference's own noise would need. A derived tolerance allows three times the noise, so
  below a third of it a difference is of the noise's size. Of a tolerance that was given, the
  noise takes what it takes.
* A verdict is worse when it was passed and is not.

Times are not compared, only ratios: those of one run are taken in turn, on one machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from onnx_act.errors import EvidenceError, UsageError
from onnx_act.report.baseline_summary import comparison_text
from onnx_act.report.document import Outcome
from onnx_act.report.latency_summary import setting_text
from onnx_act.report.summary import figure, ratio_text, short_provider

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onnx_act.report.document import ModelEntry

_NOISE_SHARE: Final = 1.0 / 3.0
_WITHOUT_EVIDENCE: Final = (Outcome.REFUSED.value, Outcome.FAILED.value)


@dataclass(frozen=True, slots=True)
class BaselineBounds:
    """By how much the evidence may be worse than in an earlier report.

    Attributes:
        speedup: the part by which a speed-up may fall, from 0 to below 1.
        tolerance: the factor by which the tolerance that is needed may grow, at least 1.

    Raises:
        UsageError: a limit that cannot be.
    """

    speedup: float = 0.05
    tolerance: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.speedup < 1.0:
            raise UsageError(
                f"baseline bound speedup is from 0 % to below 100 %, not {100 * self.speedup:g} %"
            )
        if not 1.0 <= self.tolerance < math.inf:
            raise UsageError(
                f"baseline bound tolerance is a factor of at least 1, not {self.tolerance:g}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"speedup": self.speedup, "tolerance": self.tolerance}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of an earlier run and of this one.

    Attributes:
        kind: `verdict`, `tolerance` or `speedup`.
        what: what it is of.
        then: the earlier figure, in words.
        now: this run's.
        bound: what now must keep, in words.
        is_worse: whether it does not.
        then_value: the earlier figure; None where it is none, or not finite.
        now_value: this run's.
    """

    kind: str
    what: str
    then: str
    now: str
    bound: str
    is_worse: bool
    then_value: float | None = None
    now_value: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "kind": self.kind,
            "what": self.what,
            "then": self.then,
            "now": self.now,
            "bound": self.bound,
            "is_worse": self.is_worse,
            "then_value": self.then_value,
            "now_value": self.now_value,
        }


@dataclass(frozen=True, slots=True)
class Compared:
    """One model, compared with an earlier run.

    Attributes:
        comparisons: every figure that both runs have.
        notes: what could not be compared, and what makes a comparison doubtful.
        problem: why the result is worse, "" when it is not.
    """

    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    problem: str


@dataclass(frozen=True, slots=True)
class EarlierModel:
    """What an earlier report says of one model.

    Attributes:
        report: the report's name, for messages.
        record: the model's entry there.
        bounds: by how much the evidence may be worse now.
    """

    report: str
    record: Mapping[str, Any]
    bounds: BaselineBounds

    def compare(
        self,
        equivalence: Mapping[str, Any] | None,
        latency: Sequence[Mapping[str, Any]] | None,
    ) -> Compared:
        """Compare this run's evidence, as plain data, with the earlier.

        Args:
            equivalence: None when it was not judged.
            latency: one entry for each provider and setting that could be measured; None when
                nobody asked.

        Raises:
            UsageError: the report is damaged.
        """
        try:
            return self._compare(equivalence, latency)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            model = self.record.get("path")
            raise UsageError(
                f"--baseline {self.report} is damaged in the entry of {model} ({error!r})"
            ) from error

    def _compare(
        self,
        equivalence: Mapping[str, Any] | None,
        latency: Sequence[Mapping[str, Any]] | None,
    ) -> Compared:
        notes: list[str] = []
        comparisons = [
            *self._verdicts(equivalence, notes),
            *self._speedups(latency, _providers(equivalence, latency), notes),
        ]
        worse = [comparison_text(c.to_dict()) for c in comparisons if c.is_worse]
        problem = "; ".join(worse)
        is_empty = self.record.get("equivalence") is None and not self.record.get("latency")
        if is_empty and self.record.get("outcome") in _WITHOUT_EVIDENCE:
            # It is better than it was: it was not done then.
            notes.append(f"nothing was compared: it was {self.record['outcome']} in the baseline")
        elif not comparisons:
            problem = f"nothing of it can be compared with --baseline {self.report}: " + (
                "; ".join(notes) or "neither equivalence nor a speed-up is in both"
            )
        return Compared(tuple(comparisons), tuple(notes), problem)

    def _verdicts(
        self, equivalence: Mapping[str, Any] | None, notes: list[str]
    ) -> Iterator[Comparison]:
        before = self.record.get("equivalence")
        if before is None or equivalence is None:
            if (before is None) != (equivalence is None):
                when = "now" if equivalence is None else "in the baseline"
                notes.append(f"equivalence was not compared: it was not judged {when}")
            return
        old = {p["provider"]: p for p in before["providers"]}
        new = {p["provider"]: p for p in equivalence["providers"]}
        notes.extend(_missing("equivalence on {}", old, new))
        for provider in (p for p in new if p in old):
            where = short_provider(provider)
            passed = [bool(side[provider]["passed"]) for side in (old, new)]
            words = ["passed" if each else "FAILED" for each in passed]
            yield Comparison(
                "verdict",
                f"verdict on {where}",
                words[0],
                words[1],
                "passed stays passed",
                passed[0] and not passed[1],
            )
            yield from self._tolerances(where, old[provider], new[provider], notes)

    def _tolerances(
        self, where: str, before: Mapping[str, Any], after: Mapping[str, Any], notes: list[str]
    ) -> Iterator[Comparison]:
        old = {output["output"]: output for output in before["outputs"]}
        new = {output["output"]: output for output in after["outputs"]}
        if new and old:
            notes.extend(_missing(f"the tolerance on {where} of output {{}}", old, new))
        for name in (n for n in new if n in old):
            a, b = old[name], new[name]
            if _given(a) != _given(b):
                notes.append(
                    f"the tolerance on {where} of output {name} was not compared: it is of "
                    f"other tolerances than in the baseline"
                )
                continue
            then, now = _finite(a["minimum_tolerance"]), _finite(b["minimum_tolerance"])
            limit = max(self.bounds.tolerance * then, _noise_share(b))
            yield Comparison(
                "tolerance",
                f"tolerance needed on {where} by output {name}",
                f"{figure(a['minimum_tolerance'])} x",
                f"{figure(b['minimum_tolerance'])} x",
                f"at most {limit:.3g} x",
                now > limit,
                a["minimum_tolerance"],
                b["minimum_tolerance"],
            )

    def _speedups(
        self,
        latency: Sequence[Mapping[str, Any]] | None,
        providers: frozenset[str],
        notes: list[str],
    ) -> Iterator[Comparison]:
        old = _ratios(self.record.get("latency") or ())
        new = _ratios(latency or ())
        for name, entry in old.items():
            if name in new:
                continue
            then = ratio_text(entry["ratio"])
            if latency is not None and (not latency or entry["provider"] in providers):
                # It was asked for, and could not be had: no gate may pass for want of a figure.
                yield Comparison(
                    kind="speedup",
                    what=name,
                    then=then,
                    now="not measured",
                    bound="measured",
                    is_worse=True,
                    then_value=entry["ratio"]["median"],
                )
            else:
                notes.append(f"{name} was not compared: it was not measured now")
        notes.extend(_missing("{}", {}, {n: e for n, e in new.items() if n not in old}))
        for name in (n for n in new if n in old):
            then, now = old[name]["ratio"], new[name]["ratio"]
            least = then["median"] * (1.0 - self.bounds.speedup)
            yield Comparison(
                "speedup",
                name,
                ratio_text(dict(then)),
                ratio_text(dict(now)),
                f"at least {least:.3f}x, or intervals that overlap",
                now["high"] < then["low"] and now["median"] < least,
                then["median"],
                now["median"],
            )
            notes.extend(_other_machine(name, old[name], new[name]))


def with_comparison(entry: ModelEntry, earlier: EarlierModel) -> ModelEntry:
    """An entry that is complete, compared with an earlier run of the same model.

    Raises:
        UsageError: the earlier report is damaged.
    """
    data = entry.to_dict()
    compared = earlier.compare(data.get("equivalence"), data.get("latency"))
    problem = entry.message or compared.problem
    return replace(
        entry,
        baseline=compared.comparisons,
        notes=(*entry.notes, *compared.notes),
        message=problem,
        outcome=Outcome.FAILED if problem else entry.outcome,
        exit_code=entry.exit_code or (EvidenceError.exit_code if problem else 0),
    )


def _providers(
    equivalence: Mapping[str, Any] | None, latency: Sequence[Mapping[str, Any]] | None
) -> frozenset[str]:
    """The providers of this run."""
    judged = () if equivalence is None else equivalence["providers"]
    return frozenset(each["provider"] for each in (*judged, *(latency or ())))


def _missing(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """A note for each key that only one of two runs has."""
    for key in sorted(old.keys() ^ new.keys()):
        when = "now" if key in old else "in the baseline"
        shown = short_provider(key) if key.endswith("ExecutionProvider") else key
        yield f"{what.format(shown)} was not compared: there is none {when}"


def _given(output: Mapping[str, Any]) -> tuple[float, float] | None:
    """The tolerance of an output where it is the user's."""
    if not output.get("is_given") or output["tolerance"] is None:
        return None
    return output["tolerance"]["atol"], output["tolerance"]["rtol"]


def _noise_share(output: Mapping[str, Any]) -> float:
    """The part of an output's tolerance that the noise of the reference needs."""
    given = _given(output)
    if given is None:
        return _NOISE_SHARE
    noise = _finite(output["noise_floor"]["max_abs"])
    return min(1.0, noise / given[0]) if given[0] > 0.0 else 0.0


def _finite(value: float | None) -> float:
    """JSON's null stands for what is not finite."""
    return math.inf if value is None else float(value)


def _ratios(latency: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Latencies with a ratio, by what they are called."""
    return {_name(entry): entry for entry in latency if entry["ratio"] is not None}


def _name(entry: Mapping[str, Any]) -> str:
    return f"speed-up on {short_provider(entry['provider'])}{setting_text(dict(entry))}"


def _other_machine(name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key, what in (("cpu", "processor"), ("runtime_version", "ONNX Runtime")):
        if then.get(key) != now.get(key):
            yield (
                f"{name} is compared across another {what}: then {then.get(key)}, "
                f"now {now.get(key)}"
            )
