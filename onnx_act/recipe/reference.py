"""Models on the way to a result that evidence needs: staged, and gone when the conversion ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_act.errors import UsageError
from onnx_act.graph.statistics import coarsest_float, measure_depth
from onnx_act.graph.store import stage_model

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


def stage_raised(
    model: OnnxModel, before: int, original: Path, folder: Path, stack: ExitStack
) -> RaisedModel:
    """Stage a model whose opset was raised, before anything else is done to it.

    Args:
        model: the raised model.
        before: the opset of the original.
        original: the file it was read from.
        folder: for temporary files.
        stack: removes the staged file when it is closed.
    """
    return RaisedModel(
        path=stage_reference(model, original, folder, "raised.onnx", stack),
        before=before,
        after=model.content.opset_imports.get("", 0),
        depth=measure_depth(model),
        coarsest=coarsest_float(model),
    )


def stage_reference(
    model: OnnxModel, original: Path, folder: Path, name: str, stack: ExitStack
) -> Path:
    """Stage a model: beside its external weights, to share them, else among temporary files.

    Args:
        model: what to stage.
        original: the file it was read from, which external weights lie beside.
        folder: for temporary files.
        name: the end of its file name.
        stack: removes the staged file when it is closed.
    """
    if _keeps_weights_apart(model):
        try:
            return stack.enter_context(stage_model(model, original.parent / name)).path
        except UsageError:
            # The input's folder cannot be written: its weights are copied.
            pass
    return stack.enter_context(stage_model(model, folder / name)).path


def _keeps_weights_apart(model: OnnxModel) -> bool:
    """Whether some weights are in files of their own."""
    weights = (v.const_value for s in model.scopes() for v in s.graph.initializers.values())
    # Of all kinds of tensors only those in a file of their own have a folder to find it in.
    return any(hasattr(weight, "base_dir") for weight in weights)
