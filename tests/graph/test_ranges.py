"""Intervals of values: never too narrow, and as narrow as they are meant to be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from bounded_networks import bounded_networks, tame_numbers, wild_numbers
from float_runs import session_of
from graph_sketch import parsed
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from onnx_act.activations.intervals import EVERYTHING, NOT_NEGATIVE, Interval
from onnx_act.graph.constants import Constants
from onnx_act.graph.model import load_model
from onnx_act.graph.ranges import Ranges

if TYPE_CHECKING:
    import onnx_ir as ir

_INF: Final = math.inf
_NOT_POSITIVE: Final = Interval(-_INF, 0.0)


def _values(model: onnx.ModelProto) -> tuple[dict[str, ir.Value], Ranges]:
    loaded = load_model(model)
    values = {str(v.name): v for s in loaded.scopes() for n in s.graph for v in n.outputs}
    return values, Ranges(loaded, Constants(loaded))


def _interval(
    body: str,
    inputs: str = "float[N,4,6,6] x, float[N,4,6,6] w",
    weights: str = "",
    opset: int = 17,
) -> Interval:
    stated = f"<{weights}>" if weights else ""
    text = f'<ir_version: 8, opset_import: ["": {opset}]> g ({inputs}) => (y) {stated} {{ {body} }}'
    values, ranges = _values(parsed(text))
    return ranges.interval(values["y"])


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("y = Relu (x)", NOT_NEGATIVE),
        ("y = Neg (x)", EVERYTHING),
        ("a = Relu (x) y = Neg (a)", _NOT_POSITIVE),
        ("a = Relu (x) b = Neg (a) y = Abs (b)", NOT_NEGATIVE),
        ("y = Sigmoid (x)", NOT_NEGATIVE),
        ("y = Tanh (x)", EVERYTHING),
        ("a = Abs (x) y = Tanh (a)", NOT_NEGATIVE),
        ("y = HardSigmoid (x)", Interval(0, 1)),
        ("y = Softmax (x)", NOT_NEGATIVE),
        ("a = Relu (x) y = LeakyRelu (a)", NOT_NEGATIVE),
        ("a = Relu (x) b = Neg (a) y = LeakyRelu (b)", _NOT_POSITIVE),
        ("y = LeakyRelu <alpha = -1.0> (x)", NOT_NEGATIVE),
        ("a = Relu (x) y = Elu (a)", NOT_NEGATIVE),
        ("y = ThresholdedRelu <alpha = 0.5> (x)", NOT_NEGATIVE),
        ("y = ThresholdedRelu <alpha = -0.5> (x)", EVERYTHING),
        ("a = Relu (x) y = HardSwish (a)", NOT_NEGATIVE),
        ("a = Relu (x) b = Relu (w) y = Add (a, b)", NOT_NEGATIVE),
        ("a = Relu (x) b = Relu (w) c = Neg (b) y = Mul (a, c)", _NOT_POSITIVE),
        ("a = Relu (x) b = Neg (a) y = Mul (b, b)", NOT_NEGATIVE),
        ("a = Relu (x) b = Relu (w) c = Neg (b) y = Sub (a, c)", NOT_NEGATIVE),
        ("a = Exp (x) y = Reciprocal (a)", EVERYTHING),
        ("a = Relu (x) b = Concat <axis = 1> (a, w) y = Relu (b)", NOT_NEGATIVE),
        ("y = LogSoftmax (x)", EVERYTHING),
        ("y = Conv (x, w)", EVERYTHING),
        ("y = Mystery (x)", EVERYTHING),
    ],
)
def test_what_is_known(body: str, wanted: Interval) -> None:
    if "Mystery" in body:
        text = f"""<ir_version: 8, opset_import: ["": 17, "other": 1]>
            g (float[N] x) => (y) {{ {body.replace("Mystery", "other.Relu")} }}"""
        values, ranges = _values(parsed(text))
        assert ranges.interval(values["y"]) == wanted
    else:
        assert _interval(body) == wanted


@pytest.mark.parametrize(
    ("body", "weights", "wanted"),
    [
        ("y = Clip (x, l, h)", "float l = {-1}, float h = {6}", Interval(-1, 6)),
        ("y = Clip (x, l, h)", "float l = {6}, float h = {-1}", Interval(-1, -1)),
        ("y = Clip (x, l)", "float l = {-1}", Interval(-1, _INF)),
        ('y = Clip (x, "", h)', "float h = {6}", Interval(-_INF, 6)),
        ("a = Relu (x) y = Clip (w, l, a)", "float l = {-1}", Interval(-1, _INF)),
        ("y = Max (x, l, w)", "float[2] l = {-1, 3}", Interval(-1, _INF)),
        ("a = Clip (x, l, h) y = Min (a, w)", "float l = {-1}, float h = {6}", Interval(-_INF, 6)),
        ("a = Clip (x, l, h) y = Abs (a)", "float l = {-7}, float h = {6}", Interval(0, 7)),
        ("a = Clip (x, l, h) y = Add (a, h)", "float l = {-6}, float h = {6}", NOT_NEGATIVE),
        ("a = Clip (x, l, h) y = Add (a, h)", "float l = {-7}, float h = {6}", EVERYTHING),
        ("a = Clip (x, l, h) y = Sub (h, a)", "float l = {-7}, float h = {6}", NOT_NEGATIVE),
        ("a = Clip (x, l) y = Div (h, a)", "float l = {1e-6}, float h = {-2}", _NOT_POSITIVE),
        ("a = Clip (x, l) y = Div (h, a)", "float l = {0}, float h = {-2}", EVERYTHING),
        ("y = PRelu (x, s)", "float[4,1,1] s = {-1, 0, -2, 0}", NOT_NEGATIVE),
        ("y = PRelu (x, s)", "float[4,1,1] s = {1, 0, -2, 0}", EVERYTHING),
        ("y = Pow (x, two)", "float two = {2}", NOT_NEGATIVE),
        ("y = Pow (x, two)", "float[2] two = {2, 3}", EVERYTHING),
        ("a = Relu (x) y = Pow (a, two)", "float two = {0.5}", NOT_NEGATIVE),
        ("a = Relu (x) y = Pow (a, two)", "float two = {-1}", EVERYTHING),
        ("a = Relu (x) y = Gather (c, i)", "float[3] c = {1, 2, 5}, int64 i = {1}", Interval(2, 2)),
        ("a = Relu (x) y = Mul (a, c)", "float[2] c = {1, -1}", EVERYTHING),
    ],
)
def test_what_is_known_beside_constants(body: str, weights: str, wanted: Interval) -> None:
    assert _interval(body, weights=weights) == wanted


def test_clip_by_attributes() -> None:
    stored = float(np.float32(0.1))
    assert _interval("y = Clip <max = 6.0, min = 0.1> (x)", opset=10) == Interval(stored, 6)


def test_a_constant_of_nan_says_nothing() -> None:
    body = "z = Constant <value = float {0}> () n = Div (z, z) y = Max (x, n)"
    with np.errstate(all="ignore"):
        assert _interval(body) == EVERYTHING


def test_integers_wrap_around() -> None:
    assert _interval("y = Abs (x)", inputs="int8[N] x") == (-128, 127)
    assert _interval("y = Mul (x, x)", inputs="int32[N] x") == EVERYTHING
    assert _interval("y = Sub (x, z)", "uint8[N] x", "uint8 z = {9}") == (0, 255)


def test_a_type_that_is_not_known_may_wrap_around() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "l": 1]> g (float[N] x, int8[N] z) => (y, w)
        { y = l.f (x)  w = l.f (z) }
        <domain: "l", opset_import: ["": 17]> f (u) => (v) { v = Abs (u) }"""
    values, ranges = _values(parsed(text))
    assert ranges.interval(values["v"]) == EVERYTHING


def test_an_overridable_weight_is_any_number() -> None:
    body = "y = Max (x, c)"
    assert _interval(body, "float[N] x, float c", "float c = {0}") == EVERYTHING
    assert _interval(body, "float[N] x", "float c = {0}") == NOT_NEGATIVE


def test_a_large_weight_is_not_read() -> None:
    tensor = onnx.TensorProto(
        name="c",
        data_type=onnx.TensorProto.FLOAT,
        dims=[70000],
        data_location=onnx.TensorProto.EXTERNAL,
    )
    tensor.external_data.add(key="location", value="nowhere.bin")
    model = parsed(
        '<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (y) { y = Max (x, c) }'
    )
    model.graph.initializer.append(tensor)
    import onnx_ir  # noqa: PLC0415 - a model in memory, which onnx's checker does not look at

    loaded = load_model(onnx_ir.from_proto(model))
    ranges = Ranges(loaded, Constants(loaded))
    (node,) = loaded.content.graph
    assert ranges.interval(node.outputs[0]) == EVERYTHING


def test_a_trail_names_what_sets_the_interval_and_what_hands_it_on() -> None:
    body = """a = Relu (x)  b = Softmax (a)  c = Neg (w)  d = Mul (c, b)  e = Abs (b)
        f = MaxPool <kernel_shape = [2, 2]> (e)  y = Add (f, f)"""
    text = f"""<ir_version: 8, opset_import: ["": 17]>
        g (float[N,2,6,6] x, float[N,2,6,6] w) => (y, d) {{ {body} }}"""
    values, ranges = _values(parsed(text))
    assert ranges.trail(values["y"]) == ("Abs", "MaxPool", "Add")
    assert ranges.trail(values["b"]) == ("Softmax",)


def test_a_chain_of_any_length() -> None:
    text = "a0 = Relu (x) " + " ".join(f"a{k + 1} = Identity (a{k})" for k in range(20_000))
    model = parsed(
        f'<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (a20000) {{ {text} }}'
    )
    values, ranges = _values(model)
    assert ranges.interval(values["a20000"]) == NOT_NEGATIVE
    assert len(ranges.trail(values["a20000"])) == 20_001


def test_a_local_function_of_a_standard_name() -> None:
    function = onnx.helper.make_function(
        "",
        "Relu",
        ["u"],
        ["v"],
        [onnx.helper.make_node("Neg", ["u"], ["v"])],
        [onnx.helper.make_opsetid("", 17)],
    )
    model = parsed('<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (y) { y = Relu (x) }')
    model.functions.append(function)
    values, ranges = _values(model)
    assert ranges.interval(values["y"]) == EVERYTHING


@settings(max_examples=150)
@given(model=bounded_networks(), seed=st.integers(0, 2**16))
def test_no_value_leaves_its_interval(model: onnx.ModelProto, seed: int) -> None:
    _check_soundness(model, seed)


@pytest.mark.slow
@settings(max_examples=5000)
@given(model=bounded_networks(most=25), seed=st.integers(0, 2**16))
def test_no_value_of_a_larger_network_leaves_its_interval(
    model: onnx.ModelProto, seed: int
) -> None:
    _check_soundness(model, seed)


def _check_soundness(model: onnx.ModelProto, seed: int) -> None:
    values, ranges = _values(model)
    names = [v.name for v in model.graph.output]
    for feeds in (wild_numbers, tame_numbers):
        fed = feeds(np.random.default_rng(seed))
        try:
            found = session_of(model).run(None, {v.name: fed[v.name] for v in model.graph.input})
        except ort.capi.onnxruntime_pybind11_state.Fail:
            reject()  # such as a pool of nothing
        made = dict(zip(names, found, strict=True))
        tainted: set[str] = set()
        for node in model.graph.node:
            outputs = {n: made[n] for n in node.output if n in made}
            # What NaN becomes is nobody's promise.
            if tainted & set(node.input) or any(_has_nan(v) for v in outputs.values()):
                tainted.update(node.output)
                continue
            for name, numbers in outputs.items():
                if not numbers.size:
                    continue
                low, high = ranges.interval(values[name])
                assert low <= numbers.astype(np.float64).min(), (name, node.op_type)
                assert numbers.astype(np.float64).max() <= high, (name, node.op_type)


def _has_nan(values: np.ndarray[Any, np.dtype[Any]]) -> bool:
    return values.dtype.kind == "f" and bool(np.isnan(values).any())
