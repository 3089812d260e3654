from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from tiny_models import model_of, one_node

from onnx_act.errors import EvidenceError, ProviderUnavailableError
from onnx_act.runtime.probe import can_run
from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session, readable
from onnx_act.runtime.tensors import TensorSpec

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_act.runtime.tensors import Array


def test_inputs_and_outputs_are_described() -> None:
    session = open_session(one_node("Relu", shape=["N", 3, None]))
    assert session.inputs == (TensorSpec("x", "float32", ("N", 3, None), is_tensor=True),)
    assert [spec.name for spec in session.tensor_outputs] == ["y"]
    assert session.creation_s > 0.0


@pytest.mark.parametrize("level", list(OptimizationLevel))
def test_a_file_runs_at_every_level(level: OptimizationLevel, tmp_path: Path) -> None:
    path = tmp_path / "relu.onnx"
    path.write_bytes(one_node("Relu"))
    session = open_session(path, SessionSettings(level=level, threads=1, deterministic=True))
    (y,) = session.run({"x": np.array([[-1, 0, 1, 2]], np.float32)})
    np.testing.assert_array_equal(y, [[0, 0, 1, 2]])


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(TensorProto.FLOAT16, np.float16), (TensorProto.BFLOAT16, ml_dtypes.bfloat16)],
)
@pytest.mark.parametrize("rows", [0, 2])
def test_short_floats_pass_through(code: int, dtype: type, rows: int) -> None:
    session = open_session(one_node("Identity", dtype=code, shape=["N", 4]))
    x: Array = np.linspace(-2, 2, 4 * rows).reshape(rows, 4).astype(dtype)
    for results in (session.run({"x": x}), session.run({"x": x}, ["y"])):
        assert results[0].dtype == np.dtype(dtype)
        np.testing.assert_array_equal(results[0], x)
    session.prepared({"x": x})()


def test_a_missing_kernel_is_one_readable_line() -> None:
    with pytest.raises(EvidenceError) as caught:
        open_session(one_node("Relu", dtype=TensorProto.BFLOAT16))
    message = str(caught.value)
    assert message.startswith("NOT_IMPLEMENTED: Could not find an implementation for Relu")
    assert "\n" not in message


def test_source_positions_are_left_out() -> None:
    error = RuntimeError(
        "[ONNXRuntimeError] : 1 : FAIL : Load model from m.onnx failed:/src/onnxruntime/core/"
        "graph/model.cc:217 onnxruntime::Model::Model(onnx::ModelProto&&, const Path&, "
        "std::function<void(int)>) Opset 99\n is too new."
    )
    assert readable(error) == "FAIL: Load model from m.onnx failed:Opset 99 is too new."


def test_names_of_passing_files_are_left_out() -> None:
    error = RuntimeError("Load model from /a b/.c.onnx.12-ab34cdef0123.tmp failed:Opset 99.")
    assert readable(error) == "Load model failed:Opset 99."


def test_what_is_no_model_is_an_evidence_error() -> None:
    with pytest.raises(EvidenceError, match="INVALID_PROTOBUF"):
        open_session(b"not a model")


def test_wrong_feeds_are_evidence_errors() -> None:
    session = open_session(one_node("Relu"))
    with pytest.raises(EvidenceError, match="invalid dimensions for input: x"):
        session.run({"x": np.zeros((1, 5), np.float32)})
    with pytest.raises(EvidenceError, match="missing"):
        session.run({})


def test_an_output_that_is_no_tensor_is_named() -> None:
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x"], ["y"])],
        "p",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)],
    )
    session = open_session(model_of(graph))
    assert session.tensor_outputs == ()
    with pytest.raises(EvidenceError, match="output 'y' is a seq"):
        session.run({"x": np.zeros(1, np.float32)})


def test_a_provider_that_is_not_there_is_no_fall_back() -> None:
    with pytest.raises(ProviderUnavailableError, match="not part of the installed"):
        open_session(one_node("Relu"), SessionSettings("NoSuchExecutionProvider"))


def test_nodes_that_another_provider_runs_are_listed() -> None:
    """Azure takes no local node, so that everything lands on the CPU."""
    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this build of ONNX Runtime has no second provider")
    session = open_session(one_node("Relu"), SessionSettings("AzureExecutionProvider"))
    assert session.placed_elsewhere is not None
    assert [(n.op_type, n.provider) for n in session.placed_elsewhere] == [
        ("Relu", "CPUExecutionProvider")
    ]
    capability = can_run(one_node("Relu"), "AzureExecutionProvider")
    assert not capability.ok
    assert "leaves Relu to CPUExecutionProvider" in capability.reason


def test_capability_is_what_the_runtime_does() -> None:
    assert can_run(one_node("Relu")).ok
    assert can_run(one_node("Relu", dtype=TensorProto.FLOAT16)).ok
    refused = can_run(one_node("Erf", dtype=TensorProto.DOUBLE))
    assert not refused.ok
    assert "NOT_IMPLEMENTED" in refused.reason
    assert not can_run(one_node("Relu"), "CUDAExecutionProvider").ok or (
        "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    )


def test_capability_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = one_node("Tanh")
    first = can_run(model)
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    assert can_run(model) is first
