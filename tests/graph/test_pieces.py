"""Operators that are linear in pieces, read to the last bit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_sketch import parsed
from hypothesis import given
from hypothesis import strategies as st

from onnx_act.activations.intervals import Interval
from onnx_act.activations.readings import evaluate
from onnx_act.graph.constants import Constants
from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model
from onnx_act.graph.pieces import (
    NOTHING,
    RECTIFIER,
    Clamp,
    PieceReader,
    Slope,
    after_each_other,
)

if TYPE_CHECKING:
    from onnx_act.graph.pieces import Piece

_INF: Final = math.inf
_NUMBERS: Final = st.sampled_from([-_INF, -6.0, -1.0, -0.5, 0.0, 0.5, 1.0, 6.0, _INF])


@st.composite
def _pieces(draw: st.DrawFn) -> Piece:
    if draw(st.booleans()):
        low, high = sorted((draw(_NUMBERS), draw(_NUMBERS)))
        return Clamp(low, high)
    return Slope(np.array(draw(st.sampled_from([-1.0, -0.1, 0.1, 0.5, 2.0]))))


def _at(piece: Piece, x: float) -> float:
    if isinstance(piece, Clamp):
        return piece.of(x)
    return x if x > 0 else x * float(piece.slope)


_X: Final = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(_pieces(), _pieces(), _X)
def test_two_after_each_other_are_the_one_that_is_made_of_them(
    first: Piece, second: Piece, x: float
) -> None:
    both = after_each_other(first, second)
    if both is not None:
        assert _at(both, x) == _at(second, _at(first, x))


@given(_pieces(), _X, _X, _X)
def test_the_image_of_an_interval_holds_the_values(
    piece: Piece, one: float, other: float, third: float
) -> None:
    low, x, high = sorted((one, other, third))
    image = piece.image(Interval(low, high))
    assert image.low <= _at(piece, x) <= image.high
    if piece.is_identity_on(Interval(low, high)):
        assert _at(piece, x) == x


def _read(body: str, weights: str = "", opset: int = 17, dtype: str = "float") -> Piece | None:
    stated = f"<{weights}>" if weights else ""
    text = f"""<ir_version: 8, opset_import: ["": {opset}]>
        g ({dtype}[N,4] x) => ({dtype}[N,4] y) {stated} {{ {body} }}"""
    model = load_model(parsed(text))
    reader = PieceReader(model, Constants(model))
    node = list(model.content.graph)[-1]
    found = reader.of_node(node, opset)
    assert found is None or found[0].name == "x"
    return None if found is None else found[1]


@pytest.mark.parametrize(
    ("body", "weights", "wanted"),
    [
        ("y = Relu (x)", "", RECTIFIER),
        ("y = Identity (x)", "", NOTHING),
        ("y = Clip (x)", "", NOTHING),
        ("y = Clip (x, l, h)", "float l = {-1}, float h = {5.99999}", (-1, 5.99999)),
        ("y = Clip (x, l, h)", "float l = {3}, float h = {1}", (1, 1)),
        ("y = Clip (x, l)", "float l = {-3.4028235e38}", (-3.4028235e38, _INF)),
        ("y = Max (l, x)", "float l = {0}", RECTIFIER),
        ("y = Max (x, l, x)", "float l = {0}", None),
        ("y = Max (x)", "", None),
        ("y = Max (x, l, h)", "float l = {-1}, float h = {1}", (1, _INF)),
        ("y = Max (x, l)", "float[4] l = {0, 0, 0, 1}", None),
        ("y = Min (x, l, h)", "float l = {-1}, float h = {1}", (-_INF, -1)),
        ("y = LeakyRelu <alpha = 1.0> (x)", "", NOTHING),
        ("y = LeakyRelu <alpha = 0.0> (x)", "", RECTIFIER),
        ("y = PRelu (x, l)", "float[4] l = {0, 0, 0, 0}", RECTIFIER),
        ("y = PRelu (x, l)", "float[4] l = {1, 1, 1, 1}", NOTHING),
        ("y = Elu (x)", "", None),
    ],
)
def test_what_is_read(body: str, weights: str, wanted: Clamp | tuple[float, float] | None) -> None:
    if isinstance(wanted, tuple):
        low, high = (float(np.float32(v)) for v in wanted)
        wanted = Clamp(low, high)
    assert _read(body, weights) == wanted


def test_slopes_are_read_as_they_are_stored() -> None:
    leaky = _read("y = LeakyRelu <alpha = 0.1> (x)")
    assert isinstance(leaky, Slope)
    assert leaky.number == float(np.float32(0.1))
    default = _read("y = LeakyRelu (x)")
    assert isinstance(default, Slope)
    assert default.number == float(np.float32(0.01))
    half = _read("y = PRelu (x, s)", "float16[1] s = {11878}", dtype="float16")
    assert isinstance(half, Slope)
    assert half.number == float(np.float16(0.1))
    double = _read("y = PRelu (x, s)", "double s = {0.1}", dtype="double")
    assert isinstance(double, Slope)
    assert double.number == 0.1
    differ = _read("y = PRelu (x, s)", "float[4] s = {1, 0, 1, 1}")
    assert isinstance(differ, Slope)
    assert differ.number is None


def test_an_attribute_that_was_not_stored_yet_is_what_it_will_be() -> None:
    model = load_model(
        parsed(
            '<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (y) { y = LeakyRelu (x) }'
        )
    )
    (node,) = model.content.graph
    node.attributes.add(ir.AttrFloat32("alpha", 0.1))
    found = PieceReader(model, Constants(model)).of_node(node, 17)
    assert found is not None
    assert isinstance(found[1], Slope)
    assert found[1].number == float(np.float32(0.1))


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("y = Clip (x)", NOTHING),
        ("y = Clip <min = 0.0> (x)", RECTIFIER),
        ("y = Clip <max = 3.4028235e38, min = 0.0> (x)", RECTIFIER),
        ("y = Clip <max = 6.0> (x)", Clamp(-_INF, 6.0)),
        ("y = Clip <max = -1.0, min = 1.0> (x)", Clamp(-1.0, -1.0)),
    ],
)
def test_clip_by_attributes(body: str, wanted: Clamp) -> None:
    assert _read(body, opset=10) == wanted


def test_nothing_is_read_before_activations_were_as_they_are() -> None:
    assert _read("y = Relu <consumed_inputs = [0]> (x)", opset=5) is None


def test_a_local_function_of_a_standard_name_is_not_read() -> None:
    function = onnx.helper.make_function(
        "",
        "Relu",
        ["u"],
        ["v"],
        [onnx.helper.make_node("Neg", ["u"], ["v"])],
        [onnx.helper.make_opsetid("", 17)],
    )
    proto = parsed('<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (y) { y = Relu (x) }')
    proto.functions.append(function)
    model = load_model(proto)
    reader = PieceReader(model, Constants(model))
    assert reader.of_node(model.content.graph[0], 17) is None
    assert reader.curve_of_node(model.content.graph[0], 17) is None


def test_curves_are_read_with_the_attributes_as_they_are_stored() -> None:
    model = load_model(
        parsed(
            """<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (y)
            { y = ThresholdedRelu <alpha = 0.1> (x) }"""
        )
    )
    (site,) = find_sites(model)
    curve = PieceReader(model, Constants(model)).curve_of_site(site)
    assert curve is not None
    edge = float(np.float32(0.1))
    beside = np.array([edge, np.nextafter(edge, 1)])
    np.testing.assert_array_equal(evaluate(curve, beside), [0.0, beside[1]])


def test_a_site_of_several_operators_is_read_as_one() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (y, w)
        <float six = {5.99999}> { a = Relu (x)  b = Identity (a)  y = Min (b, six)
        c = Add (x, six)  d = Relu (c)  w = Min (d, six) }"""
    model = load_model(parsed(text))
    reader = PieceReader(model, Constants(model))
    read = [reader.of_site(s) for s in find_sites(model)]
    assert read == [Clamp(0.0, float(np.float32(5.99999)))] * 2
