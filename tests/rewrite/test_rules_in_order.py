"""The rules of fusing together: their order, the fixed point, and what they leave behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from capabilities import Cpu
from onnx import TensorProto, helper, numpy_helper
from rewrite_trials import graph, normal, outputs, refusing, run

from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model
from onnx_act.rewrite.engine import Plan, apply_plan, plan_rule, run_rules
from onnx_act.rewrite.fold_batch_normalization import FoldBatchNormalization
from onnx_act.rewrite.fuse_activation import FUSE_CONV_ACTIVATION
from onnx_act.rewrite.remove_redundant_activation import RemoveRedundantActivation
from onnx_act.rewrite.rule import Change, Fidelity, Proposal, Refusal, Subject
from onnx_act.rewrite.rules import FUSING
from onnx_act.rewrite.swap_activation import SwapActivation
from onnx_act.rewrite.swap_request import parse_swap

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE, IMAGES = "float[N,2,3,3] x", "float[N,2,3,3] y"
CONV = "float[2,2,1,1] W = {1.5, 2, -1.25, 0.375}"
NORM = "float[2] s = {2, -0.5}, float[2] b = {1, -1}, float[2] m = {0.5, 0.25}, float[2] v = {1, 4}"
BLOCK = "[conv] c = Conv (x, W) [norm] n = BatchNormalization (c, s, b, m, v) [act] r = Relu (n)"


def test_a_block_becomes_one_node_that_tells_its_story() -> None:
    trial = run(FUSING, graph(f"{BLOCK} y = Relu (r)", f"{CONV}, {NORM}", IMAGE, IMAGES))
    assert [c.rule for c in trial.plan.changes] == [
        "remove_redundant_activation",
        "fold_batch_normalization",
        "fuse_conv_activation",
    ]
    assert [c.fidelity for c in trial.plan.changes] == [
        Fidelity.EXACT,
        Fidelity.NUMERIC,
        Fidelity.NUMERIC,
    ]
    assert trial.operators == ["FusedConv"]
    (node,) = trial.proto.graph.node
    story = {p.key: p.value for p in node.metadata_props}
    assert story["onnx_act.rule"] == "fuse_conv_activation"
    assert story["onnx_act.nodes"] == "conv, act"
    assert {t.name for t in trial.proto.graph.initializer} == {"W/folded", "conv/bias"}


def test_a_folded_node_says_so() -> None:
    before = graph(f"{BLOCK} y = Neg (r)", f"{CONV}, {NORM}", IMAGE, IMAGES)
    trial = run([FoldBatchNormalization()], before)
    story = {p.key: p.value for p in trial.proto.graph.node[0].metadata_props}
    assert story == {
        "onnx_act.rule": "fold_batch_normalization",
        "onnx_act.from": "Conv, BatchNormalization",
        "onnx_act.nodes": "conv, norm",
    }


def test_a_swap_and_then_the_fusion_that_it_makes_possible() -> None:
    before = graph(f"{BLOCK.replace('Relu', 'Elu')} y = Neg (r)", f"{CONV}, {NORM}", IMAGE, IMAGES)
    swap = SwapActivation((parse_swap("elu=leaky_relu:negative_slope=0.5"),))
    trial = run([swap, *FUSING], before)
    assert trial.operators == ["FusedConv", "Neg"]
    x = normal(2, 2, 3, 3)
    by_hand = before.__class__()
    by_hand.CopyFrom(before)
    by_hand.graph.node[2].op_type = "LeakyRelu"
    by_hand.graph.node[2].attribute.append(helper.make_attribute("alpha", 0.5))
    (found,), (expected,) = outputs(trial.proto, {"x": x}), outputs(by_hand, {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_long_chain_is_removed_to_the_last() -> None:
    links = " ".join(f"v{k + 1} = Relu (v{k})" for k in range(9))
    trial = run([RemoveRedundantActivation()], graph(f"v0 = Relu (x) {links} y = Neg (v9)"))
    assert trial.operators == ["Relu", "Neg"]
    assert len(trial.plan.changes) == 9
    assert trial.plan.refusals == ()


def test_refusals_are_told_once() -> None:
    body = f"{BLOCK} e = Relu (r) d = BatchNormalization (e, s, b, m, v) y = Neg (d)"
    trial = run(FUSING, graph(body, f"{CONV}, {NORM}", IMAGE, IMAGES))
    told = [(r.rule, r.site) for r in trial.plan.refusals]
    assert told == [("fold_batch_normalization", "d"), ("fold_scale_through_activation", "r")]


@dataclass(frozen=True)
class _Counting:
    """Proposes to note on every node, as often as it is asked."""

    enables_itself: bool
    asked: list[int] = field(default_factory=list)
    name: str = "count"

    def plan(self, subject: Subject) -> Iterator[Proposal]:
        self.asked.append(len(subject.sites))
        if len(self.asked) < 3:
            yield Change("count", Fidelity.EXACT, "x", "", "", (), lambda _: None)
        yield Refusal("count", "x", "", f"time {len(self.asked)}")


def test_only_a_rule_that_enables_itself_is_asked_again() -> None:
    for enables_itself, times in ((True, 3), (False, 1)):
        rule = _Counting(enables_itself)
        plan = run_rules([rule], load_model(graph("y = Relu (x)")), Cpu())
        assert len(rule.asked) == times
        assert [r.reason for r in plan.refusals] == [f"time {times}"]
        assert len(plan.changes) == min(times, 2)


def test_sites_that_the_caller_has_are_used_until_something_changes() -> None:
    model = load_model(graph("a = Relu (x) b = Relu (a) y = Neg (b)"))
    first = _Counting(enables_itself=False)
    last = _Counting(enables_itself=False)
    run_rules([first, last], model, Cpu(), sites=find_sites(model, routine=True)[:1])
    assert (first.asked, last.asked) == ([1], [2])


def test_a_plan_of_nothing_is_applied_without_looking() -> None:
    model = load_model(graph("y = Relu (x)"))
    before = ir.to_proto(model.content).SerializeToString(deterministic=True)
    apply_plan(Plan(), model)
    assert ir.to_proto(model.content).SerializeToString(deterministic=True) == before


def test_a_target_is_asked_once_for_convolutions_of_a_kind() -> None:
    chain = " ".join(f"c{k + 1} = Conv (r{k}, W) r{k + 1} = Relu (c{k + 1})" for k in range(5))
    before = graph(f"r0 = Neg (x) {chain} y = Neg (r5)", CONV, IMAGE, IMAGES)
    target = refusing()
    assert len(run([FUSE_CONV_ACTIVATION], before, target).plan.changes) == 5
    assert len(target.asked) == 1
    without = run([FUSE_CONV_ACTIVATION], before, refusing("FusedConv"))
    assert without.reasons == ["FusedConv: no kernel for FusedConv"] * 5


def test_a_constant_that_cannot_be_evaluated_is_a_reason_and_no_crash() -> None:
    before = graph(f"{BLOCK} y = Neg (r)", f"{CONV}, {NORM}", IMAGE, IMAGES)
    before.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.array([2, 2, 1, 1 << 21], np.int64), "shape")
    )
    # Eight million elements out of one: nobody evaluates that to look at it.
    before.graph.node.insert(0, helper.make_node("ConstantOfShape", ["shape"], ["W"]))
    trial = run([FoldBatchNormalization()], before)
    assert trial.reasons == ["W of Conv is a constant that is not evaluated"]


def test_a_function_that_is_called_with_several_shapes_says_nothing_of_its_shapes() -> None:
    body = [
        helper.make_node("Conv", ["x", "W"], ["c"]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("local", "block", ["x", "W"], ["y"], body, opsets)
    calls = [
        helper.make_node("block", ["x", "W"], ["a"], domain="local"),
        helper.make_node("MaxPool", ["a"], ["p"], kernel_shape=[2, 2]),
        helper.make_node("block", ["p", "W"], ["y"], domain="local"),
    ]
    whole = helper.make_graph(
        calls,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2, 3, 3])],
        [numpy_helper.from_array(normal(2, 2, 1, 1), "W")],
    )
    before = helper.make_model(
        whole, functions=[function], ir_version=10,
        opset_imports=[*opsets, helper.make_opsetid("local", 1)],
    )  # fmt: skip
    trial = run([FUSE_CONV_ACTIVATION], before)
    assert len(trial.plan.changes) == 1
    assert list(trial.proto.functions[0].value_info) == []
    feeds = {"x": normal(1, 2, 4, 4)}
    np.testing.assert_allclose(outputs(trial.proto, feeds)[0], outputs(before, feeds)[0], rtol=1e-6)


def test_a_plan_reads_as_plain_data() -> None:
    model = load_model(graph(f"{BLOCK} y = Add (r, n)", f"{CONV}, {NORM}", IMAGE, IMAGES))
    plan = plan_rule(FoldBatchNormalization(), model, Cpu())
    assert plan.changes[0].to_dict() == {
        "rule": "fold_batch_normalization",
        "fidelity": "numeric",
        "site": "n",
        "before": "Conv, BatchNormalization",
        "after": "Conv",
        "nodes": ["conv", "norm"],
    }
    apply_plan(plan, model)
    (refusal,) = plan_rule(FUSE_CONV_ACTIVATION, model, Cpu()).refusals
    assert refusal.to_dict() == {
        "rule": "fuse_conv_activation",
        "site": "r",
        "activation": "relu",
        "reason": "something else uses what Conv makes",
        "left_to_runtime": False,
    }
