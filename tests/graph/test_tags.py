"""Numbers for nodes: on every one, through a runtime's names, and gone without a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from onnx_act.graph.model import OnnxModel, load_model
from onnx_act.graph.store import weights_folder
from onnx_act.graph.tags import node_name, numbers_in, tagged

if TYPE_CHECKING:
    from pathlib import Path

NESTED = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
g (float[N] x, bool p) => (float[N] y, float[N] a) {
    a = Relu (x)
    b = If (p) <then_branch = t () => (float[N] r) { c = Relu (a) r = Tanh (c) },
                else_branch = e () => (float[N] r) { c = Elu (a) r = Identity (c) }>
    [twice] d = local.f (b)
    [twice] y = local.f (d)
}
<domain: "local", opset_import: ["" : 17]> f (x) => (y) { t = Sigmoid (x) y = Mul (t, x) }
"""


def stored(model: OnnxModel) -> bytes:
    return bytes(ir.to_proto(model.content).SerializeToString(deterministic=True))


def test_a_model_is_left_as_it_was_and_differs_inside() -> None:
    model = load_model(parser.parse_model(NESTED))
    before = stored(model)
    with tagged(model):
        inside = onnx.load_from_string(stored(model))
    assert stored(model) == before
    assert stored(model) != inside.SerializeToString(deterministic=True)
    onnx.checker.check_model(inside, full_check=True)
    plain = load_model(inside)
    assert [[n.op_type for n in s.graph] for s in plain.scopes()] == [
        [n.op_type for n in s.graph] for s in model.scopes()
    ]


def test_it_is_left_as_it_was_after_an_error_too() -> None:
    model = load_model(parser.parse_model(NESTED))
    before = stored(model)
    with pytest.raises(KeyboardInterrupt), tagged(model):
        raise KeyboardInterrupt
    assert stored(model) == before


def test_every_node_outside_of_functions_has_a_number_of_its_own() -> None:
    model = load_model(parser.parse_model(NESTED))
    with tagged(model) as tags:
        names = [n.name for s in model.scopes() if not s.is_function_body() for n in s.graph]
        values = [
            v.name
            for s in model.scopes()
            if not s.is_function_body()
            for n in s.graph
            for v in n.outputs
        ]
    assert len(set(names)) == len(names) == len(tags.numbers) == len(tags.kinds) == 8
    assert len(set(values)) == len(values)
    for scope in model.scopes():
        for node in scope.graph:
            if scope.is_function_body():
                assert node not in tags.numbers
            else:
                assert tags.kinds[tags.numbers[node]] == (node.domain, node.op_type)
    functions = [n for s in model.scopes() if s.is_function_body() for n in s.graph]
    assert [n.op_type for n in functions] == ["Sigmoid", "Mul"]


def test_inputs_and_weights_keep_their_names_and_missing_outputs_stay_missing() -> None:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[2,1,4] x, float[1,16,4] W, float[1,16,4] R) => (float[1,1,4] y)
        { y = Add (h, b) }"""
    )
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(4, np.float32), "b"))
    lstm = onnx.helper.make_node("LSTM", ["x", "W", "R"], ["", "h"], hidden_size=4)
    model.graph.node.insert(0, lstm)
    loaded = load_model(model)
    before = stored(loaded)
    with tagged(loaded):
        inside = onnx.load_from_string(stored(loaded))
    assert [v.name for v in inside.graph.input] == ["x", "W", "R"]
    assert [t.name for t in inside.graph.initializer] == ["b"]
    assert [list(n.input) for n in inside.graph.node] == [["x", "W", "R"], ["onnx-act:0:1", "b"]]
    assert [list(n.output) for n in inside.graph.node] == [["", "onnx-act:0:1"], ["onnx-act:1:0"]]
    assert [v.name for v in inside.graph.output] == ["onnx-act:1:0"]
    assert stored(loaded) == before


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("", set()),
        ("conv1", set()),
        ("onnx-act:12", set()),
        (node_name(12), {12}),
        (f"{node_name(12)}0_nchwc_token_3", {12}),
        (f"fused {node_name(1)}/MatMulAddFusion", {1}),
        (f"InsertedPrecisionFreeCast_{node_name(7)}0", {7}),
        (f"{node_name(1)}{node_name(12)}", {1, 12}),
    ],
)
def test_numbers_are_found_within_names(name: str, numbers: set[int]) -> None:
    assert numbers_in(name) == numbers


def test_where_the_weights_are(tmp_path: Path) -> None:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[4] x) => (float[4] y)
        { y = Add (x, b) }"""
    )
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(4, np.float32), "b"))
    onnx.save(model, tmp_path / "inside.onnx")
    assert weights_folder(load_model(tmp_path / "inside.onnx")) is None
    path = tmp_path / "outside.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w", size_threshold=0)
    assert weights_folder(load_model(path)) == tmp_path.resolve()
    as_object = ir.load(path)
    assert weights_folder(load_model(as_object)) == tmp_path.resolve()
