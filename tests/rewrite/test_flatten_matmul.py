"""Flattened linear layers take what the layers before took, empty inputs and all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from capabilities import Cpu
from onnx import TensorProto, helper, numpy_helper

from onnx_act.errors import EvidenceError
from onnx_act.graph.model import load_model
from onnx_act.rewrite.engine import run_rules
from onnx_act.rewrite.flatten_matmul import FlattenMatMul
from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_ROWS, _COLUMNS = 3, 4
_SIZES = ((2, 2, 2, 2), (1, 3, 2, 1), (2, 0, 2, 3), (0, 2, 3, 2), (0, 0, 0, 0), (3, 2, 2, 0))


class _Random:
    """A network of biased products that are reshaped in ways that exporters write, and others."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.rank = int(self.rng.integers(3, 6))
        self.opset = int(self.rng.choice([9, 11, 13, 14, 17, 21]))
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, array: npt.NDArray[Any]) -> str:
        name = f"k{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op_type: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attributes))
        return name

    def dimension(self, value: str, place: int) -> str:
        """One entry of the shape of a value, as a vector."""
        shape = self.node("Shape", [value])
        form = self.rng.integers(0, 3 if self.opset >= 13 else 2)
        if form == 0:
            return self.node("Gather", [shape, self.constant(np.array([place]))])
        if form == 1 and self.opset >= 10:
            given = [self.constant(np.array([k])) for k in (place, place + 1)]
            return self.node("Slice", [shape, *given])
        scalar = self.node("Gather", [shape, self.constant(np.array(place - self.rank))])
        if self.opset >= 13:
            return self.node("Unsqueeze", [scalar, self.constant(np.array([0]))])
        return self.node("Unsqueeze", [scalar], axes=[0])

    def branch(self) -> onnx.ValueInfoProto:
        """One layer and its Reshape, whose result it tells."""
        weight = self.rng.standard_normal((_ROWS, _COLUMNS)).astype(np.float32)
        bias = self.rng.standard_normal(_COLUMNS).astype(np.float32)
        product = self.node("MatMul", ["x", self.constant(weight)])
        terms = [product, self.constant(bias)]
        result = self.node("Add", terms if self.rng.integers(2) else terms[::-1])
        places = list(range(self.rank - 1))
        if self.rng.integers(4) == 0:
            self.rng.shuffle(places)
        parts = []
        for place in places:
            match self.rng.integers(8):
                case 0:
                    parts.append(self.constant(np.array([2])))
                case 1 if self.rng.integers(3) == 0:
                    parts.append(self.constant(np.array([0])))
                case _:
                    source = ("x", "x", product, result)[self.rng.integers(4)]
                    parts.append(self.dimension(source, place))
        tail = [[-1, 2], [2, 2], [-1], [_COLUMNS], [2, 1, 2]][self.rng.integers(5)]
        parts.append(self.constant(np.array(tail)))
        name = self.node("Reshape", [result, self.node("Concat", parts, axis=0)])
        dims = [f"{name}_{k}" for k in range(self.rank - 1 + len(tail))]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)

    def model(self) -> onnx.ModelProto:
        outputs = [self.branch() for _ in range(self.rng.integers(1, 4))]
        dims = [f"d{k}" for k in range(self.rank - 1)]
        graph = helper.make_graph(
            self.nodes,
            "layers",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [*dims, _ROWS])],
            outputs,
            self.weights,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _run(model: onnx.ModelProto, feed: dict[str, Any]) -> Sequence[Any] | None:
    """The outputs; None where the runtime will not."""
    settings = SessionSettings(level=OptimizationLevel.DISABLE, threads=1)
    try:
        return open_session(model.SerializeToString(), settings).run(feed)
    except EvidenceError:
        return None


def _check(seed: int) -> tuple[int, int]:
    """How many layers of a random network were flattened, and how many feeds it ran on."""
    network = _Random(seed)
    before = network.model()
    model = load_model(before)
    plan = run_rules([FlattenMatMul()], model, Cpu())
    after = ir.to_proto(model.content)
    onnx.checker.check_model(after, full_check=True)
    ran = 0
    for sizes in _SIZES:
        shape = (*sizes[: network.rank - 1], _ROWS)
        feed = {"x": network.rng.standard_normal(shape).astype(np.float32)}
        expected, found = _run(before, feed), _run(after, feed)
        if expected is None:
            # Beside a -1 a Reshape takes no zero, and one that copies may be taken afterwards.
            continue
        assert found is not None, (seed, shape)
        ran += 1
        for one, other in zip(expected, found, strict=True):
            assert one.shape == other.shape, (seed, shape)
            # Three products and a sum, in another order.
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=4e-6)
    return len(plan.changes), ran


def test_what_ran_before_runs_after_on_empty_inputs_too() -> None:
    counts = [_check(seed) for seed in range(150)]
    # The law is about something: many are flattened, and many feeds run.
    assert sum(changes for changes, _ in counts) > 60
    assert sum(ran for changes, ran in counts if changes) > 100


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_what_ran_before_runs_after_in_thousands(part: int) -> None:
    counts = [_check(seed) for seed in range(1000 + 300 * part, 1300 + 300 * part)]
    assert sum(changes for changes, _ in counts) > 100


def test_only_the_layers_that_were_asked_for() -> None:
    before = next(m for m in (_Random(seed).model() for seed in range(200)) if _flattened(m) >= 2)
    sites = [c.site for c in run_rules([FlattenMatMul()], load_model(before), Cpu()).changes]
    model = load_model(before)
    plan = run_rules([FlattenMatMul(frozenset(sites[1:]))], model, Cpu())
    assert [c.site for c in plan.changes] == sites[1:]
    assert not plan.refusals
    assert sum(n.op_type == "Gemm" for n in model.content.graph) == len(sites) - 1


def _flattened(model: onnx.ModelProto) -> int:
    return len(run_rules([FlattenMatMul()], load_model(model), Cpu()).changes)
