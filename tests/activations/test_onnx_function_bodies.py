"""The ONNX standard defines most activations by function bodies: an oracle we did not write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.defs
import onnx.helper
import pytest
from onnx.reference import ReferenceEvaluator

from onnx_act.activations.catalogue import CATALOGUE, named
from onnx_act.activations.readings import evaluate

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnx_act.activations.activation import Activation, Operator, ParameterValue

    Array = npt.NDArray[np.float64]

# Parameters that float32 holds exactly, as ONNX attributes are float32.
CASES: list[tuple[str, str, dict[str, ParameterValue]]] = [
    ("relu", "Relu", {}),
    ("relu6", "Clip", {}),
    ("hardtanh", "Clip", {}),
    ("hardtanh", "Clip", {"min": -0.25, "max": 3.5}),
    ("leaky_relu", "LeakyRelu", {"negative_slope": 0.125}),
    ("leaky_relu", "LeakyRelu", {"negative_slope": -0.5}),
    ("leaky_relu", "LeakyRelu", {"negative_slope": 1.5}),
    ("prelu", "PRelu", {"slope": 0.25}),
    ("prelu", "PRelu", {"slope": -2.0}),
    ("rrelu", "LeakyRelu", {"lower": 0.125, "upper": 0.375}),
    ("threshold", "ThresholdedRelu", {}),
    ("threshold", "ThresholdedRelu", {"threshold": -0.5}),
    ("hardshrink", "Shrink", {"lambd": 0.75}),
    ("softshrink", "Shrink", {"lambd": 0.75}),
    ("elu", "Elu", {}),
    ("elu", "Elu", {"alpha": 0.375}),
    ("selu", "Selu", {"alpha": 1.625, "gamma": 1.0625}),
    ("celu", "Celu", {}),
    ("celu", "Celu", {"alpha": 0.375}),
    ("softplus", "Softplus", {}),
    ("hardsigmoid", "HardSigmoid", {"alpha": 0.25, "beta": 0.375}),
    ("softsign", "Softsign", {}),
    ("silu", "Swish", {}),
    ("swish", "Swish", {"beta": 1.75}),
    ("swish", "Swish", {"beta": -0.5}),
    ("mish", "Mish", {}),
    ("gelu", "Gelu", {"approximate": "none"}),
    ("gelu", "Gelu", {"approximate": "tanh"}),
    ("hardswish", "HardSwish", {}),
]
# These bodies hold constants (1/6, sqrt(2), sqrt(2/pi)) rounded to float32.
IN_FLOAT32 = frozenset({"gelu", "hardswish"})
GRID = np.concatenate(
    [np.linspace(-12.0, 12.0, 4801), [-300.0, -80.0, -40.0, 40.0, 80.0, 300.0, -0.0]]
)


def _schema(op_type: str) -> Any:
    # The type stubs of onnx lack what concerns function bodies.
    return onnx.defs.get_schema(op_type)


def _function(op_type: str, attributes: dict[str, Any]) -> onnx.FunctionProto:
    schema = _schema(op_type)
    if schema.has_function:
        body = schema.function_body
        assert isinstance(body, onnx.FunctionProto)
        return body
    inputs = [i.name for i in schema.inputs]
    node = onnx.helper.make_node(op_type, inputs, ["y"], **attributes)
    double = onnx.helper.make_tensor_type_proto(onnx.TensorProto.DOUBLE, ["n"])
    types = [double.SerializeToString()] * len(inputs)
    body = onnx.FunctionProto()
    body.ParseFromString(schema.get_context_dependent_function(node.SerializeToString(), types))
    return body


def _run_body(
    activation: str, operator: Operator, values: dict[str, ParameterValue], x: Array
) -> Array:
    carried = operator.attribute_values(values)
    # Since opset 11 the bounds of Clip are inputs.
    attributes = {} if operator.op_type == "Clip" else carried
    body = _function(operator.op_type, attributes)
    feeds: dict[str, Array] = {body.input[0]: x}
    if operator.op_type == "Clip":
        feeds |= {k: np.array(v, dtype=np.float64) for k, v in carried.items()}
    for slot, name in zip(body.input[1:], operator.inputs, strict=False):
        feeds[slot] = np.array([values[name]], dtype=np.float64)
    schema = _schema(operator.op_type)
    defaults = {
        k: onnx.helper.get_attribute_value(a.default_value)
        for k, a in schema.attributes.items()
        if a.default_value.name
    }
    with np.errstate(all="ignore"):
        (y,) = ReferenceEvaluator(body).run(None, feeds, attributes={**defaults, **attributes})
    assert isinstance(y, np.ndarray), activation
    assert y.dtype == np.float64
    return y


@pytest.mark.parametrize(("name", "op_type", "given"), CASES, ids=str)
def test_the_reference_is_what_the_onnx_standard_defines(
    name: str, op_type: str, given: dict[str, ParameterValue]
) -> None:
    activation = named(name)
    operator = next(o for o in activation.operators if o.op_type == op_type and not o.domain)
    values = activation.bind(given)
    assert operator.fits(values)
    expected = _run_body(name, operator, values, GRID)
    actual = evaluate(activation.expression(values), GRID)
    # The bodies are naive: log(1 + exp x), 1 + erf, exp - 1. Only their absolute error is small.
    size = np.maximum(1.0, np.abs(GRID))
    bound = (2e-7 if name in IN_FLOAT32 else 1e-14) * size
    assert np.all(np.abs(actual - expected) <= bound)


def test_every_standard_operator_with_a_body_has_a_case() -> None:
    tested = {(name, op_type) for name, op_type, _ in CASES}
    missing = [
        (a.name, o.op_type)
        for a in CATALOGUE
        for o in a.operators
        if not o.domain
        and ((schema := _schema(o.op_type)).has_function or schema.has_context_dependent_function)
        and (a.name, o.op_type) not in tested
    ]
    assert missing == []


@pytest.mark.parametrize("name", ["identity", "sigmoid", "tanh", "erf", "exp"])
def test_operators_without_a_body_agree_with_the_reference_implementation(name: str) -> None:
    operator = named(name).operators[0]
    node = onnx.helper.make_node(operator.op_type, ["x"], ["y"])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [value("x", onnx.TensorProto.DOUBLE, ["n"])],
        [value("y", onnx.TensorProto.DOUBLE, ["n"])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    expected = ReferenceEvaluator(model).run(None, {"x": GRID})
    assert isinstance(expected, list)
    np.testing.assert_allclose(
        evaluate(named(name).expression(), GRID),
        expected[0],
        # The reference Erf returns what was rounded to float32 inside.
        rtol=1e-7 if name == "erf" else 1e-14,
        atol=0,
    )


@pytest.mark.parametrize("activation", CATALOGUE, ids=lambda a: a.name)
def test_operators_exist_with_their_attributes_since_the_declared_opset(
    activation: Activation,
) -> None:
    for operator in activation.operators:
        if operator.domain:
            continue
        schema = onnx.defs.get_schema(operator.op_type, operator.since)
        assert set(operator.attributes) <= set(schema.attributes)
        assert "consumed_inputs" not in schema.attributes, "that is the calling style of opset 1"
