"""What each site is for: a feature path, a gate on another branch, or a result of the model.

A site is a *gate* when its output multiplies another branch and is the side that does the gating:
of the two factors the one with the narrower range (a sigmoid before a tanh before an unbounded
activation), and of two unbounded ones the one whose partner does not itself descend from it, as
in x * gate(x). A site is an *output* when everything that uses it only carries it, reshaped at
most, to a graph output.
"""

from __future__ import annotations

import enum
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.activations.readings import evaluate
from onnx_act.graph.sites import Role, Site

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_ir as ir

    from onnx_act.activations.activation import Activation, Parameters
    from onnx_act.graph.constants import Constants
    from onnx_act.graph.model import OnnxModel, Scope

#: Operators that move or reshape values and change none of them.
CARRYING: Final = frozenset(
    {
        "Cast",
        "Concat",
        "DepthToSpace",
        "Dropout",
        "Expand",
        "Flatten",
        "Gather",
        "GatherND",
        "Identity",
        "Reshape",
        "Resize",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Upsample",
    }
)
# How far a product is traced back to see whether one factor descends from the other. Squeeze-and-
# excitation takes about ten operators, twenty with casts and reshapes.
_TRACE: Final = 64


class _Reach(enum.IntEnum):
    """How narrow a factor's range is."""

    UNBOUNDED = 0
    BOUNDED = 1
    UNIT = 2


def assign_roles(model: OnnxModel, sites: Sequence[Site], constants: Constants) -> list[Site]:
    """The same sites with `role` and `depth` filled in. Linear in the size of the model."""
    by_output = {s.output: s for s in sites if s.slot is None or s.slot.recurrent_gate is None}
    scopes = {s.graph: s for s in model.scopes()}
    depths = _depths(model, by_output)
    reach = _reaches(by_output)
    found: list[Site] = []
    for site in sites:
        if site.slot is not None and site.slot.recurrent_gate is not None:
            role = Role.GATE if site.slot.recurrent_gate else Role.MAIN
        elif _is_gate(site, reach, constants):
            role = Role.GATE
        elif _is_output(site.output, site.scope, scopes):
            role = Role.OUTPUT
        else:
            role = Role.MAIN
        found.append(replace(site, role=role, depth=depths.get(site.nodes[0], 0)))
    return found


def _depths(model: OnnxModel, by_output: dict[ir.Value, Site]) -> dict[ir.Node, int]:
    """For every node, how many sites lie before it on the longest way within its scope."""
    depth: dict[ir.Value, int] = {}
    found: dict[ir.Node, int] = {}
    for scope in model.scopes():
        for node in scope.graph:
            before = max((depth.get(v, 0) for v in node.inputs if v is not None), default=0)
            found[node] = before
            for value in node.outputs:
                site = by_output.get(value)
                depth[value] = before + (site is not None and not site.routine)
    return found


def _reaches(by_output: Mapping[ir.Value, Site]) -> dict[ir.Value, _Reach]:
    known: dict[tuple[object, ...], _Reach] = {}
    found: dict[ir.Value, _Reach] = {}
    for value, site in by_output.items():
        if site.activation is None:
            found[value] = _Reach.UNBOUNDED
            continue
        numbers = {k: v for k, v in site.parameters.items() if not isinstance(v, np.ndarray)}
        key = (site.name, *numbers.items())
        if key not in known:
            known[key] = _reach(site.activation, numbers)
        found[value] = known[key]
    return found


def _reach(activation: Activation, parameters: Parameters) -> _Reach:
    ends = evaluate(activation.expression(parameters), np.array([-1e9, -3.0, 3.0, 1e9]))
    if float(np.max(np.abs(ends))) > 1e3:
        return _Reach.UNBOUNDED
    return _Reach.UNIT if float(np.min(ends)) >= 0 else _Reach.BOUNDED


def _is_gate(
    site: Site,
    reach: dict[ir.Value, _Reach],
    constants: Constants,
) -> bool:
    for factor, node in _carried(site.output):
        if node.op_type != "Mul" or len(node.inputs) != 2:
            continue
        other = node.inputs[0] if node.inputs[1] is factor else node.inputs[1]
        if other is None or other is factor or constants.is_constant(other):
            continue
        origin = _origin(other)
        mine, theirs = reach[site.output], reach.get(origin, _Reach.UNBOUNDED)
        if origin is site.output:
            continue
        if mine > theirs:
            return True
        if mine == theirs and not _descends(other, site.output):
            return True
    return False


def _carried(value: ir.Value) -> list[tuple[ir.Value, ir.Node]]:
    """Every use of a value that is not a mere move, with the moved value it uses."""
    found: list[tuple[ir.Value, ir.Node]] = []
    seen = {value}
    stack = [value]
    while stack:
        current = stack.pop()
        for node, _ in current.uses():
            if node.op_type not in CARRYING:
                found.append((current, node))
                continue
            fresh = [v for v in node.outputs if v not in seen]
            seen.update(fresh)
            stack.extend(fresh)
    return found


def _origin(value: ir.Value) -> ir.Value:
    """The value that moves and reshapes led to `value`."""
    while True:
        node = value.producer()
        if node is None or node.op_type not in CARRYING or not node.inputs:
            return value
        before = node.inputs[0]
        if before is None:
            return value
        value = before


def _descends(value: ir.Value, ancestor: ir.Value) -> bool:
    """Whether `value` is computed from `ancestor`, as far back as a gate's branch reaches."""
    seen = {value}
    frontier = [value]
    for _ in range(_TRACE):
        if not frontier:
            return False
        current = frontier.pop(0)
        if current is ancestor:
            return True
        node = current.producer()
        for before in () if node is None else node.inputs:
            if before is not None and before not in seen:
                seen.add(before)
                frontier.append(before)
    return False


def _is_output(value: ir.Value, scope: Scope, scopes: Mapping[ir.Graph, Scope]) -> bool:
    """Whether the value goes to outputs of the model and nowhere else."""
    if scope.function is not None:
        return False
    seen = {value}
    stack = [value]
    while stack:
        for node, _ in stack.pop().uses():
            if node.op_type not in CARRYING or node.graph is not scope.graph:
                return False
            fresh = [v for v in node.outputs if v not in seen]
            seen.update(fresh)
            stack.extend(fresh)
    reached = [k for k, v in enumerate(scope.graph.outputs) if v in seen]
    if not reached or scope.parent is None:
        return bool(reached)
    outer = scopes.get(scope.parent.graph) if scope.parent.graph is not None else None
    # What an If branch returns is what the If returns; a loop feeds it back.
    if outer is None or scope.parent.op_type != "If":
        return False
    return all(_is_output(scope.parent.outputs[k], outer, scopes) for k in reached)
