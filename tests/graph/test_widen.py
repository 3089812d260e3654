from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_act.graph.model import load_model
from onnx_act.graph.widen import widened
from onnx_act.runtime.session import open_session


def _model(code: int, kind: type) -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.array([0.1, 3.0], kind), "w")
    constant = numpy_helper.from_array(np.array([7.0], kind), "held")
    nodes = [
        helper.make_node("Constant", [], ["k"], value=constant),
        helper.make_node("Mul", ["x", "w"], ["m"]),
        helper.make_node("Cast", ["m"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["f"], ["s"], to=code),
        helper.make_node("Add", ["s", "k"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", code, [2])
    y = helper.make_tensor_value_info("y", code, [2])
    graph = helper.make_graph(nodes, "g", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(TensorProto.FLOAT16, np.float16), (TensorProto.BFLOAT16, ml_dtypes.bfloat16)],
)
def test_the_same_numbers_without_the_rounding(code: int, kind: type) -> None:
    model = load_model(_model(code, kind))
    wide = widened(model, 1 << 20)
    assert wide is not None
    x = np.array([1.5, -2.0], np.float32)
    (y,) = open_session(wide).run({"x": x})
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, x * np.array([0.1, 3.0], kind).astype(np.float32) + 7)
    assert model.content.graph.inputs[0].dtype != 1


def test_what_has_nothing_of_16_bits_or_is_too_large_is_left() -> None:
    assert widened(load_model(_model(TensorProto.FLOAT, np.float32)), 1 << 20) is None
    assert widened(load_model(_model(TensorProto.FLOAT16, np.float16)), 2) is None
