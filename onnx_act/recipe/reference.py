"""Models on the way to a result that evidence needs: staged, and gone when the conversion ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_act.graph.statistics import coarsest_float, measure_depth
from onnx_act.graph.store import stage_temporarily

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from onnx_act.graph.model import OnnxModel


@dataclass(frozen=True, slots=True)
class RaisedModel:
    """The original at a higher opset, and otherwise untouched.

    Attributes:
        path: where it is staged.
        before: the opset of the original.
        after: the opset it was raised to.
        depth: operators on its longest path.
        coarsest: its coarsest float type, None when it has none.
    """

    path: Path
    before: int
    after: int
    depth: int
    coarsest: str | None


def stage_raised(model: OnnxModel, before: int, folder: Path, stack: ExitStack) -> RaisedModel:
    """Stage a model whose opset was raised, before anything else is done to it.

    Args:
        model: the raised model.
        before: the opset of the original.
        folder: for temporary files.
        stack: removes the staged file when it is closed.
    """
    return RaisedModel(
        path=stack.enter_context(stage_temporarily(model, folder, "raised.onnx")).path,
        before=before,
        after=model.content.opset_imports.get("", 0),
        depth=measure_depth(model),
        coarsest=coarsest_float(model),
    )
