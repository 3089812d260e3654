"""Where nodes run, and what TF32 does, in the words of the text renderings."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from onnx_act.report.summary import equivalence_rows, short_provider

if TYPE_CHECKING:
    from collections.abc import Iterable

PLACEMENT_NAMES: Final = ("on", "model", "nodes", "elsewhere", "copied per run")
PRODUCTION_NAMES: Final = (
    "on",
    "output",
    "result",
    "max abs",
    "tolerance needed",
    "noise floor",
)
PRODUCTION_TITLE: Final = "equivalence with TF32, as in production"
_MOST_KINDS: Final = 6


def placement_rows(placement: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    """provider, model, nodes by provider, operators that run elsewhere, bytes copied."""
    return [
        (
            short_provider(each["provider"]),
            each["model"],
            _nodes(each["nodes"]),
            _kinds(each["elsewhere"]),
            size_text(each["copied_bytes"]),
        )
        for each in placement
    ]


def production_rows(production: dict[str, Any]) -> list[tuple[str, ...]]:
    """As `equivalence_rows`; what fails here is no verdict, and says so."""
    rows = equivalence_rows(production)
    return [(*r[:2], "apart" if r[2] == "FAILED" else "holds", *r[3:]) for r in rows]


def size_text(count: int | None) -> str:
    """A number of bytes in the unit that suits it."""
    if count is None:
        return "not known"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


def _nodes(nodes: dict[str, int] | None) -> str:
    if nodes is None:
        return "not known"
    return ", ".join(f"{count} {short_provider(name)}" for name, count in nodes.items()) or "none"


def _kinds(elsewhere: list[dict[str, Any]]) -> str:
    counts = Counter(
        f"{node['op_type']} ({short_provider(node['provider'])})" for node in elsewhere
    )
    shown = [f"{n} {kind}" for kind, n in counts.most_common(_MOST_KINDS)]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more kinds" if more else "") or "-"
