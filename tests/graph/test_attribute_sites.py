"""Activations that are named in attributes of recurrent and fused operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from float_runs import session_of
from graph_sketch import parsed, sites_of
from onnx import TensorProto, helper

from onnx_act.activations.readings import evaluate
from onnx_act.graph.sites import Role, Site, Spelling

_INPUTS = {"RNN": 1, "GRU": 3, "LSTM": 4}


def _recurrent(op_type: str, **attributes: Any) -> onnx.ModelProto:
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    gates = _INPUTS[op_type]
    rng = np.random.default_rng(7)
    weights = {
        "W": rng.normal(size=(directions, gates * 3, 4)),
        "R": rng.normal(size=(directions, gates * 3, 3)),
        "B": rng.normal(size=(directions, gates * 6)),
    }
    graph = helper.make_graph(
        [helper.make_node(op_type, ["x", "W", "R", "B"], ["y"], hidden_size=3, **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def _listed(sites: list[Site]) -> list[tuple[str, dict[str, Any], Role]]:
    assert all(s.spelling is Spelling.ATTRIBUTE for s in sites)
    assert all(s.input is None for s in sites)
    return [(s.name, dict(s.parameters), s.role) for s in sites]


@pytest.mark.parametrize(
    ("op_type", "wanted"),
    [
        ("RNN", [("tanh", {}, Role.MAIN)]),
        ("GRU", [("sigmoid", {}, Role.GATE), ("tanh", {}, Role.MAIN)]),
        (
            "LSTM",
            [("sigmoid", {}, Role.GATE), ("tanh", {}, Role.MAIN), ("tanh", {}, Role.MAIN)],
        ),
    ],
)
def test_defaults_are_listed(op_type: str, wanted: list[tuple[str, dict[str, Any], Role]]) -> None:
    assert _listed(sites_of(_recurrent(op_type))) == wanted
    both = sites_of(_recurrent(op_type, direction="bidirectional"))
    assert _listed(both) == wanted * 2
    assert len({s.id for s in both}) == len(both)


def test_stated_functions_take_alpha_and_beta_in_order() -> None:
    sites = sites_of(
        _recurrent(
            "LSTM",
            direction="bidirectional",
            activations=["HardSigmoid", "Softsign", "Elu", "LeakyRelu", "Tanh", "ScaledTanh"],
            activation_alpha=[0.25, 0.7, 0.3, 1.5],
            activation_beta=[0.4, 0.6],
        )
    )
    assert [s.name for s in sites[:5]] == ["hardsigmoid", "softsign", "elu", "leaky_relu", "tanh"]
    assert sites[0].parameters == {"alpha": 0.25, "beta": 0.4}
    assert sites[2].parameters == {"alpha": 0.7}
    assert sites[3].parameters == {"negative_slope": 0.3}
    assert sites[5].name == "unknown"
    assert "1.5" in sites[5].formula
    assert "0.6" in sites[5].formula
    assert [s.slot.position for s in sites if s.slot] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("functions", "alphas", "betas"),
    [
        (["HardSigmoid", "Softsign", "Elu"], [0.2, 0.3], [0.4]),
        (["HardSigmoid", "Softsign", "Elu"], [0.2, 0.0, 0.5], [0.5]),
        (["Sigmoid", "LeakyRelu", "ScaledTanh"], [0.3, 1.5], [0.6]),
        (["Softplus", "ThresholdedRelu", "Relu"], [0.2], []),
        (["Sigmoid", "Affine", "Tanh"], [0.7], [0.1]),
        (["Sigmoid", "Elu", "Elu"], [0.5, 0.9], []),
        (["HardSigmoid", "LeakyRelu", "Elu"], [], []),
    ],
    ids=lambda value: str(value) if value and isinstance(value[0], str) else "",
)
def test_the_runtime_reads_alphas_and_betas_as_we_do(
    functions: list[str], alphas: list[float], betas: list[float]
) -> None:
    given: dict[str, Any] = {"activation_alpha": alphas, "activation_beta": betas}
    stated = {name: values for name, values in given.items() if values}
    model = _recurrent("LSTM", activations=functions, **stated)
    sites = sites_of(model)
    assert len(sites) == 3
    x = np.linspace(-2, 2, 20, dtype=np.float32).reshape(1, 5, 4)
    got = session_of(model).run(None, {"x": x})[0][0, 0]
    held = {t.name: onnx.numpy_helper.to_array(t)[0] for t in model.graph.initializer}
    pre = x[0].astype(np.float64) @ held["W"].T + held["B"][:12] + held["B"][12:]
    i, o, _, c = np.split(pre, 4, axis=1)

    def activate(place: int, values: Any) -> Any:
        slot = sites[place].slot
        assert slot is not None
        assert slot.expression is not None
        return evaluate(slot.expression, values)

    cell = activate(0, i) * activate(1, c)
    np.testing.assert_allclose(got, activate(0, o) * activate(2, cell), atol=2e-6)


def test_a_threshold_that_is_not_stated_is_that_of_the_operator() -> None:
    # By the standard it is 1, as in ThresholdedRelu; ONNX Runtime 1.31's CPU kernel takes 0.
    (site,) = sites_of(_recurrent("RNN", activations=["ThresholdedRelu"]))
    assert site.name == "threshold"
    assert site.parameters == {"threshold": 1.0, "value": 0.0}


def _fused(node: str) -> Site:
    text = f"""<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        g (float[N, 4, 5, 5] x, float[4, 4, 1, 1] w, float[N, 4] a, float[4, 4] m, float[4] b)
        => (y) {{ y = com.microsoft.{node} }}"""
    (site,) = sites_of(parsed(text))
    return site


@pytest.mark.parametrize(
    ("node", "name", "parameters", "spelling"),
    [
        ('FusedConv <activation = "Relu"> (x, w)', "relu", {}, "fused"),
        (
            'FusedConv <activation = "LeakyRelu", activation_params = [0.2]> (x, w)',
            "leaky_relu",
            {"negative_slope": 0.2},
            "fused",
        ),
        (
            'FusedConv <activation = "Clip", activation_params = [0.0, 6.0]> (x, w)',
            "relu6",
            {},
            "fused",
        ),
        (
            'FusedConv <activation = "Clip", activation_params = [-2.0, 3.0]> (x, w)',
            "hardtanh",
            {"min": -2.0, "max": 3.0},
            "fused",
        ),
        (
            'FusedConv <activation = "HardSigmoid", activation_params = [0.3, 0.4]> (x, w)',
            "hardsigmoid",
            {"alpha": 0.3, "beta": 0.4},
            "fused",
        ),
        ('NhwcFusedConv <activation = "Tanh"> (x, w)', "tanh", {}, "fused"),
        ('FusedGemm <activation = "Sigmoid"> (a, m)', "sigmoid", {}, "fused"),
        (
            'FusedGemm <activation = "LeakyRelu", activation_alpha = 0.3> (a, m)',
            "leaky_relu",
            {"negative_slope": 0.3},
            "fused",
        ),
        (
            'FusedGemm <activation = "Elu", activation_alpha = 0.5> (a, m)',
            "elu",
            {"alpha": 0.5},
            "fused",
        ),
        ("BiasGelu (a, b)", "gelu", {"approximate": "none"}, "fused"),
        ("FastGelu (a, b)", "gelu", {"approximate": "tanh"}, "fused"),
        ("FastGelu (a)", "gelu", {"approximate": "tanh"}, "contrib"),
        ("Gelu (a)", "gelu", {"approximate": "none"}, "contrib"),
        ("QuickGelu (a)", "swish", {"beta": 1.702}, "contrib"),
        ("QuickGelu <alpha = 1.0> (a)", "silu", {}, "contrib"),
        ("GroupNorm <groups = 2, activation = 1> (x, b, b)", "silu", {}, "fused"),
    ],
)
def test_fused_operators(node: str, name: str, parameters: dict[str, Any], spelling: str) -> None:
    site = _fused(node)
    assert (site.name, site.parameters, site.spelling.value) == (name, parameters, spelling)
    assert site.role is Role.OUTPUT
    assert site.producer == ("(input)" if spelling == "contrib" else node.split(maxsplit=1)[0])


@pytest.mark.parametrize(
    "node",
    [
        "FusedConv (x, w)",
        "FusedGemm (a, m)",
        "GroupNorm <groups = 2, activation = 0> (x, b, b)",
    ],
)
def test_a_fused_operator_without_an_activation_is_no_site(node: str) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        g (float[N, 4, 5, 5] x, float[4, 4, 1, 1] w, float[N, 4] a, float[4, 4] m, float[4] b)
        => (y) {{ y = com.microsoft.{node} }}"""
    assert sites_of(parsed(text)) == []


def test_a_spelling_nobody_knows_is_reported_as_it_stands() -> None:
    site = _fused('FusedConv <activation = "Wobble"> (x, w)')
    assert site.name == "unknown"
    assert site.formula == "Wobble"


def test_a_recurrent_operator_of_another_domain_is_not_one() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "my": 1]>
        g (float[1, N, 4] x) => (y) { y = my.LSTM(x) }"""
    assert sites_of(parsed(text)) == []


@pytest.mark.parametrize(
    ("node", "attribute"),
    [
        ("Gelu", 'approximate = "wobble"'),
        ("Celu", "alpha = 0.0"),
        ("Celu", "alpha = -1.0"),
        ("LeakyRelu", "alpha = nan"),
        ("com.microsoft.QuickGelu", "alpha = nan"),
        ("com.microsoft.FusedGemm", 'activation = "LeakyRelu", activation_alpha = nan'),
        ("com.microsoft.FusedGemm", 'activation = "Selu", activation_gamma = nan'),
    ],
)
def test_a_value_that_no_activation_takes_is_the_models_problem(node: str, attribute: str) -> None:
    # It is in the file, so it is not wrong use; what it computes is unknown.
    value = attribute.replace("nan", "0.125")
    inputs = "x, w" if "Gemm" in node else "x"
    proto = parsed(
        f"""<ir_version: 9, opset_import: ["": 20, "com.microsoft": 1]>
        g (float[N, 4] x, float[4, 4] w) => (y) {{ y = {node} <{value}> ({inputs}) }}"""
    )
    for stated in proto.graph.node[0].attribute:
        if stated.f == 0.125:
            stated.f = float("nan")
    assert [s.name for s in sites_of(proto) if s.activation is not None] == []


def test_a_recurrent_operator_that_nothing_uses_is_no_site() -> None:
    proto = _recurrent("RNN")
    proto.graph.node[0].output[0] = ""
    proto.graph.output[0].name = "x"
    assert sites_of(proto) == []


def test_an_unused_sequence_output_still_gives_an_id() -> None:
    text = """<ir_version: 8, opset_import: ["": 14]>
        g (float[1, N, 4] x, float[1, 3, 4] w, float[1, 3, 3] r) => (h)
        { _unused, h = RNN <hidden_size = 3> (x, w, r) }"""
    proto = parsed(text)
    proto.graph.node[0].output[0] = ""
    (site,) = sites_of(proto)
    assert site.id == "h#activations[0]"
    assert site.output.name == "h"


@pytest.mark.parametrize(
    "attributes",
    [
        "<activation : string = @kind>",
        '<activation = "LeakyRelu", activation_params : floats = @numbers>',
    ],
)
def test_what_a_caller_gives_is_not_known(attributes: str) -> None:
    model = parsed(
        f"""<ir_version: 8, opset_import: ["" : 17, "local" : 1, "com.microsoft" : 1]>
        g (float[1,1,4,4] x, float[1,1,1,1] w) => (float[1,1,4,4] y)
        {{ y = local.f <kind = "Relu", numbers = [0.3]> (x, w) }}
        <domain: "local", opset_import: ["" : 17, "com.microsoft" : 1]>
        f <kind, numbers> (x, w) => (y) {{ y = com.microsoft.FusedConv {attributes} (x, w) }}"""
    )
    (site,) = sites_of(model)
    assert site.activation is None


def test_an_activation_that_is_no_text_is_none() -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[1,1,4,4] x, float[1,1,1,1] w) => (float[1,1,4,4] y)
        { y = com.microsoft.FusedConv <activation = 1> (x, w) }"""
    )
    assert sites_of(model) == []
