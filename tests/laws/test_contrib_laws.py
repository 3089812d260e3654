"""Whatever the network: contrib fusions keep what it computes, at every level of the optimiser."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from capabilities import Cpu
from contrib_networks import ContribNetwork, contrib_networks
from hypothesis import event, given, settings
from hypothesis import strategies as st
from random_networks import feeds_for
from stored_bytes import stored

from onnx_act.graph.model import load_model
from onnx_act.rewrite.engine import plan_rule, run_rules
from onnx_act.rewrite.rules import FUSING
from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session

RULES = FUSING
MADE = frozenset(
    {
        "fuse_bias_gelu",
        "fuse_conv_residual",
        "fuse_gelu",
        "fuse_matmul_activation",
        "fuse_quick_gelu",
    }
)


def check_fusing(network: ContribNetwork, before: onnx.ModelProto) -> None:
    model = load_model(before)
    plan = run_rules(RULES, model, Cpu())
    after = ir.to_proto(model.content)
    onnx.checker.check_model(after, full_check=True)
    for change in plan.changes:
        event(change.rule)
    assert [v.name for v in after.graph.output] == [v.name for v in before.graph.output]
    if not plan.changes:
        return
    # One reference: the tolerance is for any two evaluations.
    reference = SessionSettings(level=OptimizationLevel.DISABLE, threads=1)
    original = open_session(before.SerializeToString(), reference)
    expected = [original.run({"x": x}) for x in feeds_for(network)]
    for level in OptimizationLevel:
        fused = open_session(after.SerializeToString(), SessionSettings(level=level, threads=1))
        assert [s.name for s in fused.inputs] == ["x"]
        for x, wanted in zip(feeds_for(network), expected, strict=True):
            found = fused.run({"x": x})
            for value, one, other in zip(network.outputs, wanted, found, strict=True):
                assert float(np.max(np.abs(one))) <= value.magnitude * (1 + 1e-5)
                np.testing.assert_allclose(other, one, rtol=0, atol=value.error)


@given(contrib_networks())
@settings(max_examples=150)
def test_fused_networks_compute_the_same(network: ContribNetwork) -> None:
    check_fusing(network, network.proto())


@given(contrib_networks(), st.sampled_from([3, 4]))
@settings(max_examples=40)
def test_so_do_those_that_list_their_weights_as_inputs(
    network: ContribNetwork, ir_version: int
) -> None:
    check_fusing(network, network.proto(ir_version=ir_version, lists_weights=True))


@pytest.mark.slow
@given(contrib_networks(longest=12))
@settings(max_examples=3000)
def test_thousands_of_longer_networks_do_too(network: ContribNetwork) -> None:
    check_fusing(network, network.proto())


@given(contrib_networks())
@settings(max_examples=60)
def test_what_is_fused_is_not_fused_again(network: ContribNetwork) -> None:
    model = load_model(network.proto())
    run_rules(RULES, model, Cpu())
    once = stored(model)
    assert run_rules(RULES, model, Cpu()).changes == ()
    again = load_model(ir.to_proto(model.content))
    assert run_rules(RULES, again, Cpu()).changes == ()
    assert stored(again) == once


@given(contrib_networks())
@settings(max_examples=40)
def test_planning_does_not_touch_the_model(network: ContribNetwork) -> None:
    model = load_model(network.proto())
    before = stored(model)
    for rule in RULES:
        first = plan_rule(rule, model, Cpu())
        assert stored(model) == before
        second = plan_rule(rule, model, Cpu())
        assert [c.to_dict() for c in first.changes] == [c.to_dict() for c in second.changes]
        assert first.refusals == second.refusals


@given(contrib_networks())
@settings(max_examples=60)
def test_no_site_is_named_twice_by_a_rule(network: ContribNetwork) -> None:
    model = load_model(network.proto())
    for rule in RULES:
        plan = plan_rule(rule, model, Cpu())
        named = Counter([c.site for c in plan.changes] + [r.site for r in plan.refusals])
        assert all(times == 1 for times in named.values())


def test_every_rule_fires_in_some_network() -> None:
    fired: set[str] = set()

    @given(contrib_networks())
    @settings(max_examples=100)
    def collect(network: ContribNetwork) -> None:
        plan = run_rules(RULES, load_model(network.proto()), Cpu())
        fired.update(c.rule for c in plan.changes)

    collect()
    assert fired >= MADE
