"""The verdict on two models: for every provider, every output, every optimisation level."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnx_act.evidence.plain import plain

if TYPE_CHECKING:
    from onnx_act.evidence.compare import Difference
    from onnx_act.evidence.envelope import Envelope
    from onnx_act.evidence.noise import NoiseFloor
    from onnx_act.evidence.tolerance import Tolerance
    from onnx_act.runtime.session import OptimizationLevel, PlacedNode


@dataclass(frozen=True, slots=True)
class LevelVerdict:
    """One output at one optimisation level of the candidate.

    Attributes:
        level: The optimisation level.
        passed: Whether the output is within tolerance on every feed.
        max_abs: Largest absolute difference over feeds.
        severity: Error over what was allowed, at the worst; at most 1 passes.
        envelope: Which other tolerances the output passes at this level; not part of reports.
        problem: What no tolerance helps against: `shape`, `nan`, `text`, or nothing.
    """

    level: OptimizationLevel
    passed: bool
    max_abs: float
    severity: float
    envelope: Envelope | None = field(default=None, metadata={"left_out": True})
    problem: str = field(default="", metadata={"left_out": True})


@dataclass(frozen=True, slots=True)
class OutputVerdict:
    """One output on one provider.

    Attributes:
        output: Its name in the reference.
        dtype: Its element type in the reference.
        passed: Whether it is within tolerance on every feed at every level.
        reason: Why not; empty when it passed.
        max_abs: Largest absolute difference, at the worst level.
        max_rel: Largest relative difference there.
        tolerance: What was allowed on the feed that came nearest to failing, or failed worst;
            None for outputs judged by equality.
        minimum_tolerance: The factor by which every tolerance had to be multiplied for the
            output to pass just so: at most 1 means passed; infinite where none would do.
        minimum_atol: The smallest atol with which, at the given rtol, it passes.
        noise_floor: How far the reference itself moved.
        difference: All measures of the difference, at the worst level.
        provider_difference: The reference here against the reference on the CPU; None on the CPU.
        total_difference: The candidate here, at full optimisation, against the reference on the
            CPU; None on the CPU.
        levels: The verdict for each level that ran.
        judged: Elements judged, over feeds, at one level.
        unjudged: Elements left out because the reference is not stable there.
        is_given: Whether the tolerance is the user's, in the place of the derived one. The
            factor and atol it would take are then for the user's.
        change_difference: The candidate here, at full optimisation, against the reference here
            without: the change's share, beside those of `provider_difference` and of
            `total_difference`; None on the CPU.
    """

    output: str
    dtype: str
    passed: bool
    reason: str
    max_abs: float
    max_rel: float
    tolerance: Tolerance | None
    minimum_tolerance: float
    minimum_atol: float
    noise_floor: NoiseFloor
    difference: Difference
    provider_difference: Difference | None
    total_difference: Difference | None
    levels: tuple[LevelVerdict, ...]
    judged: int
    unjudged: int
    is_given: bool = False
    change_difference: Difference | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(self)


@dataclass(frozen=True, slots=True)
class ProviderVerdict:
    """All outputs on one provider.

    Attributes:
        provider: The provider's full name.
        passed: Whether every output passed.
        reason: Why not, in one line; empty when passed.
        outputs: A verdict for each output; none when the candidate did not run.
        reference_elsewhere: Nodes of the reference that another provider ran; None if unknown.
        candidate_elsewhere: The same for the candidate.
        notes: What limits the verdict.
        conditions: What the noise floor was measured over, beside optimisation levels: numbers
            of threads, moved inputs.
    """

    provider: str
    passed: bool
    reason: str
    outputs: tuple[OutputVerdict, ...]
    reference_elsewhere: tuple[PlacedNode, ...] | None
    candidate_elsewhere: tuple[PlacedNode, ...] | None
    notes: tuple[str, ...]
    conditions: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(self)


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Whether two models compute the same.

    Attributes:
        passed: Whether they do on every provider.
        reason: Why not, in one line; empty when passed.
        providers: A verdict for each provider.
        feeds: What each feed held (`normal`, `heavy`, `data`).
        seed: What the feeds were seeded with.
        depth: The depth that tolerances were derived for.
        threads: Threads within an operator; 0 is the runtime's default.
        runtime_version: The version of ONNX Runtime.
    """

    passed: bool
    reason: str
    providers: tuple[ProviderVerdict, ...]
    feeds: tuple[str, ...]
    seed: int
    depth: int
    threads: int
    runtime_version: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(self)
