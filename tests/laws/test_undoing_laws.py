"""Whatever the network: what was fused can be taken apart, and fused again to the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from capabilities import Cpu
from hypothesis import assume, given, settings
from nameless import nameless
from random_networks import Network, feeds_for, networks
from stored_bytes import stored

from onnx_act.graph.model import load_model
from onnx_act.rewrite.engine import run_rules
from onnx_act.rewrite.rules import FUSING
from onnx_act.rewrite.undo_fusion import UndoFusion
from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session


def _fused(before: onnx.ModelProto) -> onnx.ModelProto:
    model = load_model(before)
    run_rules(FUSING, model, Cpu())
    return ir.to_proto(model.content)


def _undone(fused: onnx.ModelProto) -> onnx.ModelProto:
    model = load_model(fused)
    plan = run_rules([UndoFusion()], model, Cpu())
    assert plan.refusals == ()
    return ir.to_proto(model.content)


@given(networks())
@settings(max_examples=100)
def test_what_was_fused_is_plain_again_and_computes_the_same(network: Network) -> None:
    fused = _fused(network.proto())
    assume(any(n.domain for n in fused.graph.node))
    plain = _undone(fused)
    onnx.checker.check_model(plain, full_check=True)
    assert {n.domain for n in plain.graph.node} == {""}
    assert {i.domain for i in plain.opset_import} == {""}
    assert [v.name for v in plain.graph.output] == [v.name for v in fused.graph.output]
    reference = SessionSettings(level=OptimizationLevel.DISABLE, threads=1)
    expected = [
        open_session(network.proto().SerializeToString(), reference).run({"x": x})
        for x in feeds_for(network)
    ]
    for level in OptimizationLevel:
        session = open_session(plain.SerializeToString(), SessionSettings(level=level, threads=1))
        for x, wanted in zip(feeds_for(network), expected, strict=True):
            found = session.run({"x": x})
            for value, one, other in zip(network.outputs, wanted, found, strict=True):
                np.testing.assert_allclose(other, one, rtol=0, atol=value.error)


@given(networks())
@settings(max_examples=100)
def test_fused_undone_and_fused_again_is_fused_once(network: Network) -> None:
    once = _fused(network.proto())
    assume(any(n.domain for n in once.graph.node))
    assert nameless(_fused(_undone(once))) == nameless(once)


@given(networks())
@settings(max_examples=50)
def test_what_is_undone_is_not_undone_again(network: Network) -> None:
    model = load_model(_undone(_fused(network.proto())))
    before = stored(model)
    plan = run_rules([UndoFusion()], model, Cpu())
    assert plan.changes == ()
    assert plan.refusals == ()
    assert stored(model) == before
