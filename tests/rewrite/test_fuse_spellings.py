"""Activations fused into the operators of their own, however they are spelled, at every level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fusion_levels import check_at_all_levels, model_of
from onnx import helper
from rewrite_trials import graph, normal, refusing, run

from onnx_act.rewrite.fuse_bias_gelu import FuseBiasGelu
from onnx_act.rewrite.fuse_gelu import FUSE_GELU
from onnx_act.rewrite.fuse_quick_gelu import FUSE_QUICK_GELU
from onnx_act.rewrite.raise_activation import RaiseActivation

if TYPE_CHECKING:
    import onnx

    from onnx_act.rewrite.rule import Rule

SILU = "s = Sigmoid (x) y = Mul (x, s)"
SWISH = "m = Mul (x, k) s = Sigmoid (m) y = Mul (x, s)"
ERF = "d = Div (x, r) e = Erf (d) p = Add (e, one) m = Mul (x, p) y = Mul (m, h)"
ERF_WEIGHTS = "float r = {1.4142135}, float one = {1}, float h = {0.5}"
TANH = """c = Pow (x, three) k = Mul (c, cubic) a = Add (x, k) u = Mul (a, root) t = Tanh (u)
    p = Add (t, one) m = Mul (p, h) y = Mul (x, m)"""
TANH_WEIGHTS = """float three = {3}, float cubic = {0.044715}, float root = {0.79788456},
    float one = {1}, float h = {0.5}"""
# Both tails, their ends, and what lies between.
WIDE = np.concatenate(
    [
        np.linspace(-30, 30, 2401),
        np.array([-1e30, -1e4, -100, -88, -17, -1e-30, 0, 1e-30, 17, 88, 100, 1e4]),
    ]
).astype(np.float32)


@pytest.mark.parametrize(
    ("rule", "body", "weights", "opset", "operator"),
    [
        (FUSE_QUICK_GELU, SILU, "", 7, "QuickGelu"),
        (FUSE_QUICK_GELU, SILU, "", 22, "QuickGelu"),
        (FUSE_QUICK_GELU, "y = Swish (x)", "", 24, "QuickGelu"),
        (FUSE_QUICK_GELU, "y = Swish <alpha = 0.5> (x)", "", 24, "QuickGelu"),
        (FUSE_QUICK_GELU, SWISH, "float k = {1.702}", 13, "QuickGelu"),
        (FUSE_QUICK_GELU, SWISH, "float k = {-0.75}", 13, "QuickGelu"),
        (FUSE_QUICK_GELU, SWISH, "float k = {20}", 13, "QuickGelu"),
        (FUSE_GELU, ERF, ERF_WEIGHTS, 9, "Gelu"),
        (FUSE_GELU, ERF, ERF_WEIGHTS, 18, "Gelu"),
        (FUSE_GELU, TANH, TANH_WEIGHTS, 7, "FastGelu"),
        (FUSE_GELU, TANH, TANH_WEIGHTS, 18, "FastGelu"),
    ],
)
def test_a_spelling_at_all_levels(
    rule: Rule, body: str, weights: str, opset: int, operator: str
) -> None:
    before = graph(body, weights, "float[N] x", "float[N] y", opset)
    for x in (WIDE[np.abs(WIDE) <= 30], WIDE[np.abs(WIDE) <= 100]):
        trial = check_at_all_levels(rule, before, {"x": x})
        assert trial.operators == [operator]
        assert trial.plan.changes[0].after == f"com.microsoft.{operator}"


def test_what_is_fused_is_not_fused_again() -> None:
    for rule, body, weights in (
        (FUSE_QUICK_GELU, SILU, ""),
        (FUSE_GELU, ERF, ERF_WEIGHTS),
        (FUSE_GELU, TANH, TANH_WEIGHTS),
    ):
        once = run([rule], graph(body, weights)).proto
        again = run([rule], once)
        assert again.plan.changes == ()
        assert again.plan.refusals == ()


def test_the_question_has_the_alpha_of_the_site() -> None:
    target = refusing("QuickGelu")
    body = """a = Sigmoid (x) b = Mul (x, a) c = Mul (b, k) d = Sigmoid (c) e = Mul (b, d)
        f = Sigmoid (e) y = Mul (e, f)"""
    trial = run([FUSE_QUICK_GELU], graph(body, "float k = {1.5}"), target)
    assert trial.reasons == ["com.microsoft.QuickGelu: no kernel for QuickGelu"] * 3
    assert len(target.asked) == 2


def _biased(spelling: str, rank: int, length: int) -> onnx.ModelProto:
    gelu = {
        "erf": helper.make_node("Gelu", ["s"], ["y"]),
        "tanh": helper.make_node("Gelu", ["s"], ["y"], approximate="tanh"),
    }[spelling]
    nodes = [helper.make_node("Add", ["x", "B"], ["s"]), gelu]
    shape: list[int | str] = ["N", *(3,) * (rank - 2), length] if rank > 1 else [length]
    return model_of(nodes, shape, shape, {"B": normal(length, seed=1)}, opset=20)


@pytest.mark.parametrize("spelling", ["erf", "tanh"])
@pytest.mark.parametrize("rank", [1, 2, 3, 4])
@pytest.mark.parametrize("length", [1, 5, 64])
def test_a_bias_and_a_gelu_at_all_levels(spelling: str, rank: int, length: int) -> None:
    shape = (2, *(3,) * (rank - 2), length) if rank > 1 else (length,)
    check_at_all_levels(FuseBiasGelu(), _biased(spelling, rank, length), {"x": normal(*shape)})


@pytest.mark.parametrize("spelling", ["erf", "tanh"])
def test_a_bias_and_a_gelu_of_nothing(spelling: str) -> None:
    x = np.zeros((0, 3, 5), np.float32)
    check_at_all_levels(FuseBiasGelu(), _biased(spelling, 3, 5), {"x": x})


def test_a_bias_after_a_product_at_all_levels() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["c"], "dense"),
        helper.make_node("Add", ["B", "c"], ["s"]),
        helper.make_node("Gelu", ["s"], ["y"]),
    ]
    weights = {"W": normal(8, 16) / 9, "B": normal(16, seed=1)}
    layouts: list[list[int | str]] = [["N", 4, 8], [2, 4, 8], ["N", 8]]
    for x in layouts:
        before = model_of(nodes, x, [*x[:-1], 16], weights, opset=20)
        fed = normal(2, *(int(d) for d in x[1:]))
        trial = check_at_all_levels(FuseBiasGelu(), before, {"x": fed})
        assert trial.operators == ["MatMul", "BiasGelu"]


@pytest.mark.parametrize("rule", [FUSE_GELU, RaiseActivation(), FuseBiasGelu()])
def test_few_digits_are_not_written_as_many(rule: Rule) -> None:
    # 0.7071 for the square root of a half: half a dozen roundings of float32 away from GELU.
    body = (
        "s = Add (x, b) d = Mul (s, r) e = Erf (d) p = Add (e, one) m = Mul (s, p) y = Mul (m, h)"
    )
    weights = "float[4] b = {1, 2, 3, 4}, float r = {0.7071}, float one = {1}, float h = {0.5}"
    opset = 20 if isinstance(rule, RaiseActivation) else 17
    trial = run([rule], graph(body, weights, opset=opset))
    assert not trial.plan.changes
    (refusal,) = trial.plan.refusals
    assert "differ from gelu" in refusal.reason
    exact = run([rule], graph(body, weights.replace("0.7071", "0.70710678"), opset=opset))
    assert len(exact.plan.changes) == 1


def test_few_digits_are_enough_in_float16() -> None:
    stored = " ".join(f"{n} = Cast <to = 10> ({n}32)" for n in ("r", "one", "h"))
    body = f"{stored} d = Mul (x, r) e = Erf (d) p = Add (e, one) m = Mul (x, p) y = Mul (m, h)"
    weights = "float r32 = {0.7071}, float one32 = {1}, float h32 = {0.5}"
    trial = run([FUSE_GELU], graph(body, weights, "float16[N] x", "float16[N] y"))
    assert len(trial.plan.changes) == 1
