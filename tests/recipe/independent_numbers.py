"""What a model computes, and what it should after a swap, with onnx and onnxruntime alone.

Nothing here knows the package under test: activations are exchanged in the protos by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Nodes = list[onnx.NodeProto]

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


def every_graph(model: onnx.ModelProto) -> Iterator[Any]:
    """The main graph, the bodies of control flow at any depth, and functions."""
    pending: list[Any] = [model.graph, *model.functions]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    pending.append(attribute.g)
                pending.extend(attribute.graphs)


def operators_of(model: onnx.ModelProto) -> list[str]:
    return [n.op_type for g in every_graph(model) for n in g.node]


def replace_nodes(
    model: onnx.ModelProto,
    chosen: Callable[[onnx.NodeProto], bool],
    make: Callable[[onnx.NodeProto], Nodes],
) -> int:
    """Put other nodes in the place of the chosen ones, in every graph; how many there were."""
    count = 0
    for graph in every_graph(model):
        nodes: Nodes = []
        for node in graph.node:
            if chosen(node):
                nodes.extend(make(node))
                count += 1
            else:
                nodes.append(node)
        del graph.node[:]
        graph.node.extend(nodes)
    return count


def session(model: onnx.ModelProto | Path, *, plain: bool = False) -> ort.InferenceSession:
    """A session at the runtime's default optimisation, or with nodes as they are written."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def symmetric_feeds(
    runtime: ort.InferenceSession,
    shapes: Mapping[str, Sequence[int]] | None = None,
    scales: Sequence[float] = (1.0, 3.0),
) -> Iterator[dict[str, Array]]:
    """Pairs of feeds of opposite sign; integers are small, free dimensions are 1.

    Booleans are true in the first pair and false in the second, so that both branches run.
    """
    rng = np.random.default_rng(20)
    for turn, scale in enumerate(scales):
        feed: dict[str, Array] = {}
        for given in runtime.get_inputs():
            shape = (shapes or {}).get(given.name) or [
                d if isinstance(d, int) else 1 for d in given.shape
            ]
            dtype = _DTYPES[given.type]
            if np.issubdtype(dtype, np.floating):
                feed[given.name] = (rng.standard_normal(shape) * scale).astype(dtype)
            elif dtype is np.bool_:
                feed[given.name] = np.full(shape, turn % 2 == 0)
            else:
                feed[given.name] = rng.integers(0, 2, shape).astype(dtype)
        yield feed
        yield {k: -v if np.issubdtype(v.dtype, np.floating) else v for k, v in feed.items()}


def assert_same_numbers(
    expected: onnx.ModelProto | Path,
    found: Path,
    *,
    relative: float,
    shapes: Mapping[str, Sequence[int]] | None = None,
    feeds: Sequence[Mapping[str, Array]] | None = None,
) -> None:
    """Both give the same outputs, within a share of the largest value of each output."""
    first, second = session(expected), session(found)
    names = [o.name for o in first.get_outputs()]
    assert [o.name for o in second.get_outputs()] == names
    assert [(i.name, i.type, i.shape) for i in second.get_inputs()] == [
        (i.name, i.type, i.shape) for i in first.get_inputs()
    ]
    seen: dict[str, set[bytes]] = {name: set() for name in names}
    for feed in feeds or list(symmetric_feeds(first, shapes)):
        pairs = zip(names, first.run(names, feed), second.run(names, feed), strict=True)
        for name, mine, theirs in pairs:
            assert theirs.shape == mine.shape, name
            assert theirs.dtype == mine.dtype, name
            seen[name].add(mine.tobytes())
            wide = mine.astype(np.float64)
            assert np.isfinite(wide).all(), name
            allowed = relative * max(np.abs(wide).max(), 1e-6)
            assert np.abs(theirs.astype(np.float64) - wide).max() <= allowed, name
    # Outputs that never move would agree whatever the models compute.
    assert any(len(values) > 1 for values in seen.values())


def assert_differ(first: Path, second: Path, shapes: Mapping[str, Sequence[int]] | None) -> None:
    """The swap did something: some output moved by more than rounding explains."""
    one, two = session(first), session(second)
    moved = 0.0
    for feed in symmetric_feeds(one, shapes):
        for mine, theirs in zip(one.run(None, feed), two.run(None, feed), strict=True):
            wide = mine.astype(np.float64)
            moved = max(moved, float(np.abs(theirs - wide).max() / max(np.abs(wide).max(), 1e-6)))
    assert moved > 1e-3
