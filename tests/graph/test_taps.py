"""A copy of a model that returns its inner values, and the outline of what it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_act.errors import UsageError
from onnx_act.graph.model import load_model
from onnx_act.graph.store import serialised, stage_temporarily
from onnx_act.graph.taps import outline, tapped
from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session

if TYPE_CHECKING:
    from pathlib import Path

_PLAIN = SessionSettings(level=OptimizationLevel.DISABLE, threads=1)
_W = np.arange(12, dtype=np.float32).reshape(3, 4) - 6.0
_B = np.array([1.0, -1.0, 2.0, -2.0], np.float32)


def _info(name: str, *dims: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


def _mlp(*, scale_as_node: bool = False, scale: float = 0.5) -> onnx.ModelProto:
    """y = relu(x W + b) * scale."""
    held = numpy_helper.from_array(np.array(scale, np.float32), "scale")
    constant = helper.make_node("Constant", [], ["scale"], value=held)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["act"], name="bend"),
        helper.make_node("Mul", ["act", "scale"], ["y"]),
    ]
    weights = [numpy_helper.from_array(_W, "w"), numpy_helper.from_array(_B, "b")]
    if scale_as_node:
        nodes.insert(0, constant)
    else:
        weights.append(held)
    graph = helper.make_graph(nodes, "g", [_info("x", 2, 3)], [_info("y", 2, 4)], weights)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _with_if() -> onnx.ModelProto:
    """The sum of x decides whether relu(a) or a is returned, with a = x + x."""

    def branch(name: str, operator: str) -> onnx.GraphProto:
        node = helper.make_node(operator, ["a"], [f"inside_{name}"])
        return helper.make_graph([node], name, [], [_info(f"inside_{name}", 2, 3)])

    nodes = [
        helper.make_node("Add", ["x", "x"], ["a"]),
        helper.make_node("ReduceSum", ["a"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["positive"]),
        helper.make_node(
            "If",
            ["positive"],
            ["y"],
            name="choose",
            then_branch=branch("yes", "Relu"),
            else_branch=branch("no", "Identity"),
        ),
    ]
    zero = numpy_helper.from_array(np.array(0.0, np.float32), "zero")
    graph = helper.make_graph(nodes, "g", [_info("x", 2, 3)], [_info("y", 2, 3)], [zero])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_inner_values_come_after_the_outputs_and_are_what_is_computed() -> None:
    model = load_model(_mlp())
    session = open_session(serialised(tapped(model, ["act", "product"])), _PLAIN)
    assert [spec.name for spec in session.outputs] == ["y", "act", "product"]
    x = np.array([[1, -2, 3], [-1, 0.5, 2]], np.float32)
    y, act, product = session.run({"x": x})
    # Small integers and halves: every step is exact in float32.
    assert np.array_equal(product, x @ _W)
    assert np.array_equal(act, np.maximum(x @ _W + _B, 0))
    assert np.array_equal(y, act / 2)


def test_the_model_is_not_touched() -> None:
    model = load_model(_mlp())
    before = serialised(model)
    tapped(model, ["product", "sum"])
    assert serialised(model) == before


def test_an_output_and_a_name_given_twice_are_returned_once() -> None:
    copy = tapped(load_model(_mlp()), ["y", "sum", "sum"])
    assert [value.name for value in copy.content.graph.outputs] == ["y", "sum"]


@pytest.mark.parametrize("name", ["x", "w", "nowhere"])
def test_what_no_node_makes_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' is no value"):
        tapped(load_model(_mlp()), [name])


def test_values_inside_a_branch_are_refused_and_told() -> None:
    model = load_model(_with_if())
    with pytest.raises(UsageError, match="inside_yes"):
        tapped(model, ["inside_yes"])
    assert outline(model).out_of_sight == {"choose.then_branch": 1, "choose.else_branch": 1}


def test_a_node_with_branches_is_computed_from_what_they_use() -> None:
    choose = outline(load_model(_with_if())).steps[-1]
    assert choose.op_type == "If"
    assert choose.inputs == ("positive", "a")


def test_external_weights_stay_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(_mlp(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    stored = (tmp_path / "weights.bin").stat()
    with stage_temporarily(tapped(load_model(path), ["sum"]), tmp_path / "apart", "t") as staged:
        assert staged.path.parent == tmp_path
        assert staged.path.stat().st_size < 1000
        session = open_session(staged.path, _PLAIN)
        x = np.ones((2, 3), np.float32)
        (total,) = session.run({"x": x}, ["sum"])
    assert np.array_equal(total, x @ _W + _B)
    after = (tmp_path / "weights.bin").stat()
    assert (after.st_mtime_ns, after.st_size) == (stored.st_mtime_ns, stored.st_size)


def test_an_outline_does_not_depend_on_how_a_constant_is_stored() -> None:
    one, other = (outline(load_model(_mlp(scale_as_node=s))) for s in (False, True))
    assert one == other
    assert outline(load_model(_mlp(scale=0.25))) != one


def test_an_outline_names_what_is_computed_from_what() -> None:
    found = outline(load_model(_mlp()))
    assert (found.inputs, found.outputs) == (("x",), ("y",))
    assert [s.inputs for s in found.steps] == [("x", ""), ("product", ""), ("sum",), ("act", "")]
    assert [s.dims for s in found.steps] == [(None, (3, 4)), (None, (4,)), (None,), (None, ())]
    assert found.types["sum"] == ("float32", (2, 4))


def test_an_outline_keeps_what_was_noted_on_a_node() -> None:
    model = load_model(_mlp())
    node = next(n for n in model.content.graph if n.name == "bend")
    node.metadata_props.update({"onnx_act.rule": "swap_activation", "pkg.other": "kept out"})
    steps = {s.name: s.provenance for s in outline(model).steps}
    assert steps["bend"] == {"rule": "swap_activation"}
