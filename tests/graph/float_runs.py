"""Running a small model and holding the result against an activation's float64 reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator

from onnx_act.activations.readings import evaluate

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    from onnx_act.activations.activation import Activation, Parameters

    Array = npt.NDArray[Any]

_TAIL = np.array([9.0, 12.0, 15.5, 18.0, 20.5, 30.0, 39.0, 60.0, 88.0, 120.0, 1e3, 1e4])


def sign_symmetric_grid(reach: float = 1e4) -> Array:
    """Points dense around zero and thin in both tails, in pairs of opposite sign, and zero."""
    near = np.concatenate([np.logspace(-3, -1, 6), np.linspace(0.17, 8.03, 60)])
    magnitudes = np.concatenate([near, _TAIL[reach >= _TAIL]])
    return np.concatenate([-magnitudes[::-1], [0.0], magnitudes])


def session_of(model: onnx.ModelProto) -> ort.InferenceSession:
    """A session that runs the nodes as they are written."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run_graph(model: onnx.ModelProto, x: Array) -> Array:
    """What the first output is for the first input, in ONNX Runtime.

    Where that has no kernel for the dtype (bfloat16 has nearly none), by onnx's own evaluator.
    """
    name = model.graph.input[0].name
    if x.dtype != ml_dtypes.bfloat16:
        try:
            return np.asarray(session_of(model).run(None, {name: x})[0])
        except ort.capi.onnxruntime_pybind11_state.NotImplemented:
            pass
        except ort.capi.onnxruntime_pybind11_state.InvalidGraph as error:
            # Celu of the standard is of float32 alone; its function body is not.
            if x.dtype == np.float32 or "Type Error" not in str(error):
                raise
    with np.errstate(all="ignore"):
        results: Any = ReferenceEvaluator(model).run(None, {name: x})
    return np.asarray(results[0])


def against_reference(
    activation: Activation, parameters: Parameters, x: Array, y: Array, *, steps: float = 1.0
) -> None:
    """Fail when y is not the activation of x, as exactly as its dtype allows.

    An operation rounds to half a unit in the last place of what it makes, intermediate values
    reach a few times max(1, |x|, |f(x)|), and the longest spelling has about a dozen operations.
    ONNX Runtime's float32 tanh and sigmoid are rational approximations that are good to about
    1e-7 absolutely, not relatively, and saturate at |x| = 9 and 18; its float16 kernels
    round after every node.
    """
    assert y.dtype == x.dtype
    assert y.shape == x.shape
    exact = x.astype(np.float64)
    wanted = evaluate(activation.expression(parameters), exact)
    got = y.astype(np.float64)
    unit = float(ml_dtypes.finfo(x.dtype).eps)  # type: ignore[no-untyped-call]
    scale = np.maximum(1.0, np.maximum(np.abs(exact), np.abs(wanted)))
    assert not np.isnan(got).any()
    with np.errstate(invalid="ignore"):
        gap = np.where(got == wanted, 0.0, np.abs(got - wanted) / (unit * scale))
    worst = int(np.argmax(gap))
    assert gap.flat[worst] <= 12 * steps, (
        f"{activation.name}{dict(parameters)} at {exact.flat[worst]}: "
        f"{got.flat[worst]} instead of {wanted.flat[worst]}"
    )
