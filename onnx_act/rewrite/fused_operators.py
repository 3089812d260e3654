"""How contrib operators name the activation they apply, and tiny models that ask for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.activations.activation import MICROSOFT
from onnx_act.graph.probe_models import node_probe, weighted_probe
from onnx_act.graph.types import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnx_act.activations.activation import Activation, Parameters
    from onnx_act.graph.model import Scope
    from onnx_act.graph.sites import Site

# FusedConv: activation -> (name, parameters in the order of `activation_params`).
_CONV: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "relu": ("Relu", ()),
    "relu6": ("Clip", ("0", "6")),
    "hardtanh": ("Clip", ("min", "max")),
    "leaky_relu": ("LeakyRelu", ("negative_slope",)),
    "sigmoid": ("Sigmoid", ()),
    "tanh": ("Tanh", ()),
    "hardsigmoid": ("HardSigmoid", ("alpha", "beta")),
    "hardswish": ("HardSwish", ()),
}
# FusedGemm: activation -> (name, attribute -> parameter).
_GEMM: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": "negative_slope"}),
    "elu": ("Elu", {"alpha": "alpha"}),
    "selu": ("Selu", {"alpha": "alpha", "gamma": "gamma"}),
    "celu": ("Celu", {"alpha": "alpha"}),
    "sigmoid": ("Sigmoid", {}),
    "hardsigmoid": ("HardSigmoid", {"alpha": "alpha", "beta": "beta"}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "tanh": ("Tanh", {}),
    "threshold": ("ThresholdedRelu", {"alpha": "threshold"}),
}
# An absent bound is written as the largest finite float32, which is what the kernels read.
_NO_BOUND: Final = 3.4028234663852886e38
_CHANNELS: Final = 4


def fused_attributes(
    op_type: str, activation: Activation, parameters: Parameters
) -> list[ir.Attr] | None:
    """The attributes that make a fused operator apply an activation.

    Every parameter is written, as a float: kernels have no defaults and refuse integers.

    Returns:
        None when the operator has no name for the activation with these parameters.
    """
    if op_type == "FusedConv" and activation.name in _CONV:
        name, order = _CONV[activation.name]
        values = [float(parameters.get(p, p)) for p in order]
        bounded = [max(-_NO_BOUND, min(_NO_BOUND, v)) for v in values]
        found = [ir.AttrString("activation", name)]
        return [*found, ir.AttrFloat32s("activation_params", bounded)] if bounded else found
    if op_type == "FusedGemm" and activation.name in _GEMM:
        if parameters.get("value", 0.0) != 0.0 or (
            activation.name == "softplus" and parameters["beta"] != 1.0
        ):
            return None
        name, carried = _GEMM[activation.name]
        return [
            ir.AttrString("activation", name),
            *(ir.AttrFloat32(f"activation_{k}", float(parameters[p])) for k, p in carried.items()),
        ]
    return None


def fused_alone(
    node: ir.Node, attributes: Sequence[ir.Attr], site: Site, ir_version: int
) -> Callable[[int], bytes]:
    """Makes models of a fused operator whose Conv or Gemm hands its input on unchanged.

    Args:
        node: a FusedConv whose weight has a known rank, or a FusedGemm.
        attributes: those that name the activation.
        site: where it stands, which says its dtype and opsets.
        ir_version: of the model.

    Returns:
        A function from a number of elements to a serialised model, `x` to `y`.
    """
    dtype = site.dtype
    assert dtype is not None
    scope = _with_contrib(site)
    weight = shape_of(node.inputs[1]) or ()
    spatial = len(weight) - 2
    settings = [ir.AttrInt64s("kernel_shape", [1] * spatial)] if spatial else []

    def probe(size: int) -> bytes:
        length = -(-size // _CHANNELS)
        image = (1, _CHANNELS, *(1,) * (spatial - 1), length)
        shape = image if spatial else (length, _CHANNELS)
        identity = np.eye(_CHANNELS).reshape(_CHANNELS, _CHANNELS, *(1,) * spatial)
        trial = ir.Node(MICROSOFT, node.op_type, [], [*settings, *attributes])
        return weighted_probe(trial, shape, identity, dtype, scope, ir_version)

    return probe


def fused_probe(
    node: ir.Node, attributes: Sequence[ir.Attr], site: Site, ir_version: int
) -> bytes | None:
    """A tiny model of the fused form of a Conv or Gemm, or of an already fused one.

    Returns:
        None when the rank of the convolution is not known.
    """
    assert site.dtype is not None
    scope = _with_contrib(site)
    given = [v is not None for v in node.inputs]
    if node.op_type in {"Gemm", "FusedGemm"}:
        shapes: list[tuple[int, ...] | None] = [(2, 4), (4, 4), (4,)]
        trial = ir.Node(MICROSOFT, "FusedGemm", [], list(attributes))
        kept = [s for s, is_there in zip(shapes, given, strict=False) if is_there]
        return node_probe(trial, kept, site.dtype, scope, ir_version)
    weight = shape_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if weight is None:
        return None
    spatial = len(weight) - 2
    image = (1, 4, *(3,) * spatial)
    shapes = [image, (4, 4, *(1,) * spatial), (4,), image]
    trial = ir.Node(
        MICROSOFT,
        "FusedConv",
        [],
        [ir.AttrInt64s("kernel_shape", [1] * spatial), *attributes],
    )
    wanted = [s if is_there else None for s, is_there in zip(shapes, given, strict=False)]
    return node_probe(trial, wanted, site.dtype, scope, ir_version)


def _with_contrib(site: Site) -> Scope:
    """The site's scope, with the contrib operators imported."""
    imports = {**site.scope.opsets, MICROSOFT: site.scope.opsets.get(MICROSOFT, 1)}
    return replace(site.scope, opsets=imports)
