from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnx_act.errors import EvidenceError
from onnx_act.runtime.binding import bound_run, device_of, provider_options
from onnx_act.runtime.session import CPU, CUDA, SessionSettings, open_session
from onnx_act.runtime.target import provider_state

if TYPE_CHECKING:
    from onnx_act.runtime.session import Session


def _relu(element: int = TensorProto.FLOAT) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", element, ["N", 4])],
        [helper.make_tensor_value_info("y", element, None)],
    )
    opsets = [helper.make_opsetid("", 17)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return model


def _opened(provider: str = CPU) -> Session:
    return open_session(_relu(), SessionSettings(provider))


def test_values_of_the_cpu_lie_in_the_memory_of_the_host() -> None:
    assert device_of(_opened()) is None
    assert provider_options(_opened()) == ()


def test_a_bound_run_can_be_repeated() -> None:
    session = _opened()
    run = bound_run(session, {"x": np.ones((2, 4), np.float32)}, ["y"], "cpu")
    run()
    run()


def test_what_cannot_be_bound_or_run_is_told() -> None:
    with pytest.raises(EvidenceError, match=r"[Ee]xpected: 4"):
        bound_run(_opened(), {"x": np.ones((2, 5), np.float32)}, ["y"], "cpu")
    with pytest.raises(EvidenceError):
        bound_run(_opened(), {"x": np.ones((2, 4), np.float32)}, ["z"], "cpu")


@pytest.mark.cuda
def test_on_cuda_inputs_and_outputs_stay_on_the_device() -> None:
    state = provider_state(CUDA)
    if not state.runs:
        pytest.skip(state.reason)
    session = _opened(CUDA)
    assert device_of(session) == "cuda"
    assert provider_options(session)
    bound_run(session, {"x": np.ones((2, 4), np.float32)}, ["y"], "cuda")()
