"""Fused models at every level of the runtime's optimiser, against the original as it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from rewrite_trials import run

from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rewrite_trials import Trial

    from onnx_act.rewrite.rule import Rule

Array = np.ndarray[Any, np.dtype[Any]]
# Sums of up to 16 * 27 products in another order, relative to the largest value of the output.
_RELATIVE = 4e-6


def model_of(
    nodes: Sequence[onnx.NodeProto],
    x: Sequence[int | str],
    y: Sequence[int | str],
    weights: Mapping[str, Array],
    opset: int = 17,
) -> onnx.ModelProto:
    """A float32 model from `x` to `y`, of these shapes."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def check_at_all_levels(
    rule: Rule, before: onnx.ModelProto, feeds: Mapping[str, Array], *, changes: int = 1
) -> Trial:
    """Apply a rule, and run the result at every level against the original at none."""
    trial = run([rule], before)
    assert trial.reasons == []
    assert len(trial.plan.changes) == changes
    kept = {k: v.copy() for k, v in feeds.items()}
    expected = _run(before, feeds, OptimizationLevel.DISABLE)
    scale = float(np.max(np.abs(expected), initial=1.0))
    for level in OptimizationLevel:
        found = _run(trial.proto, feeds, level)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=_RELATIVE * scale, err_msg=level)
    # A kernel that works in place must not do so in what the caller holds.
    for name, array in kept.items():
        np.testing.assert_array_equal(feeds[name], array)
    return trial


def _run(model: onnx.ModelProto, feeds: Mapping[str, Array], level: OptimizationLevel) -> Array:
    settings = SessionSettings(level=level, threads=1)
    (result,) = open_session(model.SerializeToString(), settings).run(feeds)
    return result
