"""How much larger folding may make a file, where folded weights are copies of shared ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_act.graph.model import OnnxModel


class GrowthBudget:
    """What a rule may still add to a model.

    Args:
        model: as it is.
        factor: how many times as large its constants may become, at least 1.
    """

    def __init__(self, model: OnnxModel, factor: float) -> None:
        self._factor = factor
        self._total = 0
        if not math.isinf(factor):
            self._total = sum(
                value.const_value.nbytes
                for scope in model.scopes()
                for value in scope.graph.initializers.values()
                if value.const_value is not None
            )
        self._added = 0

    def reason_against(self, added: int) -> str | None:
        """Why so many more bytes are too many; None, and they are spent, when they are not."""
        if added and self._added + added > (self._factor - 1.0) * self._total:
            return (
                f"its weight is shared, and a copy would grow the file beyond "
                f"{self._factor:g} times (--max-growth)"
            )
        self._added += added
        return None
