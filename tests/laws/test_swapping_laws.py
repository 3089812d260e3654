"""Whatever the network: a swap and its reverse cancel, and a swap of nothing changes nothing."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
import onnx_ir as ir
from capabilities import Cpu
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from random_networks import ACTIVATIONS, Network, feeds_for, networks
from stored_bytes import stored

from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model
from onnx_act.graph.selectors import parse_selector
from onnx_act.rewrite.engine import Plan, plan_rule, run_rules
from onnx_act.rewrite.swap_activation import SwapActivation, operators_within
from onnx_act.rewrite.swap_request import parse_swap
from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session

EVERYWHERE: Final = parse_selector("index:0-")
# There and back; what the networks are made of, with the parameters they have it with.
PAIRS: Final = [
    ("relu", "gelu"),
    ("relu", "mish"),
    ("relu", "threshold:threshold=0.5"),
    # Two in a row are one of another slope: it is carried there and back.
    ("leaky_relu", "prelu"),
    ("relu6", "softshrink"),
    ("sigmoid", "logsigmoid"),
    ("tanh", "celu:alpha=0.5"),
    ("elu", "hardswish"),
    ("selu", "swish:beta=2"),
    ("softplus", "tanhshrink"),
    ("softsign", "rectified_tanh"),
    ("hardsigmoid:alpha=0.25,beta=0.5", "hardshrink"),
    ("silu", "squared_relu"),
]


def fitting(proto: onnx.ModelProto) -> list[tuple[str, str]]:
    """The pairs whose first is in the model; where there is none the example is given up."""
    there = {s.name for s in find_sites(load_model(proto), routine=True)}
    pairs = [p for p in PAIRS if p[0].partition(":")[0] in there]
    assume(pairs)
    return pairs


def swapped(proto: onnx.ModelProto, request: str) -> tuple[Plan, onnx.ModelProto]:
    model = load_model(proto)
    plan = run_rules([SwapActivation((parse_swap(request),), EVERYWHERE)], model, Cpu())
    after = ir.to_proto(model.content)
    onnx.checker.check_model(after, full_check=True)
    return plan, after


@given(networks(), st.data())
@settings(max_examples=150)
def test_there_and_back_is_the_same_function(network: Network, data: st.DataObject) -> None:
    before = network.proto()
    one, other = data.draw(st.sampled_from(fitting(before)))
    source, target = (name.partition(":")[0] for name in (one, other))
    # Where the target is there already the way back would take that along.
    assume(all(s.name != target for s in find_sites(load_model(before), routine=True)))
    there, middle = swapped(before, f"{source}={other}")
    back, after = swapped(middle, f"{target}={one}")
    changed = len(there.changes)
    event(f"sites: {changed}")
    assert {c.site for c in back.changes} == {c.site for c in there.changes}
    # Refused is what the opset has no operators for: it stays as it was.
    assert {r.site for r in there.refusals}.isdisjoint(c.site for c in back.changes)
    plain = SessionSettings(level=OptimizationLevel.DISABLE, threads=1)
    original, result = (open_session(m.SerializeToString(), plain) for m in (before, after))
    for x in feeds_for(network):
        wanted, found = original.run({"x": x}), result.run({"x": x})
        for value, a, b in zip(network.outputs, wanted, found, strict=True):
            np.testing.assert_allclose(b, a, rtol=0, atol=value.error)


@given(networks(), st.sampled_from(sorted(p[1].partition(":")[0] for p in PAIRS)))
@settings(max_examples=60)
def test_swapping_what_is_not_there_changes_no_byte(network: Network, absent: str) -> None:
    model = load_model(network.proto())
    assume(all(s.name != absent for s in find_sites(model, routine=True)))
    before = stored(model)
    plan = run_rules([SwapActivation((parse_swap(f"{absent}=relu"),), EVERYWHERE)], model, Cpu())
    assert plan.changes == ()
    # What is there as a part of something else is said to be.
    assert all(f"{absent} is part of" in r.reason for r in plan.refusals)
    assert stored(model) == before


@given(networks())
@settings(max_examples=40)
def test_a_selector_of_nothing_changes_no_byte(network: Network) -> None:
    model = load_model(network.proto())
    before = stored(model)
    requests = tuple(parse_swap(f"{one.partition(':')[0]}={other}") for one, other in PAIRS)
    nowhere = parse_selector("name:nobody")
    assert run_rules([SwapActivation(requests, nowhere)], model, Cpu()) == Plan()
    assert stored(model) == before


@given(networks(), st.data())
@settings(max_examples=60)
def test_planning_a_swap_does_not_touch_the_model(network: Network, data: st.DataObject) -> None:
    pair = data.draw(st.sampled_from(fitting(network.proto())))
    model = load_model(network.proto())
    before = stored(model)
    rule = SwapActivation((parse_swap(f"{pair[0].partition(':')[0]}={pair[1]}"),), EVERYWHERE)
    plan = plan_rule(rule, model, Cpu())
    assert stored(model) == before
    request = rule.requests[0]
    sites = find_sites(model, routine=True)
    asked = [s.id for s in sites if request.covers(s) or request.source in operators_within(s)]
    answered = [c.site for c in plan.changes] + [r.site for r in plan.refusals]
    assert sorted(answered) == sorted(asked)
    assert {c.site for c in plan.changes} <= {s.id for s in sites if request.covers(s)}


@given(networks(), st.data())
@settings(max_examples=60)
def test_what_is_not_replaced_keeps_its_place_and_its_names(
    network: Network, data: st.DataObject
) -> None:
    before = network.proto()
    pair = data.draw(st.sampled_from(fitting(before)))
    plan, after = swapped(before, f"{pair[0].partition(':')[0]}={pair[1]}")
    gone = {name for c in plan.changes for name in c.nodes}
    kept = [n for n in before.graph.node if n.name not in gone]
    names = {n.name for n in kept}
    assert [n for n in after.graph.node if n.name in names] == kept
    made = {v for n in after.graph.node for v in n.output}
    assert {c.site for c in plan.changes} <= made


def test_the_pairs_are_about_every_activation_of_the_networks() -> None:
    written = {"Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "Elu", "Selu", "Softplus"}
    assert written | {"Softsign", "HardSigmoid"} == set(ACTIVATIONS)
