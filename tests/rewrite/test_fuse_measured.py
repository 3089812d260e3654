"""Every contrib fusion states the nodes it replaces, so that they can be measured apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import onnx_ir as ir
import pytest
from capabilities import StandIn
from rewrite_trials import graph, run

from onnx_act.graph.model import load_model
from onnx_act.rewrite.engine import plan_rule
from onnx_act.rewrite.fuse_activation import FUSE_CONV_ACTIVATION, FUSE_GEMM_ACTIVATION
from onnx_act.rewrite.fuse_bias_gelu import FuseBiasGelu
from onnx_act.rewrite.fuse_conv_residual import FuseConvResidual
from onnx_act.rewrite.fuse_gelu import FUSE_GELU
from onnx_act.rewrite.fuse_group_normalization import FuseGroupNormalization
from onnx_act.rewrite.fuse_matmul_activation import FuseMatMulActivation
from onnx_act.rewrite.fuse_quick_gelu import FUSE_QUICK_GELU
from onnx_act.rewrite.if_faster import IfFaster
from onnx_act.runtime.probe import can_run

if TYPE_CHECKING:
    import onnx

    from onnx_act.graph.model import OnnxModel
    from onnx_act.rewrite.rule import Rule

CONV = "float[2,2,1,1] W = {1, 2, 3, 4}"
DENSE = "float[4,2] W = {1, 2, 3, 4, 5, 6, 7, 8}, float[2] B = {1, 2}"
IMAGES = "float[N,2,5,3] x", "float[N,2,5,3] y"
NORM = "float[8] g = {1,2,3,4,5,6,7,8}, float[8] b = {1,2,3,4,5,6,7,8}, float[N,H,4,8] n"
CASES: list[tuple[Rule, str, str, str, str]] = [
    (FUSE_CONV_ACTIVATION, "c = Conv (x, W) k = Relu (c) y = Neg (k)", CONV, *IMAGES),
    (FUSE_GEMM_ACTIVATION, "c = Gemm (x, W, B) k = Celu (c) y = Neg (k)", DENSE, "float[N,4] x",
     "float[N,2] y"),
    (FuseConvResidual(),
     "a = Conv (x, W) c = Conv (a, W) s = Add (c, x) k = LeakyRelu (s) y = Neg (k)", CONV, *IMAGES),
    (FuseConvResidual(),
     "a = Neg (x) c = Conv (x, W) d = Conv (a, W) s = Add (c, d) k = Relu (s) y = Neg (k)",
     CONV, *IMAGES),
    (FuseMatMulActivation(), "c = MatMul (x, W) s = Add (B, c) k = Tanh (s) y = Neg (k)", DENSE,
     "float[N,3,4] x", "float[N,3,2] y"),
    (FuseBiasGelu(), "c = MatMul (x, W) s = Add (B, c) k = Gelu (s) y = Neg (k)", DENSE,
     "float[N,L,4] x", "float[N,L,2] y"),
    (FUSE_QUICK_GELU, "z = Neg (x) s = Sigmoid (z) k = Mul (z, s) y = Abs (k)", "",
     "float[N,L] x", "float[N,L] y"),
    (FUSE_GELU,
     "d = Mul (x, r) e = Erf (d) p = Add (e, o) m = Mul (x, p) k = Mul (m, h) y = Neg (k)",
     "float r = {0.70710678}, float o = {1}, float h = {0.5}", "float[N,L] x", "float[N,L] y"),
    (FuseGroupNormalization(),
     """n = com.microsoft.GroupNorm <activation = 0, groups = 2> (x, g, b)
     s = Sigmoid (n) k = Mul (n, s) y = Neg (k)""", NORM, "float[N,H,4,8] x", "float[N,H,4,8] y"),
]  # fmt: skip


@dataclass(slots=True)
class _Measured(StandIn):
    """A target on which everything gains the same; it remembers what it was shown."""

    gain: float
    shown: list[tuple[onnx.ModelProto, onnx.ModelProto]] = field(default_factory=list)

    def speedup(self, old: OnnxModel, new: OnnxModel) -> float:
        self.shown.append((ir.to_proto(old.content), ir.to_proto(new.content)))
        return self.gain


@pytest.mark.parametrize(
    ("rule", "body", "weights", "x", "y"), CASES, ids=lambda v: getattr(v, "name", "")
)
def test_what_pays_is_fused_and_what_does_not_is_left(
    rule: Rule, body: str, weights: str, x: str, y: str
) -> None:
    before = graph(body, weights, x, y, opset=20 if "Gelu (" in body else 18)
    change, *others = plan_rule(rule, load_model(before), StandIn()).changes
    assert others == []
    places = {n.output[0]: k for k, n in enumerate(before.graph.node)}
    order = [places[str(n.outputs[0].name)] for n in change.region]
    assert order == sorted(order)
    assert change.region[-1].outputs[0].name == change.site == "k"

    pays = _Measured(1.5)
    trial = run([IfFaster(rule)], before, pays)
    assert [c.after for c in trial.plan.changes] == [change.after]
    ((old, new),) = pays.shown
    fused = [n.op_type for n in new.graph.node]
    assert len(new.graph.node) < len(old.graph.node) or "Reshape" in fused
    assert any(name in operator for operator in fused for name in ("Fused", "Gelu", "GroupNorm"))
    for shown in (old, new):
        ran = can_run(shown.SerializeToString())
        assert ran.ok or "GroupNorm" in ran.reason

    plain = run([rule], before, StandIn())
    assert trial.operators == plain.operators

    for_nothing = run([IfFaster(rule)], before, _Measured(0.9))
    assert for_nothing.plan.changes == ()
    assert for_nothing.reasons == [
        f"{change.after} made the model 0.90 times as fast when it was measured"
    ]
