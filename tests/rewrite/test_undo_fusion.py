"""Fused operators of every kind: apart they compute the same, fused again they are the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from capabilities import Cpu
from nameless import nameless
from onnx import parser
from rewrite_trials import graph, normal, outputs, refusing, run

from onnx_act.graph.model import load_model
from onnx_act.rewrite.engine import plan_rule, run_rules
from onnx_act.rewrite.rules import FUSING
from onnx_act.rewrite.undo_fusion import UndoFusion, can_be_undone

if TYPE_CHECKING:
    from rewrite_trials import Array

_ROOT: Final = Path(os.environ.get("ONNX_ACT_CORPUS", "no-corpus"))
_IMAGE: Final = "float[2,4,6,6]"
_CONV: Final = [
    "",
    'activation = "Relu"',
    'activation = "Tanh"',
    'activation = "Sigmoid"',
    'activation = "HardSwish"',
    'activation = "LeakyRelu", activation_params = [0.1]',
    'activation = "LeakyRelu", activation_params = [-0.3333]',
    'activation = "Clip", activation_params = [0.0, 6.0]',
    'activation = "Clip", activation_params = [-0.7, 0.9]',
    'activation = "Clip", activation_params = [-0.5, 3.4028234663852886e38]',
    'activation = "HardSigmoid", activation_params = [0.2, 0.5]',
    'activation = "HardSigmoid", activation_params = [0.16666667, 0.5]',
]
_GEMM: Final = [
    'activation = "Relu"',
    'activation = "Tanh"',
    'activation = "Sigmoid"',
    'activation = "Softplus"',
    'activation = "Softsign"',
    'activation = "LeakyRelu", activation_alpha = 0.1',
    'activation = "Elu", activation_alpha = 0.7',
    'activation = "Celu", activation_alpha = 0.7',
    'activation = "ThresholdedRelu", activation_alpha = 0.3',
    'activation = "Selu", activation_alpha = 1.1, activation_gamma = 1.3',
    'activation = "HardSigmoid", activation_alpha = 0.3, activation_beta = 0.4',
]
_GELU: Final = [
    "Gelu (x)",
    "BiasGelu (x, b)",
    "FastGelu (x)",
    "FastGelu (x, b)",
    "QuickGelu <alpha = 1.702> (x)",
    "QuickGelu <alpha = 1.0> (x)",
    "QuickGelu <alpha = 0.3> (x)",
]


def _weights() -> str:
    drawn = np.random.default_rng(1).normal(0, 1, 16)
    numbers = ", ".join(f"{v:.3f}" for v in drawn)
    bias = ", ".join(f"{v:.3f}" for v in drawn[:4])
    return f"float[4,4,1,1] w = {{{numbers}}}, float[4] b = {{{bias}}}"


def _conv(attributes: str, inputs: str = "x, w, b", opset: int = 17) -> onnx.ModelProto:
    stated = f"<{attributes}> " if attributes else ""
    body = f"k = com.microsoft.FusedConv {stated}({inputs}) y = MaxPool <kernel_shape = [2, 2]> (k)"
    fed = f"{_IMAGE} x, {_IMAGE} z" if "z" in inputs else f"{_IMAGE} x"
    return graph(body, _weights(), fed, "float[2,4,5,5] y", opset)


def _gemm(attributes: str, opset: int = 17) -> onnx.ModelProto:
    body = f"k = com.microsoft.FusedGemm <{attributes}> (x, w, b) y = Neg (k)"
    return graph(body, _weights().replace("[4,4,1,1]", "[4,4]"), opset=opset)


def _gelu(call: str, opset: int = 17) -> onnx.ModelProto:
    weights = "float[4] b = {0.5, -1.5, 0.25, 1}" if " b)" in call else ""
    return graph(f"k = com.microsoft.{call} y = Neg (k)", weights, opset=opset)


_ALL: Final = [
    *(_conv(a) for a in _CONV),
    *(_conv(a, "x, w, b, z") for a in _CONV),
    *(_conv(a, "x, w, , z") for a in _CONV[:2]),
    *(_gemm(a) for a in _GEMM),
    *(_gelu(c) for c in _GELU),
]


def _feeds(proto: onnx.ModelProto) -> dict[str, Array]:
    sizes = {
        v.name: [d.dim_value or 3 for d in v.type.tensor_type.shape.dim] for v in proto.graph.input
    }
    return {name: normal(*size, seed=k) for k, (name, size) in enumerate(sizes.items())}


def _label(proto: onnx.ModelProto) -> str:
    node = proto.graph.node[0]
    stated = next((a.s.decode() for a in node.attribute if a.name == "activation"), "")
    return f"{node.op_type}[{stated}]/{len(node.input)}"


def _at(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    moved = onnx.ModelProto()
    moved.CopyFrom(proto)
    next(i for i in moved.opset_import if not i.domain).version = opset
    return moved


@pytest.mark.parametrize("opset", [11, 13, 17, 20, 24])
@pytest.mark.parametrize("before", _ALL, ids=_label)
def test_it_computes_the_same_in_plain_onnx(before: onnx.ModelProto, opset: int) -> None:
    before = _at(before, opset)
    trial = run([UndoFusion()], before)
    assert trial.reasons == []
    assert {n.domain for n in trial.proto.graph.node} == {""}
    assert {i.domain for i in trial.proto.opset_import} == {""}
    assert trial.proto.graph.node[-1].input[0] == "k"
    feeds = _feeds(before)
    (expected,), (found,) = outputs(before, feeds), outputs(trial.proto, feeds)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


# What names no activation is no fusion.
_FUSIONS: Final = [p for p in _ALL if p.graph.node[0].attribute or "Fused" not in _label(p)]


@pytest.mark.parametrize("opset", [13, 20])
@pytest.mark.parametrize("before", _FUSIONS, ids=_label)
def test_fused_again_it_is_what_it_was(before: onnx.ModelProto, opset: int) -> None:
    before = _at(before, opset)
    node = before.graph.node[0]
    plain = run([UndoFusion()], before).proto
    again = run(FUSING, plain).proto
    if opset == 20 and node.op_type in {"Gelu", "FastGelu"} and len(node.input) == 1:
        # The standard has an operator for it: there is nothing to fuse.
        assert nameless(again) == nameless(plain)
    elif list(node.input[2:3]) == [""]:
        # Fused anew it gets the bias that it had not.
        assert [n.op_type for n in again.graph.node if n.domain] == ["FusedConv"]
    else:
        assert nameless(again) == nameless(before)


def test_planning_does_not_touch_the_model() -> None:
    model = load_model(_conv(_CONV[1], "x, w, b, z"))
    before = ir.to_proto(model.content).SerializeToString()
    plan = plan_rule(UndoFusion(), model, Cpu())
    assert len(plan.changes) == 1
    assert ir.to_proto(model.content).SerializeToString() == before


def test_a_target_without_the_activation_refuses_it() -> None:
    trial = run([UndoFusion()], _conv(_CONV[1]), refusing("Relu", "Max"))
    assert trial.plan.changes == ()
    (reason,) = trial.reasons
    assert "no kernel for Relu" in reason
    assert {i.domain for i in trial.proto.opset_import} == {"", "com.microsoft"}


def test_new_nodes_say_where_they_come_from() -> None:
    proto = run([UndoFusion()], _conv(_CONV[7], "x, w, b, z")).proto
    for node in proto.graph.node[:-1]:
        noted = {p.key: p.value for p in node.metadata_props}
        assert noted["onnx_act.rule"] == "undo_fusion"
        assert noted["onnx_act.nodes"] == "FusedConv"
        assert "FusedConv" in noted["onnx_act.from"]


def test_what_can_be_undone() -> None:
    assert can_be_undone(load_model(_conv(_CONV[0])))
    assert not can_be_undone(load_model(graph("y = com.microsoft.FusedMatMul (x, x)")))
    text = """<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[N,4] x) => (float[N,4] y) { y = com.microsoft.Gelu (x) }
        <domain: "com.microsoft", opset_import: ["" : 17]> Gelu (x) => (y) { y = Neg (x) }"""
    assert not can_be_undone(load_model(parser.parse_model(text)))


@pytest.mark.corpus
def test_a_real_model_that_the_runtime_fused(corpus: Path) -> None:
    before = onnx.load(corpus / "derived/fastestdet_prefused.onnx")
    model = load_model(before)
    plan = run_rules([UndoFusion()], model, Cpu())
    assert len(plan.changes) == 48
    assert plan.refusals == ()
    after = ir.to_proto(model.content)
    onnx.checker.check_model(after)
    assert {n.domain for n in after.graph.node} == {""}
    assert "com.microsoft" not in {i.domain for i in after.opset_import}
    (fed,) = before.graph.input
    image = np.random.default_rng(0).uniform(
        0, 1, [d.dim_value for d in fed.type.tensor_type.shape.dim]
    )
    feeds = {fed.name: image.astype(np.float32)}
    for expected, found in zip(outputs(before, feeds), outputs(after, feeds), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
