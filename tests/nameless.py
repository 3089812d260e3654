"""Models up to the names of their values and nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
from onnx import numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def nameless(model: onnx.ModelProto) -> bytes:
    """The same bytes for models that differ in names, metadata and declared types only."""
    # Which fields are stated though empty depends on who wrote them: here it is always onnx-ir.
    bare: onnx.ModelProto = ir.to_proto(ir.from_proto(model))
    del bare.metadata_props[:]
    imports = sorted(((i.domain, i.version) for i in bare.opset_import), key=str)
    del bare.opset_import[:]
    bare.opset_import.extend(onnx.helper.make_opsetid(d, v) for d, v in imports)
    known: dict[str, str] = {}
    _strip(bare.graph, lambda name: known.setdefault(name, f"v{len(known)}") if name else "")
    for function in bare.functions:
        inner: dict[str, str] = {}
        _rename(
            function.node,
            lambda name, inner=inner: inner.setdefault(name, f"v{len(inner)}") if name else "",  # type: ignore[misc]
        )
        del function.value_info[:]
        for names in (function.input, function.output):
            kept = [inner.get(n, n) for n in names]
            del names[:]
            names.extend(kept)
    return bare.SerializeToString(deterministic=True)


def _strip(graph: onnx.GraphProto, rename: Callable[[str], str]) -> None:
    del graph.value_info[:]
    for value in graph.input:
        value.name = rename(value.name)
    _rename(graph.node, rename)
    for value in graph.output:
        value.name = rename(value.name)
    weights = [_alike(w, rename(w.name)) for w in graph.initializer]
    del graph.initializer[:]
    graph.initializer.extend(sorted(weights, key=lambda w: w.name))


def _alike(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    """The tensor in the one of its forms that `numpy_helper` writes."""
    return numpy_helper.from_array(numpy_helper.to_array(tensor), name)


def _rename(nodes: Iterable[onnx.NodeProto], rename: Callable[[str], str]) -> None:
    for node in nodes:
        for field in ("name", "doc_string", "metadata_props"):
            node.ClearField(field)
        for names in (node.input, node.output):
            kept = [rename(name) for name in names]
            del names[:]
            names.extend(kept)
        stated = sorted(node.attribute, key=lambda a: a.name)
        copies = [a.SerializeToString(deterministic=True) for a in stated]
        del node.attribute[:]
        for stored in copies:
            attribute = node.attribute.add()
            attribute.ParseFromString(stored)
            if attribute.HasField("t"):
                attribute.t.CopyFrom(_alike(attribute.t, ""))
            if attribute.HasField("g"):
                _strip(attribute.g, rename)
