"""Every activation is found however it is spelled, as one site from x to y."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from float_runs import against_reference, run_graph, sign_symmetric_grid
from graph_sketch import PLAIN, Sketch, Style, sites_of
from onnx import TensorProto, helper
from spellings import HALF_ULP, SPELLINGS, Spelling

from onnx_act.activations.catalogue import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx
    import onnx_ir as ir

    from onnx_act.graph.sites import Site

_PASSING = {"Identity", "Cast"}
_DTYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
_SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (1, 1, 1, 1), (4, 1, 1), (1, 4, 3, 2))
_KINDS = ("initializer", "node", "expand", "reshape", "unsqueeze", "cast", "identity")
# Spellings that are poor arithmetic: how far they go, and how many roundings they lose.
_POOR: Final = {
    # 1e-7 of absolute error in a sigmoid of 3e-4 before the logarithm.
    "Log(Sigmoid(x))": (8.0, 300.0),
    "-Log(Sigmoid(-x))": (8.0, 300.0),
    # Five typed digits.
    "x * (Erf(x * 0.7071) / 2 + 1/2)": (40.0, 40.0),
    "h + h * Erf(x / 1.4142), h = x / 2": (40.0, 40.0),
}
#: The dressings of one spelling: every value of every aspect, coprime cycles so that they mix.
_PER_SPELLING = 8


def _styles(start: int) -> Iterator[Style]:
    for k in range(start * _PER_SPELLING, (start + 1) * _PER_SPELLING):
        dtype = _DTYPES[k % 4]
        computed_in = TensorProto.FLOAT if dtype in _DTYPES[1:3] and k % 3 == 0 else None
        yield Style(
            dtype,
            _SHAPES[k % 5],
            _KINDS[k % 7],
            commuted=k // 2 % 2 == 0,
            between=k % 5 == 2,
            around=computed_in,
        )


CASES = [(s, style) for place, s in enumerate(SPELLINGS) for style in _styles(place)]


def _written(spelling: Spelling, style: Style) -> onnx.ModelProto:
    sketch = Sketch(style, opset=spelling.opset)
    return sketch.model(sketch.around(spelling.build))


def _source(value: ir.Value | None) -> str | None:
    while value is not None:
        node = value.producer()
        if node is None or node.op_type not in _PASSING:
            return value.name
        value = node.inputs[0]
    return None


def _end(value: ir.Value) -> str | None:
    while not value.is_graph_output():
        (use,) = value.uses()
        assert use.node.op_type in _PASSING
        (value,) = use.node.outputs
    return value.name


def _assert_found(spelling: Spelling, sites: list[Site], precision: float) -> None:
    assert [s.name for s in sites] == [spelling.name]
    (site,) = sites
    assert set(site.parameters) == set(spelling.parameters)
    for name, wanted in spelling.parameters.items():
        value: Any = site.parameters[name]
        if isinstance(wanted, str):
            assert value == wanted
        else:
            np.testing.assert_allclose(value, np.asarray(wanted), rtol=precision)


@pytest.mark.parametrize(("spelling", "style"), CASES, ids=[f"{s}|{style}" for s, style in CASES])
def test_a_spelling_is_found_in_every_dress(spelling: Spelling, style: Style) -> None:
    sites = sites_of(_written(spelling, style))
    # A parameter made of several stored constants is off by as many half ulps.
    _assert_found(spelling, sites, 4 * HALF_ULP[style.inner] + 1e-7)
    (site,) = sites
    assert _source(site.input) == "x"
    assert _end(site.output) == "y"
    if not style.between and style.around is None:
        assert (site.input is not None and site.input.name, site.output.name) == ("x", "y")


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_exact_digits_come_back(spelling: Spelling) -> None:
    # In float32 and float64 what was typed is what is reported, not the nearest float of it.
    _assert_found(spelling, sites_of(_written(spelling, PLAIN)), 5e-7)
    double = Style(TensorProto.DOUBLE)
    _assert_found(spelling, sites_of(_written(spelling, double)), 5e-7)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_the_runtime_computes_what_was_found(spelling: Spelling) -> None:
    # The outside oracle: the found activation is what the spelling does when it is run.
    sketch = Sketch(PLAIN, opset=spelling.opset, shape=("N", 4, 1, 1))
    model = sketch.model(sketch.around(spelling.build))
    (site,) = sites_of(model)
    # e^88.7 is the largest float32: beyond it some spellings leave their own range.
    reach, steps = _POOR.get(spelling.label, (40.0, 1.0))
    x = sign_symmetric_grid(reach).reshape(-1, 1, 1, 1)
    x = np.broadcast_to(x, (len(x), 4, 1, 1)).astype(np.float32)
    assert site.activation is not None
    against_reference(site.activation, site.parameters, x, run_graph(model, x), steps=steps)


def test_every_activation_is_spelled_in_more_ways_than_its_operators() -> None:
    spelled = {s.name for s in SPELLINGS}
    # rrelu is leaky_relu at inference; identity, exp and erf are arithmetic.
    missing = {a.name for a in CATALOGUE if not a.index_only} - spelled
    assert missing == {"rrelu"}
    assert len(SPELLINGS) >= 100
    assert len(CASES) >= 800


def test_the_dresses_cover_every_pair_of_aspects() -> None:
    worn = [style for _, style in CASES]
    for a, b in itertools.product(_DTYPES, _KINDS):
        assert any(s.dtype == a and s.kind == b for s in worn)
    for a, shape in itertools.product(_DTYPES, _SHAPES):
        assert any(s.dtype == a and s.shape == shape for s in worn)
    for shape, kind in itertools.product(_SHAPES, _KINDS):
        assert any(s.shape == shape and s.kind == kind for s in worn)


@pytest.mark.parametrize("passing", ["Identity", "Cast", "Dropout"])
def test_a_site_begins_behind_what_only_hands_x_on(passing: str) -> None:
    sketch = Sketch()
    stated: dict[str, Any] = {"to": TensorProto.FLOAT} if passing == "Cast" else {}
    handed = sketch(passing, "x", **stated)
    for build in (SPELLINGS[0].build, SPELLINGS[-1].build):
        sketch.opset = 24
        (site,) = sites_of(sketch.model(build(sketch, handed)))
        assert site.input is not None
        assert site.input.name == handed
        assert len(site.nodes) == 1
        sketch.nodes.pop()


@pytest.mark.parametrize(("opset", "bounds"), [(6, "attributes"), (10, "attributes"), (11, "")])
def test_the_largest_float_is_no_bound(opset: int, bounds: str) -> None:
    # How exporters wrote an open end before bounds were optional.
    largest = float(np.finfo(np.float32).max)
    sketch = Sketch(opset=opset)
    if bounds:
        y = sketch("Clip", "x", min=0.0, max=largest)
    else:
        y = sketch("Clip", "x", sketch.constant(0.0, ()), sketch.constant(largest, ()))
    (site,) = sites_of(sketch.model(y))
    assert site.name == "relu"


@pytest.mark.parametrize(("trains", "wanted"), [(False, "silu"), (True, "sigmoid")])
def test_a_dropout_that_trains_is_no_identity(trains: bool, wanted: str) -> None:
    sketch = Sketch()
    tensor = helper.make_tensor("trains", TensorProto.BOOL, [], [trains])
    sketch.initializers.append(tensor)
    ratio = sketch.constant(0.5, ())
    y = sketch("Mul", "x", sketch("Dropout", sketch("Sigmoid", "x"), ratio, "trains"))
    assert [s.name for s in sites_of(sketch.model(y))] == [wanted]
