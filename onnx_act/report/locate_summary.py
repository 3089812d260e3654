"""Where two models part and what was exercised, in lines and rows for a reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from onnx_act.report.summary import figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COVERAGE_NAMES: Final = ("activation", "part", "sites looked at", "exercised at", "numbers seen")
_MOST_BEFORE: Final = 4


def locate_lines(locate: Mapping[str, Any]) -> list[str]:
    """What was found about the place where two models part, a line for each fact."""
    first = locate["first"]
    lines = [str(locate["message"])]
    if first is not None:
        lines += _place_lines(first)
    if locate["differs_since"]:
        lines.append(f"within what rounding explains they differ since {locate['differs_since']!r}")
    if locate["others"]:
        lines.append(f"they also part, beside that, at {', '.join(locate['others'])}")
    if locate["compared"]:
        lines.append(_compared(locate))
    lines += [str(note) for note in locate["notes"]]
    return lines


def _place_lines(first: Mapping[str, Any]) -> list[str]:
    lines = [f"reference: {_made(first['nodes'], first['activation'])}"]
    ours, theirs = first["value"], first["candidate_value"]
    named = "" if ours == theirs else f", as {theirs!r} (found by {first['aligned_by']})"
    lines.append(
        f"candidate: {_made(first['candidate_nodes'], first['candidate_activation'])}{named}"
    )
    if first["rule"]:
        noted = next(
            n["provenance"] for n in reversed(first["candidate_nodes"]) if "rule" in n["provenance"]
        )
        was = f" from {noted['from']}" if "from" in noted else ""
        lines.append(f"it was written by the rule {first['rule']}{was}")
    shown = first["inputs"][:_MOST_BEFORE]
    lines += [f"input {i['value']!r} held {figure(i['low'])} to {figure(i['high'])}" for i in shown]
    lines.append(_how_far(first))
    return lines


def _how_far(first: Mapping[str, Any]) -> str:
    match first["criterion"]:
        case "shape":
            return "it has another shape"
        case "nan":
            return "it has NaN in other places"
        case "equality":
            return "numbers that must be equal are not"
    where = ""
    if first["at_feed"] >= 0:
        where = (
            f" ({figure(first['reference'])} became {figure(first['candidate'])} at "
            f"{first['at_index']} of feed {first['at_feed']})"
        )
    return (
        f"off by {figure(first['max_abs'])}{where}, {figure(first['severity'])} times as far as "
        f"rounding explains; noise floor {figure(first['noise_floor'])}"
    )


def _made(nodes: Sequence[Mapping[str, Any]], activation: str) -> str:
    """What makes a value, the node that ends in it last."""
    shown = ", ".join(f"{n['op_type']} {n['name']!r}" if n["name"] else n["op_type"] for n in nodes)
    return f"{activation} ({shown})" if activation else shown or "an input"


def _compared(locate: Mapping[str, Any]) -> str:
    parts = [f"{locate['by_name']} by name", f"{locate['by_structure']} by structure"]
    rest = f", {locate['unaligned']} without counterpart" if locate["unaligned"] else ""
    return (
        f"{locate['compared']} values were compared ({', '.join(parts)}){rest}; "
        f"{locate['differing']} are further off than rounding explains"
    )


def coverage_rows(coverage: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """activation, part, sites looked at, exercised at, numbers seen: per activation and part."""
    rows: dict[tuple[str, str], list[float]] = {}
    for site in coverage["sites"]:
        for part in site["parts"]:
            key = (site["activation"].partition("(")[0], part["part"])
            row = rows.setdefault(key, [0, 0, 0])
            row[0] += part["is_reachable"]
            row[1] += part["is_reachable"] and part["elements"] > 0
            row[2] += part["elements"]
    return [
        (activation, part, f"{seen:.0f}", f"{hit:.0f}", f"{elements:,.0f}")
        for (activation, part), (seen, hit, elements) in rows.items()
    ]


def coverage_lines(coverage: Mapping[str, Any]) -> list[str]:
    """What was not exercised, and what was not looked at."""
    lines = [str(line) for line in coverage["missed"]]
    hidden = coverage["not_visible"]
    if hidden:
        site, reason = next(iter(hidden.items()))
        lines.append(f"what {len(hidden)} changed sites see is not known; of {site!r} {reason}")
    if coverage["not_looked_at"]:
        lines.append(
            f"{coverage['not_looked_at']} of the {coverage['changed']} changed sites were not "
            f"looked at: at most {coverage['most_per_kind']} of each activation are"
        )
    return lines
