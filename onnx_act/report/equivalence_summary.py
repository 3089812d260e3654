"""How far outputs are apart, and by what, as rows of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from onnx_act.report.summary import figure, share, short_provider

if TYPE_CHECKING:
    from collections.abc import Iterator

DIFFERENCE_TITLE: Final = "how far outputs are apart, at the worst level"
DIFFERENCE_NAMES: Final = (
    "on",
    "output",
    "max rel",
    "ulp: median, 99 %, max",
    "SQNR",
    "cosine",
    "NaN, inf agree",
    "top-1 agrees",
    "furthest at",
    "atol to pass",
)
SOURCE_TITLE: Final = "where the difference comes from: max abs and SQNR"
SOURCE_NAMES: Final = ("on", "output", "the change", "the provider", "both")


def difference_rows(equivalence: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each provider and output, failed ones first."""
    rows: list[tuple[str, ...]] = []
    for name, output in _outputs(equivalence):
        found = output["difference"]
        ulps = ", ".join(figure(found[f"ulp_{k}"]) for k in ("p50", "p99", "max"))
        tolerance = output["tolerance"]
        rtol = "" if tolerance is None else f" beside rtol {figure(tolerance['rtol'])}"
        rows.append(
            (
                name,
                output["output"],
                figure(output["max_rel"]),
                ulps,
                _decibels(found),
                figure(found["cosine"]),
                f"{_yes(found['nan_agrees'])}, {_yes(found['inf_agrees'])}",
                share(found["top1"]),
                _furthest(found),
                "-" if tolerance is None else figure(output["minimum_atol"]) + rtol,
            )
        )
    return rows


def source_rows(equivalence: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each output on another provider than the CPU; none where the CPU stood alone.

    The change's share is the candidate here against the reference here, the provider's the
    reference here against the reference on the CPU, and both is the candidate here against that.
    """
    rows: list[tuple[str, ...]] = []
    for name, output in _outputs(equivalence):
        kinds = ("change_difference", "provider_difference", "total_difference")
        parts = [output.get(kind) for kind in kinds]
        if parts[1] is None:
            continue
        shown = ("-" if p is None else f"{figure(p['max_abs'])}, {_decibels(p)}" for p in parts)
        rows.append((name, output["output"], *shown))
    return rows


def _outputs(equivalence: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    found = [
        (short_provider(provider["provider"]), output)
        for provider in equivalence["providers"]
        for output in provider["outputs"]
    ]
    yield from sorted(found, key=lambda pair: pair[1]["passed"])


def _decibels(difference: dict[str, Any]) -> str:
    return "identical" if difference["identical"] else f"{figure(difference['sqnr_db'])} dB"


def _yes(agrees: bool) -> str:
    return "yes" if agrees else "NO"


def _furthest(difference: dict[str, Any]) -> str:
    if difference["identical"] or difference["worst_feed"] < 0:
        return "-"
    index = ", ".join(str(i) for i in difference["worst_index"])
    values = f"{figure(difference['worst_reference'])} -> {figure(difference['worst_candidate'])}"
    return f"[{index}] of feed {difference['worst_feed']}: {values}"
