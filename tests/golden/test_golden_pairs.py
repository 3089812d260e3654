"""Every golden case: as text, held against the standard, and run before and after."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from capabilities import StandIn
from golden_cases import Case, Outcome, all_cases, as_text, readable, write_case
from onnx.reference import ReferenceEvaluator

from onnx_act.graph.model import load_model
from onnx_act.graph.selectors import parse_selector
from onnx_act.rewrite.commute_activation import CommuteActivation
from onnx_act.rewrite.engine import run_rules
from onnx_act.rewrite.flatten_matmul import FlattenMatMul
from onnx_act.rewrite.fold_affine import FoldAffine
from onnx_act.rewrite.fold_affine_forward import FoldAffineForward
from onnx_act.rewrite.fold_batch_normalization import FoldBatchNormalization
from onnx_act.rewrite.fold_batch_normalization_forward import FoldBatchNormalizationForward
from onnx_act.rewrite.fold_scale_through_activation import FoldScaleThroughActivation
from onnx_act.rewrite.fuse_activation import FUSE_CONV_ACTIVATION, FUSE_GEMM_ACTIVATION
from onnx_act.rewrite.fuse_bias_gelu import FuseBiasGelu
from onnx_act.rewrite.fuse_conv_residual import FuseConvResidual
from onnx_act.rewrite.fuse_gelu import FUSE_GELU
from onnx_act.rewrite.fuse_group_normalization import FuseGroupNormalization
from onnx_act.rewrite.fuse_matmul_activation import FuseMatMulActivation
from onnx_act.rewrite.fuse_quick_gelu import FUSE_QUICK_GELU
from onnx_act.rewrite.raise_activation import RaiseActivation
from onnx_act.rewrite.raise_gemm import RaiseGemm
from onnx_act.rewrite.remove_redundant_activation import RemoveRedundantActivation
from onnx_act.rewrite.respell_activation import RespellActivation
from onnx_act.rewrite.rule import Fidelity
from onnx_act.rewrite.rules import FUSING
from onnx_act.rewrite.simplify_activation import SimplifyActivation
from onnx_act.rewrite.swap_activation import SwapActivation
from onnx_act.rewrite.swap_request import parse_swap
from onnx_act.rewrite.undo_fusion import UndoFusion
from onnx_act.runtime.feeds import make_feeds
from onnx_act.runtime.kinds import KINDS
from onnx_act.runtime.miscomputation import overflow
from onnx_act.runtime.probe import can_run
from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_act.rewrite.engine import Plan
    from onnx_act.rewrite.rule import Rule

_UPDATE: Final = os.environ.get("ONNX_ACT_UPDATE_GOLDEN") == "1"
_CASES: Final = all_cases()
_FIXED: Final[dict[str, Rule]] = {
    rule.name: rule
    for rule in (
        CommuteActivation(),
        FlattenMatMul(),
        FoldAffine(),
        FoldAffineForward(),
        FoldBatchNormalization(),
        FoldBatchNormalizationForward(),
        FoldScaleThroughActivation(),
        FUSE_CONV_ACTIVATION,
        FUSE_GEMM_ACTIVATION,
        FUSE_GELU,
        FUSE_QUICK_GELU,
        FuseBiasGelu(),
        FuseConvResidual(),
        FuseGroupNormalization(),
        FuseMatMulActivation(),
        RaiseActivation(),
        RaiseGemm(),
        RemoveRedundantActivation(),
        SimplifyActivation(),
        UndoFusion(),
    )
}
# A few roundings of sums of a few products, relative to the largest value of the output.
_RELATIVE: Final = {"float16": 8e-3, "float32": 4e-6, "float64": 1e-13}


@dataclass(frozen=True, slots=True)
class _Target(StandIn):
    """The CPU, as far as it goes, less one operator; or something that runs all others."""

    cannot: str | None
    runs_all: bool

    def reason_against(self, model: bytes, *, may_crash: bool = False) -> str | None:
        operators = {n.op_type for n in onnx.load_from_string(model).graph.node}
        if self.cannot in operators:
            return f"there is no {self.cannot} here"
        if self.runs_all:
            return None
        found = can_run(model, may_crash=may_crash)
        return None if found.ok else found.reason

    def overflow(self, model: bytes) -> str | None:
        return None if self.runs_all else overflow(model)


def _rule(case: Case) -> Rule:
    if case.rule == "respell_activation":
        channels = {site: int(count) for site, count in case.pairs("channels").items()}
        return RespellActivation(case.pairs("respell"), channels)
    if case.rule != "swap_activation":
        return _FIXED[case.rule]
    where = case.directives.get("where")
    requests = tuple(parse_swap(text) for text in case.directives["swap"].split())
    return SwapActivation(requests, None if where is None else parse_selector(where))


def _applied(case: Case, before: onnx.ModelProto) -> tuple[Plan, onnx.ModelProto]:
    model = load_model(before)
    target = _Target(case.directives.get("cannot"), case.directives.get("runtime") == "none")
    plan = run_rules([_rule(case)], model, target)
    return plan, ir.to_proto(model.content)


def _outcome(plan: Plan, after: onnx.ModelProto, opset: int | None = None) -> Outcome:
    changed = [f"changed {c.site}: {c.before} -> {c.after}" for c in plan.changes]
    refused = [f"refused {r.site}: {r.reason}" for r in plan.refusals]
    lines = tuple(readable(line) for line in (*changed, *refused))
    return Outcome(lines, as_text(after, opset) if changed else "")


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_a_golden_pair(case: Case) -> None:
    before = case.before()
    onnx.checker.check_model(before, full_check=True)
    plan, after = _applied(case, before)
    outcome = _outcome(plan, after)
    if _UPDATE:
        write_case(case, outcome)
    else:
        assert outcome.lines == case.expected.lines
        assert outcome.after == case.expected.after
    _check_sound(case, before, plan, after)


_AT_OPSETS: Final = [(c, n) for c in _CASES for n in c.other_opsets]


@pytest.mark.skipif(_UPDATE, reason="what it is compared with is being written")
@pytest.mark.parametrize(
    ("case", "opset"), _AT_OPSETS, ids=[f"{c.name}@{n}" for c, n in _AT_OPSETS]
)
def test_a_golden_pair_at_another_opset(case: Case, opset: int) -> None:
    before = case.before(opset)
    onnx.checker.check_model(before, full_check=True)
    plan, after = _applied(case, before)
    written = next(i.version for i in case.before().opset_import if i.domain == "")
    assert _outcome(plan, after, written) == case.expected
    _check_sound(case, before, plan, after)


def _check_sound(case: Case, before: onnx.ModelProto, plan: Plan, after: onnx.ModelProto) -> None:
    if not plan.changes:
        # What is refused stays as it was, to the byte.
        untouched = ir.to_proto(load_model(before).content)
        assert after.SerializeToString() == untouched.SerializeToString()
        return
    onnx.checker.check_model(after, full_check=True)
    assert [v.name for v in after.graph.output] == [v.name for v in before.graph.output]
    required = {v.name for v in before.graph.input}
    assert {v.name for v in after.graph.input} <= required
    runtime = case.directives.get("runtime")
    exact = all(c.fidelity is Fidelity.EXACT for c in plan.changes)
    if runtime == "reference":
        _compare_by_reference(before, after, exact=exact)
    elif runtime is None:
        _compare_in_the_runtime(case, before, after, exact=exact)


def _compare_in_the_runtime(
    case: Case, before: onnx.ModelProto, after: onnx.ModelProto, *, exact: bool
) -> None:
    for level in (OptimizationLevel.DISABLE, OptimizationLevel.ALL):
        settings = SessionSettings(level=level, threads=1)
        new = open_session(after.SerializeToString(), settings)
        feeds = make_feeds(new.inputs, count=len(KINDS), batch=2, size=4)
        if case.rule == "swap_activation":
            assert all(np.isfinite(v).all() for f in feeds for v in new.run(f))
            continue
        old = open_session(before.SerializeToString(), settings)
        assert [s.name for s in new.inputs] == [s.name for s in old.inputs]
        for feed in feeds:
            _assert_same(old.run(feed), new.run(feed), exact=exact)


def _compare_by_reference(before: onnx.ModelProto, after: onnx.ModelProto, *, exact: bool) -> None:
    weights = {t.name for t in before.graph.initializer}
    rng = np.random.default_rng(0)
    feeds = {
        v.name: rng.standard_normal([d.dim_value for d in v.type.tensor_type.shape.dim]).astype(
            onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type)
        )
        for v in before.graph.input
        if v.name not in weights
    }
    old, new = (ReferenceEvaluator(m).run(None, feeds) for m in (before, after))
    _assert_same(list(old), list(new), exact=exact)


def _assert_same(expected: Sequence[Any], found: Sequence[Any], *, exact: bool) -> None:
    for one, other in zip(expected, found, strict=True):
        assert one.dtype == other.dtype
        if exact:
            np.testing.assert_array_equal(one, other)
            continue
        # What overflows on the way in one spelling may not in another, which is no worse.
        known = np.isfinite(one)
        assert not np.isnan(other[known]).any()
        scale = float(np.max(np.abs(one[known].astype(np.float64)), initial=1.0))
        atol = _RELATIVE[one.dtype.name] * scale
        np.testing.assert_allclose(one[known], other[known], rtol=0, atol=atol)


def test_every_rule_has_pairs_and_cases_in_which_it_must_not_fire() -> None:
    assert {rule.name for rule in FUSING} <= set(_FIXED)
    asked = ("swap_activation", "respell_activation")
    assert {c.rule for c in _CASES} == {*_FIXED, *asked}
    for rule in (*_FIXED, *asked):
        here = [c.expected for c in _CASES if c.rule == rule]
        assert any(e.after for e in here), rule
        assert any(not e.after for e in here), rule
