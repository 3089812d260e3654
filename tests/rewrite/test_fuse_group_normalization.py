"""SiLU in a GroupNorm, which no CPU kernel computes: by onnx's evaluator and a definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from capabilities import Cpu, StandIn
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from rewrite_trials import Array, graph, normal, refusing, run

from onnx_act.rewrite.fuse_group_normalization import FuseGroupNormalization

SILU = "s = Sigmoid (n) y = Mul (n, s)"
WEIGHTS = "float[8] g, float[8] b"
IMAGE = "float[2,3,5,8] x, float[2,3,5,8] z, float[8] g, float[8] b, float[8] c"
OUT = "float[2,3,5,8] y"


def _normalised(x: Array, scale: Array, shift: Array, settings: dict[str, Any]) -> Array:
    first = np.moveaxis(x, -1, 1) if settings.get("channels_last", 1) else x
    grouped = first.reshape(len(first), settings["groups"], -1)
    mean, spread = grouped.mean(-1, keepdims=True), grouped.var(-1, keepdims=True)
    epsilon = settings.get("epsilon", 1e-5)
    plain = ((grouped - mean) / np.sqrt(spread + epsilon)).reshape(first.shape)
    column = (1, -1, *(1,) * (first.ndim - 2))
    y = plain * scale.reshape(column) + shift.reshape(column)
    if settings["activation"] == 1:
        y = y / (1 + np.exp(-y))
    return np.asarray(np.moveaxis(y, 1, -1) if settings.get("channels_last", 1) else y)


class GroupNorm(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x: Array, scale: Array, shift: Array, **settings: Any) -> tuple[Array, ...]:
        return (_normalised(x, scale, shift, settings).astype(x.dtype),)


class SkipGroupNorm(OpRun):
    op_domain = "com.microsoft"

    def _run(
        self, x: Array, scale: Array, shift: Array, skip: Array, bias: Any = 0.0, **settings: Any
    ) -> tuple[Array, ...]:
        total = x + skip + bias
        return _normalised(total, scale, shift, settings).astype(x.dtype), total


def _outputs(model: onnx.ModelProto) -> list[Array]:
    feeds = {
        v.name: normal(*(d.dim_value for d in v.type.tensor_type.shape.dim), seed=k)
        for k, v in enumerate(model.graph.input)
    }
    session = ReferenceEvaluator(model, new_ops=[GroupNorm, SkipGroupNorm])
    return [np.asarray(v) for v in session.run(None, feeds)]


@pytest.mark.parametrize(
    ("norm", "outputs"),
    [
        ("n = com.microsoft.GroupNorm <activation = 0, groups = 2> (x, g, b)", OUT),
        ("n = com.microsoft.GroupNorm <activation = 0, groups = 8, epsilon = 0.5> (x, g, b)", OUT),
        ("n = com.microsoft.SkipGroupNorm <activation = 0, groups = 4> (x, g, b, z)", OUT),
        ("n, k = com.microsoft.SkipGroupNorm <activation = 0, groups = 4> (x, g, b, z, c)",
         f"{OUT}, float[2,3,5,8] k"),
    ],
)  # fmt: skip
def test_the_result_is_the_same(norm: str, outputs: str) -> None:
    before = graph(f"{norm} {SILU}", "float[2,3,5,8] n", IMAGE, outputs)
    trial = run([FuseGroupNormalization()], before, StandIn())
    assert len(trial.operators) == 1
    for old, new in zip(_outputs(before), _outputs(trial.proto), strict=True):
        np.testing.assert_allclose(new, old, rtol=0, atol=1e-6)


def test_the_sum_of_a_skip_stays_before_what_reads_it() -> None:
    body = """n, k = com.microsoft.SkipGroupNorm <activation = 0, groups = 4> (x, g, b, z)
        a = Neg (k) s = Sigmoid (n) m = Mul (n, s) y = Mul (a, m)"""
    before = graph(body, "float[2,3,5,8] n, float[2,3,5,8] k", IMAGE, OUT)
    trial = run([FuseGroupNormalization()], before, StandIn())
    assert trial.operators == ["SkipGroupNorm", "Neg", "Mul"]
    np.testing.assert_allclose(_outputs(trial.proto)[0], _outputs(before)[0], rtol=0, atol=1e-5)


def test_the_question_is_the_node_as_it_will_be() -> None:
    target = refusing("GroupNorm")
    norm = "n = com.microsoft.GroupNorm <activation = 0, groups = 2, channels_last = 0> (x, g, b)"
    inputs = "float16[2,8,3,5] x, float[8] g, float[8] b"
    before = graph(f"{norm} {SILU}", "float16[2,8,3,5] n", inputs, "float16[2,8,3,5] y")
    assert run([FuseGroupNormalization()], before, target).reasons == [
        "GroupNorm: no kernel for GroupNorm"
    ]
    (asked,) = (onnx.load_from_string(m) for m in target.asked)
    (node,) = asked.graph.node
    stated = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    assert stated == {"activation": 1, "groups": 2, "channels_last": 0}
    kinds = [v.type.tensor_type.elem_type for v in asked.graph.input]
    assert kinds == [onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT]
    assert [d.dim_value for d in asked.graph.input[0].type.tensor_type.shape.dim] == [1, 8, 4, 4]


def test_the_cpu_says_why_not() -> None:
    norm = "n = com.microsoft.GroupNorm <activation = 0, groups = 2> (x, g, b)"
    before = graph(f"{norm} {SILU}", "float[2,3,5,8] n", IMAGE, OUT)
    (reason,) = run([FuseGroupNormalization()], before, Cpu()).reasons
    assert reason.startswith("GroupNorm: NOT_IMPLEMENTED")
