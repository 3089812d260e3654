"""What a model has, and what the catalogue has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx_act.graph.selectors import parse_selector
from onnx_act.recipe.inspect import inspect_model
from onnx_act.report.document import Report

if TYPE_CHECKING:
    from onnx_act.graph.model import ModelSource


def inspect(model: ModelSource, *, where: str | None = None, routine: bool = False) -> Report:
    """What activations a model has, and where.

    Args:
        model: a path, `onnx.ModelProto` or `onnx_ir.Model`.
        where: a selector, see `graph.selectors`.
        routine: whether to list exp, erf, identity and bounds of integers too.

    Raises:
        ModelError: the model cannot be read.
        SelectorError: the selector does not parse.
    """
    selector = None if where is None else parse_selector(where)
    return Report("inspect", (inspect_model(model, routine=routine, where=selector),))


def catalog(name: str | None = None) -> dict[str, Any]:
    """The catalogue, or one activation of it, as plain data.

    Raises:
        UnknownNameError: nobody knows the activation.
    """
    from onnx_act.report.catalog_page import catalog_document  # noqa: PLC0415 - draws in rich

    return catalog_document(name)
