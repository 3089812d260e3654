"""The catalogue: names, lookup, parameters; and the expressions that declarations build."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnx_act.activations.catalogue import CATALOGUE, find, known_names, named
from onnx_act.activations.primitives import ArraySource, X, array, constant, topological
from onnx_act.activations.readings import evaluate
from onnx_act.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from onnx_act.activations.activation import Activation, ParameterValue

EVERY = pytest.mark.parametrize("activation", CATALOGUE, ids=lambda a: a.name)
WANTED = [
    "relu",
    "relu6",
    "leaky_relu",
    "prelu",
    "rrelu",
    "threshold",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "swish",
    "mish",
    "softplus",
    "softsign",
    "sigmoid",
    "hardsigmoid",
    "hardswish",
    "tanh",
    "hardtanh",
    "rectified_tanh",
    "logsigmoid",
    "squared_relu",
    "hardshrink",
    "softshrink",
    "tanhshrink",
    "erf",
    "exp",
    "identity",
]


def _key(name: str) -> str:
    return name.lower().replace("_", "")


def test_the_catalogue_holds_every_activation_once() -> None:
    assert sorted(a.name for a in CATALOGUE) == sorted(WANTED)


def test_no_two_activations_share_a_name() -> None:
    names = Counter(
        key
        for a in CATALOGUE
        for key in {_key(n) for n in (a.name, *a.aliases, *(p.name for p in a.presets))}
    )
    assert [n for n, count in names.items() if count > 1] == []


def test_parameters_of_one_activation_share_no_name() -> None:
    for activation in CATALOGUE:
        names = [n for p in activation.parameters for n in (p.name, *p.aliases)]
        assert len(names) == len(set(names)), activation.name


@EVERY
def test_names_are_found_whatever_their_case(activation: Activation) -> None:
    for name in (activation.name, *activation.aliases):
        for spelled in (name, name.upper(), name.title(), name.replace("_", "-"), f" {name} "):
            assert find(spelled) == (activation, {})
    assert named(activation.name) is activation


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LeakyRelu", "leaky_relu"),
        ("PRelu", "prelu"),
        ("ThresholdedRelu", "threshold"),
        ("HardSigmoid", "hardsigmoid"),
        ("HardSwish", "hardswish"),
        ("Clip", "hardtanh"),
        ("Softplus", "softplus"),
        ("Celu", "celu"),
        ("log_sigmoid", "logsigmoid"),
        ("linear", "identity"),
        ("hard_silu", "hardswish"),
        ("exponential", "exp"),
    ],
)
def test_onnx_and_keras_names_are_found(name: str, expected: str) -> None:
    assert find(name)[0].name == expected


def test_presets_set_parameters() -> None:
    assert find("QuickGelu") == (named("swish"), {"beta": 1.702})
    assert find("gelu_tanh") == (named("gelu"), {"approximate": "tanh"})


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown activation 'gleu'; did you mean gelu"):
        find("gleu")
    with pytest.raises(UnknownNameError, match="known: ") as failure:
        find("qqqqq")
    assert set(failure.value.known) == set(known_names())


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("relu", {"alpha": 1.0}, "relu has no parameters, so 'alpha' cannot be set"),
        ("elu", {"alhpa": 1.0}, "unknown parameter of elu 'alhpa'; did you mean alpha"),
        ("elu", {"alpha": "much"}, "elu:alpha takes a number, not 'much'"),
        ("elu", {"alpha": float("nan")}, "elu:alpha is not a number"),
        ("elu", {"alpha": np.ones(3)}, r"elu:alpha takes one number, not an array of shape \(3,\)"),
        ("celu", {"alpha": 0.0}, "celu:alpha must be greater than 0, not 0"),
        ("softplus", {"beta": -1.0}, "softplus:beta must be greater than 0, not -1"),
        ("gelu", {"approximate": "erf"}, "gelu:approximate is one of none, tanh, not 'erf'"),
        ("prelu", {"slope": np.array([1.0, np.inf])}, "prelu:slope has values that are not finite"),
    ],
    ids=str,
)
def test_wrong_parameters_are_answered(
    name: str, given: dict[str, ParameterValue], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        named(name).bind(given)


def test_parameters_are_bound_by_their_own_names() -> None:
    assert named("leaky_relu").bind({"alpha": 0.2}) == {"negative_slope": 0.2}
    assert named("hardtanh").bind({"MAX_VAL": 3}) == {"min": -1.0, "max": 3.0}
    assert named("selu").bind({"scale": 1}) == {"alpha": 1.6732632423543772, "gamma": 1.0}


@EVERY
def test_equal_expressions_are_one_object(activation: Activation) -> None:
    assert activation.expression() is activation.expression(activation.bind())
    assert activation.expression() is not X or activation.name == "identity"


@EVERY
def test_expressions_survive_pickling(activation: Activation) -> None:
    root = activation.expression()
    assert pickle.loads(pickle.dumps(root)) is root


def test_constants_with_another_uncertainty_are_others() -> None:
    assert constant(0.5) is not constant(0.5, 1e-4)
    assert constant(0.0) is not constant(-0.0)
    assert constant(1.0) is constant(1)


def test_deep_expressions_are_evaluated() -> None:
    root = X
    for _ in range(5000):
        root = root + 1
    assert evaluate(root, np.array([0.0]))[0] == 5000
    assert sum(1 for _ in topological(root)) == 5002


def test_arrays_are_read_only_when_evaluated() -> None:
    def load() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        loaded.append(1)
        return np.array([1.0, 2.0])

    loaded: list[int] = []
    root = X * array(ArraySource("key", (2,), load))
    assert loaded == []
    np.testing.assert_array_equal(evaluate(root, np.array([3.0, 3.0])), [3.0, 6.0])
    assert loaded == [1]


def test_an_open_parameter_cannot_be_evaluated() -> None:
    with pytest.raises(ValueError, match="parameter 'alpha' has no value"):
        evaluate(named("elu").open_expression(), np.zeros(1))


@EVERY
def test_lowerings_carry_every_parameter(activation: Activation) -> None:
    values = activation.bind()
    for operator in activation.operators:
        attributes = operator.attribute_values(values)
        assert set(attributes) == set(operator.attributes)
        carried = {s for s in operator.attributes.values() if isinstance(s, str)}
        known = {p.name for p in activation.parameters}
        assert carried | set(operator.inputs) | set(operator.requires) <= known
