"""Runs whose inputs and outputs stay on a device, and what a session says of its provider."""

# ruff: noqa: SLF001 - the runtime's own object is private to this package, not to one file

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import onnxruntime

from onnx_act.errors import EvidenceError
from onnx_act.runtime.session import CUDA, readable
from onnx_act.runtime.tensors import ONNX_ELEMENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onnx_act.runtime.session import Session
    from onnx_act.runtime.tensors import Array

# Providers whose values lie in a memory of their own, to which the runtime can bind.
_DEVICES: Final = {CUDA: "cuda", "TensorrtExecutionProvider": "cuda"}


def device_of(session: Session) -> str | None:
    """Where a session's provider keeps values, as the runtime calls it; None for the host."""
    return _DEVICES.get(session.settings.provider)


def provider_options(session: Session) -> tuple[tuple[str, str], ...]:
    """What its provider runs with, as (name, value), the runtime's defaults among them."""
    options = session._native.get_provider_options().get(session.settings.provider, {})
    return tuple(sorted((str(name), str(value)) for name, value in options.items()))


def bound_run(
    session: Session, feeds: Mapping[str, Array], outputs: Sequence[str], device: str
) -> Callable[[], object]:
    """The same run again and again without copies between host and device, for timing.

    Args:
        session: The model.
        feeds: An array for every input, of the input's dtype; copied to the device now.
        outputs: Names of the outputs wanted, which must be tensors.
        device: As the runtime calls it: `cpu`, `cuda`.

    Returns:
        A function of no arguments that ends when the device has; the runtime's own exceptions
        come out of it.

    Raises:
        EvidenceError: The runtime cannot bind or run them; the model is run once.
    """
    native = session._native
    binding = native.io_binding()
    specs = {spec.name: spec for spec in session.inputs}

    def run() -> None:
        native.run_with_iobinding(binding)
        binding.synchronize_outputs()

    try:
        for name, array in feeds.items():
            contiguous = np.ascontiguousarray(array).reshape(array.shape)
            code = ONNX_ELEMENT_TYPES.get(specs[name].dtype)
            value = (
                onnxruntime.OrtValue.ortvalue_from_numpy(contiguous, device, 0)
                if code is None
                # The bridge makes values of these types in the host's memory only.
                else onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(contiguous, code)
            )
            binding.bind_ortvalue_input(name, value)
        for name in outputs:
            binding.bind_output(name, device, 0)
        binding.synchronize_inputs()
        run()
    except Exception as error:
        raise EvidenceError(readable(error)) from error
    return run
