"""Sums fused into Conv: right at every level, and only where the optimiser gets them right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from capabilities import StandIn
from fusion_levels import check_at_all_levels, model_of
from onnx import helper
from rewrite_trials import graph, normal, run

from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model
from onnx_act.rewrite.fuse_conv_residual import FuseConvResidual
from onnx_act.rewrite.fused_operators import fused_attributes
from onnx_act.rewrite.fused_probes import residual_probe
from onnx_act.runtime.miscomputation import miscomputation
from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session

_ACTIVATIONS: dict[str, dict[str, Any]] = {
    "Relu": {},
    "LeakyRelu": {"alpha": 0.125},
    "Sigmoid": {},
    "Tanh": {},
    "HardSigmoid": {"alpha": 0.25, "beta": 0.5},
    "HardSwish": {},
}
IMAGES = "float[N,2,3,3] x, float[N,2,3,3] z"
WEIGHTS = "float[2,2,1,1] W = {1.5, 2, -1.25, 0.375}"
BLOCK = "[conv] c = Conv (x, W) [sum] s = Add (c, z) [act] y = Relu (s)"


def _blocks(
    activation: str, channels: int, rank: int, groups: int, *, bias: bool
) -> onnx.ModelProto:
    """Two residual blocks behind a Conv: what is added comes in every layout."""
    settings: dict[str, Any] = {
        "kernel_shape": [3] * rank,
        "pads": [1] * (2 * rank),
        "group": groups,
    }
    wide = (channels, channels // groups, *(3,) * rank)
    weights = {f"W{k}": normal(*wide, seed=k) / 40 for k in range(3)}
    nodes = []
    if bias:
        weights |= {f"B{k}": normal(channels, seed=9 + k) for k in range(3)}
    for k, (x, z, made) in enumerate((("x", "", "a"), ("a", "a", "b"), ("b", "a", "y"))):
        given = [x, f"W{k}", *([f"B{k}"] if bias else [])]
        result = f"c{k}" if z else made
        nodes.append(helper.make_node("Conv", given, [result], f"conv{k}", **settings))
        if z:
            act = _ACTIVATIONS[activation]
            nodes.append(helper.make_node("Add", [result, z], [f"s{k}"]))
            nodes.append(helper.make_node(activation, [f"s{k}"], [made], **act))
    shape: list[int | str] = ["N", channels, *(6,) * rank]
    return model_of(nodes, shape, shape, weights)


@pytest.mark.parametrize("activation", _ACTIVATIONS)
@pytest.mark.parametrize("bias", [False, True])
def test_residual_blocks_at_all_levels(activation: str, bias: bool) -> None:
    before = _blocks(activation, 16, 2, 1, bias=bias)
    trial = check_at_all_levels(FuseConvResidual(), before, {"x": normal(2, 16, 6, 6)}, changes=2)
    assert trial.operators == ["Conv", "FusedConv", "FusedConv"]


@pytest.mark.parametrize("channels", [3, 8, 16])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("spread", ["one", "each"])
def test_residual_blocks_of_every_kind_at_all_levels(channels: int, rank: int, spread: str) -> None:
    groups = 1 if spread == "one" else channels
    before = _blocks("Relu", channels, rank, groups, bias=True)
    x = normal(2, channels, *(6,) * rank)
    check_at_all_levels(FuseConvResidual(), before, {"x": x}, changes=2)


def test_what_is_added_is_not_written_to() -> None:
    before = graph(
        f"{BLOCK}", f"{WEIGHTS}", "float[1,2,3,3] x, float[1,2,3,3] z", "float[1,2,3,3] y"
    )
    feeds = {"x": normal(1, 2, 3, 3), "z": normal(1, 2, 3, 3, seed=1)}
    check_at_all_levels(FuseConvResidual(), before, feeds)


def test_a_constant_that_is_added_serves_every_run() -> None:
    weights = f"{WEIGHTS}, float[1,2,1,2] z = {{1, -2, 3, -4}}"
    before = graph(BLOCK, weights, "float[1,2,1,2] x", "float[1,2,1,2] y")
    trial = run([FuseConvResidual()], before)
    feeds = {"x": normal(1, 2, 1, 2)}
    for level in OptimizationLevel:
        session = open_session(
            trial.proto.SerializeToString(), SessionSettings(level=level, threads=1)
        )
        first, second = session.run(feeds), session.run(feeds)
        np.testing.assert_array_equal(first[0], second[0])


@dataclass(slots=True)
class _Wrong(StandIn):
    """A target whose optimiser gets one operator wrong; it remembers what it was asked."""

    operator: str
    asked: list[bytes] = field(default_factory=list)

    def miscomputation(self, model: bytes) -> str | None:
        self.asked.append(model)
        operators = {n.op_type for n in onnx.load_from_string(model).graph.node}
        return "cpu: 4.2 off when optimised" if self.operator in operators else None


def test_an_optimiser_that_gets_it_wrong_is_a_reason() -> None:
    targets = _Wrong("FusedConv")
    trial = run([FuseConvResidual()], graph(BLOCK, WEIGHTS, IMAGES, "float[N,2,3,3] y"), targets)
    assert trial.reasons == ["FusedConv with a sum: cpu: 4.2 off when optimised"]
    assert trial.operators == ["Conv", "Add", "Relu"]


def test_convolutions_of_a_kind_are_asked_for_once() -> None:
    targets = _Wrong("")
    before = _blocks("Relu", 16, 2, 1, bias=True)
    assert len(run([FuseConvResidual()], before, targets).plan.changes) == 2
    assert len(targets.asked) == 1


def _probe(settings: str, weights: str, x: str) -> onnx.ModelProto:
    body = f"[conv] c = Conv {settings} (x, W) [sum] s = Add (c, x) [act] y = LeakyRelu (s)"
    model = load_model(graph(body, weights, f"float{x} x", f"float{x} y"))
    (site,) = find_sites(model)
    assert site.activation is not None
    attributes = fused_attributes("FusedConv", site.activation, site.parameters)
    assert attributes is not None
    conv = next(n for n in model.content.graph if n.op_type == "Conv")
    probe = residual_probe(conv, attributes, site, 8)
    assert probe is not None
    return onnx.load_from_string(probe)


@pytest.mark.parametrize(
    ("settings", "weight", "x", "groups"),
    [
        ("<group = 1>", "[2,2,1]", "[1,2,4]", 1),
        ("<group = 2>", "[4,2,1,1]", "[1,4,4,4]", 2),
        ("<group = 2>", "[2,1,1,1]", "[1,2,4,4]", 16),
        ("<group = 2>", "[2,1,1,1,1]", "[1,2,4,4,4]", 16),
    ],
)
def test_the_question_is_of_the_conv_s_kind(
    settings: str, weight: str, x: str, groups: int
) -> None:
    size = int(np.prod([int(d) for d in weight.strip("[]").split(",")]))
    numbers = ", ".join(["0.5"] * size)
    model = _probe(settings, f"float{weight} W = {{{numbers}}}", x)
    fused = [n for n in model.graph.node if n.op_type == "FusedConv"]
    assert [len(n.input) for n in fused] == [4, 4, 4]
    stated = {a.name: helper.get_attribute_value(a) for a in fused[0].attribute}
    assert stated["group"] == groups
    assert stated["activation_params"] == pytest.approx([0.01])
    assert len(stated["kernel_shape"]) == weight.count(",") - 1
    # The runtime that is installed gets it right, and so may be given it.
    assert miscomputation(model.SerializeToString()) is None
