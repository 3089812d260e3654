"""Every activation put in the place of a Relu, at old and new opsets, in both common dtypes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

import onnx_act
from onnx_act.activations.catalogue import CATALOGUE
from onnx_act.activations.readings import evaluate
from onnx_act.recipe import evidence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onnx_act.activations.activation import Activation

OPSETS = (9, 13, 20, 24)
DTYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
_SIDE = 8


def _save(path: Path, opset: int, dtype: int) -> Path:
    """(x @ w) * 2 -> Relu -> @ w."""
    values = np.random.default_rng(0).normal(0, 0.5, (_SIDE, _SIDE))
    stored = helper.tensor_dtype_to_np_dtype(dtype)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Mul", ["h", "two"], ["g"]),
            helper.make_node("Relu", ["g"], ["a"]),
            helper.make_node("MatMul", ["a", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", dtype, ["N", _SIDE])],
        [helper.make_tensor_value_info("y", dtype, ["N", _SIDE])],
        [
            numpy_helper.from_array(values.astype(stored), "w"),
            numpy_helper.from_array(np.array(2, stored), "two"),
        ],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=4), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=["float", "float16"])
@pytest.mark.parametrize("opset", OPSETS)
def test_every_activation_in_the_place_of_a_relu(
    opset: int, dtype: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(function: Callable[..., Any], *args: Any, timeout_s: float, **named: Any) -> Any:
        del timeout_s
        return function(*args, **named)

    # A process for every piece of the evidence would take most of the time.
    monkeypatch.setattr(evidence, "run_isolated", here)
    model = _save(tmp_path / "model.onnx", opset, dtype)
    outcomes: Counter[str] = Counter()
    for activation in CATALOGUE:
        if activation.name != "relu":
            outcomes[_swap(model, tmp_path / f"{activation.name}.onnx", activation)] += 1
    assert outcomes["done"] >= 0.9 * outcomes.total(), outcomes


def _swap(model: Path, out: Path, activation: Activation) -> str:
    """Swap it in, and see that what came of it is whole: evidence, or a reason."""
    report = onnx_act.swap(model, out, {"relu": activation.name})
    (entry,) = report.to_dict()["models"]
    if entry["outcome"] == "refused":
        assert entry["exit_code"] == 2, (activation.name, entry["message"])
        (refusal,) = entry["refusals"]
        assert "cannot run on the targets" in refusal["reason"]
        assert not out.exists()
        return "refused"
    assert entry["outcome"] == "done", (activation.name, entry["message"])
    assert entry["exit_code"] == 0, (activation.name, entry["message"])
    assert entry["checks"], activation.name
    assert all(c["passed"] for c in entry["checks"]), activation.name
    assert entry["equivalence"]["passed"] is True
    (change,) = entry["changes"]
    assert change["after"].startswith(activation.name)
    _assert_computed(out, activation)
    return "done"


def _assert_computed(out: Path, activation: Activation) -> None:
    """The whole model against float64, to within a few roundings of its dtype."""
    session = ort.InferenceSession(out, providers=["CPUExecutionProvider"])
    stored = next(t for t in onnx.load(out).graph.initializer if t.name == "w")
    w = numpy_helper.to_array(stored)
    x = np.random.default_rng(1).normal(0, 0.5, (64, _SIDE)).astype(w.dtype)
    wide = w.astype(np.float64)
    root = activation.expression(activation.bind({}))
    expected = evaluate(root, 2.0 * (x.astype(np.float64) @ wide)) @ wide
    (got,) = session.run(None, {"x": x})
    room = 32 * float(np.finfo(w.dtype).eps) * max(1.0, float(np.max(np.abs(expected))))
    assert float(np.max(np.abs(got - expected))) < room, activation.name
