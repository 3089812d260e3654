"""Models that runtimes come to grief with, and outputs that are no plain tensors."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper, parser

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, body: str, interface: str = "(float[4] x) => (float[4] y)") -> Path:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g {interface} {{ {body} }}'
    onnx.save(parser.parse_model(text), path)
    return path


def endless(path: Path, last: str = "Relu") -> Path:
    """A loop of 2**62 rounds: it really runs for ever."""
    return write(
        path,
        f"""y = Loop (n, t, x) <body = b (int64 i, bool c, float[4] s) => (bool d, float[4] o)
        {{ d = Identity (c) o = {last} (s) }}>""",
        "(float[4] x) => (float[4] y) <int64 n = {4611686018427387904}, bool t = {1}>",
    )


def string_input(path: Path) -> Path:
    return write(path, "y = Identity (x)", "(string[N] x) => (string[N] y)")


def mapped(path: Path) -> Path:
    """A classifier's usual end: a sequence of maps, and nothing else."""
    node = helper.make_node(
        "ZipMap", ["r"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]
    )
    relu = helper.make_node("Relu", ["x"], ["r"])
    scores = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    made = helper.make_value_info("y", helper.make_sequence_type_proto(scores))
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph([relu, node], "g", [given], [made])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def crash(*_: object, **__: object) -> None:
    """In the place of what runs a model: an access to memory that is not there."""
    ctypes.string_at(0)
