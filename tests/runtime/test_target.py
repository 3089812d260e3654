from __future__ import annotations

import sys

import onnx
import onnxruntime
import pytest
from tiny_models import one_node

from onnx_act.errors import ProviderUnavailableError, UnknownNameError
from onnx_act.runtime import probe, target
from onnx_act.runtime.cuda_libraries import preload_cuda_libraries
from onnx_act.runtime.probe import forget


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("cpu", "CPUExecutionProvider"),
        ("CUDA", "CUDAExecutionProvider"),
        ("directml", "DmlExecutionProvider"),
        ("rocm", "MIGraphXExecutionProvider"),
        ("cudaexecutionprovider", "CUDAExecutionProvider"),
        ("OpenVINOExecutionProvider", "OpenVINOExecutionProvider"),
        ("vitisai", "VitisAIExecutionProvider"),
    ],
)
def test_names_resolve_in_any_case(name: str, full: str) -> None:
    assert target.resolve_provider(name) == full


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="did you mean cuda") as caught:
        target.resolve_provider("cudda")
    assert caught.value.exit_code == 2


def test_short_names_resolve_to_what_they_came_from() -> None:
    for full in onnxruntime.get_all_providers():
        assert target.resolve_provider(target.short_name(full)) == full


@pytest.mark.parametrize(
    ("op_type", "stored"), list(zip(("Relu", "Softmax"), target.PROBE_MODELS, strict=True))
)
def test_the_stored_probe_models_are_what_they_claim(op_type: str, stored: bytes) -> None:
    assert onnx.load_from_string(stored) == onnx.load_from_string(one_node(op_type))


def test_the_cpu_runs() -> None:
    assert target.require_provider("cpu") == "CPUExecutionProvider"


def test_a_provider_that_is_not_compiled_in_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderUnavailableError) as caught:
        target.require_provider("cuda")
    assert caught.value.exit_code == 4
    assert 'pip install "onnxruntime-gpu"' in str(caught.value)
    assert "pip uninstall -y" in str(caught.value)


def test_a_provider_that_only_falls_back_does_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A GPU package whose libraries do not load: listed, but sessions come up on the CPU."""
    real = onnxruntime.InferenceSession

    def on_cpu(model: bytes, options: object, **_: object) -> object:
        return real(model, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(
        onnxruntime,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    monkeypatch.setattr(onnxruntime, "InferenceSession", on_cpu)
    monkeypatch.setattr(
        onnxruntime, "preload_dlls", lambda: sys.stdout.write("noise"), raising=False
    )
    # The pretence does not reach another process.
    monkeypatch.setattr(probe, "_try_apart", probe._try)
    preload_cuda_libraries.cache_clear()
    forget()
    target._capability.cache_clear()
    try:
        with pytest.raises(ProviderUnavailableError, match="fell back") as caught:
            target.require_provider("cuda")
        states = {state.name: state for state in target.provider_states()}
        assert capsys.readouterr() == ("", "")
    finally:
        preload_cuda_libraries.cache_clear()
        forget()
        target._capability.cache_clear()
    assert "preload_dlls" in str(caught.value)
    assert "cuDNN" in str(caught.value)
    assert states["CUDAExecutionProvider"].compiled_in
    assert not states["CUDAExecutionProvider"].runs
    assert states["CPUExecutionProvider"].runs
    assert not states["DmlExecutionProvider"].compiled_in
