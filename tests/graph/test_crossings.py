"""Values between a group of nodes and the rest."""

from __future__ import annotations

import onnx
from onnx import parser

from onnx_act.graph.crossings import crossing_values
from onnx_act.graph.model import load_model


def _model(body: str, interface: str = "(float[4] x) => (float[4] y)") -> onnx.ModelProto:
    return parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g {interface} {{ {body} }}'
    )


def _between(
    model: onnx.ModelProto, *group: tuple[str, str, int | None]
) -> tuple[set[tuple[str, int, str, int, int]], tuple[int, ...]]:
    found, missing = crossing_values(load_model(model), group)
    return {(c.value, c.node, c.side, c.position, c.arity) for c in found}, missing


def test_both_ways_and_nothing_of_the_callers() -> None:
    model = _model("a = Relu (x) b = Tanh (a) y = Sigmoid (b)")
    assert _between(model, ("Tanh", "", 1)) == (
        {("a", 0, "input", 0, 1), ("b", 0, "output", 0, 1)},
        (),
    )
    assert _between(model, ("Relu", "", 0))[0] == {("a", 0, "output", 0, 1)}
    assert _between(model, ("Sigmoid", "", 2))[0] == {("b", 0, "input", 0, 1)}


def test_within_the_group_nothing_crosses() -> None:
    model = _model("a = Relu (x) b = Tanh (a) y = Sigmoid (b)")
    assert _between(model, ("Relu", "", 0), ("Tanh", "", 1), ("Sigmoid", "", 2)) == (set(), ())


def test_constants_do_not_cross_and_are_not_counted_as_nodes() -> None:
    model = _model("k = Constant <value = float {2.0}> () m = Neg (k) a = Relu (x) y = Mul (a, m)")
    # Mul is the third node that is no constant; what Neg makes is constant too.
    assert _between(model, ("Mul", "", 2)) == ({("a", 0, "input", 0, 2)}, ())


def test_inputs_that_are_left_out_are_not_counted() -> None:
    model = _model("a = Relu (x) l = Neg (a) y = Clip (a, , l)")
    assert _between(model, ("Clip", "", 2))[0] == {
        ("a", 0, "input", 0, 2),
        ("l", 0, "input", 1, 2),
    }


def test_a_subgraph_reads_for_the_node_that_holds_it() -> None:
    model = _model(
        """a = Relu (x) b = Tanh (a)
        y = If (c) <then_branch = t () => (float[4] p) { p = Neg (b) },
                    else_branch = e () => (float[4] q) { q = Abs (x) }>""",
        "(float[4] x, bool c) => (float[4] y)",
    )
    assert ("b", 0, "output", 0, 1) in _between(model, ("Tanh", "", 1))[0]
    assert _between(model, ("Tanh", "", 1), ("If", "", 2))[0] == {("a", 0, "input", 0, 1)}


def test_names_find_nodes_and_what_is_not_sure_is_missing() -> None:
    model = _model("a = Relu (x) b = Relu (a) y = Relu (b)")
    for node, name in zip(model.graph.node, ("one", "two", "two"), strict=True):
        node.name = name
    assert _between(model, ("Relu", "one", None)) == ({("a", 0, "output", 0, 1)}, ())
    # Two nodes of one name; a node of another operator; a position without a node.
    for wrong in (("Relu", "two", 1), ("Tanh", "one", 0), ("Relu", "", 7), ("Relu", "", None)):
        assert _between(model, wrong) == (set(), (0,))
