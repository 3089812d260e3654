"""Sites in local functions, branches and loop bodies."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from graph_sketch import parsed, sites_of
from onnx import TensorProto, helper

from onnx_act.errors import ModelReadError
from onnx_act.graph.model import load_model

_MAIN = '<ir_version: 8, opset_import: ["": 17, "my": 1]> g (float[N, 4] x) => (y)'


def _found(text: str) -> list[tuple[str, str, str]]:
    return [(s.scope.name, s.name, str(s.output.name)) for s in sites_of(parsed(text))]


def test_a_function_that_is_called_twice_has_one_site() -> None:
    text = (
        _MAIN
        + """{ a = my.Act(x)  y = my.Act(a) }
        <domain: "my", opset_import: ["": 17]> Act (x) => (y) { s = Sigmoid(x)  y = Mul(x, s) }"""
    )
    assert _found(text) == [("my::Act", "silu", "y")]


def test_names_of_a_function_do_not_shadow_those_of_the_graph() -> None:
    text = (
        _MAIN
        + """{ s = Sigmoid(x)  a = my.Act(s)  y = Mul(a, s) }
        <domain: "my", opset_import: ["": 17]> Act (x) => (y) { s = Neg(x)  y = Relu(s) }"""
    )
    assert _found(text) == [("", "sigmoid", "s"), ("my::Act", "relu", "y")]


def test_nested_functions() -> None:
    text = (
        _MAIN
        + """{ y = my.Outer(x) }
        <domain: "my", opset_import: ["": 17, "my": 1]>
        Outer (a) => (b) { t = Tanh(a)  b = my.Inner(t) }
        <domain: "my", opset_import: ["": 17]> Inner (a) => (b) { n = Neg(a)  b = Elu(n) }"""
    )
    assert _found(text) == [("my::Outer", "tanh", "t"), ("my::Inner", "elu", "b")]


def test_a_function_that_is_only_part_of_an_activation_counts_with_its_call() -> None:
    # Twice is plain arithmetic; x * Sigmoid(x) is only there with the call seen through.
    text = (
        _MAIN
        + """{ h = my.Half(x)  t = Tanh(h)  o = my.OnePlus(t)  y = Mul(h, o) }
        <domain: "my", opset_import: ["": 17]>
        Half (a) => (b) { k = Constant <value_float = 0.5> ()  b = Mul(a, k) }
        <domain: "my", opset_import: ["": 17]>
        OnePlus (a) => (b) { k = Constant <value_float = 1.0> ()  b = Add(a, k) }"""
    )
    assert _found(text) == [("", "silu", "y")]


def test_a_function_with_a_site_inside_is_not_part_of_another() -> None:
    text = (
        _MAIN
        + """{ g = my.Gate(x)  y = Mul(x, g) }
        <domain: "my", opset_import: ["": 17]> Gate (a) => (b) { b = Sigmoid(a) }"""
    )
    assert _found(text) == [("my::Gate", "sigmoid", "b")]


def test_a_function_of_two_inputs_is_no_function_of_one() -> None:
    text = (
        _MAIN
        + """{ n = Neg(x)  y = my.Gate(x, n) }
        <domain: "my", opset_import: ["": 17]>
        Gate (a, b) => (c) { s = Sigmoid(b)  c = Mul(a, s) }"""
    )
    assert _found(text) == [("my::Gate", "sigmoid", "s")]


_OLD = """ { y = my.Old(x) }
    <domain: "my", opset_import: ["": %d]> Old (a) => (b) { b = %s (a) }"""


def test_an_opset_of_a_function_is_its_own() -> None:
    # Tanh is the same operator at 13 and 17.
    (site,) = sites_of(parsed(_MAIN + _OLD % (13, "Tanh")))
    assert site.scope.opset() == 13


def test_an_opset_of_a_function_that_changes_its_operators_is_refused() -> None:
    # The standard wants every operator of the body to be the same one at both opsets.
    with pytest.raises(ModelReadError, match="not compatible"):
        load_model(parsed(_MAIN + _OLD % (10, "Clip <min = 0.0, max = 6.0>")))


def test_an_attribute_that_is_passed_in_is_not_known() -> None:
    text = (
        _MAIN
        + """{ y = my.Act <slope = 0.1> (x) }
        <domain: "my", opset_import: ["": 17]>
        Act <slope> (a) => (b) { b = LeakyRelu <alpha: float = @slope> (a) }"""
    )
    (site,) = sites_of(parsed(text))
    assert (site.name, site.parameters) == ("unknown", {})
    assert site.formula == "LeakyRelu(x) with alpha given by the caller"


def _value(name: str, kind: int = TensorProto.FLOAT, shape: Any = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _graph(name: str, nodes: list[Any], outputs: list[str], inputs: Any = ()) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, list(inputs), [_value(o) for o in outputs])


def _model(nodes: list[Any], *, more: Any = ()) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [_value("x", shape=["N", 4]), _value("c", TensorProto.BOOL, []), *more],
        [_value("y")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _if(out: str, then: onnx.GraphProto, other: onnx.GraphProto, name: str = "") -> Any:
    return helper.make_node("If", ["c"], [out], name, then_branch=then, else_branch=other)


def test_ifs_in_ifs() -> None:
    inner = _if(
        "i",
        _graph("a", [helper.make_node("Sigmoid", ["h"], ["d1"])], ["d1"]),
        _graph("b", [helper.make_node("Elu", ["h"], ["d2"])], ["d2"]),
        "inner",
    )
    outer = _if(
        "y",
        _graph("t", [helper.make_node("Neg", ["x"], ["h"]), inner], ["i"]),
        _graph("e", [helper.make_node("Relu", ["x"], ["r"])], ["r"]),
        "outer",
    )
    sites = sites_of(_model([outer]))
    assert {(s.scope.name, s.name) for s in sites} == {
        ("outer.else_branch", "relu"),
        ("outer.then_branch/inner.then_branch", "sigmoid"),
        ("outer.then_branch/inner.else_branch", "elu"),
    }
    assert {s.id for s in sites} == {f"{s.scope.name}/{s.output.name}" for s in sites}


def test_a_region_does_not_reach_across_a_scope() -> None:
    # The gate is outside, the product inside: nothing may be replaced as one.
    product = helper.make_node("Mul", ["x", "s"], ["p"])
    branch = _if(
        "y",
        _graph("t", [product], ["p"]),
        _graph("e", [helper.make_node("Identity", ["x"], ["q"])], ["q"]),
    )
    sites = sites_of(_model([helper.make_node("Sigmoid", ["x"], ["s"]), branch]))
    assert [(s.scope.name, s.name) for s in sites] == [("", "sigmoid")]


def test_a_whole_activation_of_a_captured_value_is_found_inside() -> None:
    nodes = [helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["s", "x"], ["p"])]
    branch = _if(
        "y",
        _graph("t", nodes, ["p"]),
        _graph("e", [helper.make_node("Identity", ["x"], ["q"])], ["q"]),
        "sw",
    )
    (site,) = sites_of(_model([branch]))
    assert (site.scope.name, site.name) == ("sw.then_branch", "silu")
    assert site.input is not None
    assert site.input.name == "x"


def test_loop_and_scan_bodies() -> None:
    body = _graph(
        "body",
        [
            helper.make_node("Identity", ["go"], ["again"]),
            helper.make_node("LeakyRelu", ["state"], ["next"], alpha=0.3),
        ],
        ["again", "next"],
        [_value("n", TensorProto.INT64, []), _value("go", TensorProto.BOOL, []), _value("state")],
    )
    body.output[0].type.tensor_type.elem_type = TensorProto.BOOL
    loop = helper.make_node("Loop", ["m", "c", "x"], ["l"], "turns", body=body)
    step = _graph(
        "step",
        [
            helper.make_node("Add", ["sum", "row"], ["out"]),
            helper.make_node("Softplus", ["out"], ["each"]),
        ],
        ["out", "each"],
        [_value("sum"), _value("row")],
    )
    scan = helper.make_node("Scan", ["z", "l"], ["last", "y"], "rows", body=step, num_scan_inputs=1)
    model = _model([loop, scan], more=[_value("m", TensorProto.INT64, []), _value("z", shape=[4])])
    sites = sites_of(model)
    assert [(s.scope.name, s.name) for s in sites] == [
        ("turns.body", "leaky_relu"),
        ("rows.body", "softplus"),
    ]
    assert [s.role.value for s in sites] == ["main", "main"]


def test_a_deep_nest_is_no_recursion_of_ours() -> None:
    # 24 is below protobuf's own limit of nesting.
    branch = _graph("leaf", [helper.make_node("Relu", ["x"], ["v0"])], ["v0"])
    for level in range(1, 24):
        other = _graph("o", [helper.make_node("Identity", ["x"], [f"o{level}"])], [f"o{level}"])
        branch = _graph(f"l{level}", [_if(f"v{level}", branch, other, f"if{level}")], [f"v{level}"])
    last = _graph("o", [helper.make_node("Identity", ["x"], ["o"])], ["o"])
    (site,) = sites_of(_model([_if("y", branch, last)]))
    assert site.name == "relu"
    assert site.scope.name.count(".then_branch") == 24
    assert site.role.value == "output"
