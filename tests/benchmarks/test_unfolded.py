"""What counts as a BatchNormalization that should have been folded, and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnx_act

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

_RNG = np.random.default_rng(0)
_CHANNELS = 4
_NAMES = ("w", "scale", "shift", "mean", "variance")


def _weights(
    shape: tuple[int, ...], kind: type = np.float32, size: float = 1.0
) -> list[onnx.TensorProto]:
    numbers = {
        "w": _RNG.uniform(-size, size, shape),
        "scale": _RNG.uniform(0.5, 1.5, _CHANNELS),
        "shift": _RNG.standard_normal(_CHANNELS),
        "mean": _RNG.standard_normal(_CHANNELS),
        "variance": _RNG.uniform(0.5, 2.0, _CHANNELS),
    }
    return [numpy_helper.from_array(v.astype(kind), k) for k, v in numbers.items()]


def _normalization(x: str, y: str, **attributes: Any) -> onnx.NodeProto:
    names = [x, "scale", "shift", "mean", "variance"]
    return helper.make_node("BatchNormalization", names, [y], **attributes)


def _model(
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    *,
    shape: tuple[int, ...] = (1, _CHANNELS, 6, 6),
    outputs: tuple[str, ...] = ("y",),
    listed: tuple[str, ...] = (),
    opset: int = 17,
) -> onnx.ModelProto:
    kind = weights[0].data_type
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    inputs += [
        helper.make_tensor_value_info(w.name, w.data_type, w.dims)
        for w in weights
        if w.name in listed
    ]
    results = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    graph = helper.make_graph(nodes, "g", inputs, results, weights)
    imports = [helper.make_opsetid("", opset)]
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=imports, ir_version=8)
    )


def _conv(x: str = "x", y: str = "c", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Conv", [x, "w"], [y], **attributes)


def _behind_conv(kind: type = np.float32, size: float = 1.0, **settings: Any) -> onnx.ModelProto:
    weights = _weights((_CHANNELS, _CHANNELS, 3, 3), kind, size)
    return _model([_conv(), _normalization("c", "y")], weights, **settings)


def _behind_transposed() -> onnx.ModelProto:
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["c"], group=2),
        _normalization("c", "y"),
    ]
    return _model(nodes, _weights((_CHANNELS, _CHANNELS // 2, 2, 2)))


def _behind_gemm() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["c"], transB=1, beta=0.5),
        _normalization("c", "y"),
    ]
    weights = _weights((_CHANNELS, 6))
    weights.append(numpy_helper.from_array(np.ones((1, _CHANNELS), np.float32), "b"))
    return _model(nodes, weights, shape=(2, 6))


def _in_a_branch() -> onnx.ModelProto:
    def branch(name: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
        shape = (1, _CHANNELS, 6, 6)
        result = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, shape)
        return helper.make_graph(nodes, name, [], [result])

    chosen = helper.make_node(
        "If",
        ["flag"],
        ["y"],
        then_branch=branch("then", _conv(y="then_c"), _normalization("then_c", "then_y")),
        else_branch=branch("else", helper.make_node("Relu", ["x"], ["else_y"])),
    )
    weights = _weights((_CHANNELS, _CHANNELS, 1, 1))
    weights.append(numpy_helper.from_array(np.array(1, np.bool_), "flag"))
    return _model([chosen], weights)


def _with_constant_nodes() -> onnx.ModelProto:
    weights = _weights((_CHANNELS, _CHANNELS, 3, 3))
    held = [helper.make_node("Constant", [], [w.name], value=w) for w in weights[1:]]
    return _model([*held, _conv(), _normalization("c", "y")], weights[:1])


_FOLDABLE: dict[str, Callable[[], onnx.ModelProto]] = {
    "Conv": _behind_conv,
    "Conv in float16": lambda: _behind_conv(np.float16),
    "ConvTranspose in groups": _behind_transposed,
    "Gemm": _behind_gemm,
    "in a branch": _in_a_branch,
    "constants as nodes": _with_constant_nodes,
    "every weight listed, as IR 3 wants": lambda: _of_ir(3, _NAMES),
}


def _of_ir(version: int, listed: tuple[str, ...]) -> onnx.ModelProto:
    model = _behind_conv(listed=listed, opset=8)
    model.ir_version = version
    return model


def _with(*extra: onnx.NodeProto, outputs: tuple[str, ...] = ("y", "z")) -> onnx.ModelProto:
    weights = _weights((_CHANNELS, _CHANNELS, 3, 3))
    return _model([_conv(), _normalization("c", "y"), *extra], weights, outputs=outputs)


def _training() -> onnx.ModelProto:
    node = _normalization("c", "y", training_mode=1)
    node.output.extend(["running_mean", "running_variance"])
    return _model([_conv(), node], _weights((_CHANNELS, _CHANNELS, 3, 3)))


def _old(*, is_test: int) -> onnx.ModelProto:
    nodes = [_conv(), _normalization("c", "y", is_test=is_test)]
    return _model(nodes, _weights((_CHANNELS, _CHANNELS, 3, 3)), opset=6)


def _negative_variance() -> onnx.ModelProto:
    model = _behind_conv()
    (held,) = [t for t in model.graph.initializer if t.name == "variance"]
    held.CopyFrom(numpy_helper.from_array(-np.ones(_CHANNELS, np.float32), "variance"))
    return model


_NOT_FOLDABLE: dict[str, Callable[[], onnx.ModelProto]] = {
    "the sum is used as well": lambda: _with(helper.make_node("Relu", ["c"], ["z"])),
    "the sum is an output": lambda: _with(outputs=("y", "c")),
    "the weight is shared": lambda: _with(_conv(y="z")),
    "training mode": _training,
    "training mode of old": lambda: _old(is_test=0),
    "a weight can be overridden": lambda: _behind_conv(listed=("w",)),
    "a statistic can be overridden": lambda: _behind_conv(listed=("mean",)),
    "it leaves float16": lambda: _behind_conv(np.float16, size=65000.0),
    "it has no root": _negative_variance,
    "nothing linear before it": lambda: _model(
        [helper.make_node("Relu", ["x"], ["c"]), _normalization("c", "y")],
        _weights((1,)),
    ),
}


@pytest.mark.parametrize("case", _FOLDABLE)
def test_what_could_be_folded_is_named_until_it_is(
    case: str, script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    model = _FOLDABLE[case]()
    left_behind = script("unfolded").left_behind
    assert left_behind(model) == ["then_y" if case == "in a branch" else "y"]
    onnx_act.fuse(model, tmp_path / "out.onnx", fuse="portable", validate=False)
    folded = onnx.load(tmp_path / "out.onnx")
    assert left_behind(folded) == []
    assert 'op_type: "BatchNormalization"' not in str(folded.graph)


@pytest.mark.parametrize("case", _NOT_FOLDABLE)
def test_what_could_not_be_folded_is_not_named(
    case: str, script: Callable[[str], ModuleType]
) -> None:
    assert script("unfolded").left_behind(_NOT_FOLDABLE[case]()) == []


def test_an_old_one_in_inference_mode_is_named(script: Callable[[str], ModuleType]) -> None:
    assert script("unfolded").left_behind(_old(is_test=1)) == ["y"]
