"""Whether nodes are written alike: by what they do, not by what they are called."""

from __future__ import annotations

import pytest
from onnx import parser

from onnx_act.graph.constants import Constants
from onnx_act.graph.fingerprint import Fingerprint, fingerprint
from onnx_act.graph.model import load_model

_PLAIN = "s = Sigmoid (x) y = Mul (x, s)"


def _of(body: str, weights: str = "", *, opset: int = 20) -> Fingerprint:
    stated = f"<{weights}>" if weights else ""
    model = load_model(
        parser.parse_model(
            f"""<ir_version: 9, opset_import: ["" : {opset}, "com.microsoft" : 1]>
            g (float[N,4] x, float z) => (float[N,4] y) {stated} {{ {body} }}"""
        )
    )
    graph = model.content.graph
    found = fingerprint(list(graph), graph.inputs[0], Constants(model).array)
    assert hash(found) == hash(fingerprint(list(graph), graph.inputs[0], Constants(model).array))
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((_PLAIN,), ("[named] t = Sigmoid (x) [too] y = Mul (x, t)",)),
        (
            ("y = Mul (x, c)", "float c = {0.5}"),
            ("k = Constant <value = float {0.5}> () y = Mul (x, k)",),
        ),
        # The rank of a number changes nothing.
        (("y = Mul (x, c)", "float c = {0.5}"), ("y = Mul (x, c)", "float[1] c = {0.5}")),
        # A file holds numbers in float32, and attributes in whatever order.
        (
            ("y = Selu <alpha = 0.1, gamma = 2.0> (x)",),
            ("y = Selu <gamma = 2.0, alpha = 0.10000000149011612> (x)",),
        ),
        (("y = Clip (x, , c)", "float c = {20}"), ("y = Clip (x, , d)", "float d = {20}")),
    ],
)
def test_alike(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert _of(*one) == _of(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((_PLAIN,), ("s = Tanh (x) y = Mul (x, s)",)),
        ((_PLAIN,), ("s = Sigmoid (x) y = Mul (s, s)",)),
        (("y = Sub (x, c)", "float c = {0.5}"), ("y = Sub (c, x)", "float c = {0.5}")),
        (("y = Mul (x, c)", "float c = {0.5}"), ("y = Mul (x, c)", "float c = {0.25}")),
        (
            ("y = Mul (x, c)", "float[4] c = {1,2,3,4}"),
            ("y = Mul (x, c)", "float[1,4] c = {1,2,3,4}"),
        ),
        (
            ("y = Mul (x, c)", "float[4] c = {1,2,3,4}"),
            ("y = Mul (x, c)", "float[4] c = {1,2,4,3}"),
        ),
        (("y = Elu <alpha = 0.5> (x)",), ("y = Elu <alpha = 0.25> (x)",)),
        (("y = Elu (x)",), ("y = Elu <alpha = 1.0> (x)",)),
        (("y = Gelu (x)",), ("y = com.microsoft.Gelu (x)",)),
        (("y = Mul (x, z)",), ("y = Mul (x, c)", "float c = {0.5}")),
        ((_PLAIN,), ("y = Sigmoid (x)",)),
        (("y = Clip (x, , c)", "float c = {2}"), ("y = Clip (x, c)", "float c = {2}")),
    ],
)
def test_not_alike(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert _of(*one) != _of(*other)
