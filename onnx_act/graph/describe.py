"""Activations in a few words, for reports and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_act.activations.formula import number

if TYPE_CHECKING:
    from onnx_act.activations.activation import Activation, Parameters, ParameterValue


def describe_activation(activation: Activation | None, parameters: Parameters) -> str:
    """Such as `leaky_relu(negative_slope=0.1)`; parameters at their default are left out."""
    if activation is None:
        return "unknown"
    shown = [
        f"{slot.name}={describe_parameter(parameters[slot.name])}"
        for slot in activation.parameters
        if slot.name in parameters and not is_default(parameters[slot.name], slot.default)
    ]
    return f"{activation.name}({', '.join(shown)})" if shown else activation.name


def is_default(value: ParameterValue, default: float | str) -> bool:
    """Whether a parameter has its default value."""
    return not isinstance(value, np.ndarray) and value == default


def describe_parameter(value: ParameterValue) -> str:
    """A number with the digits it needs, an array by its shape and range."""
    if isinstance(value, np.ndarray):
        shape = "x".join(str(n) for n in value.shape)
        return f"[{shape}] {number(float(value.min()))}..{number(float(value.max()))}"
    return value if isinstance(value, str) else number(value)
