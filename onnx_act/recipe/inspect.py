"""What activations a model has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_act.graph.finding import find_sites
from onnx_act.graph.garbage import collection_paused
from onnx_act.graph.model import load_model
from onnx_act.recipe.fused_for import fused_for, fused_for_others
from onnx_act.report.document import ModelEntry

if TYPE_CHECKING:
    from onnx_act.graph.model import ModelSource, OnnxModel
    from onnx_act.graph.selectors import Selector


def inspect_model(
    source: ModelSource, *, routine: bool = False, where: Selector | None = None
) -> ModelEntry:
    """Every site of a model.

    Args:
        source: a path, `onnx.ModelProto` or `onnx_ir.Model`.
        routine: whether to list exp, erf, identity and bounds of integers too.
        where: which sites to list; None for all.

    Raises:
        ModelError: the model cannot be read.
    """
    with collection_paused():
        model = load_model(source)
        sites = find_sites(model, routine=routine)
    chosen = tuple(s for s in sites if where is None or where(s))
    shown = str(model.path) if model.path else "<model>"
    return ModelEntry(path=shown, sites=chosen, notes=_notes(model))


def _notes(model: OnnxModel) -> tuple[str, ...]:
    """What stands against running the model on the providers that run here."""
    if not fused_for(model):
        return ()
    from onnx_act.runtime.target import (  # noqa: PLC0415 - few models need the runtime
        provider_states,
        short_name,
    )

    return fused_for_others(model, [short_name(s.name) for s in provider_states() if s.runs])
