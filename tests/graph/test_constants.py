"""What is constant, what it holds, and what only looks constant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_sketch import Sketch, Style, parsed, sites_of
from onnx import TensorProto, helper

from onnx_act.graph.constants import Constants
from onnx_act.graph.model import OnnxModel, load_model

if TYPE_CHECKING:
    from pathlib import Path

_HEAD = '<ir_version: 8, opset_import: ["": 17]>'


def _value(model: OnnxModel, name: str) -> ir.Value:
    graph = model.content.graph
    for node in graph:
        for value in (*node.inputs, *node.outputs):
            if value is not None and value.name == name:
                return value
    raise KeyError(name)


def _array(text: str, name: str = "c") -> Any:
    model = load_model(parsed(_HEAD + text))
    return Constants(model).array(_value(model, name))


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("c = Constant <value = float[2] {1, 2}> ()", [1.0, 2.0]),
        ("c = Constant <value_float = 0.5> ()", 0.5),
        ("c = Constant <value_floats = [0.5, 1.5]> ()", [0.5, 1.5]),
        ("c = Constant <value_int = 3> ()", 3),
        ("c = Constant <value_ints = [3, 4]> ()", [3, 4]),
        ("k = Constant <value_float = 4.0> ()  c = Sqrt(k)", 2.0),
        ("k = Constant <value_float = 4.0> ()  c = Neg(k)", -4.0),
        ("k = Constant <value_float = 4.0> ()  c = Div(k, k)", 1.0),
        ("k = Constant <value_float = 4.0> ()  c = Reciprocal(k)", 0.25),
        ("k = Constant <value_float = 4.0> ()  c = Pow(k, k)", 256.0),
        ("k = Constant <value_floats = [1.0, 2.0]> ()  c = Concat <axis = 0> (k, k)", [1, 2, 1, 2]),
        (
            (
                "k = Constant <value_float = 2.0> ()  s = Constant <value_ints = [2]> ()"
                "  c = Expand(k, s)"
            ),
            [2.0, 2.0],
        ),
        (
            (
                "k = Constant <value_floats = [1.0, 2.0]> ()  s = Constant <value_ints = [2, 1]> ()"
                "  c = Reshape(k, s)"
            ),
            [[1.0], [2.0]],
        ),
        (
            (
                "k = Constant <value_float = 2.0> ()  a = Constant <value_ints = [0, 1]> ()"
                "  c = Unsqueeze(k, a)"
            ),
            [[2.0]],
        ),
        ("k = Constant <value_int = 2> ()  c = Cast <to = 1> (k)", 2.0),
        (
            "s = Constant <value_ints = [3]> ()  c = ConstantOfShape <value = float[1] {7}> (s)",
            [7, 7, 7],
        ),
        (
            (
                "k = Constant <value_floats = [1.0, 2.0, 3.0]> ()  i = Constant <value_int = 2> ()"
                "  c = Gather <axis = 0> (k, i)"
            ),
            3.0,
        ),
        ("k = Constant <value_floats = [1.0, 2.0]> ()  c = Shape(k)", [2]),
    ],
)
def test_a_constant_subgraph_is_evaluated(body: str, wanted: Any) -> None:
    text = f"g (float[N, 2] x) => (y) {{ {body}  f = Cast <to = 1> (c)  y = Add(x, f) }}"
    array = _array(text)
    assert array is not None
    np.testing.assert_array_equal(array, wanted)
    assert array.shape == np.shape(wanted)


@pytest.mark.parametrize(
    "body",
    [
        "c = RandomNormal <shape = [2]> ()",
        "k = Constant <value_float = 2.0> ()  c = Mul(x, k)",
        "c = Shape(x)",
        "k = Constant <value_float = 2.0> ()  c = RandomNormalLike(k)",
        "k = Constant <value_float = 2.0> ()  c, m = Dropout(k)",
    ],
)
def test_what_may_differ_between_runs_is_not_constant(body: str) -> None:
    text = f"g (float[N, 2] x) => (y) {{ {body}  f = Cast <to = 1> (c)  y = Add(x, f) }}"
    assert _array(text) is None


@pytest.mark.parametrize("dtype", ["float", "float16", "double"])
def test_a_constant_in_the_type_of_an_input_is_fixed(dtype: str) -> None:
    text = "<float two = {2}> { t = CastLike (two, x) c = Neg (t) y = Mul (x, c) }"
    model = load_model(
        parsed(f"""<ir_version: 8, opset_import: ["" : 17]>
        g ({dtype}[4] x) => ({dtype}[4] y) {text}""")
    )
    constants, value = Constants(model), _value(model, "c")
    assert constants.is_fixed(value)
    assert not constants.is_constant(value)
    held = constants.array(value)
    assert held is not None
    assert held.dtype == {"float": "float32", "float16": "float16", "double": "float64"}[dtype]
    assert float(held) == -2.0
    assert not constants.is_fixed(_value(model, "y"))


def test_an_input_in_the_type_of_a_constant_is_not_fixed() -> None:
    model = load_model(
        parsed("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[4] x) => (float[4] y) <float two = {2}> { y = CastLike (x, two) }""")
    )
    assert not Constants(model).is_fixed(_value(model, "y"))


def test_a_long_chain_is_no_recursion() -> None:
    sketch = Sketch()
    value = sketch.constant(1.0, ())
    for _ in range(3000):
        value = sketch._made("Neg", value)
    model = load_model(sketch.model(sketch("Add", "x", value)))
    last = _value(model, value)
    constants = Constants(model)
    assert constants.is_constant(last)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "double"])
def test_low_and_high_precision_are_read(kind: str) -> None:
    dtype = {"float16": 10, "bfloat16": 16, "double": 11}[kind]
    sketch = Sketch(Style(dtype))
    name = sketch.constant(0.1, (1,))
    model = load_model(sketch.model(sketch("Mul", "x", name)))
    constants = Constants(model)
    scalar = constants.scalar(_value(model, name))
    assert scalar == pytest.approx(0.1, rel=4e-3)
    assert (scalar == 0.1) is (kind == "double")
    assert constants.dtype(_value(model, name)) is ir.DataType(dtype)


def test_a_scalar_is_what_all_elements_are() -> None:
    sketch = Sketch()
    same, mixed, none = (
        sketch.constant(np.full((4, 1, 1), 0.25)),
        sketch.constant(np.array([0.25, 0.25, 0.5, 0.25]).reshape(4, 1, 1)),
        sketch.constant(np.zeros((0,))),
    )
    y = sketch("Sum", "x", same, mixed)
    model = load_model(sketch.model(y, sketch("Concat", none, none, axis=0)))
    constants = Constants(model)
    assert constants.scalar(_value(model, same)) == 0.25
    assert constants.scalar(_value(model, mixed)) is None
    assert constants.scalar(_value(model, none)) is None


def _with_slope(ir_version: int, *, listed: bool, extra_unlisted: bool = False) -> onnx.ModelProto:
    sketch = Sketch(opset=8)
    slope = sketch.constant(0.1, (1,))
    if listed:
        sketch.input(slope, (1,))
    shift = sketch.constant(2.0, (1,)) if extra_unlisted else slope
    y = sketch("PRelu", sketch("Add", "x", shift), slope)
    return sketch.model(y, ir_version=ir_version)


@pytest.mark.parametrize(
    ("ir_version", "listed", "extra_unlisted", "found"),
    [
        (3, True, False, True),  # it had to be listed then
        (4, True, False, True),  # every one is listed: the habit of IR 3
        (4, True, True, False),  # only some are: those are meant to be overridden
        (8, True, False, False),
        (8, False, False, True),
        (4, False, False, True),
    ],
)
def test_a_listed_initializer_is_a_constant_where_it_had_to_be_listed(
    ir_version: int, *, listed: bool, extra_unlisted: bool, found: bool
) -> None:
    proto = _with_slope(ir_version, listed=listed, extra_unlisted=extra_unlisted)
    model = load_model(proto)
    names = [s.name for s in sites_of(proto)]
    assert names == (["prelu"] if found else [])
    assert model.lists_weights is (listed and not extra_unlisted and ir_version <= 4)


def test_an_external_weight_is_not_read_for_its_shape(tmp_path: Path) -> None:
    sketch = Sketch()
    slope = sketch.constant(np.linspace(0.1, 0.2, 4).reshape(4, 1, 1))
    path = tmp_path / "m.onnx"
    onnx.save(
        sketch.model(sketch("Mul", "x", slope)),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    model = load_model(path)
    (tmp_path / "weights.bin").unlink()
    constants = Constants(model)
    value = _value(model, slope)
    assert constants.is_constant(value)
    assert constants.shape(value) == (4, 1, 1)
    assert constants.dtype(value) is ir.DataType.FLOAT


def test_a_constant_of_the_outer_graph_is_one_inside_a_branch() -> None:
    branch = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "slope"], ["scaled"]),
            helper.make_node("Max", ["x", "scaled"], ["leaky"]),
        ],
        "branch",
        [],
        [helper.make_tensor_value_info("leaky", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["same"])],
        "other",
        [],
        [helper.make_tensor_value_info("same", TensorProto.FLOAT, None)],
    )
    sketch = Sketch()
    condition = sketch.input("c", (), TensorProto.BOOL)
    tensor = helper.make_tensor("slope", TensorProto.FLOAT, [], [0.1])
    sketch.initializers.append(tensor)
    y = sketch("If", condition, then_branch=branch, else_branch=other)
    (site,) = sites_of(sketch.model(y))
    assert site.name == "leaky_relu"
    assert site.parameters == {"negative_slope": 0.1}


def test_a_function_constant_from_an_attribute_is_not_known() -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17, "my": 1]>
        g (float[N, 4] x) => (y) { y = my.Leaky <slope = 0.1> (x) }
        <domain: "my", opset_import: ["": 17]>
        Leaky <slope> (a) => (b)
        { s = Constant <value_float: float = @slope> ()  m = Mul(a, s)  b = Max(a, m) }"""
    )
    assert sites_of(model) == []
