"""Whatever the network: fusing keeps what it computes, is done when it is done, plans first."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from capabilities import Cpu
from hypothesis import event, given, settings
from hypothesis import strategies as st
from random_networks import Network, feeds_for, networks
from stored_bytes import stored

from onnx_act.graph.model import load_model
from onnx_act.rewrite.engine import plan_rule, run_rules
from onnx_act.rewrite.rules import FUSING
from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session


def check_fusing(network: Network, before: onnx.ModelProto) -> None:
    model = load_model(before)
    plan = run_rules(FUSING, model, Cpu())
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
        settings_ = SessionSettings(level=level, threads=1)
        fused = open_session(after.SerializeToString(), settings_)
        assert [s.name for s in fused.inputs] == ["x"]
        for x, wanted in zip(feeds_for(network), expected, strict=True):
            found = fused.run({"x": x})
            for value, one, other in zip(network.outputs, wanted, found, strict=True):
                assert float(np.max(np.abs(one))) <= value.magnitude * (1 + 1e-5)
                np.testing.assert_allclose(other, one, rtol=0, atol=value.error)


@given(networks())
@settings(max_examples=150)
def test_fused_networks_compute_the_same(network: Network) -> None:
    check_fusing(network, network.proto())


@given(networks(), st.sampled_from([3, 4]))
@settings(max_examples=40)
def test_so_do_those_that_list_their_weights_as_inputs(network: Network, ir_version: int) -> None:
    check_fusing(network, network.proto(ir_version=ir_version, lists_weights=True))


@pytest.mark.slow
@given(networks(longest=16))
@settings(max_examples=3000)
def test_thousands_of_longer_networks_do_too(network: Network) -> None:
    check_fusing(network, network.proto())


@given(networks(), st.booleans())
@settings(max_examples=100)
def test_what_is_fused_is_not_fused_again(network: Network, lists_weights: bool) -> None:
    ir_version = 4 if lists_weights else 8
    model = load_model(network.proto(ir_version=ir_version, lists_weights=lists_weights))
    run_rules(FUSING, model, Cpu())
    once = stored(model)
    second = run_rules(FUSING, model, Cpu())
    assert second.changes == ()
    assert stored(model) == once
    # Nor when it comes back from a file, and for the same reasons.
    again = load_model(ir.to_proto(model.content))
    assert run_rules(FUSING, again, Cpu()) == second
    assert stored(again) == once


@given(networks())
@settings(max_examples=80)
def test_planning_does_not_touch_the_model(network: Network) -> None:
    model = load_model(network.proto())
    before = stored(model)
    for rule in FUSING:
        first = plan_rule(rule, model, Cpu())
        assert stored(model) == before
        second = plan_rule(rule, model, Cpu())
        assert [c.to_dict() for c in first.changes] == [c.to_dict() for c in second.changes]
        assert first.refusals == second.refusals


@given(networks())
@settings(max_examples=60)
def test_every_normalisation_is_folded_or_refused(network: Network) -> None:
    model = load_model(network.proto())
    plan = run_rules(FUSING, model, Cpu())
    left = {n.outputs[0].name for n in model.content.graph if n.op_type == "BatchNormalization"}
    assert left == {r.site for r in plan.refusals if r.rule == "fold_batch_normalization"}
