"""Changing a model: replacing regions, and keeping names, types and order while doing so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import onnx_ir as ir

from onnx_act.graph.types import copy_type, declare_like, infer_as

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx_act.graph.model import OnnxModel, Scope

PROVENANCE: Final = "onnx_act."


class Editor:
    """Applies edits to one model in memory. Every edit leaves the model sound.

    The names of values at the edges of an edit survive it; names it makes are new in the whole
    model; what only the replaced nodes used is removed with them.
    """

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self._names: set[str] = set()
        for scope in model.scopes():
            graph = scope.graph
            self._names.update(v.name for v in (*graph.inputs, *graph.outputs) if v.name)
            self._names.update(graph.initializers)
            for node in graph:
                self._names.add(node.name or "")
                self._names.update(v.name for v in node.outputs if v.name)

    def fresh_name(self, wanted: str) -> str:
        """`wanted`, or it with the first number that makes it new."""
        name, count = wanted, 0
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name

    def replace(
        self,
        old_nodes: Sequence[ir.Node],
        old_result: ir.Value,
        new_nodes: Sequence[ir.Node],
        new_result: ir.Value,
        provenance: Mapping[str, str],
    ) -> None:
        """Put `new_nodes` where `old_nodes` were.

        Args:
            old_nodes: in graph order, the last one producing `old_result`; all else they make is
                used by themselves only.
            old_result: the value that others use.
            new_nodes: in order; their inputs exist before the last old node.
            new_result: takes the name, the type and the uses of `old_result`.
            provenance: what to note on every new node, by short key.
        """
        anchor = old_nodes[-1]
        graph = anchor.graph
        assert graph is not None
        copy_type(old_result, new_result)
        for node in new_nodes:
            self.note(node, provenance)
        graph.insert_before(anchor, new_nodes)
        old_result.replace_all_uses_with(new_result, replace_graph_outputs=True)
        new_result.metadata_props.update(old_result.metadata_props)
        new_result.doc_string = old_result.doc_string
        self.remove(old_nodes)
        name = old_result.name
        old_result.name = None
        new_result.name = name

    def note(self, node: ir.Node, provenance: Mapping[str, str]) -> None:
        """Write down on a node where it comes from."""
        for key, value in provenance.items():
            node.metadata_props[PROVENANCE + key] = value

    def import_domain(self, domain: str, scope: Scope) -> None:
        """Make the operators of `domain` known where `scope` is."""
        scope.opsets.setdefault(domain, 1)
        self.model.content.opset_imports.setdefault(domain, 1)

    def bypass(self, nodes: Sequence[ir.Node], source: ir.Value) -> None:
        """Remove nodes whose result is the same as `source`.

        A graph output keeps its name: the producer of `source` takes it over where nothing else
        needs the other name, else an Identity stands in.
        """
        result = nodes[-1].outputs[0]
        if not result.is_graph_output():
            result.replace_all_uses_with(source)
            self.remove(nodes)
            return
        producer = source.producer()
        if (
            producer is not None
            and producer.graph is nodes[-1].graph
            and not source.is_graph_output()
        ):
            name = result.name
            result.replace_all_uses_with(source, replace_graph_outputs=True)
            self.remove(nodes)
            result.name = None
            source.name = name
            declare_like(result, source)
            return
        name = self.fresh_name(f"{result.name}/Identity")
        passing = ir.Value(name=name)
        identity = ir.Node("", "Identity", [source], outputs=[passing], name=name)
        self.replace(nodes, result, [identity], passing, {"rule": "identity"})

    def add_constant(self, wanted: str, tensor: ir.TensorProtocol, before: ir.Node) -> ir.Value:
        """A new constant that exists before a node, under a fresh name.

        It is an initializer where that is allowed: functions have none, and where initializers
        are listed as inputs (always before IR version 4) one more would have to be an input.
        """
        name = self.fresh_name(wanted)
        tensor.name = name
        dims = tensor.numpy().shape
        graph = before.graph
        assert graph is not None
        if self._is_function_body(graph) or self.model.lists_weights:
            value = ir.Value(name=name)
            infer_as(value, tensor.dtype, dims)
            attrs = [ir.AttrTensor("value", tensor)]
            node = ir.Node("", "Constant", [], attrs, outputs=[value], name=name)
            graph.insert_before(before, node)
            return value
        kind = ir.TensorType(tensor.dtype)
        value = ir.Value(name=name, type=kind, shape=ir.Shape(dims), const_value=tensor)
        graph.register_initializer(value)
        return value

    def _is_function_body(self, graph: ir.Graph) -> bool:
        return any(f.graph is graph for f in self.model.content.functions.values())

    def remove(self, nodes: Iterable[ir.Node]) -> None:
        """Take nodes out, and the constants that nothing uses any more because of it."""
        doomed = list(nodes)
        inputs = [v for n in doomed for v in n.inputs if v is not None]
        for node in reversed(doomed):
            assert node.graph is not None
            node.graph.remove(node, safe=True)
        self.remove_unused(inputs)

    def remove_unused(self, values: Iterable[ir.Value]) -> None:
        """Remove constants among `values` that nothing uses, and what they were computed from."""
        pending = list(values)
        while pending:
            value = pending.pop()
            if value.uses() or value.is_graph_output():
                continue
            if value.is_initializer():
                self._remove_initializer(value)
                continue
            node = value.producer()
            if node is None or node.graph is None or not _is_constant_like(node):
                continue
            if any(v.uses() or v.is_graph_output() for v in node.outputs):
                continue
            pending.extend(v for v in node.inputs if v is not None)
            node.graph.remove(node, safe=True)

    def _remove_initializer(self, value: ir.Value) -> None:
        graph = value.graph
        assert graph is not None
        assert value.name is not None
        if value.is_graph_input():
            if self.model.is_overridable(value):
                return  # callers may feed it: it is part of the model's signature
            graph.inputs.remove(value)
        graph.initializers.pop(value.name, None)


def _is_constant_like(node: ir.Node) -> bool:
    """Whether a node is a Constant, or computed from constants and the type of a value."""
    if node.op_type == "Constant" and node.domain == "":
        return True
    stack, seen = [node], {node}
    while stack:
        current = stack.pop()
        read = current.inputs[:1] if current.op_type == "CastLike" else current.inputs
        for value in read:
            if value is None or value.is_initializer():
                continue
            before = value.producer()
            if before is None:
                return False
            if before not in seen:
                seen.add(before)
                stack.append(before)
    return bool(node.inputs)
