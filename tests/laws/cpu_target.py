"""The target that the laws are held for: what the runtime's CPU provider runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnx_act.runtime.probe import can_run

if TYPE_CHECKING:
    from onnx_act.graph.model import OnnxModel


@dataclass(frozen=True, slots=True)
class Cpu:
    """Asks the runtime."""

    def reason_against(self, model: bytes, *, may_crash: bool = False) -> str | None:
        found = can_run(model, may_crash=may_crash)
        return None if found.ok else found.reason


def stored(model: OnnxModel) -> bytes:
    """The model as bytes that differ when it does."""
    return bytes(ir.to_proto(model.content).SerializeToString(deterministic=True))
