"""Swaps in the `activations` attribute, against nodes written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from rewrite_trials import normal, outputs, refusing, swap

if TYPE_CHECKING:
    from collections.abc import Sequence

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
INPUTS, HIDDEN = 2, 3
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def recurrent(kind: str, *, both: bool = False, **attributes: Any) -> onnx.ModelProto:
    """A recurrent layer over [steps, N, inputs] whose output feeds a sum."""
    ways = 2 if both else 1
    rows = GATES[kind] * HIDDEN
    weights = {
        "W": 0.3 * normal(ways, rows, INPUTS, seed=1),
        "R": 0.3 * normal(ways, rows, HIDDEN, seed=2),
        "B": 0.3 * normal(ways, 2 * rows, seed=3),
    }
    if both:
        attributes["direction"] = "bidirectional"
    graph = helper.make_graph(
        [
            helper.make_node(kind, ["x", "W", "R", "B"], ["h"], hidden_size=HIDDEN, **attributes),
            helper.make_node("ReduceSum", ["h", "axes"], ["y"], keepdims=0),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, "N", INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, "N", HIDDEN])],
        [
            *(numpy_helper.from_array(v, k) for k, v in weights.items()),
            numpy_helper.from_array(np.array([1]), "axes"),
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def assert_same(found: onnx.ModelProto, by_hand: onnx.ModelProto) -> None:
    onnx.checker.check_model(by_hand)
    feeds = {"x": normal(5, 4, INPUTS)}
    np.testing.assert_array_equal(outputs(found, feeds)[0], outputs(by_hand, feeds)[0])


@pytest.mark.parametrize("both", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize(
    ("request_", "name", "numbers"),
    [
        ("tanh=relu", "Relu", {}),
        ("tanh=softsign", "Softsign", {}),
        ("tanh=softplus", "Softplus", {}),
        ("tanh=elu:alpha=0.5", "Elu", {"activation_alpha": [0.5]}),
        ("tanh=leaky_relu:negative_slope=0.2", "LeakyRelu", {"activation_alpha": [0.2]}),
        ("tanh=threshold:threshold=0.3", "ThresholdedRelu", {"activation_alpha": [0.3]}),
        (
            "tanh=hardsigmoid:alpha=0.3,beta=0.4",
            "HardSigmoid",
            {"activation_alpha": [0.3], "activation_beta": [0.4]},
        ),
    ],
)
def test_every_function_that_can_be_named(
    kind: str, both: bool, request_: str, name: str, numbers: dict[str, list[float]]
) -> None:
    trial = swap(recurrent(kind, both=both), request_)
    ways = 2 if both else 1
    names = [name if n == "Tanh" else n for n in DEFAULTS[kind]] * ways
    changed = names.count(name)
    assert len(trial.plan.changes) == changed
    by_hand = {k: v * changed for k, v in numbers.items()}
    assert_same(trial.proto, recurrent(kind, both=both, activations=names, **by_hand))


MIXED: dict[str, Any] = {
    "activations": ["HardSigmoid", "LeakyRelu", "Tanh", "Sigmoid", "Tanh", "Elu"],
    "activation_alpha": [0.25, 0.125, 0.75],
    "activation_beta": [0.5],
}


@pytest.mark.parametrize(
    ("request_", "where", "expected"),
    [
        # One that takes a number among others that do: the numbers move up.
        (
            "tanh=elu:alpha=2",
            None,
            {
                "activations": ["HardSigmoid", "LeakyRelu", "Elu", "Sigmoid", "Elu", "Elu"],
                "activation_alpha": [0.25, 0.125, 2.0, 2.0, 0.75],
                "activation_beta": [0.5],
            },
        ),
        # One that took a number gives way to one that takes none: its number goes.
        (
            "leaky_relu=relu",
            None,
            {
                "activations": ["HardSigmoid", "Relu", "Tanh", "Sigmoid", "Tanh", "Elu"],
                "activation_alpha": [0.25, 0.75],
                "activation_beta": [0.5],
            },
        ),
        # Two numbers go, and two others come elsewhere.
        (
            "hardsigmoid=sigmoid",
            "role:gate",
            {
                "activations": ["Sigmoid", "LeakyRelu", "Tanh", "Sigmoid", "Tanh", "Elu"],
                "activation_alpha": [0.125, 0.75],
            },
        ),
        (
            "sigmoid=hardsigmoid:alpha=0.1,beta=0.6",
            "role:gate",
            {
                "activations": ["HardSigmoid", "LeakyRelu", "Tanh", "HardSigmoid", "Tanh", "Elu"],
                "activation_alpha": [0.25, 0.125, 0.1, 0.75],
                "activation_beta": [0.5, 0.6],
            },
        ),
    ],
)
def test_numbers_stay_with_the_functions_they_belong_to(
    request_: str, where: str | None, expected: dict[str, Any]
) -> None:
    before = recurrent("LSTM", both=True, **MIXED)
    trial = swap(before, request_, where=where)
    found = {a.name: helper.get_attribute_value(a) for a in trial.proto.graph.node[0].attribute}
    assert [n.decode() for n in found["activations"]] == expected["activations"]
    np.testing.assert_allclose(found["activation_alpha"], expected["activation_alpha"])
    np.testing.assert_allclose(
        found.get("activation_beta", []), expected.get("activation_beta", [])
    )
    assert_same(trial.proto, recurrent("LSTM", both=True, **expected))


def test_two_requests_on_one_node() -> None:
    trial = swap(recurrent("LSTM", both=True, **MIXED), "tanh=relu", "elu=leaky_relu:alpha=0.5")
    expected: dict[str, Any] = {
        "activations": ["HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Relu", "LeakyRelu"],
        "activation_alpha": [0.25, 0.125, 0.5],
        "activation_beta": [0.5],
    }
    assert len(trial.plan.changes) == 3
    assert_same(trial.proto, recurrent("LSTM", both=True, **expected))


def test_what_a_node_left_to_its_defaults_is_stated() -> None:
    before = recurrent("GRU", activations=["HardSigmoid", "LeakyRelu"])
    trial = swap(before, "leaky_relu=elu:alpha=0.5")
    expected: dict[str, Any] = {
        "activations": ["HardSigmoid", "Elu"],
        "activation_alpha": [0.2, 0.5],
        "activation_beta": [0.5],
    }
    assert_same(trial.proto, recurrent("GRU", **expected))


@pytest.mark.parametrize("kept", [{"clip": 1.5}, {"linear_before_reset": 1}, {"layout": 0}])
def test_other_attributes_stay(kept: dict[str, Any]) -> None:
    trial = swap(recurrent("GRU", **kept), "tanh=relu")
    assert_same(trial.proto, recurrent("GRU", activations=["Sigmoid", "Relu"], **kept))


@pytest.mark.parametrize(
    ("kind", "sites"),
    [("RNN", []), ("GRU", ["h#activations[0]"]), ("LSTM", ["h#activations[0]"])],
)
def test_gates_are_gates(kind: str, sites: Sequence[str]) -> None:
    trial = swap(recurrent(kind), "sigmoid=hardsigmoid")
    assert [r.site for r in trial.plan.refusals] == list(sites)
    assert all("it is a gate" in r for r in trial.reasons)
    assert trial.plan.changes == ()


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("tanh=gelu", "LSTM cannot name gelu; it can name elu, hardsigmoid, leaky_relu"),
        ("tanh=relu6", "LSTM cannot name relu6"),
        ("tanh=prelu", "LSTM cannot name prelu"),
        ("tanh=threshold:value=1", "LSTM cannot name threshold"),
        ("tanh=softplus:beta=2", "a recurrent Softplus has no beta"),
        ("tanh=tanh", "it already is tanh"),
    ],
)
def test_what_cannot_be_named_is_refused(request_: str, said: str) -> None:
    trial = swap(recurrent("LSTM"), request_)
    assert len(trial.reasons) == 2
    assert all(said in r for r in trial.reasons)


def test_a_target_that_has_no_such_kernel() -> None:
    trial = swap(recurrent("LSTM"), "tanh=relu", targets=refusing("LSTM"))
    assert trial.reasons == ["LSTM: no kernel for LSTM"] * 2
