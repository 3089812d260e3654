from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_act.graph.model import load_model
from onnx_act.graph.token_inputs import input_ranges

OPSETS = '<ir_version: 9, opset_import: ["" : 17, "com.microsoft" : 1, "local" : 1]>'


def ranges(text: str, rest: str = "") -> dict[str, tuple[int, int]]:
    """Of a graph as ONNX text, and of the functions after it."""
    return input_ranges(load_model(onnx.parser.parse_model(f"{OPSETS}\n{text}\n{rest}")))


def gathered(between: str, index: str = "i") -> dict[str, tuple[int, int]]:
    """Of int64 ids that get to a table of 30 rows by way of some nodes."""
    return ranges(f"""
        g (int64[N, 4] ids, float[30, 8] table) => (float[] y)
        <float[30, 8] table = {{{", ".join(["0"] * 240)}}}, int64[1] one = {{1}}, int64 two = {{2}},
         int64[2] flat = {{-1, 1}}, int64[1] axes = {{0}}>
        {{ {between} y = Gather (table, {index}) }}
    """)


@pytest.mark.parametrize(
    ("between", "index"),
    [
        ("", "ids"),
        ("i = Cast <to: int = 6> (ids)", "i"),
        ("a = Cast <to: int = 1> (ids) i = Cast <to: int = 7> (a)", "i"),
        ("i = Reshape (ids, flat)", "i"),
        ("a = Unsqueeze (ids, axes) b = Identity (a) i = Squeeze (b, axes)", "i"),
        ("a = Transpose (ids) i = Flatten (a)", "i"),
        ("i = Slice (ids, axes, one)", "i"),
        ("i, other = Split <axis: int = 1> (ids)", "i"),
        ("i = Concat <axis: int = 0> (ids, ids)", "i"),
        ("i = Gather (ids, two)", "i"),
        ("m = Less (ids, two) i = Where (m, ids, two)", "i"),
    ],
)
def test_indices_are_followed_to_their_table(between: str, index: str) -> None:
    assert gathered(between, index) == {"ids": (0, 29)}


@pytest.mark.parametrize(
    ("between", "found"),
    [
        ("i = Add (ids, two)", (0, 27)),
        ("i = Add (two, ids)", (0, 27)),
        ("i = Sub (ids, two)", (2, 31)),
        ("a = Sub (ids, two) b = Cast <to: int = 6> (a) i = Identity (b)", (2, 31)),
    ],
)
def test_what_is_added_on_the_way_moves_the_range(between: str, found: tuple[int, int]) -> None:
    assert gathered(between) == {"ids": found}


@pytest.mark.parametrize(
    "between",
    [
        "i = Mul (ids, two)",
        "i = Sub (two, ids)",
        "i = Clip (ids, two, two)",
        "i = Add (ids, ids)",
        "i = Mod (ids, two)",
        "s = Shape (ids) i = Gather (s, two)",
    ],
)
def test_other_arithmetic_says_nothing(between: str) -> None:
    assert gathered(between) == {}


@pytest.mark.parametrize(
    ("node", "found"),
    [
        ("y = Gather <axis: int = 1> (data, ids)", (0, 8)),
        ("y = Gather <axis: int = -1> (data, ids)", (0, 4)),
        ("y = GatherElements <axis: int = 1> (data, ids)", (0, 8)),
        ("y = ScatterElements <axis: int = 2> (data, ids, data)", (0, 4)),
        ("y = GatherND (data, ids)", (0, 6)),
        ("y = GatherND <batch_dims: int = 1> (data, ids)", (0, 4)),
        ("y = OneHot (ids, depth, ends)", (0, 11)),
        ("y = Expand (one, ids)", (1, 9)),
        ("y = ConstantOfShape (ids)", (1, 9)),
        ("y, k = TopK <axis: int = 1> (data, ids)", (1, 9)),
        ("m = Cast <to: int = 9> (ids) y = Where (m, one, one)", (0, 1)),
        ("f = Cast <to: int = 1> (ids) y = Sub (one, f)", (0, 1)),
        ("m = Equal (ids, classes) y = Cast <to: int = 1> (m)", (0, 4)),
    ],
)
def test_each_operator_has_its_range(node: str, found: tuple[int, int]) -> None:
    text = f"""
        g (float[7, 9, 5] data, int64[N, 2] ids) => (float[] y)
        <int64 depth = {{12}}, float[2] ends = {{0, 1}}, float[1] one = {{1}},
         int64[5] classes = {{0, 1, 2, 3, 4}}>
        {{ {node} }}
    """
    assert ranges(text) == {"ids": found}


@pytest.mark.parametrize(
    "node",
    [
        "f = Cast <to: int = 1> (ids) y = Relu (f)",
        "y = Gather (data, ids)",
        "y = OneHot (ids, depth, ends)",
        "m = Equal (ids, pad) y = Cast <to: int = 1> (m)",
        "f = Cast <to: int = 1> (ids) y = Sub (two, f)",
    ],
)
def test_what_nothing_bounds_is_not_told(node: str) -> None:
    text = f"""
        g (float[N, 9] data, int64[M] ids, int64 depth) => (float[] y)
        <float[2] ends = {{0, 1}}, int64 pad = {{0}}, float two = {{2}}>
        {{ {node} }}
    """
    assert ranges(text).get("ids") is None


def test_the_smallest_of_several_tables_counts() -> None:
    text = """
        g (float[7, 4] a, float[5, 4] b, int64[N] ids) => (float[N, 4] y)
        { p = Gather (a, ids) q = Gather (b, ids) y = Add (p, q) }
    """
    assert ranges(text) == {"ids": (0, 4)}


def test_ranges_that_exclude_each_other_are_not_told() -> None:
    text = """
        g (float[7, 4] a, float[5, 4] b, int64[N] ids) => (float[N, 4] y)
        <int64 far = {9}>
        { i = Sub (ids, far) p = Gather (a, i) q = Gather (b, ids) y = Add (p, q) }
    """
    assert ranges(text) == {}


def test_the_element_type_bounds_too() -> None:
    text = "g (float[300, 4] a, uint8[N] ids) => (float[N, 4] y) { %s y = Gather (a, i) }"
    assert ranges(text % "i = Cast <to: int = 7> (ids)") == {"ids": (0, 255)}


@pytest.mark.parametrize(("dtype", "found"), [("uint8", (0, 255)), ("int8", (-128, 127))])
def test_bytes_that_are_read_as_numbers_are_all_of_them(dtype: str, found: tuple[int, int]) -> None:
    cast = f"g ({dtype}[N] x) => (float[N] y) {{ y = Cast <to: int = 1> (x) }}"
    scaled = f"""
        g ({dtype}[N] x) => (float[N] y) <float scale = {{1}}>
        {{ y = DequantizeLinear (x, scale) }}
    """
    assert ranges(cast) == ranges(scaled) == {"x": found}


def test_bodies_of_if_are_entered_and_left() -> None:
    text = """
        g (bool c, float[6, 4] t, float[3, 4] u, int64[2] ids, int64[2] more) => (float[2, 4] y)
        {
            i = If (c) <
                then_branch = a () => (int64[2] p) { p = Identity (ids) },
                else_branch = b () => (int64[2] q) { q = Identity (more) }
            >
            z = If (c) <
                then_branch = d () => (float[2, 4] r) { r = Gather (u, more) },
                else_branch = e () => (float[2, 4] s) { s = Gather (t, more) }
            >
            w = Gather (t, i)
            y = Add (w, z)
        }
    """
    assert ranges(text) == {"ids": (0, 5), "more": (0, 2)}


def test_the_body_of_a_loop_is_entered() -> None:
    text = """
        g (int64 n, bool c, float[6, 4] t, int64[2] ids) => (int64[2] last, float[M, 2, 4] y)
        {
            last, y = Loop (n, c, ids) <body = b (int64 k, bool go, int64[2] i)
                => (bool on, int64[2] j, float[2, 4] row) {
                on = Identity (go)
                j = Identity (i)
                row = Gather (t, i)
            }>
        }
    """
    assert ranges(text) == {"n": (1, 9), "ids": (0, 5)}


def test_functions_are_entered_and_left() -> None:
    text = """
        g (float[6, 4] t, int64[N] ids, int64[N] more) => (float[N, 4] y, float[N, 4] z)
        { y = local.look_up (t, ids) i = local.same (more) z = Gather (t, i) }
    """
    functions = """
        <opset_import: ["" : 17], domain: "local">
        look_up (table, i) => (rows) { rows = Gather (table, i) }
        <opset_import: ["" : 17], domain: "local">
        same (x) => (y) { y = Identity (x) }
    """
    assert ranges(text, functions) == {"ids": (0, 5), "more": (0, 5)}


def test_the_lengths_of_a_recurrent_operator_are_steps() -> None:
    weights = {"w": (1, 3, 2), "r": (1, 3, 3)}
    graph = helper.make_graph(
        [helper.make_node("RNN", ["x", "w", "r", "", "n"], ["y"], hidden_size=3)],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 1, 2]),
            helper.make_tensor_value_info("n", TensorProto.INT32, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(s, np.float32), name) for name, s in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    assert input_ranges(load_model(model)) == {"n": (1, 5)}


def test_embeddings_of_contrib_operators_are_tables() -> None:
    text = """
        g (int32[1, 4] ids, int32[1, 4] parts, float[50, 8] words, float[10, 8] places,
           float[2, 8] kinds, float[8] gamma, float[8] beta) => (float[1, 4, 8] y, int32[1] m)
        { y, m = com.microsoft.EmbedLayerNormalization
            (ids, parts, words, places, kinds, gamma, beta) }
    """
    assert ranges(text) == {"ids": (0, 49), "parts": (0, 1)}
