"""The shapes of values, once the inputs have theirs."""

from __future__ import annotations

import onnx
from onnx import parser

from onnx_act.graph.concrete_shapes import concrete_shapes
from onnx_act.graph.model import load_model


def _shapes(text: str, **inputs: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    proto = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    before = proto.SerializeToString()
    model = load_model(proto)
    names = [v.shape for v in model.content.graph.inputs]
    found = concrete_shapes(model, inputs)
    assert proto.SerializeToString() == before
    assert [v.shape for v in model.content.graph.inputs] == names
    return found


def test_what_follows_from_the_inputs() -> None:
    text = """g (float[N,3,H,V] x, float[2,3,3,3] w) => (float[N,2,P,Q] y) {
        c = Conv <pads = [1, 1, 1, 1]> (x, w)
        a = Elu (c)
        y = MaxPool <kernel_shape = [2, 2]> (a)
    }"""
    found = _shapes(text, x=(5, 3, 8, 6))
    assert found == {
        "x": (5, 3, 8, 6),
        "w": (2, 3, 3, 3),
        "c": (5, 2, 8, 6),
        "a": (5, 2, 8, 6),
        "y": (5, 2, 7, 5),
    }


def test_what_the_file_states_for_other_sizes_does_not_hold() -> None:
    text = """g (float[1,4] x) => (float[1,4] y) <float[1,4] a> { a = Elu (x) y = Neg (a) }"""
    assert _shapes(text, x=(7, 4)) == {"x": (7, 4), "a": (7, 4), "y": (7, 4)}


def test_what_depends_on_data_is_not_known() -> None:
    text = "g (float[N] x) => (int64[1,M] y) { a = Abs (x) n = NonZero (a) y = Neg (n) }"
    assert _shapes(text, x=(9,)) == {"x": (9,), "a": (9,)}


def test_inputs_that_nobody_gave_a_size_stay_open() -> None:
    text = "g (float[N] x, float[M] z) => (float[K] y) { a = Elu (x) b = Elu (z) y = Add (a, b) }"
    found = _shapes(text, x=(9,))
    assert found["a"] == (9,)
    assert not {"z", "b"} & set(found)


def test_sizes_that_do_not_go_together_give_nothing_wrong() -> None:
    text = "g (float[N,4] x, float[N,4] z) => (float[N,4] y) { a = Elu (x) y = Add (a, z) }"
    found = _shapes(text, x=(2, 4), z=(3, 4))
    assert "y" not in found or found["y"] != (2, 4)


def test_behind_an_operator_that_nobody_knows() -> None:
    proto = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "com.example" : 1]>
        g (float[N,4] x) => (float[N,4] z)
        { a = Elu (x) y = com.example.Unknown (a) z = Neg (y) }"""
    )
    assert isinstance(proto, onnx.ModelProto)
    found = concrete_shapes(load_model(proto), {"x": (2, 4)})
    assert not {"y", "z"} & set(found)
