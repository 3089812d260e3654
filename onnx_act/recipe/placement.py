"""Where the nodes of a command's models run, found out in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_act.errors import EvidenceError, OnnxActError
from onnx_act.evidence.placement import Placement, measure_placement
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.session import CPU

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from onnx_act.runtime.feeds import FeedRequest


@dataclass(frozen=True, slots=True)
class PlacementFindings:
    """What was found out, and whether it is held against the result.

    Attributes:
        placements: One for each provider and model; None where it could not be found out.
        notes: What a reader should know.
        problem: Why a strict command fails, "" when it does not.
    """

    placements: tuple[Placement, ...] | None = None
    notes: tuple[str, ...] = ()
    problem: str = ""


def find_placement(
    models: Mapping[str, Path],
    *,
    providers: Sequence[str],
    feeds: FeedRequest,
    threads: int,
    strict: bool,
    timeout_s: float,
) -> PlacementFindings:
    """Run each model once on each provider and see where its nodes went.

    Nothing is run where the CPU alone was named: there is nowhere else to go.

    Args:
        models: What each model is to the command, the one that is judged last, and its file.
        providers: Full names of execution providers.
        feeds: What to run on.
        threads: Threads within an operator; 0 is the runtime's default.
        strict: Whether a node of the judged model elsewhere than asked is a failure.
        timeout_s: How long it may take.
    """
    if all(provider == CPU for provider in providers):
        return PlacementFindings()
    try:
        placements = run_isolated(
            measure_placement,
            dict(models),
            providers=tuple(providers),
            request=feeds,
            threads=threads,
            timeout_s=timeout_s,
        )
    except EvidenceError as error:
        said = f"where nodes run could not be found out: {error}"
        return PlacementFindings(None, (said,), said if strict else "")
    except OnnxActError:
        if strict:
            raise
        return PlacementFindings()
    judged = list(models)[-1]
    complaints = [p.complaint() for p in placements if p.model == judged and p.elsewhere]
    unknown = [p for p in placements if p.model == judged and p.nodes is None]
    problem = "; ".join(complaints)
    if not problem and unknown:
        problem = "the installed ONNX Runtime does not say where nodes run"
    return PlacementFindings(placements, (), problem if strict else "")
