"""Every way to write an activation, and how exact each is on the installed runtime."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from onnx_act.activations.catalogue import named
from onnx_act.errors import EvidenceError
from onnx_act.evidence.accuracy import Accuracy, WrittenForm, measure_accuracies
from onnx_act.evidence.plain import plain
from onnx_act.graph.bare_models import bare_model, newest_known_opset
from onnx_act.graph.lower import (
    ExpressionLowering,
    LoweringUnavailableError,
    OperatorLowering,
    lowerings,
    respelled_lowerings,
)
from onnx_act.runtime.probe import can_run
from onnx_act.runtime.session import CPU

if TYPE_CHECKING:
    from onnx_act.activations.activation import Activation, Parameters
    from onnx_act.graph.lower import Lowering

# Of a per-channel way: the runtime's blocks of channels have 4, 8 or 16.
_CHANNELS: Final = 16
# The first opset whose arithmetic broadcasts: below it few ways can be written.
_OLDEST: Final = 7


class WayKind(Enum):
    """Where a way of writing comes from."""

    OPERATOR = "operator"
    FORMULA = "formula"
    CONTRIB = "contrib operator"
    RESPELLING = "respelling"


class Exactness(Enum):
    """How a way compares with the one that others are held against."""

    REFERENCE = "reference"
    AS_EXACT = "as exact"
    APPROXIMATE = "approximate"


@dataclass(frozen=True, slots=True)
class MeasuredWay:
    """One way to write an activation, with its accuracy.

    Attributes:
        kind: Where it comes from.
        key: What it is called in profiles: the operator, `formula`, or the respelling's name.
        written: The operator or the formula.
        is_channelwise: Whether it is written with one factor per channel, behind a convolution.
        accuracy: None where the runtime cannot run it.
        reason: Why there is no accuracy; empty when there is.
        exactness: `as exact` when its 99th percentile is not larger than that of the reference
            and it is wrong at no special input where the reference is right; None without
            accuracy.
    """

    kind: WayKind
    key: str
    written: str
    is_channelwise: bool
    accuracy: Accuracy | None
    reason: str
    exactness: Exactness | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(self)


@dataclass(frozen=True, slots=True)
class MeasuredWays:
    """All ways to write one activation, on one provider.

    Attributes:
        provider: Its full name.
        opset: The newest opset at which the runtime runs the largest number of ways.
        ways: Standard operators, the formula, contrib operators, respellings.
    """

    provider: str
    opset: int
    ways: tuple[MeasuredWay, ...]


def measure_ways(name: str, parameters: Parameters, provider: str = CPU) -> MeasuredWays:
    """Run every way to write an activation in float32 and compare it with float64.

    The reference is the first standard operator that the runtime runs, and without one the
    activation's own formula.

    Args:
        name: The catalogue's name of the activation.
        parameters: All its parameters.
        provider: The full name of an execution provider.

    Raises:
        EvidenceError: The runtime runs none of them at any opset.
    """
    activation = named(name)
    opset = _best_opset(activation, parameters, provider)
    ways = [
        _measured(lowering, activation, parameters, opset, provider)
        for lowering in _all_ways(activation, parameters, newest_known_opset())
    ]
    ways.sort(key=lambda way: list(WayKind).index(way.kind))
    return MeasuredWays(provider, opset, tuple(_judged(ways)))


def _all_ways(activation: Activation, parameters: Parameters, opset: int) -> list[Lowering]:
    return [
        *lowerings(activation, parameters, opset, contrib=True),
        *respelled_lowerings(activation, parameters, _CHANNELS),
    ]


def _best_opset(activation: Activation, parameters: Parameters, provider: str) -> int:
    best, most = 0, 0
    newest = newest_known_opset()
    wanted = len(_all_ways(activation, parameters, newest))
    for opset in range(newest, _OLDEST - 1, -1):
        running = sum(
            _runs(lowering, activation, parameters, opset, provider)
            for lowering in _all_ways(activation, parameters, opset)
        )
        if running > most:
            best, most = opset, running
        if running == wanted:
            break
    if not best:
        first = _all_ways(activation, parameters, newest)[0]
        reason = _accuracy(first, activation, parameters, _OLDEST, provider)
        raise EvidenceError(
            f"{activation.name} runs on {provider} in no way, whatever the opset; "
            f"{first.key}: {reason}"
        )
    return best


def _runs(
    lowering: Lowering, activation: Activation, parameters: Parameters, opset: int, provider: str
) -> bool:
    try:
        model = bare_model(lowering, activation, parameters, opset)
    except LoweringUnavailableError:
        return False
    return can_run(model, provider).ok


def _measured(
    lowering: Lowering, activation: Activation, parameters: Parameters, opset: int, provider: str
) -> MeasuredWay:
    found = _accuracy(lowering, activation, parameters, opset, provider)
    return MeasuredWay(
        kind=_kind(lowering),
        key=lowering.key,
        written=lowering.label,
        is_channelwise=isinstance(lowering, ExpressionLowering) and lowering.channels is not None,
        accuracy=found if isinstance(found, Accuracy) else None,
        reason=found if isinstance(found, str) else "",
        exactness=None,
    )


def _accuracy(
    lowering: Lowering, activation: Activation, parameters: Parameters, opset: int, provider: str
) -> Accuracy | str:
    if isinstance(lowering, OperatorLowering):
        operator = lowering.operator
        if not operator.is_contrib() and opset < operator.since:
            return f"exists since opset {operator.since}"
    try:
        model = bare_model(lowering, activation, parameters, opset)
    except LoweringUnavailableError as error:
        return str(error)
    capability = can_run(model, provider)
    if not capability.ok:
        return capability.reason
    form = WrittenForm(activation.name, dict(parameters), model)
    (found,) = measure_accuracies([form], provider)
    return found


def _kind(lowering: Lowering) -> WayKind:
    if isinstance(lowering, OperatorLowering):
        return WayKind.CONTRIB if lowering.operator.is_contrib() else WayKind.OPERATOR
    return WayKind.FORMULA if lowering.respelling is None else WayKind.RESPELLING


def _judged(ways: list[MeasuredWay]) -> list[MeasuredWay]:
    """The ways with their exactness; the first with accuracy is the one to hold others against."""
    standard = (WayKind.OPERATOR, WayKind.FORMULA)
    candidates = (way for way in ways if way.kind in standard and way.accuracy is not None)
    reference = next(candidates, None)
    if reference is None:
        return ways
    return [replace(way, exactness=_exactness(way, reference)) for way in ways]


def _exactness(way: MeasuredWay, reference: MeasuredWay) -> Exactness | None:
    if way is reference:
        return Exactness.REFERENCE
    if way.accuracy is None or reference.accuracy is None:
        return None
    if way.accuracy.is_worse_than(reference.accuracy):
        return Exactness.APPROXIMATE
    return Exactness.AS_EXACT
