"""Whatever is around a linear operator: folding it in keeps what the network computes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from capabilities import Cpu
from folding_networks import FoldingNetwork, folding_networks
from hypothesis import event, given, settings
from hypothesis import strategies as st

from onnx_act.graph.model import load_model
from onnx_act.rewrite.engine import run_rules
from onnx_act.rewrite.fold_affine import FoldAffine
from onnx_act.rewrite.fold_affine_forward import FoldAffineForward
from onnx_act.rewrite.fold_batch_normalization import FoldBatchNormalization
from onnx_act.rewrite.fold_batch_normalization_forward import FoldBatchNormalizationForward
from onnx_act.rewrite.fold_scale_through_activation import FoldScaleThroughActivation
from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_act.rewrite.rule import Rule

FOLDS: tuple[Rule, ...] = (
    FoldBatchNormalization(),
    FoldAffine(),
    FoldScaleThroughActivation(),
    FoldBatchNormalizationForward(),
    FoldAffineForward(),
)
# The longest sum: inputs times kernel of a Conv.
_LONGEST_SUM = 4 * 9


def _tolerance(network: FoldingNetwork, x: np.ndarray) -> float:
    """A bound of rounding errors: of each step, one for each summand, of the largest size.

    A folded weight may be larger than its factors, by as much as what is folded into it, and so
    may what it sums to be before a later shift takes it back: sizes are those of the network with
    all its signs positive.
    """
    settings_ = SessionSettings(level=OptimizationLevel.DISABLE, threads=1)
    bounding = network.proto(magnitudes=True).SerializeToString()
    sizes = open_session(bounding, settings_).run({"x": np.abs(x)})
    largest = max(1.0, *(float(np.max(np.abs(s), initial=0.0)) for s in sizes))
    unit = 2.0 ** -(52 if network.double else 23)
    return unit * (_LONGEST_SUM + 4) * len(network.nodes) * largest


def check_folding(network: FoldingNetwork, rules: Sequence[Rule]) -> None:
    before = network.proto()
    onnx.checker.check_model(before, full_check=True)
    model = load_model(before)
    plan = run_rules([tuple(rules)], model, Cpu())
    after = ir.to_proto(model.content)
    onnx.checker.check_model(after, full_check=True)
    for change in plan.changes:
        event(change.rule)
    if not plan.changes:
        return
    assert [v.name for v in after.graph.output] == [v.name for v in before.graph.output]
    rng = np.random.default_rng(0)
    dtype = np.float64 if network.double else np.float32
    x = rng.standard_normal((2, *network.values[0][1])).astype(dtype)
    allowed = _tolerance(network, x)
    if not math.isfinite(allowed) or allowed > 1e30:
        return
    reference = SessionSettings(level=OptimizationLevel.DISABLE, threads=1)
    expected = open_session(before.SerializeToString(), reference).run({"x": x})
    for level in OptimizationLevel:
        folded = open_session(after.SerializeToString(), SessionSettings(level=level, threads=1))
        for one, other in zip(expected, folded.run({"x": x}), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(other, one, rtol=0, atol=allowed)
    again = load_model(after)
    assert run_rules([tuple(rules)], again, Cpu()).changes == ()


@given(folding_networks())
@settings(max_examples=200)
def test_all_folds_in_order(network: FoldingNetwork) -> None:
    check_folding(network, FOLDS)


@given(folding_networks(), st.sampled_from(FOLDS))
@settings(max_examples=200)
def test_each_fold_alone(network: FoldingNetwork, rule: Rule) -> None:
    check_folding(network, [rule])


@pytest.mark.slow
@given(folding_networks(longest=14))
@settings(max_examples=4000)
def test_thousands_of_networks(network: FoldingNetwork) -> None:
    check_folding(network, FOLDS)
