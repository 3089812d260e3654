"""Small models with known weights, and the wrong and right changes that are made to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Arrays = dict[str, Any]


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    weights: Arrays,
    *,
    dtype: Any = np.float32,
    inputs: Sequence[tuple[str, Any, Sequence[Any]]] = (("x", None, ("N", 3, 8, 8)),),
    outputs: Sequence[tuple[str, Any, Sequence[Any] | None]] = (("y", None, None),),
    opset: int = 17,
) -> Path:
    """Write a model; None for a type is `dtype`."""

    def info(name: str, of: Any, shape: Any) -> onnx.ValueInfoProto:
        code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype if of is None else of))
        return helper.make_tensor_value_info(name, code, shape)

    graph = helper.make_graph(
        nodes,
        "g",
        [info(*value) for value in inputs],
        [info(*value) for value in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


@dataclass(frozen=True)
class Net:
    """Conv, BatchNormalization, LeakyRelu, Conv, activation, and a Gemm over the pooled rest."""

    dtype: Any = np.float32
    slope: float = 0.1
    second: str = "Relu"
    second_slope: float | None = None
    dropped_bias: bool = False
    folded: bool = False
    fused: bool = False
    negated_scale: bool = False
    classifies: bool = False

    def but(self, **changes: Any) -> Net:
        return replace(self, **changes)

    def save(self, path: Path) -> Path:
        weights = self._weights()
        nodes = [*self._first_block(weights), *self._second_block()]
        if self.classifies:
            nodes += [
                helper.make_node("GlobalAveragePool", ["b"], ["p"]),
                helper.make_node("Flatten", ["p"], ["f"]),
                helper.make_node("Gemm", ["f", "wg", "bg"], ["y"]),
            ]
        else:
            nodes += [helper.make_node("Conv", ["b", "w3"], ["y"])]
        return save(path, nodes, weights, dtype=self.dtype)

    def _weights(self) -> Arrays:
        rng = np.random.default_rng(3)
        weights = {
            "w1": rng.normal(0, 0.4, (8, 3, 3, 3)),
            "b1": rng.normal(0, 0.3, 8),
            "scale": rng.uniform(0.5, 1.5, 8),
            "shift": rng.normal(0, 0.3, 8),
            "mean": rng.normal(0, 0.3, 8),
            "var": rng.uniform(0.5, 1.5, 8),
            "w2": rng.normal(0, 0.2, (8, 8, 3, 3)),
            "b2": rng.normal(0, 0.3, 8),
        }
        if self.classifies:
            weights |= {"wg": rng.normal(0, 1.0, (8, 5)), "bg": rng.normal(0, 0.3, 5)}
        else:
            weights |= {"w3": rng.normal(0, 0.4, (8, 8, 1, 1))}
        weights = {name: array.astype(self.dtype) for name, array in weights.items()}
        if self.dropped_bias:
            weights["b2"][4] = 0
        if self.folded:
            wide = {name: array.astype(np.float64) for name, array in weights.items()}
            gain = wide["scale"] / np.sqrt(wide["var"] + 1e-5)
            gain = -gain if self.negated_scale else gain
            bias = (wide["b1"] - wide["mean"]) * gain + wide["shift"]
            weights["w1"] = (wide["w1"] * gain[:, None, None, None]).astype(self.dtype)
            weights["b1"] = bias.astype(self.dtype)
            for name in ("scale", "shift", "mean", "var"):
                del weights[name]
        return weights

    def _first_block(self, weights: Arrays) -> list[onnx.NodeProto]:
        if self.fused:
            return [
                helper.make_node(
                    "FusedConv",
                    ["x", "w1", "b1"],
                    ["a"],
                    domain="com.microsoft",
                    activation="LeakyRelu",
                    activation_params=[self.slope],
                    pads=[1, 1, 1, 1],
                )
            ]
        after = "c1" if "scale" not in weights else "n1"
        nodes = [helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1])]
        if after == "n1":
            inputs = ["c1", "scale", "shift", "mean", "var"]
            nodes.append(helper.make_node("BatchNormalization", inputs, ["n1"]))
        return [*nodes, helper.make_node("LeakyRelu", [after], ["a"], alpha=self.slope)]

    def _second_block(self) -> list[onnx.NodeProto]:
        attributes: dict[str, Any] = {}
        if self.second_slope is not None:
            attributes["alpha"] = self.second_slope
        return [
            helper.make_node("Conv", ["a", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1]),
            helper.make_node(self.second, ["c2"], ["b"], **attributes),
        ]
