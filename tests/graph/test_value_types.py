"""Types where they are declared, and where they are inferred: functions, branches, contrib."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from graph_sketch import parsed, sites_of
from onnx import TensorProto, helper

from onnx_act.graph.model import load_model
from onnx_act.graph.types import dtype_of, shape_of

_MS = '<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>'


def test_types_are_inferred_and_not_written_to_the_file() -> None:
    proto = parsed(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float16[N, 3, 8, 8] x, float16[4, 3, 3, 3] w) => (y)
        { c = Conv(x, w)  y = Relu(c) }"""
    )
    model = load_model(proto)
    (conv, _) = model.content.graph
    assert dtype_of(conv.outputs[0]) is ir.DataType.FLOAT16
    assert shape_of(conv.outputs[0]) == ("N", 4, 6, 6)
    assert conv.outputs[0].type is None
    assert list(ir.to_proto(model.content).graph.value_info) == []


@pytest.mark.parametrize(
    "node",
    [
        'FusedConv <activation = "Relu"> (x, w)',
        'FusedConv <activation = "Relu", kernel_shape = [3, 3], pads = [0, 0, 0, 0]> (x, w, b)',
        'FusedConv <activation = "Relu"> (x, w, b, z)',
    ],
)
def test_a_fused_convolution_has_the_type_of_a_convolution(node: str) -> None:
    fused = f"com.microsoft.{node}"
    model = load_model(
        parsed(
            _MS
            + f"""g (float[N, 3, 8, 8] x, float[4, 3, 3, 3] w, float[4] b,
            float[N, 4, 6, 6] z) => (y) {{ c = {fused}  y = Sigmoid(c) }}"""
        )
    )
    sigmoid = model.content.graph[1]
    assert dtype_of(sigmoid.outputs[0]) is ir.DataType.FLOAT
    assert shape_of(sigmoid.outputs[0]) == ("N", 4, 6, 6)


@pytest.mark.parametrize(
    ("node", "shape"),
    [
        ("com.microsoft.Gelu(x)", ("N", 4)),
        ("com.microsoft.QuickGelu(x)", ("N", 4)),
        ("com.microsoft.FastGelu(x, b)", ("N", 4)),
        ("com.microsoft.BiasGelu(x, b)", ("N", 4)),
        ('com.microsoft.FusedGemm <activation = "Relu"> (x, w)', ("N", 5)),
        ("com.microsoft.FusedMatMul <alpha = 2.0> (x, w)", ("N", 5)),
    ],
)
def test_types_go_on_behind_contrib_operators(node: str, shape: tuple[object, ...]) -> None:
    proto = parsed(
        _MS + f"g (float[N, 4] x, float[4] b, float[4, 5] w) => (y) {{ h = {node}  y = Tanh(h) }}"
    )
    last = load_model(proto).content.graph[1]
    assert dtype_of(last.outputs[0]) is ir.DataType.FLOAT
    assert shape_of(last.outputs[0]) == shape
    assert sites_of(proto)[-1].dtype is ir.DataType.FLOAT


def test_a_function_body_has_the_types_of_its_call() -> None:
    proto = parsed(
        """<ir_version: 8, opset_import: ["": 17, "my": 1]>
        g (double[N, 4] x) => (y) { h = Neg(x)  y = my.Outer(h) }
        <domain: "my", opset_import: ["": 17, "my": 1]>
        Outer (a) => (b) { c = my.Inner(a)  b = Identity(c) }
        <domain: "my", opset_import: ["": 17]>
        Inner (a) => (b) { b = Relu(a) }"""
    )
    (site,) = sites_of(proto)
    assert site.scope.name == "my::Inner"
    assert site.dtype is ir.DataType.DOUBLE
    assert shape_of(site.input) == ("N", 4)


def test_a_branch_has_the_types_of_what_it_captures() -> None:
    branches = {
        name: helper.make_graph(
            [
                helper.make_node("Neg", ["h"], [f"n_{name}"]),
                helper.make_node(op, [f"n_{name}"], [name]),
            ],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT16, None)],
        )
        for name, op in (("then_branch", "Relu"), ("else_branch", "Tanh"))
    }
    graph = helper.make_graph(
        [
            helper.make_node("Neg", ["x"], ["h"]),
            helper.make_node("If", ["c"], ["y"], **branches),  # type: ignore[arg-type]
        ],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["N", 4]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["N", 4])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    sites = sites_of(proto)
    assert [s.name for s in sites] == ["tanh", "relu"]  # attributes are stored by name
    assert [s.dtype for s in sites] == [ir.DataType.FLOAT16] * 2
    assert [shape_of(s.input) for s in sites] == [("N", 4)] * 2


def test_an_unknown_operator_hides_the_type_and_no_more() -> None:
    proto = parsed(
        """<ir_version: 8, opset_import: ["": 17, "other": 3]>
        g (float[N, 4] x) => (y) { h = other.Thing(x)  y = Relu(h) }"""
    )
    (site,) = sites_of(proto)
    assert site.name == "relu"
    assert site.dtype is None
    assert shape_of(site.input) is None


def test_a_per_channel_constant_beside_an_unknown_rank_is_not_elementwise() -> None:
    # [4, 1, 1] may widen what it meets: x may be of rank one.
    text = """<ir_version: 8, opset_import: ["": 17, "other": 3]>
        g (float[N, 4, 2, 2] x) => (y)
        <float[4, 1, 1] s = {0.1, 0.2, 0.3, 0.4}>
        { h = %s  m = Mul(h, s)  y = Max(h, m) }"""
    assert sites_of(parsed(text % "other.Thing(x)")) == []
    assert [s.name for s in sites_of(parsed(text % "Neg(x)"))] == ["prelu"]
