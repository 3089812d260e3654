"""How contrib operators name the activation they apply, and tiny models that ask for it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.activations.activation import MICROSOFT
from onnx_act.activations.catalogue import named
from onnx_act.errors import UsageError
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


def stated_activation(node: ir.Node) -> tuple[Activation, Parameters] | str:
    """What the attributes of a FusedConv or FusedGemm make it apply, to the last bit.

    It is read, not recognised: a bound of 5.99999 stays what it is.

    Args:
        node: its `activation` is stated, by itself and not by a caller.

    Returns:
        Or why nobody can say: kernels know no other names, and have no defaults.
    """
    function = node.attributes["activation"].as_string()
    known = _conv_functions() if node.op_type == "FusedConv" else _gemm_functions()
    if function not in known:
        return f"{node.op_type} knows no activation {function!r}"
    name, places = known[function]
    numbers = _stated_numbers(node, places)
    if isinstance(numbers, str):
        return f"{function} in {node.op_type} {numbers}"
    if function == "Clip":
        numbers = [math.copysign(math.inf, n) if abs(n) >= _NO_BOUND else n for n in numbers]
        if not numbers[0] <= numbers[1]:
            return f"its bounds are the wrong way round: {numbers[0]:g}, {numbers[1]:g}"
    activation = named(name)
    try:
        return activation, activation.bind(dict(zip(places.values(), numbers, strict=True)))
    except UsageError as error:
        return str(error)


def _conv_functions() -> dict[str, tuple[str, dict[str, str]]]:
    """Name in FusedConv -> (activation, place in `activation_params` -> parameter)."""
    return {
        function: (activation, {f"[{k}]": p for k, p in enumerate(order)})
        for activation, (function, order) in _CONV.items()
        if not any(p.isdigit() for p in order)
    }


def _gemm_functions() -> dict[str, tuple[str, dict[str, str]]]:
    """Name in FusedGemm -> (activation, suffix of the attribute -> parameter)."""
    return {function: (activation, carried) for activation, (function, carried) in _GEMM.items()}


def _stated_numbers(node: ir.Node, places: dict[str, str]) -> list[float] | str:
    if node.op_type == "FusedConv":
        stated = node.attributes.get("activation_params")
        floats = stated is not None and stated.type is ir.AttributeType.FLOATS
        numbers = list(stated.as_floats()) if stated is not None and floats else []
        if (stated is not None and not floats) or len(numbers) != len(places):
            return f"takes {len(places)} activation_params, as floats"
        return [float(n) for n in numbers]
    found = [node.attributes.get(f"activation_{suffix}") for suffix in places]
    missing = [
        s
        for s, a in zip(places, found, strict=True)
        if a is None or a.type is not ir.AttributeType.FLOAT
    ]
    if missing:
        return f"needs {', '.join(f'activation_{s}' for s in missing)}, as a float"
    return [float(a.as_float()) for a in found if a is not None]


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
    kind = "FusedGemm" if node.op_type in {"Gemm", "FusedGemm"} else "FusedConv"
    made = _small(node, MICROSOFT, kind, attributes)
    if made is None:
        return None
    trial, shapes = made
    return node_probe(trial, shapes, site.dtype, _with_contrib(site), ir_version)


def standard_probe(node: ir.Node, site: Site, ir_version: int) -> bytes | None:
    """A tiny model of the Conv or Gemm that a FusedConv or FusedGemm holds.

    Returns:
        None when the rank of the convolution is not known.
    """
    assert site.dtype is not None
    made = _small(node, "", node.op_type.removeprefix("Fused"), ())
    if made is None:
        return None
    trial, shapes = made
    return node_probe(trial, shapes[:3], site.dtype, site.scope, ir_version)


def _small(
    node: ir.Node, domain: str, kind: str, attributes: Sequence[ir.Attr]
) -> tuple[ir.Node, list[tuple[int, ...] | None]] | None:
    """A node with the inputs that `node` has, and small shapes for them, None for those left out.

    Returns:
        None when the rank of a convolution is not known.
    """
    given = [v is not None for v in node.inputs]
    if kind.endswith("Gemm"):
        plain = [s for s, there in zip([(2, 4), (4, 4), (4,)], given, strict=False) if there]
        return ir.Node(domain, kind, [], list(attributes)), list(plain)
    spatial = _spatial_rank(node)
    if spatial is None:
        return None
    image = (1, 4, *(3,) * spatial)
    shapes = [image, (4, 4, *(1,) * spatial), (4,), image]
    kernel = ir.AttrInt64s("kernel_shape", [1] * spatial)
    trial = ir.Node(domain, kind, [], [kernel, *attributes])
    return trial, [s if there else None for s, there in zip(shapes, given, strict=False)]


def _spatial_rank(node: ir.Node) -> int | None:
    weight = shape_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if weight is not None:
        return len(weight) - 2 if len(weight) > 2 else None
    kernel = node.attributes.get("kernel_shape")
    return None if kernel is None or kernel.is_ref() else len(kernel.as_ints())


def _with_contrib(site: Site) -> Scope:
    """The site's scope, with the contrib operators imported."""
    imports = {**site.scope.opsets, MICROSOFT: site.scope.opsets.get(MICROSOFT, 1)}
    return replace(site.scope, opsets=imports)
