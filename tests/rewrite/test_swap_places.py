"""Swaps wherever an activation can stand, and what stops one there."""

from __future__ import annotations

import numpy as np
import pytest
from rewrite_trials import graph, normal, outputs, refusing, swap

CONV = "float[2,2,1,1] W = {1.5, 2, -1.25, 0.375}, float[2] B = {0.5, -2}"
IMAGE = "float[N,2,3,3] x"
IMAGES = "float[N,2,3,3] y"


def test_new_nodes_say_where_they_come_from() -> None:
    trial = swap(graph("[act] a = Relu (x) y = Neg (a)"), "relu=leaky_relu")
    (node,) = [n for n in trial.proto.graph.node if n.op_type == "LeakyRelu"]
    assert {p.key: p.value for p in node.metadata_props} == {
        "onnx_act.rule": "swap_activation",
        "onnx_act.from": "relu (Relu)",
        "onnx_act.to": "leaky_relu",
        "onnx_act.nodes": "act",
    }


def test_bodies_of_an_if_and_values_of_the_outer_graph() -> None:
    body = """r = Relu (x)
        c = If (p) <then_branch = yes () => (float[N,4] t) { t = Relu (r) },
                    else_branch = no () => (float[N,4] e) { b = Relu (r) e = Neg (b) }>
        y = Neg (c)"""
    trial = swap(graph(body, "", "float[N,4] x, bool p"), "relu=leaky_relu:negative_slope=0.5")
    assert [c.site for c in trial.plan.changes] == ["r", "If_1.then_branch/t", "If_1.else_branch/b"]
    x = np.array([[-8, 8, 4, -4]], np.float32)
    for choice, expected in ((True, [[2, -8, -4, 1]]), (False, [[-2, 8, 4, -1]])):
        (y,) = outputs(trial.proto, {"x": x, "p": np.array(choice)})
        np.testing.assert_array_equal(y, expected)


def test_only_the_selected_scope() -> None:
    body = """r = Relu (x)
        [if] c = If (p) <then_branch = yes () => (float[N,4] t) { t = Relu (r) },
                    else_branch = no () => (float[N,4] e) { e = Relu (r) }>
        y = Neg (c)"""
    before = graph(body, "", "float[N,4] x, bool p")
    trial = swap(before, "relu=elu", where="scope:if.then_branch")
    assert [c.site for c in trial.plan.changes] == ["if.then_branch/t"]
    assert trial.plan.refusals == ()


Z = "float[N,2,3,3] x, float[N,2,3,3] z"


@pytest.mark.parametrize(
    ("inputs", "node"),
    [
        (IMAGE, 'c = com.microsoft.FusedConv <activation = "Relu"> (x, W)'),
        (IMAGE, 'c = com.microsoft.FusedConv <activation = "Relu"> (x, W, B)'),
        (Z, 'c = com.microsoft.FusedConv <activation = "Relu"> (x, W, B, z)'),
    ],
)
@pytest.mark.parametrize("target", ["elu", "tanh"])
def test_fused_convolutions_against_the_same_in_single_operators(
    inputs: str, node: str, target: str
) -> None:
    trial = swap(graph(f"{node} y = Neg (c)", CONV, inputs, IMAGES), f"relu={target}")
    assert ("FusedConv" in trial.operators) == (target == "tanh")
    arguments = node[node.index("(") :].replace(", z", "")
    body = f"a = Conv {arguments} "
    body += "s = Add (a, z) " if inputs is Z else "s = Identity (a) "
    by_hand = graph(body + f"c = {target.title()} (s) y = Neg (c)", CONV, inputs, IMAGES)
    feeds = {"x": normal(2, 2, 3, 3), "z": normal(2, 2, 3, 3, seed=1)}
    feeds = {k: v for k, v in feeds.items() if k in inputs}
    (found,), (expected,) = outputs(trial.proto, feeds), outputs(by_hand, feeds)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("node", "request_", "by_hand"),
    [
        (
            (
                'c = com.microsoft.FusedGemm <activation = "LeakyRelu", activation_alpha = 0.2,'
                " alpha = 0.5, beta = 2.0, transB = 1> (x, G, H)"
            ),
            "leaky_relu=silu",
            (
                "m = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (x, G, H) s = Sigmoid (m)"
                " c = Mul (m, s)"
            ),
        ),
        (
            'c = com.microsoft.FusedGemm <activation = "Relu"> (x, G)',
            "relu=elu:alpha=0.5",
            "m = Gemm (x, G) c = Elu <alpha = 0.5> (m)",
        ),
        ("c = com.microsoft.BiasGelu (x, H)", "gelu=tanh", "m = Add (x, H) c = Tanh (m)"),
        ("c = com.microsoft.FastGelu (x, H)", "fast_gelu=tanh", "m = Add (x, H) c = Tanh (m)"),
        ("c = com.microsoft.FastGelu (x)", "fast_gelu=tanh", "c = Tanh (x)"),
        ("c = com.microsoft.QuickGelu <alpha = 1.0> (x)", "silu=tanh", "c = Tanh (x)"),
    ],
)
def test_other_fused_operators_against_the_same_in_single_operators(
    node: str, request_: str, by_hand: str
) -> None:
    weights = "float[4,4] G = {1,2,3,4,-5,6,7,8,9,1,1,-2,3,4,-5,1}, float[4] H = {1,-1,0.5,0}"
    trial = swap(graph(f"{node} y = Neg (c)", weights), request_)
    assert len(trial.plan.changes) == 1
    feeds = {"x": normal(3, 4)}
    (found,) = outputs(trial.proto, feeds)
    (expected,) = outputs(graph(f"{by_hand} y = Neg (c)", weights), feeds)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_an_operator_that_nobody_takes_apart_is_refused() -> None:
    node = """c = com.microsoft.GroupNorm <activation = 1, groups = 1, channels_last = 1>
              (x, s, s)"""
    before = graph(
        f"{node} y = Neg (c)", "float[2] s = {1, 1}, float[N,3,3,2] c", "float[N,3,3,2] x"
    )
    (reason,) = swap(before, "silu=relu").reasons
    assert reason == "GroupNorm cannot be taken apart here; its activation cannot be exchanged"


QUANTISED = "q = QuantizeLinear (a, s, z) y = DequantizeLinear (q, s, z)"
SCALE = "float s = {0.05}, uint8 z = {0}"


@pytest.mark.parametrize(
    ("before", "request_", "allowed"),
    [
        ("Relu", "relu=relu6", True),
        ("Relu", "relu=threshold:threshold=1", True),
        ("Relu", "relu=leaky_relu", False),
        ("Relu", "relu=silu", False),
        ("Relu", "relu=softplus", False),
        ("Sigmoid", "sigmoid=hardsigmoid", False),
        ("Elu", "elu=relu", True),
        ("Tanh", "tanh=rectified_tanh", True),
        ("Tanh", "tanh=hardtanh", False),
        ("Tanh", "tanh=softsign", True),
    ],
)
def test_a_quantised_result_keeps_to_the_range_it_was_calibrated_for(
    before: str, request_: str, allowed: bool
) -> None:
    trial = swap(graph(f"a = {before} (x) {QUANTISED}", SCALE), request_)
    assert bool(trial.plan.changes) is allowed
    if not allowed:
        assert "quantised with a scale chosen for" in trial.reasons[0]
        assert "calibrate again" in trial.reasons[0]


@pytest.mark.parametrize(
    "between",
    [
        "a = MaxPool <kernel_shape = [2, 2]> (r)",
        "a = Transpose (r)",
        "a = Concat <axis = 1> (r, r)",
    ],
)
def test_the_scale_is_of_the_activation_behind_what_keeps_its_range(between: str) -> None:
    before = graph(f"r = Relu (x) {between} {QUANTISED}", SCALE, IMAGE, "float[A,B,C,D] y")
    (reason,) = swap(before, "relu=elu").reasons
    assert "quantised" in reason


def test_behind_a_sum_the_scale_is_of_the_sum() -> None:
    before = graph(f"r = Relu (x) a = Add (r, x) {QUANTISED}", SCALE)
    assert len(swap(before, "relu=elu").plan.changes) == 1


def test_dtypes_without_a_kernel_are_refused_with_what_the_runtime_says() -> None:
    for dtype, request_, said in (
        ("double", "relu=gelu", "gelu in double cannot run on the targets (expression: "),
        ("bfloat16", "relu=elu", "elu in bfloat16 cannot run on the targets (Elu: "),
    ):
        before = graph(
            "a = Relu (x) y = Neg (a)", "", f"{dtype}[N,4] x", f"{dtype}[N,4] y", opset=22
        )
        (reason,) = swap(before, request_).reasons
        assert reason.startswith(said.replace("expression", "Gelu"))
        assert "NOT_IMPLEMENTED" in reason


def test_integers_are_refused() -> None:
    before = graph("a = Relu (x) y = Neg (a)", "", "int32[N,4] x", "int32[N,4] y")
    assert swap(before, "relu=elu").reasons == [
        "it works on int32, and activations are functions of floats"
    ]


def test_half_precision_runs_and_its_constants_are_rounded_once() -> None:
    before = graph("a = Relu (x) y = Neg (a)", "", "float16[N,4] x", "float16[N,4] y")
    trial = swap(before, "relu=hardtanh:min=-0.1,max=0.1")
    (y,) = outputs(trial.proto, {"x": normal(5, 4, dtype=np.float16)})
    assert y.dtype == np.float16
    assert np.max(y) == np.float16(0.1)
    assert np.min(y) == np.float16(-0.1)


def test_a_target_without_the_operator_gets_the_expression_and_without_both_a_reason() -> None:
    before = graph("a = Relu (x) y = Neg (a)", opset=18)
    assert swap(before, "relu=mish").operators == ["Mish", "Neg"]
    without = swap(before, "relu=mish", targets=refusing("Mish"))
    assert without.operators == ["Softplus", "Tanh", "Mul", "Neg"]
    neither = swap(before, "relu=mish", targets=refusing("Mish", "Tanh"))
    assert neither.reasons == [
        (
            "mish in float cannot run on the targets "
            "(Mish: no kernel for Mish; expression: no kernel for Tanh)"
        )
    ]


def test_a_target_is_asked_once_for_all_sites_of_a_kind() -> None:
    move = "Transpose <perm = [0, 1]>"
    body = f"a = Relu (x) n = {move} (a) b = Relu (n) m = {move} (b) c = Relu (m) y = Neg (c)"
    target = refusing()
    assert len(swap(graph(body), "relu=elu", targets=target).plan.changes) == 3
    assert len(target.asked) == 1


def test_an_opset_that_is_too_low_says_which_would_do() -> None:
    (reason,) = swap(graph("a = Relu (x) y = Neg (a)", opset=8), "relu=gelu").reasons
    assert "raise it with --opset 9 or higher" in reason
    assert "opset 20 has Gelu" in reason


def test_gates_and_outputs_are_left_alone_unless_selected() -> None:
    before = graph(
        "g = Sigmoid (t) a = Tanh (x) m = Mul (a, g) y = Sigmoid (m)",
        "", "float[N,4] x, float[N,4] t",
    )  # fmt: skip
    assert swap(before, "sigmoid=hardsigmoid").reasons == [
        "it is a gate on another branch; select it with --where role:gate to swap it",
        "it makes an output of the model; select it with --where role:output to swap it",
    ]
    for where, sites in (("role:gate", ["g"]), ("role:output", ["y"]), ("index:0-9", ["g", "y"])):
        trial = swap(before, "sigmoid=hardsigmoid", where=where)
        assert [c.site for c in trial.plan.changes] == sites


def test_a_hidden_output_is_found_behind_moves() -> None:
    before = graph("a = Sigmoid (x) b = Transpose (a) y = Identity (b)", "", outputs="float[A,B] y")
    assert "it makes an output of the model" in swap(before, "sigmoid=relu").reasons[0]


def test_an_operator_that_is_part_of_something_else_is_refused_not_passed_over() -> None:
    """-Relu(-x) is min(x, 0): whoever asks for relu is told, though another relu is swapped."""
    body = "a = Relu (x) b = Neg (a) c = Relu (b) d = Neg (c) y = Exp (d)"
    trial = swap(graph(body), "relu=leaky_relu")
    (change,) = trial.plan.changes
    assert change.site == "a"
    (refusal,) = trial.plan.refusals
    assert refusal.site == "d"
    assert "its relu is part of hardtanh(min=-inf, max=0) (Neg, Relu, Neg)" in refusal.reason
