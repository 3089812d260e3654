"""Latency ratios as the benchmarks of fusing take, keep and show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from onnx_act.evidence.latency import measure_latency
from onnx_act.evidence.statistics import ENOUGH_ROUNDS
from onnx_act.runtime.isolate import run_isolated

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnx_act.runtime.session import OptimizationLevel

#: Threads within an operator.
THREADS: Final = 1
_TIME_LIMIT_S: Final = 600.0


def measured_ratio(
    original: Path, result: Path, level: OptimizationLevel, seconds: float
) -> dict[str, Any]:
    """Time of the original over time of the result, in turn, in a process of their own.

    Raises:
        EvidenceError: one of them does not run.
    """
    latency = run_isolated(
        measure_latency,
        original,
        result,
        seconds=seconds,
        threads=THREADS,
        level=level,
        timeout_s=10 * seconds + _TIME_LIMIT_S,
    )
    assert latency.ratio is not None
    assert latency.b is not None
    return {
        "median": latency.ratio.median,
        "low": latency.ratio.low,
        "high": latency.ratio.high,
        "verdict": latency.ratio.verdict,
        "original_s": latency.a.median_s,
        "result_s": latency.b.median_s,
        "blocks": latency.blocks,
        "sessions": latency.sessions,
    }


def interval(ratio: Mapping[str, Any]) -> str:
    """The ratio; with a question mark where too few sessions were opened to know its spread."""
    doubt = "" if ratio["sessions"] >= ENOUGH_ROUNDS else " ?"
    return f"{ratio['median']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]{doubt}"
