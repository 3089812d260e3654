"""Edits keep names, types, metadata and what others still use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from float_runs import session_of
from graph_sketch import parsed

from onnx_act.activations.catalogue import named
from onnx_act.graph.edit import PROVENANCE, Editor
from onnx_act.graph.finding import find_sites
from onnx_act.graph.lower import ExpressionLowering, NodeEmitter, emit, lowerings
from onnx_act.graph.model import OnnxModel, load_model

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_act.activations.activation import Activation
    from onnx_act.graph.sites import Site

_HEAD = '<ir_version: 8, opset_import: ["": 17]>'


def _swap(editor: Editor, site: Site, to: Activation) -> list[ir.Node]:
    assert site.input is not None
    assert site.dtype is not None
    prefix = f"{site.output.name}/{to.name}"
    emitter = NodeEmitter(site.dtype, site.scope.opset(), editor.fresh_name, prefix)
    how = ExpressionLowering("")
    result = emit(how, to, to.defaults(), site.input, emitter)
    editor.replace(site.nodes, site.output, emitter.nodes, result, {"rule": "test", "to": to.name})
    return emitter.nodes


def _checked(model: OnnxModel) -> onnx.ModelProto:
    proto = ir.to_proto(model.content)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _all_names(proto: onnx.ModelProto) -> list[str]:
    names = [o for n in proto.graph.node for o in n.output if o]
    names += [i.name for i in proto.graph.initializer]
    names += [i.name for i in proto.graph.input]
    return names


@pytest.fixture
def gelu() -> Activation:
    return named("gelu")


def test_a_replacement_keeps_the_names_and_types_at_its_edges(gelu: Activation) -> None:
    proto = parsed(
        _HEAD
        + """g (float[N, 4] x) => (float[N, 4] y, float[N, 4] mid)
        <float[N, 4] h> { h = Neg(x)  mid = Relu(h)  y = Tanh(mid) }"""
    )
    proto.graph.node[1].metadata_props.add(key="old", value="node")
    model = load_model(proto)
    site = find_sites(model)[0]
    site.output.metadata_props["kept"] = "yes"
    site.output.doc_string = "the middle"
    nodes = _swap(Editor(model), site, gelu)
    out = _checked(model)
    assert [o.name for o in out.graph.output] == ["y", "mid"]
    assert out.graph.output[1].type == proto.graph.output[1].type
    assert [n.op_type for n in out.graph.node][:1] == ["Neg"]
    assert out.graph.node[-1].op_type == "Tanh"
    assert "Relu" not in {n.op_type for n in out.graph.node}
    held = nodes[-1].outputs[0]
    assert held.name == "mid"
    assert held.metadata_props["kept"] == "yes"
    assert held.doc_string == "the middle"
    assert len(_all_names(out)) == len(set(_all_names(out)))


def test_every_new_node_says_where_it_comes_from(gelu: Activation) -> None:
    model = load_model(parsed(_HEAD + "g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"))
    nodes = _swap(Editor(model), find_sites(model)[0], gelu)
    for node in nodes:
        assert node.metadata_props[f"{PROVENANCE}rule"] == "test"
        assert node.metadata_props[f"{PROVENANCE}to"] == "gelu"
    out = _checked(model)
    noted = [{p.key: p.value for p in n.metadata_props} for n in out.graph.node]
    assert all(m[f"{PROVENANCE}rule"] == "test" for m in noted)


def test_names_are_new_in_the_whole_model(gelu: Activation) -> None:
    # Bait: the names that the emitter would like are taken, here and in another scope.
    baits = [f"y/gelu/{op}" for op in ("Erf", "Div", "Add", "Mul", "constant")]
    lines = "  ".join(f'"{bait}" = Neg(x)' for bait in baits)
    text = _HEAD + "g (float[N, 4] x) => (float[N, 4] y) { BAIT  y = Relu(x) }"
    try:
        proto = parsed(text.replace("BAIT", lines))
    except onnx.parser.ParseError:
        proto = parsed(text.replace("BAIT", " ".join(f"b{k} = Neg(x)" for k in range(len(baits)))))
        for node, bait in zip(proto.graph.node, baits, strict=False):
            node.output[0] = bait
            node.name = bait
    model = load_model(proto)
    site = next(s for s in find_sites(model) if s.name == "relu")
    editor = Editor(model)
    nodes = _swap(editor, site, gelu)
    out = _checked(model)
    assert len(_all_names(out)) == len(set(_all_names(out)))
    assert not {n.name for n in nodes} & set(baits)
    node_names = [n.name for n in out.graph.node if n.name]
    assert len(node_names) == len(set(node_names))


def test_fresh_names_never_repeat() -> None:
    model = load_model(parsed(_HEAD + "g (float[N] x) => (float[N] y) { y = Relu(x) }"))
    editor = Editor(model)
    made = [editor.fresh_name("y") for _ in range(5)] + [editor.fresh_name("z"), "z"]
    assert made[:5] == ["y_1", "y_2", "y_3", "y_4", "y_5"]
    assert editor.fresh_name("z") == "z_1"


def test_a_constant_that_others_use_survives(models: Path) -> None:
    # Both GELUs of this network share their scalar initializers.
    model = load_model(models / "digits_mlp_gelu.onnx")
    original = onnx.load(models / "digits_mlp_gelu.onnx")
    sites = find_sites(model)
    assert [s.name for s in sites] == ["gelu", "gelu"]
    used = [{v.name for n in s.nodes for v in n.inputs if v is not None} for s in sites]
    shared = (used[0] & used[1]) & {i.name for i in original.graph.initializer}
    assert shared
    editor = Editor(model)
    _swap(editor, sites[0], named("relu"))
    half = _checked(model)
    assert shared <= {i.name for i in half.graph.initializer}
    _swap(editor, sites[1], named("relu"))
    whole = _checked(model)
    assert not shared & {i.name for i in whole.graph.initializer}
    weights = {i.name for i in original.graph.initializer} - shared
    assert weights <= {i.name for i in whole.graph.initializer}
    assert [s.name for s in find_sites(load_model(whole))] == ["relu", "relu"]


def test_an_overridable_initializer_is_part_of_the_signature() -> None:
    proto = parsed(
        '<ir_version: 8, opset_import: ["": 17]>'
        """g (float[N, 4] x, float[1] s = {0.5}) => (float[N, 4] y)
        { m = Mul(x, s)  y = Max(x, m) }"""
    )
    model = load_model(proto)
    graph = model.content.graph
    nodes = list(graph)
    editor = Editor(model)
    relu = ir.Node("", "Relu", [graph.inputs[0]], outputs=[ir.Value(name="r")])
    editor.replace(nodes, nodes[-1].outputs[0], [relu], relu.outputs[0], {})
    out = _checked(model)
    assert [i.name for i in out.graph.input] == ["x", "s"]
    assert [i.name for i in out.graph.initializer] == ["s"]


def test_a_constant_subgraph_goes_with_its_last_use() -> None:
    proto = parsed(
        _HEAD
        + """g (float[N, 4] x) => (float[N, 4] y)
        { k = Constant <value_float = 0.25> ()  q = Sqrt(k)  m = Mul(x, q)  y = Max(x, m) }"""
    )
    model = load_model(proto)
    (site,) = find_sites(model)
    _swap(Editor(model), site, named("relu"))
    assert [n.op_type for n in _checked(model).graph.node] == ["Relu"]


@pytest.mark.parametrize(
    ("body", "outputs", "left"),
    [
        ("h = Neg(x)  r = Relu(h)  y = Abs(r)", "float[N] y", ["Neg", "Abs"]),
        ("h = Neg(x)  y = Relu(h)", "float[N] y", ["Neg"]),
        ("h = Neg(x)  y = Relu(h)", "float[N] y, float[N] h", ["Neg", "Identity"]),
        ("y = Relu(x)", "float[N] y", ["Identity"]),
        ("h = Neg(x)  y = Relu(h)  z = Abs(h)", "float[N] y, float[N] z", ["Neg", "Abs"]),
    ],
)
def test_a_bypass_keeps_every_output_name(body: str, outputs: str, left: list[str]) -> None:
    proto = parsed(_HEAD + f"g (float[N] x) => ({outputs}) {{ {body} }}")
    model = load_model(proto)
    relu = next(n for n in model.content.graph if n.op_type == "Relu")
    source = relu.inputs[0]
    assert source is not None
    Editor(model).bypass([relu], source)
    out = _checked(model)
    assert [n.op_type for n in out.graph.node] == left
    assert [(o.name, o.type) for o in out.graph.output] == [
        (o.name, o.type) for o in proto.graph.output
    ]
    x = np.linspace(-3, -1, 5, dtype=np.float32)
    for mine, theirs in zip(
        session_of(out).run(None, {"x": x})[:1], [(-x if "Neg" in left else x)], strict=True
    ):
        np.testing.assert_array_equal(mine, abs(theirs) if "Abs(r)" in body else theirs)


@pytest.mark.parametrize("ir_version", [3, 8])
def test_a_new_constant_stands_where_it_may(ir_version: int) -> None:
    text = f'<ir_version: {ir_version}, opset_import: ["": 8]>'
    model = load_model(parsed(text + "g (float[N] x) => (float[N] y) { y = Neg(x) }"))
    (node,) = model.content.graph
    editor = Editor(model)
    tensor = ir.tensor(np.array([2.0], dtype=np.float32))
    added = editor.add_constant("y", tensor, node)
    assert added.name == "y_1"
    mul = ir.Node("", "Mul", [node.inputs[0], added], outputs=[ir.Value(name="m")])
    editor.replace([node], node.outputs[0], [mul], mul.outputs[0], {})
    out = _checked(model)
    assert [i.name for i in out.graph.initializer] == ([] if ir_version == 3 else ["y_1"])
    assert [i.name for i in out.graph.input] == ["x"]
    (y,) = session_of(out).run(None, {"x": np.ones(3, dtype=np.float32)})
    np.testing.assert_array_equal(y, [2, 2, 2])


def test_a_new_constant_in_a_function_is_a_node() -> None:
    proto = parsed(
        """<ir_version: 8, opset_import: ["": 17, "my": 1]>
        g (float[N] x) => (float[N] y) { y = my.F(x) }
        <domain: "my", opset_import: ["": 17]> F (a) => (b) { b = Neg(a) }"""
    )
    model = load_model(proto)
    (function,) = model.content.functions.values()
    (node,) = function
    added = Editor(model).add_constant("k", ir.tensor(np.float32(1.0)), node)
    producer = added.producer()
    assert producer is not None
    assert producer.op_type == "Constant"
    assert producer.graph is function.graph


def test_a_swap_that_is_swapped_back_computes_the_same(gelu: Activation) -> None:
    proto = parsed(
        _HEAD
        + """g (float[N] x) => (float[N] y)
        { a = Constant <value_float = 1.41421356> ()  o = Constant <value_float = 1.0> ()
          h = Constant <value_float = 0.5> ()  d = Div(x, a)  e = Erf(d)  s = Add(e, o)
          m = Mul(x, s)  y = Mul(m, h) }"""
    )
    model = load_model(proto)
    editor = Editor(model)
    _swap(editor, find_sites(model)[0], named("relu"))
    _swap(editor, find_sites(model)[0], gelu)
    x = np.linspace(-6, 6, 101, dtype=np.float32)
    before, after = (session_of(p).run(None, {"x": x})[0] for p in (proto, _checked(model)))
    np.testing.assert_allclose(before, after, atol=1e-6)


def test_lowerings_start_with_the_operator(gelu: Activation) -> None:
    listed = lowerings(gelu, gelu.defaults(), 20, contrib=True)
    assert [w.label for w in listed][:2] == ["Gelu", "com.microsoft.Gelu"]
    assert isinstance(lowerings(gelu, gelu.defaults(), 19)[0], ExpressionLowering)
