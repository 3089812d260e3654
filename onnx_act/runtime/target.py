"""Execution providers: their names, whether they really run here, and what to do when not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import onnxruntime

from onnx_act.errors import ProviderUnavailableError, UnknownNameError
from onnx_act.runtime.cuda_libraries import ON_CUDA
from onnx_act.runtime.installed import installed_distributions
from onnx_act.runtime.probe import Capability, can_run
from onnx_act.runtime.session import CPU, CUDA, runtime_version

_ALIASES = {
    "cpu": CPU,
    "cuda": CUDA,
    "tensorrt": "TensorrtExecutionProvider",
    "trt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "dml": "DmlExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "rocm": "MIGraphXExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
}

_SHORT = {
    CPU: "cpu",
    CUDA: "cuda",
    "TensorrtExecutionProvider": "tensorrt",
    "OpenVINOExecutionProvider": "openvino",
    "DmlExecutionProvider": "dml",
    "CoreMLExecutionProvider": "coreml",
    "MIGraphXExecutionProvider": "migraphx",
    "QNNExecutionProvider": "qnn",
    "XnnpackExecutionProvider": "xnnpack",
    "WebGpuExecutionProvider": "webgpu",
}

_DISTRIBUTION_OF = {
    CUDA: "onnxruntime-gpu",
    "TensorrtExecutionProvider": "onnxruntime-gpu",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "DmlExecutionProvider": "onnxruntime-directml",
    "QNNExecutionProvider": "onnxruntime-qnn",
    "MIGraphXExecutionProvider": "onnxruntime-migraphx",
}

# y = Relu(x) and y = Softmax(x) for x float32 [1, 4], opset 13, IR version 8. Bytes, because
# this package has no onnx; tests/runtime/test_target.py builds both again and compares.
# Softmax is asked second for providers that leave a lone Relu to the CPU (XNNPACK).
_TENSOR = b"\x12\x0e\n\x0c\x08\x01\x12\x08\n\x02\x08\x01\n\x02\x08\x04"
_VALUES = b"\x12\x01pZ\x13\n\x01x" + _TENSOR + b"b\x13\n\x01y" + _TENSOR + b"B\x04\n\x00\x10\r"
PROBE_MODELS = (
    b'\x08\x08:;\n\x0c\n\x01x\x12\x01y"\x04Relu' + _VALUES,
    b'\x08\x08:>\n\x0f\n\x01x\x12\x01y"\x07Softmax' + _VALUES,
)


@dataclass(frozen=True, slots=True)
class ProviderState:
    """One execution provider on this machine.

    Attributes:
        name: Its full name.
        compiled_in: Whether the installed ONNX Runtime has it.
        runs: Whether it ran a one-node model by itself.
        reason: Why it does not run; empty when it does.
    """

    name: str
    compiled_in: bool
    runs: bool
    reason: str


def resolve_provider(name: str) -> str:
    """The full name of a provider.

    Args:
        name: A short name (`cuda`) or a full one (`CUDAExecutionProvider`), in any case.

    Raises:
        UnknownNameError: Nobody knows that name; the message suggests the nearest.
    """
    wanted = name.strip().lower()
    if wanted in _ALIASES:
        return _ALIASES[wanted]
    for full in _known_providers():
        if wanted in (full.lower(), full.lower().removesuffix("executionprovider")):
            return full
    raise UnknownNameError("provider", name, _ALIASES)


def uses_cuda(provider: str) -> bool:
    """Whether a provider, by its full name, computes with NVIDIA's CUDA libraries."""
    return provider in ON_CUDA


def short_name(provider: str) -> str:
    """The name to print and to type: `cpu` for `CPUExecutionProvider`."""
    return _SHORT.get(provider, provider.removesuffix("ExecutionProvider").lower())


def require_provider(name: str) -> str:
    """The full name of a provider that runs here.

    Args:
        name: A short or a full name.

    Raises:
        UnknownNameError: Nobody knows that name.
        ProviderUnavailableError: It is not compiled in, or it is and a one-node model does not
            run on it; the message says what to install or do.
    """
    provider = resolve_provider(name)
    state = provider_state(provider)
    if not state.runs:
        raise ProviderUnavailableError(f"{state.reason}. {_remedy(state)}")
    return provider


def provider_state(provider: str) -> ProviderState:
    """What one provider, by its full name, is able to do here."""
    if provider not in onnxruntime.get_available_providers():
        reason = (
            f"provider {short_name(provider)} ({provider}) is not part of the installed "
            f"ONNX Runtime {runtime_version()}"
        )
        return ProviderState(provider, compiled_in=False, runs=False, reason=reason)
    capability = _capability(provider)
    reason = (
        ""
        if capability.ok
        else f"provider {short_name(provider)} is installed but does not run a one-node model: "
        f"{capability.reason}"
    )
    return ProviderState(provider, compiled_in=True, runs=capability.ok, reason=reason)


def provider_states() -> tuple[ProviderState, ...]:
    """The state of every provider that has a short name or is compiled in.

    What is compiled in comes first, in the runtime's order of preference.
    """
    available = list(onnxruntime.get_available_providers())
    others = [provider for provider in _SHORT if provider not in available]
    return tuple(provider_state(provider) for provider in (*available, *others))


@cache
def _known_providers() -> tuple[str, ...]:
    return tuple(onnxruntime.get_all_providers())


@cache
def _capability(provider: str) -> Capability:
    answers = []
    for model in PROBE_MODELS:
        answers.append(can_run(model, provider))
        if answers[-1].ok:
            return answers[-1]
    return answers[0]


def _remedy(state: ProviderState) -> str:
    if not state.compiled_in:
        return _installation(state.name)
    if state.name in ON_CUDA:
        return (
            "The GPU package is there but its libraries do not load: it needs an NVIDIA driver, "
            "the CUDA version it was built for (13 for current wheels) and cuDNN 9. Install them "
            'with `pip install "onnxruntime-gpu[cuda,cudnn]"`; `python -c "import onnxruntime; '
            'onnxruntime.preload_dlls()"` prints what is missing. Then run `onnx-act doctor`'
        )
    return "Run `onnx-act doctor` to see what is installed"


def _installation(provider: str) -> str:
    distribution = _DISTRIBUTION_OF.get(provider)
    if distribution is None:
        return (
            "No package on PyPI is known to bring it; build ONNX Runtime with it, or see "
            "https://onnxruntime.ai/docs/execution-providers"
        )
    installed = " ".join(installed_distributions()) or "onnxruntime"
    return (
        f'Install it with `pip uninstall -y {installed} && pip install "{distribution}"` (the '
        f"two share a package folder and must not lie on top of each other)"
    )
