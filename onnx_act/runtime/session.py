"""Running a model: one session of the runtime, its values as numpy arrays, its errors as ours."""

from __future__ import annotations

import ctypes
import re
import time
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from onnx_act.errors import EvidenceError, ProviderUnavailableError
from onnx_act.runtime.cuda_libraries import ON_CUDA, preload_cuda_libraries
from onnx_act.runtime.tensors import (
    ONNX_ELEMENT_TYPES,
    Array,
    TensorSpec,
    numpy_dtype,
    spec_from_runtime,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

WEIGHTS = "weights"
"""The file with the weights of an optimised model (see `SessionSettings.optimized_to`)."""

# Only fatal messages: what goes wrong is raised, and a report on stdout or a progress line on
# stderr must not be cut by the runtime's own log.
_FATAL = 4
# A source file with its line and the signature of the C++ function there.
_SOURCE_POSITION = re.compile(
    r"[^\s:]*onnxruntime[^\s:]*\.(?:cc|h|cpp|cu):\d+ "
    r"(?:[^()]*::[^()]*\((?:[^()]|\([^()]*\))*\)(?: const)? )?"
)
onnxruntime.set_default_logger_severity(_FATAL)


class OptimizationLevel(Enum):
    """How far the runtime rewrites a model before it runs it."""

    DISABLE = "disable"
    BASIC = "basic"
    EXTENDED = "extended"
    ALL = "all"

    @property
    def _native(self) -> onnxruntime.GraphOptimizationLevel:
        levels = onnxruntime.GraphOptimizationLevel
        return {
            OptimizationLevel.DISABLE: levels.ORT_DISABLE_ALL,
            OptimizationLevel.BASIC: levels.ORT_ENABLE_BASIC,
            OptimizationLevel.EXTENDED: levels.ORT_ENABLE_EXTENDED,
            OptimizationLevel.ALL: levels.ORT_ENABLE_ALL,
        }[self]


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How to open a model.

    Attributes:
        provider: The full name of an execution provider. The CPU provider always stands behind
            it for the nodes that it does not take.
        level: The runtime's optimisation level.
        threads: Threads within one operator; 0 leaves the choice to the runtime.
        deterministic: Ask for kernels that give the same result every time.
        provider_options: (key, value) pairs for the provider.
        cpu_may_help: Whether nodes that the provider does not take may run on the CPU; when
            not, opening such a model fails.
        optimized_to: A file for what the optimiser made of the model, its weights in a file
            beside it that is called `WEIGHTS`.
        profile_to: How the file begins to which the runtime writes its profile, see
            `Session.end_profile`.
    """

    provider: str = CPU
    level: OptimizationLevel = OptimizationLevel.ALL
    threads: int = 0
    deterministic: bool = False
    provider_options: tuple[tuple[str, str], ...] = ()
    cpu_may_help: bool = True
    optimized_to: Path | None = None
    profile_to: Path | None = None


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """A node, and the full name of the provider that the runtime gave it to."""

    op_type: str
    name: str
    provider: str


class Session:
    """A model that is ready to run.

    Attributes:
        settings: How it was opened.
        inputs: The values that must be fed (overridable initializers are not among them).
        outputs: What the model returns.
        placed_elsewhere: Nodes that another provider runs, or None where the installed runtime
            does not say. Recorded before the later fusions, so names are those of the model.
        creation_s: How long opening took, in seconds.
    """

    def __init__(
        self,
        native: onnxruntime.InferenceSession,
        settings: SessionSettings,
        creation_s: float,
        kept: object = None,
    ) -> None:
        self._native = native
        self._kept = kept
        self.settings = settings
        self.creation_s = creation_s
        self.inputs = tuple(
            spec_from_runtime(arg.name, arg.type, arg.shape) for arg in native.get_inputs()
        )
        self.outputs = tuple(
            spec_from_runtime(arg.name, arg.type, arg.shape) for arg in native.get_outputs()
        )
        self.placed_elsewhere = _placed_elsewhere(native, settings.provider)
        self._specs = {spec.name: spec for spec in (*self.inputs, *self.outputs)}

    @property
    def tensor_outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs that are tensors, in order."""
        return tuple(spec for spec in self.outputs if spec.is_tensor)

    def run(
        self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None
    ) -> tuple[Array, ...]:
        """Run the model once.

        Args:
            feeds: An array for every input, of the input's dtype (bfloat16 as ml_dtypes has it).
            outputs: Names of the outputs wanted; all of them when left out.

        Returns:
            The outputs in the order asked for.

        Raises:
            EvidenceError: The runtime refused the feeds or failed, or an output that was asked
                for is no tensor.
        """
        names = self._checked(outputs)
        try:
            if self._needs_values((*feeds, *names)):
                results = self._native.run_with_ort_values(names, self._values(feeds))
                return tuple(
                    _array_from_value(result, self._specs[name].dtype)
                    for name, result in zip(names, results, strict=True)
                )
            results = self._native.run(names, dict(feeds))
        except Exception as error:
            raise EvidenceError(readable(error)) from error
        return tuple(np.asarray(result) for result in results)

    def prepared(
        self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None
    ) -> Callable[[], object]:
        """The same run again and again with as little as possible around it, for timing.

        Args:
            feeds: As for `run`; they must not change afterwards.
            outputs: As for `run`.

        Returns:
            A function of no arguments; the runtime's own exceptions come out of it.

        Raises:
            EvidenceError: As for `run`; the model is run once.
        """
        self.run(feeds, outputs)
        names = self._checked(outputs)
        if self._needs_values((*feeds, *names)):
            return partial(self._native.run_with_ort_values, names, self._values(feeds))
        return partial(self._native.run, names, dict(feeds))

    def assigned_nodes(self) -> tuple[PlacedNode, ...] | None:
        """Every node with its provider; None where the installed runtime does not say."""
        return _placed_elsewhere(self._native, "")

    def end_profile(self) -> Path:
        """Stop profiling, which `SessionSettings.profile_to` asked for; the file it is in."""
        return Path(self._native.end_profiling())

    def _checked(self, outputs: Sequence[str] | None) -> list[str]:
        names = [spec.name for spec in self.outputs] if outputs is None else list(outputs)
        for name in names:
            spec = self._specs[name]
            if not spec.is_tensor:
                raise EvidenceError(f"output {name!r} is a {spec.dtype}, not a tensor")
        return names

    def _needs_values(self, names: Sequence[str]) -> bool:
        """Whether the runtime's numpy bridge does not know one of the element types."""
        return any(
            self._specs[name].dtype in ONNX_ELEMENT_TYPES for name in names if name in self._specs
        )

    def _values(self, feeds: Mapping[str, Array]) -> dict[str, onnxruntime.OrtValue]:
        values = {}
        for name, array in feeds.items():
            code = ONNX_ELEMENT_TYPES.get(self._specs[name].dtype)
            contiguous = np.ascontiguousarray(array).reshape(array.shape)
            values[name] = (
                onnxruntime.OrtValue.ortvalue_from_numpy(contiguous)
                if code is None
                else onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(contiguous, code)
            )
        return values


def open_session(
    model: Path | bytes,
    settings: SessionSettings | None = None,
    weights: Mapping[str, Array] | None = None,
) -> Session:
    """Open a model with ONNX Runtime.

    Args:
        model: A file (external data is found beside it), or a serialised model.
        settings: How to open it; the runtime's defaults on the CPU when left out.
        weights: Numbers to take in the place of initializers, by name, of the same type and shape;
            not scalars, which the runtime does not take so.

    Raises:
        EvidenceError: The runtime cannot open the model; the message is the runtime's reason in
            one line.
        ProviderUnavailableError: The provider is not there, or the runtime fell back from it.
    """
    settings = settings or SessionSettings()
    if settings.provider not in onnxruntime.get_available_providers():
        raise ProviderUnavailableError(
            f"{settings.provider} is not part of the installed ONNX Runtime "
            f"{onnxruntime.__version__}"
        )
    providers: list[Any] = [(settings.provider, dict(settings.provider_options))]
    if settings.provider != CPU and settings.cpu_may_help:
        providers.append((CPU, {}))
    if settings.provider in ON_CUDA:
        preload_cuda_libraries()
    options = _session_options(settings)
    # The runtime refers to them for as long as the session lives.
    given = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
        for name, array in (weights or {}).items()
    }
    for name, value in given.items():
        options.add_initializer(name, value)
    started = time.perf_counter()
    try:
        native = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            options,
            providers=providers,
            # The runtime's own fall-back prints to stdout and hides the failure.
            enable_fallback=0,
        )
    except Exception as error:
        raise EvidenceError(readable(error)) from error
    elapsed = time.perf_counter() - started
    if settings.provider not in native.get_providers():
        raise ProviderUnavailableError(
            f"ONNX Runtime fell back from {settings.provider} to "
            f"{', '.join(native.get_providers())}"
        )
    return Session(native, settings, elapsed, given)


def runtime_version() -> str:
    """The version of the installed ONNX Runtime."""
    return str(onnxruntime.__version__)


def runtime_build() -> str:
    """How the installed ONNX Runtime was built, in its own words; "" where it does not say."""
    tell = getattr(onnxruntime, "get_build_info", None)
    return "" if tell is None else str(tell())


def readable(error: BaseException) -> str:
    """A runtime error in one line: its status, then its reason, without source positions."""
    text = " ".join(str(error).split())
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : (\w+) : ", r"\1: ", text)
    text = _SOURCE_POSITION.sub("", text)
    # The name of a passing file says nothing to whoever named the model.
    text = re.sub(r"Load model from .*?/\.[^/]*\.tmp failed:", "Load model failed:", text)
    text = re.sub(r"\(\"(\S+?)\", (\w+), (\"[\w.]*\"), -?\d+\)", r"\1 (\2)", text)
    return text.strip() or type(error).__name__


def _session_options(settings: SessionSettings) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.graph_optimization_level = settings.level._native  # noqa: SLF001 - same module
    options.intra_op_num_threads = settings.threads
    options.use_deterministic_compute = settings.deterministic
    # Unknown keys are kept without complaint by runtimes that do not know this one.
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if settings.provider != CPU and not settings.cpu_may_help:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if settings.profile_to is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(settings.profile_to)
    if settings.optimized_to is not None:
        options.optimized_model_filepath = str(settings.optimized_to)
        # Also what keeps a model of more than 2 GB out of a single message, which cannot hold it.
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", WEIGHTS
        )
    return options


def _placed_elsewhere(
    native: onnxruntime.InferenceSession, provider: str
) -> tuple[PlacedNode, ...] | None:
    ask = getattr(native, "get_provider_graph_assignment_info", None)
    if ask is None:
        return None
    try:
        parts = ask()
        return tuple(
            PlacedNode(node.op_type, node.name, part.ep_name)
            for part in parts
            if part.ep_name != provider
            for node in part.get_nodes()
        )
    except Exception:  # noqa: BLE001 - information only, and builds without it raise their own
        return None


def _array_from_value(value: onnxruntime.OrtValue, dtype_name: str) -> Array:
    if dtype_name not in ONNX_ELEMENT_TYPES:
        return np.asarray(value.numpy())
    dtype = numpy_dtype(dtype_name)
    shape = tuple(value.shape())
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size == 0:
        return np.zeros(shape, dtype)
    # OrtValue.numpy() refuses these types ("No corresponding Numpy type", 1.31); results of a
    # plain run lie in host memory, so their bytes are read where they are.
    return np.frombuffer(ctypes.string_at(value.data_ptr(), size), dtype).reshape(shape)
