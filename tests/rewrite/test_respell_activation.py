"""Writing an activation in another way: what it becomes, what it says, and where it must not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, parser
from rewrite_trials import Trial, graph, normal, outputs, run

from onnx_act.graph.constants import Constants
from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model
from onnx_act.rewrite.respell_activation import (
    RespellActivation,
    is_respellable,
    ways_to_write,
    would_be_written_as,
    written_as,
)
from onnx_act.rewrite.rule import Fidelity

if TYPE_CHECKING:
    from onnx_act.graph.sites import Site

IMAGE, IMAGES = "float[N,2,3,3] x", "float[N,2,3,3] y"


def respell(
    proto: onnx.ModelProto, choices: dict[str, str], channels: dict[str, int] | None = None
) -> Trial:
    return run([RespellActivation(choices, channels or {})], proto)


def site_of(proto: onnx.ModelProto, name: str = "y") -> Site:
    (found,) = [s for s in find_sites(load_model(proto), routine=True) if s.id == name]
    return found


@pytest.mark.parametrize(
    ("body", "key", "operators"),
    [
        ("y = Elu (x)", "ramp", ["Relu", "Exp", "HardSigmoid", "Sub"]),
        ("y = Celu <alpha = 2.0> (x)", "formula", None),
        ("s = Softplus (x) t = Tanh (s) y = Mul (x, t)", "quotient", None),
        ("s = Softplus (x) t = Tanh (s) y = Mul (x, t)", "bounded", None),
        ("s = Sigmoid (x) y = Mul (x, s)", "quotient", None),
        ("s = Sigmoid (x) y = Mul (x, s)", "com.microsoft.QuickGelu", ["QuickGelu"]),
        ("y = Selu (x)", "ramp", None),
        ("y = Softplus (x)", "maximum", None),
    ],
)
def test_it_is_the_same_function_and_the_same_site(
    body: str, key: str, operators: list[str] | None
) -> None:
    before = graph(body)
    trial = respell(before, {"y": key})
    (change,) = trial.plan.changes
    assert (change.rule, change.site, change.fidelity) == (
        "respell_activation",
        "y",
        Fidelity.NUMERIC,
    )
    assert operators is None or trial.operators == operators
    x = normal(4, 4)
    np.testing.assert_allclose(
        outputs(trial.proto, {"x": x})[0], outputs(before, {"x": x})[0], rtol=1e-5, atol=4e-6
    )
    old, new = site_of(before), site_of(trial.proto)
    assert new.name == old.name
    assert new.parameters == pytest.approx(old.parameters)
    assert new.output.name == old.output.name


def test_what_is_new_tells_its_story() -> None:
    before = graph("[a] s = Sigmoid (x) [b] y = Mul (x, s)")
    trial = respell(before, {"y": "quotient"})
    (change,) = trial.plan.changes
    assert change.before == "silu as Sigmoid, Mul"
    assert change.after == "x / (1 + exp(-x))"
    assert change.nodes == ("a", "b")
    for node in trial.proto.graph.node:
        story = {p.key: p.value for p in node.metadata_props}
        assert story["onnx_act.rule"] == "respell_activation"
        assert story["onnx_act.from"] == "silu (Sigmoid, Mul)"
        assert story["onnx_act.nodes"] == "a, b"


def test_what_rounds_worse_is_called_approximate() -> None:
    rule = RespellActivation(
        {"y": "plain maximum"}, approximate=frozenset({"softplus: plain maximum"})
    )
    (change,) = run([rule], graph("y = Softplus (x)")).plan.changes
    assert change.fidelity is Fidelity.APPROXIMATE
    other = RespellActivation({"y": "maximum"}, approximate=rule.approximate)
    (change,) = run([other], graph("y = Softplus (x)")).plan.changes
    assert change.fidelity is Fidelity.NUMERIC


def test_only_what_was_chosen_changes() -> None:
    before = graph("a = Elu (x) b = Neg (a) c = Elu (b) y = Neg (c)")
    trial = respell(before, {"c": "ramp"})
    assert [c.site for c in trial.plan.changes] == ["c"]
    assert trial.operators == ["Elu", "Neg", "Relu", "Exp", "HardSigmoid", "Sub", "Neg"]


def test_a_contrib_operator_imports_its_domain() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (float[4] x) => (float[4] y) { s = Sigmoid (x) y = Mul (x, s) }"""
    model = parser.parse_model(text)
    trial = respell(model, {"y": "com.microsoft.QuickGelu"})
    assert {i.domain for i in trial.proto.opset_import} == {"", "com.microsoft"}


def test_inside_a_body_and_inside_a_function() -> None:
    body = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "d" : 1]>
        g (bool c, float[4] x) => (float[4] y) {
            y = If (c) <then_branch = t () => (float[4] a) { a = Elu (x) },
                        else_branch = e () => (float[4] b) { b = Neg (x) }>
        }
        <domain: "d", opset_import: ["" : 17]> F (p) => (q) { q = Elu (p) }"""
    )
    (site,) = [s for s in find_sites(load_model(body)) if is_respellable(s)]
    trial = respell(body, {site.id: "ramp"})
    assert [c.site for c in trial.plan.changes] == [site.id]
    (choice,) = [n for n in trial.proto.graph.node if n.op_type == "If"]
    inner = next(a.g for a in choice.attribute if a.name == "then_branch")
    assert [v.name for v in inner.output] == ["a"]
    assert "Elu" not in [n.op_type for n in inner.node]
    x = np.linspace(-2, 2, 4, dtype=np.float32)
    for c in (True, False):
        feed: dict[str, Any] = {"c": np.array(c), "x": x}
        np.testing.assert_allclose(
            outputs(trial.proto, feed)[0], outputs(body, feed)[0], rtol=1e-6, atol=1e-6
        )


def test_one_factor_per_channel_behind_a_convolution() -> None:
    before = graph(
        "c = Conv (x, W) y = LeakyRelu <alpha = 0.25> (c)",
        "float[2,2,1,1] W = {1.5, 2, -1.25, 0.375}",
        IMAGE,
        IMAGES,
    )
    trial = respell(before, {"y": "two slopes"}, {"y": 2})
    factors = [
        tuple(n.attribute[0].t.dims) for n in trial.proto.graph.node if n.op_type == "Constant"
    ]
    assert factors
    assert set(factors) == {(2, 1, 1)}
    x = normal(3, 2, 3, 3)
    np.testing.assert_allclose(
        outputs(trial.proto, {"x": x})[0], outputs(before, {"x": x})[0], rtol=1e-5, atol=1e-5
    )


_MUST_NOT: dict[str, tuple[onnx.ModelProto, str]] = {
    "a way that nobody knows": (graph("y = Elu (x)"), "no such way"),
    "a way of another activation": (graph("y = Elu (x)"), "quotient"),
    "parameters that do not suit": (graph("y = Elu <alpha = 2.0> (x)"), "maximum"),
    "channels that are not known": (graph("y = LeakyRelu (x)", "", IMAGE, IMAGES), "two slopes"),
    "an operator that the opset has not": (graph("s = Sigmoid (x) y = Mul (x, s)"), "Swish"),
    "an operator that the opset broadcasts not": (graph("y = Elu (x)", opset=7), "maximum"),
    "integers": (graph("y = Relu (x)", "", "int32[4] x", "int32[4] y"), "formula"),
    "an unknown function": (graph("a = Sin (x) y = Neg (a)"), "formula"),
    "a fused operator": (
        graph(
            'y = com.microsoft.FusedConv <activation = "Relu"> (x, W)',
            "float[2,2,1,1] W = {1.5, 2, -1.25, 0.375}",
            IMAGE,
            IMAGES,
        ),
        "formula",
    ),
    "plain arithmetic": (graph("y = Exp (x)"), "formula"),
    "few digits": (
        graph(
            "d = Mul (x, r) e = Erf (d) p = Add (e, one) m = Mul (x, p) y = Mul (m, h)",
            "float r = {0.7071}, float one = {1}, float h = {0.5}",
        ),
        "formula",
    ),
}


@pytest.mark.parametrize("case", _MUST_NOT)
def test_it_must_not_fire(case: str) -> None:
    before, key = _MUST_NOT[case]
    untouched = ir.to_proto(load_model(before).content)
    trial = respell(before, {"y": key})
    assert trial.plan.changes == ()
    (refusal,) = trial.plan.refusals
    assert (refusal.rule, refusal.site) == ("respell_activation", "y")
    assert refusal.reason == f"it cannot be written as {key} in its place"
    assert trial.proto == untouched


def test_a_site_that_is_not_there_is_refused() -> None:
    trial = respell(graph("y = Elu (x)"), {"z": "ramp", "w": "ramp"})
    assert trial.plan.changes == ()
    assert [(r.site, r.reason) for r in trial.plan.refusals] == [
        ("w", "there is no such site in the model"),
        ("z", "there is no such site in the model"),
    ]


def test_the_functions_of_a_recurrent_operator_stay() -> None:
    rng = np.random.default_rng(0)
    weights = {"w": (1, 2, 2), "r": (1, 2, 2)}
    node = helper.make_node(
        "RNN", ["x", "w", "r"], ["h"], hidden_size=2, activations=["Elu"], activation_alpha=[1.0]
    )
    model = helper.make_model(
        helper.make_graph(
            [node],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 1, 2])],
            [helper.make_tensor_value_info("h", TensorProto.FLOAT, [5, 1, 1, 2])],
            [
                onnx.numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), k)
                for k, s in weights.items()
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    sites = find_sites(load_model(model), routine=True)
    assert [s.name for s in sites] == ["elu"]
    trial = respell(model, {sites[0].id: "ramp"})
    assert trial.plan.changes == ()
    assert [r.site for r in trial.plan.refusals] == [sites[0].id]
    assert trial.operators == ["RNN"]


def test_a_dtype_that_nothing_tells() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "d" : 1]>
        g (float[4] x) => (float[4] y) { y = d.F (x) }
        <domain: "d", opset_import: ["" : 17, "other" : 1]>
        F (p) => (r) { q = other.Mystery (p) r = Elu (q) }"""
    model = load_model(parser.parse_model(text))
    unknown = [s for s in find_sites(model, routine=True) if s.dtype is None]
    assert unknown
    assert not any(is_respellable(s) for s in unknown)


@pytest.mark.parametrize(
    ("opset", "missing"),
    [(6, {"maximum", "clipped maximum", "tanh"}), (7, {"maximum"}), (8, set())],
)
def test_what_the_opset_cannot_write_is_told(opset: int, missing: set[str]) -> None:
    """Max takes broadcasts from opset 8 on, arithmetic from 7 on."""
    site = site_of(graph("y = Elu (x)", opset=opset))
    ways = ways_to_write(site, None, contrib=False)
    assert missing <= set(ways)
    cannot = {k for k, w in ways.items() if would_be_written_as(site, w) is None}  # type: ignore[arg-type]
    assert missing <= cannot
    assert bool(cannot) is bool(missing)


def test_a_site_is_seen_to_be_written_so_whatever_its_constants_are() -> None:
    for stored in ("float half = {0.5}", "float[1] half = {0.5}", "float[1,1] half = {0.5}"):
        model = load_model(
            graph(
                "e = Div (x, root) g = Erf (e) h = Add (one, g) m = Mul (x, h) y = Mul (m, half)",
                f"float root = {{1.4142135}}, float one = {{1}}, {stored}",
            )
        )
        (site,) = find_sites(model)
        way = ways_to_write(site, None, contrib=False)["erf"]
        assert written_as(site, Constants(model)) == would_be_written_as(site, way)  # type: ignore[arg-type]
