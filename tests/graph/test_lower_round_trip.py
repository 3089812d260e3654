"""The law recognise(lower(a)) == a, over parameters, lowerings and dtypes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx_ir as ir
import pytest
from graph_sketch import sites_of
from hypothesis import given, settings
from hypothesis import strategies as st
from lowered import DTYPES, lowered_model

from onnx_act.activations.catalogue import CATALOGUE, named
from onnx_act.graph.lower import (
    LoweringUnavailableError,
    OperatorLowering,
    lowerings,
)
from onnx_act.graph.sites import Spelling

if TYPE_CHECKING:
    from onnx_act.graph.lower import Lowering

_HALF_ULP = {
    ir.DataType.FLOAT: 2.0**-24,
    ir.DataType.DOUBLE: 2.0**-53,
    ir.DataType.FLOAT16: 2.0**-11,
    ir.DataType.BFLOAT16: 2.0**-8,
}


def _digits(low: float, high: float, *, step: float = 0.01) -> st.SearchStrategy[float]:
    """Numbers as people type them."""
    return st.integers(round(low / step), round(high / step)).map(lambda k: round(k * step, 6))


_SLOPES = _digits(0.01, 0.95) | _digits(-0.9, -0.01) | _digits(1.1, 4.0)
#: What is drawn for each parameter. Values where one activation is another are left out here and
#: looked at one by one below.
_DRAWN: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "leaky_relu": {"negative_slope": _SLOPES},
    "prelu": {"slope": _SLOPES},
    "rrelu": {"lower": _digits(0.05, 0.3), "upper": _digits(0.31, 0.9)},
    "threshold": {"threshold": _digits(-3, 3), "value": _digits(-20, -4) | _digits(4, 20)},
    "hardtanh": {"min": _digits(-8, -0.1), "max": _digits(0.1, 5.9)},
    "hardshrink": {"lambd": _digits(0.05, 4)},
    "softshrink": {"lambd": _digits(0.05, 4)},
    "elu": {"alpha": _digits(0.05, 3)},
    "selu": {"alpha": _digits(0.3, 3), "gamma": _digits(1.05, 3)},
    "celu": {"alpha": _digits(0.2, 0.9) | _digits(1.1, 4)},
    "softplus": {"beta": _digits(0.3, 5)},
    "hardsigmoid": {"alpha": _digits(0.05, 0.9), "beta": _digits(0.1, 0.9)},
    "swish": {"beta": _digits(0.3, 0.9) | _digits(1.1, 4)},
    "gelu": {"approximate": st.sampled_from(["none", "tanh"])},
}


@st.composite
def _lowered(draw: st.DrawFn) -> tuple[str, dict[str, Any], Lowering, ir.DataType, int]:
    activation = draw(st.sampled_from([a for a in CATALOGUE if a.name != "identity"]))
    drawn = {k: draw(s) for k, s in _DRAWN.get(activation.name, {}).items()}
    dtype = draw(st.sampled_from(DTYPES))
    opset = draw(st.sampled_from([6, 9, 11, 13, 17, 20, 24]))
    options = lowerings(activation, activation.bind(drawn), opset, contrib=draw(st.booleans()))
    return activation.name, drawn, draw(st.sampled_from(options)), dtype, opset


def _canonical(name: str, drawn: dict[str, Any], lowering: Lowering) -> tuple[str, dict[str, Any]]:
    """What an activation is called when it is read back."""
    if name == "rrelu":
        return "leaky_relu", {"negative_slope": (drawn["lower"] + drawn["upper"]) / 2}
    if name == "prelu" and not isinstance(lowering, OperatorLowering):
        return "leaky_relu", {"negative_slope": drawn["slope"]}
    return name, drawn


@given(_lowered())
@settings(max_examples=700)
def test_what_was_written_is_read_back(
    case: tuple[str, dict[str, Any], Lowering, ir.DataType, int],
) -> None:
    name, drawn, lowering, dtype, opset = case
    activation = named(name)
    try:
        model = lowered_model(lowering, activation, activation.bind(drawn), dtype, opset)
    except LoweringUnavailableError:
        return
    (site,) = sites_of(model, routine=activation.index_only)
    wanted, parameters = _canonical(name, drawn, lowering)
    assert site.name == wanted
    assert site.input is not None
    assert site.input.name == "x"
    assert set(site.parameters) == set(parameters)
    # An attribute is a float32 whatever the model computes in; a constant is of its dtype, and
    # a parameter is read from as many as two of them, each of which is off by half an ulp.
    attributes = isinstance(lowering, OperatorLowering) and (
        lowering.operator.op_type not in {"Clip", "PRelu"}
    )
    loss = 3 * _HALF_ULP[ir.DataType.FLOAT if attributes else dtype] + 5e-7
    for key, value in parameters.items():
        found = site.parameters[key]
        assert found == (value if isinstance(value, str) else pytest.approx(value, rel=loss))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name.lower())
@pytest.mark.parametrize("activation", CATALOGUE, ids=lambda a: a.name)
def test_defaults_are_read_back_from_every_lowering(activation: Any, dtype: ir.DataType) -> None:
    parameters = activation.defaults()
    for lowering in lowerings(activation, parameters, 24, contrib=True):
        model = lowered_model(lowering, activation, parameters, dtype, 24)
        (site,) = sites_of(model, routine=activation.index_only)
        wanted, canonical = _canonical(activation.name, parameters, lowering)
        if activation.name == "swish":
            wanted, canonical = "silu", {}
        if activation.name == "celu" and not isinstance(lowering, OperatorLowering):
            wanted = "elu"
        assert site.name == wanted
        for key, value in canonical.items():
            found = site.parameters[key]
            loss = 3 * _HALF_ULP[dtype] + 5e-7
            assert found == (value if isinstance(value, str) else pytest.approx(value, rel=loss))


@pytest.mark.parametrize(
    ("name", "given_", "wanted", "parameters"),
    [
        ("leaky_relu", {"negative_slope": 0.0}, "relu", {}),
        ("hardtanh", {"min": 0.0, "max": 6.0}, "relu6", {}),
        ("hardtanh", {"min": 0.0, "max": float("inf")}, "relu", {}),
        ("threshold", {"threshold": 0.0, "value": 0.0}, "relu", {}),
        ("elu", {"alpha": 0.0}, "relu", {}),
        ("swish", {"beta": 1.0}, "silu", {}),
        ("rrelu", {"lower": 0.1, "upper": 0.3}, "leaky_relu", {"negative_slope": 0.2}),
    ],
)
def test_where_one_activation_is_another_the_simpler_one_names_it(
    name: str, given_: dict[str, float], wanted: str, parameters: dict[str, float]
) -> None:
    activation = named(name)
    bound = activation.bind(given_)
    for lowering in lowerings(activation, bound, 24):
        model = lowered_model(lowering, activation, bound, ir.DataType.FLOAT, 24)
        (site,) = sites_of(model)
        assert site.name == wanted
        assert site.parameters == pytest.approx(parameters)


@pytest.mark.parametrize(
    ("name", "given_"),
    [
        ("leaky_relu", {"negative_slope": 1.0}),
        ("softshrink", {"lambd": 0.0}),
        ("hardtanh", {"min": float("-inf"), "max": float("inf")}),
    ],
)
def test_where_an_activation_does_nothing_there_is_none(
    name: str, given_: dict[str, float]
) -> None:
    activation = named(name)
    bound = activation.bind(given_)
    lowering = lowerings(activation, bound, 20)[0]
    assert sites_of(lowered_model(lowering, activation, bound, ir.DataType.FLOAT, 20)) == []


def test_a_native_operator_is_spelled_as_one() -> None:
    for activation in CATALOGUE:
        if activation.index_only:
            continue
        bound = activation.bind()
        for lowering in lowerings(activation, bound, 24, contrib=True):
            (site,) = sites_of(lowered_model(lowering, activation, bound, DTYPES[0], 24))
            operator = isinstance(lowering, OperatorLowering)
            if len(site.nodes) == 1:
                contrib = operator and lowering.operator.is_contrib()  # type: ignore[union-attr]
                wanted = Spelling.CONTRIB if contrib else Spelling.OPERATOR
                assert site.spelling is wanted
            else:
                assert site.spelling is Spelling.EXPRESSION
