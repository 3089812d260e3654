"""Loading a model, and walking its scopes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Union

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError, EncodeError

from onnx_act.errors import ModelReadError, ModelUnsupportedError
from onnx_act.graph.types import annotate_types

if TYPE_CHECKING:
    from collections.abc import Iterator

ModelSource = Union[str, "os.PathLike[str]", onnx.ModelProto, ir.Model]
MAIN: Final = ""
# Missing types of inputs and outputs are against the standard, but runtimes accept them.
_TOLERATED: Final = ("Field 'shape' of 'type' is required", "Field 'type' of 'value_info'")


@dataclass(frozen=True, slots=True)
class Scope:
    """The main graph, a subgraph of a control-flow node, or the body of a local function.

    Attributes:
        name: "" for the main graph, `If_0.then_branch` style paths for subgraphs, and
            `domain::name` for functions.
        graph: its nodes, inputs and outputs.
        opsets: domain -> opset version in force.
        parent: the control-flow node that holds it, if any.
        function: the function whose body this is, or is inside of.
    """

    name: str
    graph: ir.Graph
    opsets: dict[str, int]
    parent: ir.Node | None = None
    function: ir.Function | None = None

    def opset(self, domain: str = "") -> int:
        """The opset of `domain` here, 0 when it is not imported."""
        return self.opsets.get("ai.onnx" if domain == "" else domain, self.opsets.get(domain, 0))

    def is_function_body(self) -> bool:
        """Whether constants must be nodes here, since functions have no initializers."""
        return self.function is not None


@dataclass(slots=True)
class OnnxModel:
    """A model in memory, with where it came from.

    Attributes:
        content: the graph; ours to edit.
        path: the file it was read from, when it was.
        declared: names whose type the file declares in a value_info.
        lists_weights: whether every initializer is listed as an input, as old exporters did.
    """

    content: ir.Model
    path: Path | None = None
    declared: frozenset[str] = frozenset()
    lists_weights: bool = field(init=False)

    def __post_init__(self) -> None:
        graph = self.content.graph
        listed = [v.is_graph_input() for v in graph.initializers.values()]
        # IR version 4 let initializers go unlisted; exporters of its time still listed them all,
        # as before, and meant nothing by it. See docs/decisions/0004-listed-initializers.md.
        self.lists_weights = self.content.ir_version < 4 or (
            self.content.ir_version == 4 and bool(listed) and all(listed)
        )

    def scopes(self) -> list[Scope]:
        """Every scope, outer before inner, functions last."""
        found = list(_scopes_of(Scope(MAIN, self.content.graph, self.content.opset_imports)))
        for function in self.content.functions.values():
            name = f"{function.domain}::{function.name}"
            top = Scope(name, function.graph, function.opset_imports, function=function)
            found.extend(_scopes_of(top))
        return found

    def is_overridable(self, value: ir.Value) -> bool:
        """Whether a caller may replace this initializer, it being a graph input as well.

        Before IR version 4 every initializer had to be an input; runtimes treat those as constant.
        """
        return value.is_graph_input() and not self.lists_weights


def _scopes_of(scope: Scope) -> Iterator[Scope]:
    """`scope` and every scope below it, iteratively: nesting is not bounded by Python's stack."""
    pending = [scope]
    while pending:
        current = pending.pop()
        yield current
        inner: list[Scope] = []
        for position, node in enumerate(current.graph):
            for attribute in node.attributes.values():
                for label, graph in _graphs_in(attribute):
                    holder = node.name or f"{node.op_type}_{position}"
                    name = f"{holder}.{label}"
                    if current.name:
                        name = f"{current.name}/{name}"
                    inner.append(Scope(name, graph, current.opsets, node, current.function))
        pending.extend(reversed(inner))


def _graphs_in(attribute: ir.Attr) -> list[tuple[str, ir.Graph]]:
    if attribute.is_ref():
        return []
    if attribute.type is ir.AttributeType.GRAPH:
        return [(attribute.name, attribute.as_graph())]
    if attribute.type is ir.AttributeType.GRAPHS:
        return [(f"{attribute.name}[{k}]", g) for k, g in enumerate(attribute.as_graphs())]
    return []


def load_model(source: ModelSource) -> OnnxModel:
    """Read, check and type a model.

    Args:
        source: a path, an `onnx.ModelProto` or an `onnx_ir.Model`. What is given is never edited.

    Raises:
        ModelReadError: no such file, not an ONNX model, or a damaged one.
        ModelUnsupportedError: an IR version this onnx does not know.
    """
    if isinstance(source, ir.Model):
        # A clone keeps external weights where they are, which a proto alone could not say.
        model = source.clone()
        proto = ir.to_proto(source)
        annotate_types(model, proto)
        return OnnxModel(model, declared=_declared(proto))
    if isinstance(source, onnx.ModelProto):
        return _from_proto(source, None)
    path = Path(source)
    if path.is_dir():
        raise ModelReadError(f"{path}: is a folder, not a model")
    try:
        # Path.resolve raises for a link that leads to itself before Python 3.13.
        os.path.realpath(path).encode("utf-8")
    except UnicodeEncodeError:
        raise ModelReadError(
            f"{path}: its path is not UTF-8 text, and such files no ONNX library opens: rename it"
        ) from None
    try:
        proto = onnx.load(path, load_external_data=False)
    except FileNotFoundError:
        raise ModelReadError(f"{path}: no such file") from None
    except (OSError, DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ModelReadError(f"{path}: not an ONNX model ({_first_line(error)})") from None
    return _from_proto(proto, path)


def _from_proto(proto: onnx.ModelProto, path: Path | None) -> OnnxModel:
    shown = str(path) if path is not None else "model"
    check_model(proto, path, shown)
    try:
        model = ir.from_proto(proto)
    except Exception as error:
        # onnx-ir wraps whatever it trips over; the reader gets the innermost reason.
        reason = _first_line(_innermost(error))
        if "sparse" in reason.lower():
            raise ModelUnsupportedError(f"{shown}: sparse tensors are not supported") from error
        if "Map types are not supported" in reason:
            raise ModelUnsupportedError(
                f"{shown}: an input or output is a map, which is not supported; export the model "
                f"without ZipMap (in skl2onnx: options={{'zipmap': False}})"
            ) from error
        raise ModelReadError(f"{shown}: {reason}") from error
    if path is not None:
        ir.external_data.set_base_dir(model.graph, path.resolve().parent)
    annotate_types(model, proto)
    return OnnxModel(model, path, _declared(proto))


def _declared(proto: onnx.ModelProto) -> frozenset[str]:
    """The names in every value_info of a model."""
    return frozenset(v.name for g in graphs_of(proto) for v in g.value_info)


def graphs_of(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph of a model as read from a file, and every graph below it."""
    graphs = [proto.graph]
    nodes = [n for f in proto.functions for n in f.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield graph
            nodes.extend(graph.node)
        while nodes:
            for attribute in nodes.pop().attribute:
                if attribute.HasField("g"):
                    graphs.append(attribute.g)
                graphs.extend(attribute.graphs)


def check_model(proto: onnx.ModelProto, path: Path | None, shown: str) -> None:
    """Hold a model against the ONNX standard, by onnx's own checker.

    Raises:
        ModelReadError: it breaks the standard in a way that runtimes do not tolerate.
        ModelUnsupportedError: its IR version is newer than this onnx.
    """
    if proto.ir_version > onnx.IR_VERSION:
        raise ModelUnsupportedError(
            f"{shown}: IR version {proto.ir_version} is newer than this onnx "
            f"({onnx.__version__}) knows; upgrade onnx"
        )
    if not proto.HasField("graph"):
        raise ModelReadError(f"{shown}: not an ONNX model (it has no graph)")
    try:
        onnx.checker.check_model(proto if path is None else str(path))
    except (onnx.checker.ValidationError, UnicodeDecodeError, EncodeError, ValueError) as error:
        if any(text in str(error) for text in _TOLERATED):
            _check_with_types(proto, path, shown)
            return
        raise ModelReadError(f"{shown}: {_first_line(error)}") from None


def _check_with_types(proto: onnx.ModelProto, path: Path | None, shown: str) -> None:
    """Check all but the missing types of inputs and outputs."""
    patched = onnx.ModelProto()
    patched.CopyFrom(proto)
    if path is not None:
        _take_external_for_inputs(patched.graph, path.resolve().parent, shown)
    for value in (*patched.graph.input, *patched.graph.output):
        if not value.HasField("type"):
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(patched)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelReadError(f"{shown}: {_first_line(error)}") from None


def _take_external_for_inputs(graph: onnx.GraphProto, base: Path, shown: str) -> None:
    """Check external weights for their files, and declare them as inputs instead.

    The checker knows the folder of a model that it reads itself, and of no other.
    """
    is_stored = onnx.external_data_helper.uses_external_data
    stored = [t for t in graph.initializer if is_stored(t)]
    kept = [t for t in graph.initializer if not is_stored(t)]
    listed = {v.name for v in graph.input}
    for tensor in stored:
        location = next((e.value for e in tensor.external_data if e.key == "location"), "")
        if not (base / location).is_file():
            raise ModelReadError(f"{shown}: {tensor.name} should be in {location!r}: no such file")
        if tensor.name not in listed:
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            graph.input.append(info)
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
