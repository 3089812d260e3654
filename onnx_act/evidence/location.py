"""What is reported of the place where two models part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnx_act.evidence.plain import plain

if TYPE_CHECKING:
    from onnx_act.evidence.aligning import Method


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node that stands between the values before and the value that parts.

    Attributes:
        name: its name, "" when it has none.
        op_type: its operator, with the domain where that is not ONNX's own.
        provenance: what a tool noted on it when it wrote it: `rule`, `from`, `to`, `nodes`.
    """

    name: str
    op_type: str
    provenance: dict[str, str]


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The numbers that a value held in the reference, over all feeds.

    Attributes:
        value: its name.
        low: the least finite number; NaN where there was none.
        high: the greatest.
    """

    value: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PartingValue:
    """A value at which two models part.

    Attributes:
        value: its name in the reference.
        candidate_value: its name in the candidate.
        aligned_by: what says that the two are the same: `name`, `structure` or `interface`.
        activation: the activation whose result it is in the reference, "" where it is none.
        candidate_activation: the same in the candidate.
        inside: the activation that it is an inner value of, with the result's name, or "".
        nodes: what computes it in the reference from the values before; its producer is last.
        candidate_nodes: the same in the candidate.
        rule: the rule of this tool that wrote one of the candidate's nodes, "" where none did.
        inputs: the values before, with what they held.
        severity: how many times as far off as rounding explains; infinite for another shape, NaN
            where there was none, and other integers.
        criterion: what that comes from: `element`, `spread`, `nan`, `shape`, `equality`.
        max_abs: the largest absolute difference.
        noise_floor: the largest absolute difference of the reference from itself.
        at_feed: the number of the feed of `max_abs`, -1 where there is none.
        at_index: the position there.
        reference: the reference there.
        candidate: the candidate there.
    """

    value: str
    candidate_value: str
    aligned_by: Method
    activation: str
    candidate_activation: str
    inside: str
    nodes: tuple[NodeRecord, ...]
    candidate_nodes: tuple[NodeRecord, ...]
    rule: str
    inputs: tuple[ValueRange, ...]
    severity: float
    criterion: str
    max_abs: float
    noise_floor: float
    at_feed: int
    at_index: tuple[int, ...]
    reference: float
    candidate: float


@dataclass(frozen=True, slots=True)
class Location:
    """Where two models part.

    Attributes:
        parts: whether a value was found at which they do.
        message: one sentence on the finding, or on why there is none.
        first: the value.
        differs_since: a value before `first` at which the models give other numbers for the first
            time, within what rounding explains; "" where `first` is that value.
        others: further values that part with no parting value before them.
        compared: values that were compared.
        differing: how many of them are further off than rounding explains.
        by_name: how many were aligned by their names.
        by_structure: how many by what makes them.
        unaligned: how many values of the reference have no counterpart.
        left_out: how many were not compared because the time ran out or they are no tensors.
        out_of_sight: how many values there are in every scope that cannot be looked into.
        feeds: what each feed held.
        notes: what a reader should know of the finding.
    """

    parts: bool
    message: str
    first: PartingValue | None = None
    differs_since: str = ""
    others: tuple[str, ...] = ()
    compared: int = 0
    differing: int = 0
    by_name: int = 0
    by_structure: int = 0
    unaligned: int = 0
    left_out: int = 0
    out_of_sight: dict[str, int] = field(default_factory=dict)
    feeds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(self)
