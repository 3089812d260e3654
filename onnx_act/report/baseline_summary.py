"""What became better or worse since an earlier report, worded for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

BASELINE_TITLE: Final = "against the baseline"
BASELINE_NAMES: Final = ("what", "then", "now", "bound", "verdict")


def baseline_rows(comparisons: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    """what, then, now, bound and verdict; what became worse first."""
    found = sorted(comparisons, key=lambda comparison: not comparison["is_worse"])
    return [
        (c["what"], c["then"], c["now"], c["bound"], "WORSE" if c["is_worse"] else "held")
        for c in found
    ]


def comparison_text(comparison: dict[str, Any]) -> str:
    """One comparison in one sentence."""
    said = f"then {comparison['then']}, now {comparison['now']} (bound: {comparison['bound']})"
    verdict = "worse than the baseline" if comparison["is_worse"] else "no worse"
    return f"{comparison['what']}: {verdict}: {said}"


def baseline_lines(baseline: dict[str, Any]) -> list[str]:
    """What a whole report was compared with, and which models only one of the two has."""
    lines = [f"compared with {baseline['path']}, of onnx-act {baseline['version']}"]
    for key, said in (("new", "not in the baseline"), ("gone", "in the baseline alone")):
        if baseline[key]:
            lines.append(f"{said}: {', '.join(baseline[key])}")
    return lines
