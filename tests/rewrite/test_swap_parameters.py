"""Which parameters a swap carries over, which come from a file, and which are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from rewrite_trials import graph, normal, outputs, swap

from onnx_act.errors import UsageError
from onnx_act.rewrite.swap_request import make_swap

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = "float[N,3,4,4] x"
IMAGES = "float[N,3,4,4] y"


@pytest.mark.parametrize(
    ("before", "request_", "after"),
    [
        ("a = LeakyRelu <alpha = 0.3> (x)", "leaky_relu=prelu", "prelu(slope=0.3)"),
        ("a = Elu <alpha = 0.3> (x)", "elu=celu", "celu(alpha=0.3)"),
        ("a = Celu <alpha = 0.3> (x)", "celu=elu", "elu(alpha=0.3)"),
        ("a = Elu <alpha = 0.3> (x)", "elu=celu:alpha=4", "celu(alpha=4)"),
        # An alpha of one is not an alpha of another.
        ("a = Elu <alpha = 0.3> (x)", "elu=leaky_relu", "leaky_relu"),
        ("a = LeakyRelu <alpha = 0.3> (x)", "leaky_relu=elu", "elu"),
        ("a = Elu <alpha = 0.3> (x)", "elu=selu", "selu"),
        ("a = HardSigmoid <alpha = 0.3> (x)", "hardsigmoid=elu", "elu"),
        ("a = ThresholdedRelu <alpha = 0.3> (x)", "threshold=leaky_relu", "leaky_relu"),
        ("a = Shrink <lambd = 0.3, bias = 0.0> (x)", "hardshrink=softshrink", "softshrink(0.3)"),
        ("a = Relu (x)", "relu=rrelu", "rrelu"),
    ],
)
def test_what_means_the_same_is_carried_over_and_nothing_else(
    before: str, request_: str, after: str
) -> None:
    (change,) = swap(graph(f"{before} y = Neg (a)"), request_).plan.changes
    assert change.after == after.replace("softshrink(0.3)", "softshrink(lambd=0.3)")


def test_a_scalar_slope_is_carried_over_and_slopes_per_channel_are_not() -> None:
    one = graph("a = PRelu (x, s) y = Neg (a)", "float[1] s = {0.3}")
    many = graph("a = PRelu (x, s) y = Neg (a)", "float[4] s = {0.1, 0.2, 0.3, 0.4}")
    (change,) = swap(one, "prelu=leaky_relu").plan.changes
    assert change.after == "leaky_relu(negative_slope=0.3)"
    (change,) = swap(many, "prelu=leaky_relu").plan.changes
    assert change.after == "leaky_relu"


def test_the_same_array_is_already_there() -> None:
    many = graph("a = PRelu (x, s) y = Neg (a)", "float[2] s = {0.5, 0.25}", "float[N,2] x")
    same = make_swap("prelu", "prelu", {"slope": np.array([0.5, 0.25])})
    trial = swap(many, same)
    assert trial.reasons == ["it already is prelu(slope=[2] 0.25..0.5)"]
    other = make_swap("prelu", "prelu", {"slope": np.array([0.5, 0.125])})
    assert len(swap(many, other).plan.changes) == 1
    # Without a new slope the old one is carried over, and nothing would change.
    assert "it already is" in swap(many, "prelu=prelu").reasons[0]


def test_one_array_serves_every_site(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", anything=np.array([0.1, 0.2, 0.3]).reshape(3, 1, 1))
    before = graph(
        "a = Relu (x) t = Transpose <perm = [0, 1, 3, 2]> (a) b = Relu (t) y = Neg (b)",
        "", IMAGE, IMAGES,
    )  # fmt: skip
    trial = swap(before, f"relu=prelu:slope=@{tmp_path / 's.npz'}")
    assert len(trial.plan.changes) == 2
    x = normal(2, 3, 4, 4)
    slope = np.array([0.1, 0.2, 0.3], np.float32).reshape(3, 1, 1)
    expected = -np.where(x > 0, x, slope * slope * x).transpose(0, 1, 3, 2)
    np.testing.assert_allclose(outputs(trial.proto, {"x": x})[0], expected, rtol=1e-6)


@pytest.mark.parametrize("key", ["a", "act"])
def test_arrays_by_output_or_node_name(tmp_path: Path, key: str) -> None:
    other = {"a": "b", "act": "act2"}[key]
    slopes = {key: np.array([0.5, 0.25]), other: np.array([2.0, 4.0])}
    np.savez(tmp_path / "s.npz", **slopes)  # type: ignore[arg-type]
    before = graph("[act] a = Relu (x) t = MatMul (a, W) [act2] b = Relu (t) y = Neg (b)",
                   "float[2,2] W = {-1, 0, 0, -1}", "float[N,2] x", "float[N,2] y")  # fmt: skip
    trial = swap(before, f"relu=prelu:slope=@{tmp_path / 's.npz'}")
    assert len(trial.plan.changes) == 2
    x = np.array([[-8, 8]], np.float32)
    np.testing.assert_array_equal(outputs(trial.proto, {"x": x})[0], [[-4, 32]])


def test_a_site_that_the_file_leaves_out_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    np.savez(path, a=np.zeros(4), c=np.zeros(4))
    before = graph("a = Relu (x) m = Transpose <perm = [0, 1]> (a) b = Relu (m) y = Neg (b)")
    with pytest.raises(UsageError, match="has no array for b; name one after the site's id"):
        swap(before, f"relu=prelu:slope=@{path}")


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3, 1, 1), (1,), (), (4,), (3, 4, 4), (1, 1, 4)])
def test_shapes_that_broadcast(shape: tuple[int, ...]) -> None:
    slope = np.full(shape, 0.5)
    before = graph("a = Relu (x) y = Neg (a)", "", IMAGE, IMAGES)
    trial = swap(before, make_swap("relu", "prelu", {"slope": slope}))
    assert len(trial.plan.changes) == 1
    x = normal(2, 3, 4, 4)
    np.testing.assert_array_equal(
        outputs(trial.proto, {"x": x})[0], -np.where(x > 0, x, np.float32(0.5) * x)
    )


@pytest.mark.parametrize("shape", [(3,), (2, 1, 1), (3, 3, 1, 1), (2, 3, 1, 1), (1, 1, 3, 1, 1)])
def test_shapes_that_do_not(shape: tuple[int, ...]) -> None:
    before = graph("a = Relu (x) y = Neg (a)", "", IMAGE, IMAGES)
    trial = swap(before, make_swap("relu", "prelu", {"slope": np.full(shape, 0.5)}))
    (reason,) = trial.reasons
    assert f"slope of shape {list(shape)} cannot be broadcast to its shape" in reason
    assert "'N', 3, 4, 4" in reason
    assert not trial.plan.changes


def test_a_value_that_the_target_cannot_take_is_a_refusal_that_says_what_to_state() -> None:
    before = graph("a = Elu <alpha = -0.5> (x) y = Neg (a)")
    (reason,) = swap(before, "elu=celu").reasons
    assert reason == (
        "what it has cannot be carried over (celu:alpha must be greater than 0, not -0.5); "
        "state alpha in the request"
    )
    assert len(swap(before, "elu=celu:alpha=2").plan.changes) == 1


def test_a_preset_covers_the_sites_of_its_parameter_only() -> None:
    before = graph(
        """k = Mul (x, b) s = Sigmoid (k) a = Mul (x, s)
           k2 = Mul (a, b2) s2 = Sigmoid (k2) c = Mul (a, s2) y = Neg (c)""",
        "float b = {1.702}, float b2 = {2.5}",
    )
    assert [c.site for c in swap(before, "quick_gelu=relu").plan.changes] == ["a"]
    assert [c.site for c in swap(before, "swish=relu").plan.changes] == ["a", "c"]
    assert [c.after for c in swap(before, "swish=quick_gelu").plan.changes] == ["swish(beta=1.702)"]


def test_the_first_request_that_covers_a_site_takes_it() -> None:
    before = graph("a = Relu (x) y = Neg (a)")
    (change,) = swap(before, "relu=elu", "relu=silu").plan.changes
    assert change.after == "elu"
