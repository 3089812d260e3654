"""What tuning found, as plain values that a report shows and a cache keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from onnx_act.evidence.accuracy import Accuracy
from onnx_act.evidence.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The key of the other way to write linear layers; every other key is of a way for activations.
FLATTENED: Final = "flattened"


@dataclass(frozen=True, slots=True)
class CandidateOutcome:
    """One way to write the activations of a group, and what was found out about it.

    Attributes:
        key: what it is called in caches and profiles.
        spelling: the formula, or the operator.
        verdict: what became of it, in a few words.
        accuracy: its error on the runtime, None where it was not measured.
        is_approximate: whether that is worse than the operator's.
        neighbourhood: time of the present way over its time in the neighbourhood of one site.
        model: the same in the whole model, of the best so far over it.
    """

    key: str
    spelling: str
    verdict: str
    accuracy: Accuracy | None = None
    is_approximate: bool = False
    neighbourhood: Interval | None = None
    model: Interval | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "key": self.key,
            "spelling": self.spelling,
            "verdict": self.verdict,
            "accuracy": None if self.accuracy is None else self.accuracy.to_dict(),
            "is_approximate": self.is_approximate,
            "neighbourhood": interval_to_dict(self.neighbourhood),
            "model": interval_to_dict(self.model),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CandidateOutcome:
        """What `to_dict` made."""
        accuracy = data["accuracy"]
        return cls(
            str(data["key"]),
            str(data["spelling"]),
            str(data["verdict"]),
            None if accuracy is None else accuracy_from_dict(accuracy),
            bool(data["is_approximate"]),
            _interval(data["neighbourhood"]),
            _interval(data["model"]),
        )


@dataclass(frozen=True, slots=True)
class GroupOutcome:
    """What was decided for sites that are alike.

    Attributes:
        signature: what they have in common; see `grouping`.
        activation: the catalogue's name, with parameters where they are numbers.
        sites: their ids.
        before: the operators that spell them in the model.
        chosen: the key of the new way, None where they stay as they are.
        after: how they are written now.
        reason: why, in a sentence.
        share: part of the run time that was spent in their operators, None where that is not
            known.
        channels: how many of them each site has, where known.
        image: height and width of what the sites gate, None where they gate nothing.
        candidates: all ways that were looked at.
    """

    signature: str
    activation: str
    sites: tuple[str, ...]
    before: str
    chosen: str | None
    after: str
    reason: str
    share: float | None
    channels: int | None = None
    image: tuple[int, int] | None = None
    candidates: tuple[CandidateOutcome, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "signature": self.signature,
            "activation": self.activation,
            "sites": list(self.sites),
            "before": self.before,
            "chosen": self.chosen,
            "after": self.after,
            "reason": self.reason,
            "share": self.share,
            "channels": self.channels,
            "image": None if self.image is None else list(self.image),
            "candidates": [c.to_dict() for c in self.candidates],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GroupOutcome:
        """What `to_dict` made."""
        return cls(
            str(data["signature"]),
            str(data["activation"]),
            tuple(str(s) for s in data["sites"]),
            str(data["before"]),
            None if data["chosen"] is None else str(data["chosen"]),
            str(data["after"]),
            str(data["reason"]),
            None if data["share"] is None else float(data["share"]),
            None if data["channels"] is None else int(data["channels"]),
            None if data["image"] is None else (int(data["image"][0]), int(data["image"][1])),
            tuple(CandidateOutcome.from_dict(c) for c in data["candidates"]),
        )


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The whole result against the model before tuning, on one provider.

    Attributes:
        provider: its full name.
        ratio: time of the model before over that of the result, with its 95 % interval.
        verdict: `faster`, `slower` or `no difference shown`.
        latency: all that was measured, as plain JSON data.
    """

    provider: str
    ratio: Interval
    verdict: str
    latency: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        ratio = interval_to_dict(self.ratio)
        return {
            "provider": self.provider,
            "ratio": ratio,
            "verdict": self.verdict,
            "latency": dict(self.latency),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Confirmation:
        """What `to_dict` made."""
        ratio = _interval(data["ratio"])
        assert ratio is not None
        return cls(str(data["provider"]), ratio, str(data["verdict"]), dict(data["latency"]))


@dataclass(frozen=True, slots=True)
class TuningOutcome:
    """Everything that tuning one model found.

    Attributes:
        groups: what was decided, for every group that has more than one way.
        is_kept: whether the choices were shown to be faster together, so that they are made.
        reason: why not, "" when they are, or when there are none.
        source: `measured` here and now, `cache` of this machine, or `profile` of another.
        providers: full names, the leading one first.
        threads: threads within an operator.
        budget_s: what tuning was allowed to take, in seconds.
        seconds: what it took.
        is_complete: whether more time would have changed nothing.
        share_before: part of the run time spent in activations that are operators of their own.
        share_after: the same afterwards.
        confirmed: the result against the model before.
        notes: what a reader should know beside.
    """

    groups: tuple[GroupOutcome, ...] = ()
    is_kept: bool = False
    reason: str = ""
    source: str = "measured"
    providers: tuple[str, ...] = ()
    threads: int = 1
    budget_s: float = 0.0
    seconds: float = 0.0
    is_complete: bool = True
    share_before: float | None = None
    share_after: float | None = None
    confirmed: tuple[Confirmation, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def choices(self) -> dict[str, str]:
        """Site -> key, of the choices that are to be made for activations."""
        return {s: key for s, key in self._kept() if key != FLATTENED}

    @property
    def flattened(self) -> frozenset[str]:
        """The results of linear layers that are to be written in the other way."""
        return frozenset(s for s, key in self._kept() if key == FLATTENED)

    def _kept(self) -> Iterator[tuple[str, str]]:
        for group in self.groups if self.is_kept else ():
            if group.chosen is not None:
                yield from ((site, group.chosen) for site in group.sites)

    @property
    def channels(self) -> dict[str, int]:
        """Site -> how many channels it has, where that is known."""
        return {s: g.channels for g in self.groups if g.channels is not None for s in g.sites}

    @property
    def images(self) -> dict[str, tuple[int, int]]:
        """Site -> height and width of what it gates."""
        return {s: g.image for g in self.groups if g.image is not None for s in g.sites}

    @property
    def approximate(self) -> frozenset[str]:
        """`activation: key` of the chosen ways that are less exact than the operator."""
        return frozenset(
            f"{g.activation.partition('(')[0]}: {c.key}"
            for g in self.groups
            for c in g.candidates
            if c.key == g.chosen and c.is_approximate
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; durations are in seconds."""
        return {
            "groups": [g.to_dict() for g in self.groups],
            "is_kept": self.is_kept,
            "reason": self.reason,
            "source": self.source,
            "providers": list(self.providers),
            "threads": self.threads,
            "budget_s": self.budget_s,
            "seconds": self.seconds,
            "is_complete": self.is_complete,
            "share_before": self.share_before,
            "share_after": self.share_after,
            "confirmed": [c.to_dict() for c in self.confirmed],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TuningOutcome:
        """What `to_dict` made.

        Raises:
            KeyError: something is missing.
            TypeError: something is of another type.
            ValueError: a number is none.
        """
        return cls(
            tuple(GroupOutcome.from_dict(g) for g in data["groups"]),
            bool(data["is_kept"]),
            str(data["reason"]),
            str(data["source"]),
            tuple(str(p) for p in data["providers"]),
            int(data["threads"]),
            float(data["budget_s"]),
            float(data["seconds"]),
            bool(data["is_complete"]),
            None if data["share_before"] is None else float(data["share_before"]),
            None if data["share_after"] is None else float(data["share_after"]),
            tuple(Confirmation.from_dict(c) for c in data["confirmed"]),
            tuple(str(n) for n in data["notes"]),
        )


def interval_to_dict(interval: Interval | None) -> dict[str, float] | None:
    """Median, low and high; None of nothing."""
    if interval is None:
        return None
    return {"median": interval.median, "low": interval.low, "high": interval.high}


def _interval(data: Mapping[str, Any] | None) -> Interval | None:
    if data is None:
        return None
    return Interval(float(data["median"]), float(data["low"]), float(data["high"]))


def accuracy_from_dict(data: Mapping[str, Any]) -> Accuracy:
    """What `Accuracy.to_dict` made."""
    # JSON has no infinity: `plain` writes null.
    median, p99, largest = (
        float("inf") if data[k] is None else float(data[k])
        for k in ("median_ulp", "p99_ulp", "max_abs")
    )
    return Accuracy(median, p99, largest, tuple(str(w) for w in data["wrong_at"]))
