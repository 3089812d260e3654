"""What the laws compare models by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

if TYPE_CHECKING:
    from onnx_act.graph.model import OnnxModel


def stored(model: OnnxModel) -> bytes:
    """The model as bytes that differ when it does."""
    return bytes(ir.to_proto(model.content).SerializeToString(deterministic=True))
