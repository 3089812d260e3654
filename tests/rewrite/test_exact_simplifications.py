"""Simplifications at the edges (infinities, NaN, zeros of both signs), and what is noted."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest
from rewrite_trials import graph, outputs, refusing, run

from onnx_act.rewrite.commute_activation import CommuteActivation
from onnx_act.rewrite.remove_redundant_activation import RemoveRedundantActivation
from onnx_act.rewrite.simplify_activation import SimplifyActivation

_TINY: Final = float(np.finfo(np.float32).smallest_subnormal)
_EDGES: Final = np.array(
    [[np.nan, np.inf, -np.inf, -0.0], [0.0, -1.0, _TINY, -_TINY], [3.4e38, -3.4e38, 6.0, 7.0]],
    dtype=np.float32,
)
_RULES: Final = (RemoveRedundantActivation(), SimplifyActivation(), CommuteActivation())


def _before_and_after(body: str, weights: str = "") -> tuple[np.ndarray, np.ndarray]:
    proto = graph(body, weights)
    trial = run(_RULES, proto)
    assert trial.plan.changes
    (one,) = outputs(proto, {"x": _EDGES})
    (other,) = outputs(trial.proto, {"x": _EDGES})
    return one, other


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("y = PRelu (x, s)", "float[1] s = {0.1}"),
        ("y = PRelu (x, s)", "float[1] s = {-2}"),
        ("y = PRelu (x, s)", "float[4] s = {1, 1, 1, 1}"),
        ("y = LeakyRelu <alpha = 1.0> (x)", ""),
        ("y = Max (x, z)", "float z = {0}"),
        ("a = Relu (x)  y = Min (a, s)", "float s = {6}"),
        ("a = Min (x, s)  y = Relu (a)", "float s = {6}"),
        ("a = Max (x, l)  y = Min (a, h)", "float l = {-1}, float h = {1}"),
        ('a = Relu (x)  y = Clip (a, "", s)', "float s = {6}"),
        ("a = Relu (x)  y = Relu (a)", ""),
        ("a = LeakyRelu (x)  y = Relu (a)", ""),
        ("a = Relu (x)  y = LeakyRelu (a)", ""),
        ("a = Abs (x)  y = Relu (a)", ""),
        ("a = Mul (x, x)  y = Elu (a)", ""),
        ("a = Exp (x)  y = Relu (a)", ""),
        ("a = Clip (x, l, h)  y = Clip (a, l, h)", "float l = {-1}, float h = {1}"),
    ],
)
def test_the_edges_stay(body: str, weights: str) -> None:
    one, other = _before_and_after(body, weights)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("y = PRelu (x, s)", "float[1] s = {0}"),
        ("y = LeakyRelu <alpha = 0.0> (x)", ""),
    ],
)
def test_a_slope_of_zero_differs_at_minus_infinity_alone(body: str, weights: str) -> None:
    one, other = _before_and_after(body, weights)
    differs = np.isneginf(_EDGES)
    np.testing.assert_array_equal(one[~differs], other[~differs])
    assert np.isnan(one[differs]).all()
    assert (other[differs] == 0).all()


@pytest.mark.parametrize(
    ("body", "weights"),
    [("y = Clip (x)", ""), ("y = Clip (x, z)", "float z = {0}")],
)
def test_a_bound_that_is_none_differs_at_infinity_alone(body: str, weights: str) -> None:
    one, other = _before_and_after(body, weights)
    finite = ~np.isinf(_EDGES)
    np.testing.assert_array_equal(one[finite], other[finite])
    assert np.isposinf(other[np.isposinf(_EDGES)]).all()


def test_targets_are_asked_once_for_each_kind() -> None:
    body = "a = PRelu (x, s)  b = Neg (a)  c = PRelu (b, s)  d = Neg (c)  y = PRelu (d, t)"
    targets = refusing("LeakyRelu")
    trial = run(
        [SimplifyActivation()], graph(body, "float[1] s = {0.1}, float[1] t = {0.3}"), targets
    )
    assert trial.reasons == ["LeakyRelu: no kernel for LeakyRelu"] * 3
    assert len(targets.asked) == 2


def test_new_nodes_say_where_they_come_from() -> None:
    trial = run(
        [SimplifyActivation()], graph("[act] y = PRelu (x, s)", "float[4] s = {0, 0, 0, 0}")
    )
    (node,) = trial.model.content.graph
    assert node.metadata_props["onnx_act.rule"] == "simplify_activation"
    assert node.metadata_props["onnx_act.nodes"] == "act"
    (change,) = trial.plan.changes
    assert change.to_dict() == {
        "rule": "simplify_activation",
        "fidelity": "exact",
        "site": "y",
        "before": "PRelu",
        "after": "Relu: relu",
        "nodes": ["act"],
    }


def test_what_changed_places_keeps_names_notes_and_types() -> None:
    proto = graph(
        "[act] a = Relu (x)  [pool] y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)",
        inputs="float[N,4,6,6] x",
        outputs="float[N,4,3,3] y",
    )
    proto.graph.node[0].doc_string = "the activation"
    trial = run([CommuteActivation()], proto)
    pool, node = trial.model.content.graph
    assert (pool.op_type, pool.name) == ("MaxPool", "pool")
    assert (node.op_type, node.name, node.doc_string) == ("Relu", "act", "the activation")
    assert node.metadata_props["onnx_act.from"] == "Relu, MaxPool"
    assert [d.name for d in trial.proto.graph.output] == ["y"]


def test_a_change_of_places_that_rounds_says_so() -> None:
    pool = "MaxPool <kernel_shape = [2, 2], strides = [2, 2]>"
    found = []
    for kind in ("Relu", "LeakyRelu", "Sigmoid", "Elu", "Softplus"):
        proto = graph(
            f"a = {kind} (x)  y = {pool} (a)",
            inputs="float[N,4,6,6] x",
            outputs="float[N,4,3,3] y",
        )
        (change,) = run([CommuteActivation()], proto).plan.changes
        found.append(change.fidelity.value)
    assert found == ["exact", "exact", "numeric", "numeric", "numeric"]
