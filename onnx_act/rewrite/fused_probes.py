"""Tiny models that ask a runtime for fused contrib operators, as rules would write them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.activations.activation import MICROSOFT
from onnx_act.graph.lower import NodeEmitter
from onnx_act.graph.probe_models import node_probe, weighted_probe
from onnx_act.graph.types import dtype_of, shape_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_act.graph.model import Scope
    from onnx_act.graph.sites import Site

# Enough channels in a group for the blocked layouts that optimisers convert convolutions to, and a
# side that no block divides.
_CHANNELS: Final = 16
_SIDE: Final = 6


def gemm_probe(attributes: Sequence[ir.Attr], site: Site, ir_version: int) -> bytes:
    """A tiny model of a FusedGemm with a bias."""
    assert site.dtype is not None
    trial = ir.Node(MICROSOFT, "FusedGemm", [], list(attributes))
    shapes = [(2, 4), (4, 4), (4,)]
    return node_probe(trial, shapes, site.dtype, _with_contrib(site), ir_version)


def biased_probe(op_type: str, site: Site, ir_version: int) -> bytes:
    """A tiny model of a contrib activation that adds a constant bias to its input first."""
    assert site.dtype is not None
    trial = ir.Node(MICROSOFT, op_type, [])
    bias = np.array([-1.0, -0.25, 0.25, 1.0])
    return weighted_probe(trial, (2, 4), bias, site.dtype, _with_contrib(site), ir_version)


def residual_probe(
    node: ir.Node, attributes: Sequence[ir.Attr], site: Site, ir_version: int
) -> bytes | None:
    """A small model of convolutions that add their fourth input, as an optimiser meets them.

    What is added is in turn an input of the model, the result of a Conv, and what is convolved:
    an optimiser that changes the layout of convolutions has to treat each differently.

    Args:
        node: the Conv, which says the rank and whether its channels are in groups.
        attributes: those that name the activation.
        site: where it stands, which says its dtype and opsets.
        ir_version: of the model.

    Returns:
        None when the rank of the convolution is not known.
    """
    weight = shape_of(node.inputs[1])
    if weight is None:
        return None
    dtype = site.dtype
    assert dtype is not None
    stated = node.attributes.get("group")
    channels, inner = _CHANNELS, _CHANNELS
    if stated is not None and stated.as_int() > 1:
        channels, inner = (_CHANNELS, 1) if weight[1] == 1 else (2 * _CHANNELS, _CHANNELS)
    spatial = len(weight) - 2
    scope = _with_contrib(site)
    numbers = count()
    emitter = NodeEmitter(dtype, scope.opset(), lambda name: f"{name}_{next(numbers)}", "probe")
    rng = np.random.default_rng(0)
    kernel = (channels, inner, *(3,) * spatial)
    drawn = rng.standard_normal(kernel) / math.sqrt(math.prod(kernel[1:]))
    weights = [emitter.constant(v) for v in (drawn, rng.standard_normal(channels))]
    settings = [
        ir.AttrInt64s("kernel_shape", [3] * spatial),
        ir.AttrInt64s("pads", [1] * (2 * spatial)),
        ir.AttrInt64("group", channels // inner),
    ]
    image = (1, channels, *(_SIDE,) * spatial)
    x, first, second, third, y = (
        _typed(name, dtype, image) for name in ("x", "first", "second", "third", "y")
    )
    nodes = [ir.Node("", "Conv", [x, *weights], settings, outputs=[first])]
    for convolved, added, result in ((first, x, second), (second, first, third), (third, third, y)):
        inputs = [convolved, *weights, added]
        attrs = [*settings, *attributes]
        nodes.append(ir.Node(MICROSOFT, "FusedConv", inputs, attrs, outputs=[result]))
    return _serialised([x], [y], [*emitter.nodes, *nodes], scope, ir_version)


def normalization_probe(
    node: ir.Node, attributes: Sequence[ir.Attr], site: Site, ir_version: int, channels: int
) -> bytes:
    """A tiny model of a GroupNorm or SkipGroupNorm as it stands, but with other attributes.

    Args:
        node: the operator; the dtypes of its inputs are known.
        attributes: all that it is to have.
        site: the activation behind it, which says the opsets.
        ir_version: of the model.
        channels: how many there are: kernels take some numbers and not others.
    """
    stated = node.attributes.get("channels_last")
    is_last = stated is None or stated.value == 1
    image = (1, 4, 4, channels) if is_last else (1, channels, 4, 4)
    # X, gamma, beta, skip, bias.
    shapes = (image, (channels,), (channels,), image, (channels,))
    inputs = [
        None if v is None else _typed(f"i{k}", dtype_of(v), shape)
        for k, (v, shape) in enumerate(zip(node.inputs, shapes, strict=False))
    ]
    outputs = [ir.Value(name=f"o{k}" if v.name else "") for k, v in enumerate(node.outputs)]
    for value in outputs:
        value.type = None if inputs[0] is None else inputs[0].type
    trial = ir.Node(MICROSOFT, node.op_type, inputs, list(attributes), outputs=outputs)
    given = [v for v in inputs if v is not None]
    made = [v for v in outputs if v.name]
    return _serialised(given, made, [trial], _with_contrib(site), ir_version)


def _typed(name: str, dtype: ir.DataType | None, shape: tuple[int, ...]) -> ir.Value:
    assert dtype is not None
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape))


def _serialised(
    inputs: list[ir.Value],
    outputs: list[ir.Value],
    nodes: list[ir.Node],
    scope: Scope,
    ir_version: int,
) -> bytes:
    graph = ir.Graph(inputs, outputs, nodes=nodes, opset_imports=dict(scope.opsets), name="probe")
    # Before IR 4 the only difference is how initializers are declared, and there are none here.
    model = ir.Model(graph, ir_version=max(ir_version, 4))
    serialised: bytes = ir.to_proto(model).SerializeToString()
    return serialised


def _with_contrib(site: Site) -> Scope:
    """The site's scope, with the contrib operators imported."""
    imports = {**site.scope.opsets, MICROSOFT: site.scope.opsets.get(MICROSOFT, 1)}
    return replace(site.scope, opsets=imports)
