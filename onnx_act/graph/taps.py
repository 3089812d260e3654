"""Looking inside a model: its values in order, and a copy of it that returns some of them.

Values of the main graph can be looked at. What is computed inside If, Loop and Scan bodies and
local functions has no single number in a run, and no runtime hands it out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from onnx_act.errors import UsageError
from onnx_act.graph.constants import Constants
from onnx_act.graph.edit import PROVENANCE
from onnx_act.graph.model import MAIN, OnnxModel
from onnx_act.graph.types import Dims, dtype_of, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_GRAPHS: Final = frozenset({ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS})


@dataclass(frozen=True, slots=True)
class Step:
    """A node of the main graph as plain data.

    Attributes:
        name: its name, "" when it has none.
        op_type: its operator.
        domain: the operator's domain.
        inputs: the values it is computed from, by place; "" for constants and for what is left
            out. Values that only its subgraphs use come last.
        constants: a digest of the constant at each place, "" where there is none.
        dims: the dimensions of the constant at each place, None where there is none.
        written: a digest of its attributes.
        outputs: what it makes; "" for what is left out.
        provenance: what was noted on it by whoever wrote it, such as `rule`.
    """

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    dims: tuple[tuple[int, ...] | None, ...]
    written: str
    outputs: tuple[str, ...]
    provenance: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outline:
    """The main graph of a model as plain data.

    Attributes:
        inputs: the values that are fed.
        outputs: the values that are returned.
        steps: the nodes in order, those that make constants left out.
        types: element type (`float32`) and dimensions of every value that a step makes, each None
            where nothing tells it.
        out_of_sight: how many values there are in every other scope, by the scope's name.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    types: Mapping[str, tuple[str | None, Dims | None]]
    out_of_sight: Mapping[str, int]


def outline(model: OnnxModel) -> Outline:
    """What a model computes in its main graph, in order.

    Every weight is read once, for its digest.

    Args:
        model: a loaded model; it is not touched.
    """
    graph = model.content.graph
    constants = Constants(model)
    digests: dict[ir.Value, tuple[str, tuple[int, ...]]] = {}
    steps: list[Step] = []
    types: dict[str, tuple[str | None, Dims | None]] = {}
    for node in graph:
        made = [v for v in node.outputs if v.name]
        if not made or all(constants.is_constant(v) for v in made):
            continue
        steps.append(_step(node, constants, digests))
        for value in made:
            dtype = dtype_of(value)
            types[str(value.name)] = (
                None if dtype is None else str(dtype.numpy()) if _has_numpy(dtype) else dtype.name,
                shape_of(value),
            )
    return Outline(
        inputs=tuple(str(v.name) for v in graph.inputs if not constants.is_constant(v)),
        outputs=tuple(str(v.name) for v in graph.outputs),
        steps=tuple(steps),
        types=types,
        out_of_sight={
            scope.name: count
            for scope in model.scopes()
            if scope.name != MAIN
            and (count := sum(len(n.outputs) for n in scope.graph if n.op_type != "Constant"))
        },
    )


def tapped(model: OnnxModel, names: Iterable[str]) -> OnnxModel:
    """A copy of a model that also returns some of its inner values.

    Its own outputs come first, under their names. Weights are shared with the model, external
    ones stay where they are.

    Args:
        model: not touched.
        names: values of the main graph; those that are outputs already are left as they are.

    Raises:
        UsageError: no node of the main graph makes a value of that name.
    """
    copy = OnnxModel(model.content.clone(), model.path, model.declared)
    graph = copy.content.graph
    types = {v.name: v for n in model.content.graph for v in n.outputs}
    made = {v.name: v for n in graph for v in n.outputs if v.name}
    returned = {v.name for v in graph.outputs}
    for name in dict.fromkeys(names):
        if name in returned:
            continue
        value = made.get(name)
        if value is None:
            raise UsageError(
                f"{name!r} is no value that a node of the main graph makes, so that it cannot be "
                f"looked at"
            )
        dtype = dtype_of(types[name])
        if value.type is None and dtype is not None:
            # A type only: a shape that was inferred may be narrower than what really comes.
            value.type = ir.TensorType(dtype)
        graph.outputs.append(value)
    return copy


def _has_numpy(dtype: ir.DataType) -> bool:
    return dtype not in {ir.DataType.UNDEFINED, ir.DataType.STRING}


def _step(
    node: ir.Node,
    constants: Constants,
    digests: dict[ir.Value, tuple[str, tuple[int, ...]]],
) -> Step:
    inputs: list[str] = []
    held: list[str] = []
    dims: list[tuple[int, ...] | None] = []
    for value in node.inputs:
        is_constant = value is not None and constants.is_constant(value)
        digest, shape = _digest(value, constants, digests) if value and is_constant else ("", None)
        inputs.append("" if value is None or is_constant else str(value.name))
        held.append(digest)
        dims.append(shape)
    return Step(
        name=node.name or "",
        op_type=node.op_type,
        domain=node.domain,
        inputs=(*inputs, *_captured(node, constants)),
        constants=tuple(held),
        dims=tuple(dims),
        written=_written(node),
        outputs=tuple(v.name or "" for v in node.outputs),
        provenance={
            key.removeprefix(PROVENANCE): value
            for key, value in node.metadata_props.items()
            if key.startswith(PROVENANCE)
        },
    )


def _digest(
    value: ir.Value,
    constants: Constants,
    known: dict[ir.Value, tuple[str, tuple[int, ...]]],
) -> tuple[str, tuple[int, ...]]:
    if value in known:
        return known[value]
    array = constants.array(value)
    if array is None:
        # A constant that is too large or too odd to be evaluated: its name is all there is.
        found = (f"named {value.name}", constants.shape(value) or ())
    elif array.dtype.kind in "OSU":
        found = (repr(array.tolist()), array.shape)
    else:
        digest = hashlib.blake2b(str(array.dtype).encode(), digest_size=16)
        # A number is the same whatever the rank of the tensor that holds it.
        shape = () if array.size == 1 else array.shape
        digest.update(repr(shape).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        found = (digest.hexdigest(), shape)
    known[value] = found
    return found


def _written(node: ir.Node) -> str:
    """A digest of a node's attributes, numbers as a file holds them."""
    digest = hashlib.blake2b(digest_size=16)
    for attribute in sorted(node.attributes.values(), key=lambda a: a.name):
        digest.update(f"{attribute.name}={_stored(attribute)};".encode())
    return digest.hexdigest()


def _stored(attribute: ir.Attr) -> str:
    if attribute.is_ref():
        return f"@{attribute.ref_attr_name}"
    value = attribute.value
    if attribute.type is ir.AttributeType.TENSOR:
        array = attribute.as_tensor().numpy()
        return f"{array.dtype}{array.shape}{array.tobytes().hex()}"
    if isinstance(value, float):
        return str(np.float32(value))
    return str(value)


def _captured(node: ir.Node, constants: Constants) -> Iterator[str]:
    """The values of the node's own graph that its subgraphs use, each once."""
    found: dict[str, None] = {}
    pending = list(_bodies(node))
    while pending:
        body = pending.pop()
        # A body may see any graph around it; the one of the node is what is outlined.
        used = [*(v for n in body for v in n.inputs), *body.outputs]
        for value in used:
            is_ours = value is not None and value.name and value.graph is node.graph
            if value is not None and is_ours and not constants.is_constant(value):
                found[str(value.name)] = None
        for inner in body:
            pending.extend(_bodies(inner))
    return iter(found)


def _bodies(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.is_ref() or attribute.type not in _GRAPHS:
            continue
        if attribute.type is ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        else:
            yield from attribute.as_graphs()
