"""What dtype and shape every value has, without touching the model.

A value's declared type is trusted; what is missing is inferred by onnx, once, on a proxy of the
model without its weights, in which contrib operators that onnx does not know stand as the
standard operators of the same signature. What was inferred is kept beside the value and never
written to the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import onnx
import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Dims = tuple["int | str | None", ...]
_META: Final = "onnx_act.inferred"
_SMALL: Final = 1024
# Contrib operators whose result has the type of a standard operator's with the same first inputs.
_STANDS_FOR: Final = {
    "FusedConv": "Conv",
    "FusedGemm": "Gemm",
    "Gelu": "Identity",
    "QuickGelu": "Identity",
    "FastGelu": "Identity",
    "BiasGelu": "Add",
    "FusedMatMul": "MatMul",
}
_ARITY: Final = {"Identity": 1, "Add": 2, "Conv": 3, "Gemm": 3, "MatMul": 2}
_KEPT_ATTRIBUTES: Final = frozenset(
    {
        "auto_pad",
        "kernel_shape",
        "dilations",
        "strides",
        "pads",
        "group",
        "alpha",
        "beta",
        "transA",
        "transB",
    }
)


def dtype_of(value: ir.Value | None) -> ir.DataType | None:
    """The element type of a tensor value, or None when nothing tells it."""
    if value is None:
        return None
    if value.dtype is not None:
        return value.dtype
    if value.const_value is not None:
        return value.const_value.dtype
    found = value.meta.get(_META)
    return None if found is None else found[0]


def shape_of(value: ir.Value | None) -> Dims | None:
    """The dimensions of a tensor value: numbers, names, or None each; None for an unknown rank."""
    if value is None:
        return None
    if value.shape is not None:
        return _dims(value.shape)
    if value.const_value is not None:
        return _dims(value.const_value.shape)
    found = value.meta.get(_META)
    return None if found is None else found[1]


def _dims(shape: Iterable[object]) -> Dims:
    return tuple(
        d if isinstance(d, int) else (str(name) if (name := getattr(d, "value", None)) else None)
        for d in shape
    )


def copy_type(source: ir.Value, target: ir.Value) -> None:
    """Give `target` the declared and the inferred type of `source`."""
    target.type = source.type
    target.shape = source.shape
    if _META in source.meta:
        target.meta[_META] = source.meta[_META]


def declare_like(source: ir.Value, target: ir.Value) -> None:
    """Give `target` the declared type of `source`, where `source` has one."""
    if source.type is not None:
        target.type = source.type
    if source.shape is not None:
        target.shape = source.shape


def declare_type(value: ir.Value) -> None:
    """Write down in the file what is known of a value that no inference will find again."""
    found = value.meta.get(_META)
    if value.type is None and found is not None:
        dtype, dims = found
        value.type = ir.TensorType(dtype)
        if dims is not None:
            value.shape = ir.Shape(dims)


def infer_as(value: ir.Value, dtype: ir.DataType | None, shape: Dims | None) -> None:
    """Note a type that was derived, without declaring it in the file."""
    if dtype is not None:
        value.meta[_META] = (dtype, shape)


def annotate_types(model: ir.Model, proto: onnx.ModelProto) -> None:
    """Note the inferred type of every value of `model`, which was read from `proto`."""
    inferred = infer_types(without_weights(proto))
    if inferred is not None:
        _transfer(inferred.graph, model.graph)
    _annotate_functions(model, proto)


def infer_types(proxy: onnx.ModelProto) -> onnx.ModelProto | None:
    """What onnx infers of a model without weights; None where it rejects it."""
    try:
        return onnx.shape_inference.infer_shapes(proxy, data_prop=True)
    except Exception:  # noqa: BLE001 - inference is advice; a model it rejects may still run
        return None


def without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """`proto` without weights, and with stand-ins for contrib operators."""
    proxy = onnx.ModelProto(ir_version=proto.ir_version)
    proxy.opset_import.extend(proto.opset_import)
    proxy.functions.extend(proto.functions)
    graph = proxy.graph
    graph.name = proto.graph.name
    graph.node.extend(_stand_in(n) for n in proto.graph.node)
    graph.input.extend(proto.graph.input)
    graph.output.extend(proto.graph.output)
    graph.value_info.extend(proto.graph.value_info)
    named = {i.name for i in graph.input}
    for tensor in proto.graph.initializer:
        if _size(tensor) <= _SMALL and tensor.data_location != onnx.TensorProto.EXTERNAL:
            graph.initializer.append(tensor)
        elif tensor.name not in named:
            # Inference reads weights for their type alone; an input says as much.
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            graph.input.append(info)
    return proxy


def _size(tensor: onnx.TensorProto) -> int:
    total = 1
    for dim in tensor.dims:
        total *= dim
    return total


def _stand_in(node: onnx.NodeProto) -> onnx.NodeProto:
    standard = _STANDS_FOR.get(node.op_type)
    if node.domain != "com.microsoft" or standard is None:
        return node
    stand_in = onnx.NodeProto(op_type=standard, name=node.name)
    stand_in.input.extend(node.input[: _ARITY[standard]])
    stand_in.output.extend(node.output[:1])
    if standard in {"Conv", "Gemm"}:
        stand_in.attribute.extend(a for a in node.attribute if a.name in _KEPT_ATTRIBUTES)
    return stand_in


def _transfer(source: onnx.GraphProto, target: ir.Graph) -> None:
    """Note the types found in `source` on the values of `target`, subgraphs included."""
    pending = [(source, target)]
    while pending:
        proto, graph = pending.pop()
        found = {v.name: v.type for v in (*proto.value_info, *proto.output, *proto.input)}
        for proto_node, node in zip(proto.node, graph, strict=False):
            for value in node.outputs:
                _note(value, found.get(value.name or ""))
            for attribute in proto_node.attribute:
                inner = node.attributes.get(attribute.name)
                if inner is None or inner.is_ref():
                    continue
                if attribute.type == onnx.AttributeProto.GRAPH:
                    pending.append((attribute.g, inner.as_graph()))
                elif attribute.type == onnx.AttributeProto.GRAPHS:
                    pending.extend(zip(attribute.graphs, inner.as_graphs(), strict=True))


def _note(value: ir.Value, found: onnx.TypeProto | None) -> None:
    if found is None or not found.HasField("tensor_type") or value.shape is not None:
        return
    tensor = found.tensor_type
    if tensor.elem_type == 0:
        return
    dims: Dims | None = None
    if tensor.HasField("shape"):
        dims = tuple(
            d.dim_value if d.HasField("dim_value") else (d.dim_param or None)
            for d in tensor.shape.dim
        )
    value.meta[_META] = (ir.DataType(tensor.elem_type), dims)


def _annotate_functions(model: ir.Model, proto: onnx.ModelProto) -> None:
    """Type function bodies as all their calls agree to type them, callers before the called."""
    bodies = {(f.domain, f.name, f.overload): f for f in proto.functions}
    calls: dict[tuple[str, str, str], list[ir.Node]] = {}
    waiting = dict.fromkeys(bodies)
    scopes: list[Iterable[ir.Node]] = [model.graph.all_nodes()]
    while scopes:
        for nodes in scopes:
            for node in nodes:
                if node.op_identifier() in bodies:
                    calls.setdefault(node.op_identifier(), []).append(node)
        # A function is typed when no function that is still to be typed calls it.
        called = {n.op_identifier() for k in waiting for n in model.functions[k].all_nodes()}
        ready = [k for k in waiting if k not in called]
        for key in ready:
            del waiting[key]
            _annotate_body(model.functions[key], bodies[key], calls.get(key, []), proto)
        scopes = [model.functions[k].all_nodes() for k in ready]


Known = tuple["ir.DataType | None", "Dims | None"]


def _agreed(types: Sequence[Known]) -> Known:
    """What holds for all of these: no dtype where they differ, and the equal dimensions."""
    dtypes = {dtype for dtype, _ in types}
    dtype = dtypes.pop() if len(dtypes) == 1 else None
    ranks = {None if dims is None else len(dims) for _, dims in types}
    if len(ranks) != 1 or None in ranks:
        return dtype, None
    columns = zip(*(dims for _, dims in types if dims is not None), strict=True)
    return dtype, tuple(c[0] if len(set(c)) == 1 else None for c in columns)


def _annotate_body(
    function: ir.Function,
    body: onnx.FunctionProto,
    calls: Sequence[ir.Node],
    proto: onnx.ModelProto,
) -> None:
    proxy = onnx.ModelProto(ir_version=proto.ir_version)
    proxy.opset_import.extend(body.opset_import)
    proxy.functions.extend(proto.functions)
    proxy.graph.name = body.name
    proxy.graph.node.extend(_stand_in(n) for n in body.node)
    for position, (formal, name) in enumerate(zip(function.inputs, body.input, strict=True)):
        given = [c.inputs[position] if position < len(c.inputs) else None for c in calls]
        dtype, dims = _agreed([(dtype_of(v), shape_of(v)) for v in given])
        infer_as(formal, dtype, dims)
        if dtype is not None:
            info = onnx.helper.make_tensor_value_info(name, int(dtype), dims)
            proxy.graph.input.append(info)
    proxy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in body.output)
    inferred = infer_types(proxy)
    if inferred is not None:
        _transfer(inferred.graph, function.graph)
