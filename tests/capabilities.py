"""Stand-ins for what a runtime says of itself: the same answers on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_act.runtime.probe import can_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from onnx_act.graph.model import OnnxModel
    from onnx_act.rewrite.rule import LoadedGraph


@dataclass(frozen=True, slots=True)
class FusesNothing:
    """A runtime that runs every node as it stands."""

    def fused_as(self, nodes: Sequence[ir.Node]) -> str | None:  # noqa: ARG002 - the protocol
        return None


class StandIn:
    """Runs everything, rightly, fuses nothing by itself, and is twice as fast after any change."""

    __slots__ = ()

    def reason_against(self, model: bytes, *, may_crash: bool = False) -> str | None:  # noqa: ARG002 - the protocol
        return None

    def miscomputation(self, model: bytes) -> str | None:  # noqa: ARG002 - the protocol
        return None

    def overflow(self, model: bytes) -> str | None:  # noqa: ARG002 - the protocol
        return None

    def speedup(self, old: OnnxModel, new: OnnxModel) -> float:  # noqa: ARG002 - the protocol
        return 2.0

    def at_load(self, model: OnnxModel) -> LoadedGraph:  # noqa: ARG002 - the protocol
        return FusesNothing()


@dataclass(frozen=True, slots=True)
class Cpu(StandIn):
    """What the runtime's CPU provider runs."""

    def reason_against(self, model: bytes, *, may_crash: bool = False) -> str | None:
        found = can_run(model, may_crash=may_crash)
        return None if found.ok else found.reason
