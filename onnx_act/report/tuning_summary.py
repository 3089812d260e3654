"""What tuning found, as rows for tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from onnx_act.report.summary import figure, short_provider

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

GROUP_NAMES: Final = ("count", "activation", "written as", "now", "of the run time", "because")
WAY_NAMES: Final = (
    "activation",
    "way",
    "in its neighbourhood",
    "in the model",
    "ulp p99",
    "max abs",
    "verdict",
)
_PRESENT: Final = "(as it is)"


def group_rows(tuning: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What was decided, a row for all groups of which the same is to be said."""
    rows: dict[tuple[str, ...], tuple[int, float | None]] = {}
    for group in tuning["groups"]:
        now = group["after"] if group["chosen"] is not None else _PRESENT
        key = (group["activation"], group["before"], now, group["reason"])
        count, share = rows.get(key, (0, 0.0))
        mine = group["share"]
        both = None if share is None or mine is None else share + mine
        rows[key] = (count + len(group["sites"]), both)
    return [(str(count), *key[:3], percent(share), key[3]) for key, (count, share) in rows.items()]


@dataclass(slots=True)
class _Way:
    """One way for all groups of an activation that is written alike."""

    sites: int = 0
    neighbourhood: list[float] = field(default_factory=list)
    model: Mapping[str, float] | None = None
    accuracy: Mapping[str, Any] | None = None
    verdicts: Counter[str] = field(default_factory=Counter)


def way_rows(tuning: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What was found about every way, a row for each activation and way."""
    ways: dict[tuple[str, str], _Way] = {}
    for group in tuning["groups"]:
        name = f"{_base(group['activation'])} as {group['before']}"
        for candidate in group["candidates"]:
            way = ways.setdefault((name, candidate["key"]), _Way())
            way.sites += len(group["sites"])
            if candidate["neighbourhood"] is not None:
                way.neighbourhood.append(candidate["neighbourhood"]["median"])
            way.model = way.model or candidate["model"]
            way.accuracy = way.accuracy or candidate["accuracy"]
            way.verdicts[candidate["verdict"]] += len(group["sites"])
    return [_way_row(name, key, way) for (name, key), way in ways.items()]


def _way_row(name: str, key: str, way: _Way) -> tuple[str, ...]:
    accuracy = way.accuracy
    return (
        name,
        key,
        _span(way.neighbourhood),
        "-" if way.model is None else _interval(way.model),
        "-" if accuracy is None else figure(accuracy["p99_ulp"]),
        "-" if accuracy is None else figure(accuracy["max_abs"]),
        "; ".join(_verdicts(way)),
    )


def _verdicts(way: _Way) -> Iterator[str]:
    for verdict, count in way.verdicts.most_common():
        yield verdict if count == way.sites else f"{verdict} ({count} of {way.sites})"


def tuning_lines(tuning: Mapping[str, Any]) -> list[str]:
    """Sentences on the whole."""
    providers = " and ".join(short_provider(p) for p in tuning["providers"])
    threads = "1 thread" if tuning["threads"] == 1 else f"{tuning['threads']} threads"
    lines = [f"tuned on {providers}, {threads}: {_how(tuning)}"]
    before, after = tuning["share_before"], tuning["share_after"]
    if before is not None:
        then = "" if after is None else f", {percent(after)} after"
        lines.append(f"activations that are operators of their own: {percent(before)}{then}")
    lines += [
        f"the result against the model before on {short_provider(c['provider'])}: "
        f"{_interval(c['ratio'])} {c['verdict']}"
        for c in tuning["confirmed"]
    ]
    if tuning["reason"]:
        lines.append(f"nothing was rewritten: {tuning['reason']}")
    return [*lines, *(f"note: {note}" for note in tuning["notes"])]


def _how(tuning: Mapping[str, Any]) -> str:
    match tuning["source"]:
        case "cache":
            return "as it was measured on this machine before"
        case "profile":
            return "as the profile says, without measuring"
        case _:
            rest = "" if tuning["is_complete"] else "; more time might find more"
            return f"measured in {tuning['seconds']:.0f} s of {tuning['budget_s']:.0f} s{rest}"


def percent(share: float | None) -> str:
    """A part of the whole; `-` where it is not known."""
    return "-" if share is None else f"{100 * share:.1f} %"


def _base(activation: str) -> str:
    return activation.partition("(")[0]


def _span(values: Sequence[float]) -> str:
    if not values:
        return "-"
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return f"{low}x" if low == high else f"{low}x to {high}x"


def _interval(interval: Mapping[str, float]) -> str:
    return f"{interval['median']:.3f}x [{interval['low']:.3f}, {interval['high']:.3f}]"
