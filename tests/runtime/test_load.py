"""What the runtime says it made of a model, and the facts about it that reading it relies on."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from onnx_act.errors import EvidenceError, OnnxActError
from onnx_act.runtime.load import LoadedNode, optimized_nodes, stored_nodes
from onnx_act.runtime.session import WEIGHTS, OptimizationLevel, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _model(body: str, inputs: str, outputs: str, opset: int = 20) -> onnx.ModelProto:
    """With W, V and B for convolutions of 16 channels in two and one dimensions, G for Gemm."""
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>
        g ({inputs}) => ({outputs}) {{ {body} }}"""
    )
    rng = np.random.default_rng(0)
    for name, shape in (("W", (16, 16, 3, 3)), ("V", (16, 16, 3)), ("B", (16,)), ("G", (16, 16))):
        array = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.checker.check_model(model)
    return model


def _image(body: str) -> onnx.ModelProto:
    return _model(body, "float[1,16,8,8] x", "float[1,16,M,N] y")


def _loaded(model: onnx.ModelProto, folder: Path) -> list[LoadedNode]:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return list(optimized_nodes(path))


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)


def _by_onnx(model: onnx.ModelProto) -> list[LoadedNode]:
    return [
        LoadedNode(
            node.op_type,
            node.domain,
            node.name,
            tuple(node.output),
            next((a.s.decode() for a in node.attribute if a.name == "activation"), ""),
        )
        for node in _all_nodes(model.graph)
    ]


def test_reading_agrees_with_onnx() -> None:
    model = _image(
        'c = com.microsoft.FusedConv <activation = "Relu", pads = [1, 1, 1, 1]>'
        " (x, W, B) y = Elu <alpha = 2.5> (c)"
    )
    found = list(stored_nodes(model.SerializeToString()))
    assert found == _by_onnx(model)
    assert found[0].activation == "Relu"


def test_reading_finds_what_is_nested() -> None:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[4] x, bool p) => (float[4] y) {
            y = If (p) <
                then_branch = t () => (r) {
                    k = Constant <value = int64 {2}> ()
                    r = If (p) <then_branch = u () => (a) { a = Relu (x) },
                                else_branch = v () => (b) { b = Tanh (x) }> },
                else_branch = e () => (q) { q = LeakyRelu <alpha = -0.5> (x) }> }"""
    )
    found = list(stored_nodes(model.SerializeToString()))
    assert sorted(n.op_type for n in found) == sorted(
        ["If", "If", "Constant", "Relu", "Tanh", "LeakyRelu"]
    )
    assert sorted(found, key=repr) == sorted(_by_onnx(model), key=repr)


def test_reading_passes_over_everything_else() -> None:
    node = helper.make_node("Op", ["x"], ["y", "", "z"], name="ä\n", domain="ai.onnx")
    node.attribute.append(helper.make_attribute("numbers", [1.5, -2.0]))
    node.attribute.append(helper.make_attribute("activation", 1))
    node.attribute.append(helper.make_attribute("texts", ["activation", "x"]))
    node.doc_string = "d" * 1000
    graph = helper.make_graph([node], "g", [], [], doc_string="g")
    graph.initializer.append(numpy_helper.from_array(np.zeros(1000), "w"))
    model = helper.make_model(graph, producer_name="p", ir_version=8)
    model.metadata_props.add(key="k", value="v")
    (found,) = stored_nodes(model.SerializeToString())
    assert found == LoadedNode("Op", "", "ä\n", ("y", "", "z"), "")


def test_what_is_damaged_is_an_error_or_less_and_nothing_else() -> None:
    whole = _image("c = Conv (x, W, B) y = Relu (c)").SerializeToString()
    with pytest.raises(EvidenceError, match="is cut short"):
        list(stored_nodes(whole[: len(whole) // 2]))
    with pytest.raises(EvidenceError, match="is not a model"):
        list(stored_nodes(b"no model"))
    rng = random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole[: rng.randrange(400)])
        for _ in range(min(3, len(damaged))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        with contextlib.suppress(EvidenceError):
            list(stored_nodes(bytes(damaged)))


def test_nothing_is_left_behind_and_no_weights_are_written(tmp_path: Path) -> None:
    model = _image("c = Conv (x, W, B) y = Relu (c)")
    assert _loaded(model, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    settings = SessionSettings(optimized_to=tmp_path / "optimized.onnx")
    open_session(tmp_path / "model.onnx", settings)
    assert (tmp_path / WEIGHTS).stat().st_size > 9000
    assert (tmp_path / "optimized.onnx").stat().st_size < 3000


def test_external_weights_are_found(tmp_path: Path) -> None:
    model = _image("c = Conv (x, W, B) y = Relu (c)")
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.data", size_threshold=0)
    assert [n.activation for n in optimized_nodes(path) if n.activation] == ["Relu"]


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_what_cannot_be_loaded_is_said(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OnnxActError):
        optimized_nodes(path)


def test_a_provider_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(_image("y = Relu (x)"), path)
    with pytest.raises(OnnxActError, match="NoSuchExecutionProvider"):
        optimized_nodes(path, "NoSuchExecutionProvider")


# What follows was seen in ONNX Runtime 1.23 to 1.31; `recipe.loaded` relies on it.


def _operators(nodes: list[LoadedNode]) -> list[str]:
    return sorted(n.op_type for n in nodes)


def test_a_fused_conv_has_the_name_of_the_conv_and_the_output_of_the_activation(
    tmp_path: Path,
) -> None:
    model = _model("c = Conv (x, V, B) y = Relu (c)", "float[1,16,8] x", "float[1,16,M] y")
    model.graph.node[0].name, model.graph.node[1].name = "conv", "relu"
    (node,) = _loaded(model, tmp_path)
    assert node == LoadedNode("FusedConv", "com.microsoft", "conv", ("y",), "Relu")


def test_in_the_blocked_layout_a_conv_is_named_after_its_value(tmp_path: Path) -> None:
    model = _image("c = Conv (x, W, B) r = Relu (c) d = Conv (r, W, B) y = Elu (d)")
    nodes = _loaded(model, tmp_path)
    if not any(n.op_type == "ReorderInput" for n in nodes):
        pytest.skip("this processor has no blocked layout")
    convs = {n.name: n for n in nodes if n.domain == "com.microsoft.nchwc" and n.op_type == "Conv"}
    assert convs.keys() == {"r_nchwc", "d_nchwc"}
    assert convs["r_nchwc"].activation == "Relu"
    assert convs["d_nchwc"].activation == ""
    assert not {"c", "r", "d", "y"} & {v for n in convs.values() for v in n.outputs}
    assert next(n for n in nodes if n.op_type == "ReorderOutput").outputs == ("d",)


def test_a_quick_gelu_is_named_after_the_last_node(tmp_path: Path) -> None:
    model = _model("s = Sigmoid (x) y = Mul (x, s)", "float[4] x", "float[4] y")
    model.graph.node[1].name = "mul"
    (node,) = _loaded(model, tmp_path)
    assert (node.op_type, node.domain) == ("QuickGelu", "com.microsoft")
    assert node.name.startswith("mul/")
    assert node.outputs == ("y",)


def test_functions_are_inlined_without_names(tmp_path: Path) -> None:
    model = _model("a = Mish (x) y = Neg (a)", "float[4] x", "float[4] y")
    model.graph.node[0].name = "mish"
    nodes = _loaded(model, tmp_path)
    assert _operators(nodes) == ["Mul", "Neg", "Softplus", "Tanh"]
    assert not any("mish" in n.name for n in nodes)
    assert [n.op_type for n in nodes if "a" in n.outputs] == ["Mul"]


def test_a_residual_sum_may_be_folded_into_a_conv(tmp_path: Path) -> None:
    model = _image(
        """p = Conv <pads = [1, 1, 1, 1]> (x, W, B) q = Relu (p)
           c = Conv <pads = [1, 1, 1, 1]> (q, W, B) s = Add (c, q) y = Relu (s)"""
    )
    nodes = _loaded(model, tmp_path)
    if not any(n.op_type == "ReorderInput" for n in nodes):
        pytest.skip("this processor has no blocked layout")
    convs = {n.name: n.activation for n in nodes if n.op_type == "Conv"}
    assert convs == {"q_nchwc": "Relu", "c_nchwc": "Relu"}
    assert not {"Add", "Relu"} & {n.op_type for n in nodes}


def test_the_level_is_the_default_one(tmp_path: Path) -> None:
    model = _model(
        "m = MatMul (x, G) a = Add (m, B) y = Relu (a)", "float[2,16] x", "float[2,16] y"
    )
    (node,) = _loaded(model, tmp_path)
    assert (node.op_type, node.activation, node.outputs) == ("FusedGemm", "Relu", ("y",))
    assert SessionSettings().level is OptimizationLevel.ALL
