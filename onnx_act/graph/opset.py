"""Raising the opset of a model, on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
from onnx import version_converter

from onnx_act.errors import ModelUnsupportedError, UsageError
from onnx_act.graph.model import load_model

if TYPE_CHECKING:
    from onnx_act.graph.model import OnnxModel


def raise_opset(model: OnnxModel, opset: int) -> OnnxModel:
    """The same model at a higher opset of the default domain, by onnx's version converter.

    Raises:
        UsageError: the model is already above it, or nobody knows that opset.
        ModelUnsupportedError: the converter cannot raise this model; its reason is given.
    """
    current = model.content.opset_imports.get("", 0)
    newest = onnx.defs.onnx_opset_version()
    if opset > newest:
        raise UsageError(f"--opset {opset} is newer than this onnx knows ({newest})")
    if opset < current:
        raise UsageError(f"--opset {opset} is below the model's {current}; opsets are only raised")
    if opset == current:
        return model
    try:
        raised = version_converter.convert_version(ir.to_proto(model.content), opset)
    except Exception as error:
        # The converter raises bare RuntimeErrors of many texts.
        reason = str(error).strip().splitlines()[-1][:200]
        raise ModelUnsupportedError(f"the opset cannot be raised to {opset}: {reason}") from error
    # Not checked once more: what the checker holds against a model with external weights that is
    # in no folder yet is that it does not find them.
    content = ir.from_proto(raised)
    if model.path is not None:
        ir.external_data.set_base_dir(content.graph, model.path.resolve().parent)
    result = load_model(content)
    result.path, result.declared = model.path, model.declared
    return result
