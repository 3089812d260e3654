"""What counts as a copy when folding may not make a file larger."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from capabilities import Cpu
from rewrite_trials import graph

from onnx_act.graph.model import load_model
from onnx_act.rewrite.engine import plan_rule
from onnx_act.rewrite.fold_batch_normalization import FoldBatchNormalization

if TYPE_CHECKING:
    from onnx_act.graph.model import OnnxModel

WEIGHTS = """float[2,2,1,1] w = {1, 2, 3, 4}, float[2] s = {2, 0.5}, float[2] b = {1, -1},
    float[2] m = {0.5, -0.5}, float[2] v = {1, 4}, float zero = {0}"""
NORMALIZED = "c = Conv (x, w, bias) y = BatchNormalization (c, s, b, m, v)"
BIAS = "shape = Shape <start = 0, end = 1> (w) bias = Expand (zero, shape)"


@pytest.mark.parametrize(
    ("beside", "output"),
    [
        ("z = Identity (bias)", "float[2] z"),
        ("z = Identity (w)", "float[2,2,1,1] z"),
        ("t = Shape (w) z = Cast <to = 1> (t)", "float[4] z"),
    ],
)
def test_a_weight_that_others_read_is_copied(beside: str, output: str) -> None:
    outputs = f"float[1,2,3,3] y, {output}"
    model = _model(f"{BIAS} {NORMALIZED} {beside}", outputs)
    assert not plan_rule(FoldBatchNormalization(max_growth=1.0), model, Cpu()).changes
    assert plan_rule(FoldBatchNormalization(max_growth=math.inf), model, Cpu()).changes


def test_a_weight_that_only_its_bias_reads_is_not() -> None:
    model = _model(f"{BIAS} {NORMALIZED}", "float[1,2,3,3] y")
    assert plan_rule(FoldBatchNormalization(max_growth=1.0), model, Cpu()).changes


def _model(body: str, outputs: str) -> OnnxModel:
    return load_model(graph(body, WEIGHTS, "float[1,2,3,3] x", outputs))
