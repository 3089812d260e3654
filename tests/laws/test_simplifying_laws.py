"""Whatever the network: what is called exact changes no number."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from bounded_networks import bounded_networks, tame_numbers
from capabilities import Cpu
from hypothesis import event, given, reject, settings
from hypothesis import strategies as st

from onnx_act.errors import EvidenceError
from onnx_act.graph.model import load_model
from onnx_act.rewrite.commute_activation import CommuteActivation
from onnx_act.rewrite.engine import run_rules
from onnx_act.rewrite.remove_redundant_activation import RemoveRedundantActivation
from onnx_act.rewrite.rule import Fidelity
from onnx_act.rewrite.simplify_activation import SimplifyActivation
from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session

_RULES = (
    RemoveRedundantActivation(),
    SimplifyActivation(),
    CommuteActivation(),
    # What a MaxPool stood between are neighbours now.
    RemoveRedundantActivation(),
    SimplifyActivation(),
)
_AS_WRITTEN = SessionSettings(level=OptimizationLevel.DISABLE, threads=1)


def _run(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    session = open_session(model.SerializeToString(), _AS_WRITTEN)
    return list(session.run({s.name: feeds[s.name] for s in session.inputs}))


def _check(model: onnx.ModelProto, seed: int, outputs: int) -> None:
    feeds = tame_numbers(np.random.default_rng(seed))
    try:
        everything = _run(model, feeds)
    except EvidenceError:
        reject()  # such as a pool of nothing
    # Infinities and NaN are where Relu and a slope of 0, and Clip and nothing, part.
    if not all(np.isfinite(v.astype(np.float64)).all() for v in everything):
        reject()
    before = onnx.ModelProto()
    before.CopyFrom(model)
    del before.graph.output[:-outputs]
    loaded = load_model(before)
    plan = run_rules(_RULES, loaded, Cpu())
    if any(change.fidelity is not Fidelity.EXACT for change in plan.changes):
        reject()
    for change in plan.changes:
        event(f"{change.rule}: {change.before} -> {change.after.partition(':')[0]}")
    after = ir.to_proto(loaded.content)
    assert [v.name for v in after.graph.output] == [v.name for v in before.graph.output]
    for one, other in zip(everything[-outputs:], _run(after, feeds), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not run_rules(_RULES, loaded, Cpu()).changes


@given(bounded_networks(), st.integers(0, 2**16), st.integers(1, 2))
@settings(max_examples=150)
def test_exact_changes_keep_every_number(model: onnx.ModelProto, seed: int, outputs: int) -> None:
    _check(model, seed, outputs)


@pytest.mark.slow
@given(bounded_networks(most=25), st.integers(0, 2**16), st.integers(1, 3))
@settings(max_examples=5000)
def test_so_they_do_in_larger_networks(model: onnx.ModelProto, seed: int, outputs: int) -> None:
    _check(model, seed, outputs)
