"""Nothing is found that is not there: a wrong identification is the worst bug there can be."""

from __future__ import annotations

import pytest
from graph_sketch import PLAIN, Sketch, Style, sites_of
from lookalikes import (
    LOOKALIKES,
    Lookalike,
    bound_computed_of_a_number,
    bump_far_from_every_constant,
    function_called_relu,
)
from onnx import TensorProto

from onnx_act.graph.sites import Spelling

DTYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)


# bfloat16 keeps 8 bits, and in 1 % of the cubic term they see nothing.
CASES = [
    (lookalike, dtype)
    for lookalike in LOOKALIKES
    for dtype in DTYPES
    if (lookalike.label, dtype) != ("cubic term 1 % off", TensorProto.BFLOAT16)
]


@pytest.mark.parametrize(("lookalike", "dtype"), CASES, ids=str)
def test_a_lookalike_is_not_what_it_imitates(lookalike: Lookalike, dtype: int) -> None:
    sites = sites_of(lookalike.model(Style(dtype)), routine=True)
    names = [s.name for s in sites]
    whole = [s for s in sites if s.input is not None and s.input.name == "x"]
    if lookalike.imitates not in lookalike.found:
        assert lookalike.imitates not in names
    else:  # the activation is there, but not over the whole region
        assert all(len(s.nodes) == 1 for s in whole)


@pytest.mark.parametrize("lookalike", [k for k in LOOKALIKES if k.found], ids=str)
def test_what_is_there_instead_is_found(lookalike: Lookalike) -> None:
    assert tuple(s.name for s in sites_of(lookalike.model())) == lookalike.found


def test_there_are_many_lookalikes() -> None:
    assert len({(k.imitates, k.label) for k in LOOKALIKES}) >= 60


def test_a_function_that_is_called_relu_is_none() -> None:
    names = [s.name for s in sites_of(function_called_relu(), routine=True)]
    assert "relu" not in names


def test_a_bound_that_depends_on_x_is_no_bound() -> None:
    names = [s.name for s in sites_of(bound_computed_of_a_number(), routine=True)]
    assert not {"relu", "hardtanh", "relu6"} & set(names)


def test_a_bump_between_the_probes_is_seen() -> None:
    sites = sites_of(bump_far_from_every_constant())
    assert all(len(s.nodes) == 1 for s in sites)


def test_a_min_of_zero_is_a_bound_not_a_relu() -> None:
    (site,) = sites_of(next(k for k in LOOKALIKES if k.label == "Min(x, 0)").model())
    assert site.parameters == {"min": float("-inf"), "max": 0.0}


def test_off_constants_are_told_from_typed_digits() -> None:
    # 1 % off is another function at every dtype that can tell; five digits are the same one.
    for slope, wanted in ((1.7188, "swish"), (1.702, "swish")):
        sketch = Sketch(PLAIN)
        y = sketch("Mul", "x", sketch("Sigmoid", sketch("Mul", "x", slope)))
        (site,) = sites_of(sketch.model(y))
        assert site.name == wanted
        assert site.parameters == {"beta": slope}


def test_an_integer_relu_is_named_and_keeps_its_type() -> None:
    sketch = Sketch()
    cast = sketch("Cast", "x", to=TensorProto.INT32)
    y = sketch("Cast", sketch("Relu", cast), to=TensorProto.FLOAT)
    (site,) = sites_of(sketch.model(y))
    assert site.name == "relu"
    assert site.spelling is Spelling.OPERATOR
    assert site.dtype is not None
    assert site.dtype.name == "INT32"
    assert site.input is not None
    assert site.input.name == cast


def test_bounds_of_integers_are_routine() -> None:
    sketch = Sketch()
    cast = sketch("Cast", "x", to=TensorProto.INT64)
    low = sketch._ints([0])  # an integer constant of shape [1]
    y = sketch("Max", cast, low)
    model = sketch.model(y)
    assert sites_of(model) == []
    assert [s.routine for s in sites_of(model, routine=True)] == [True]


def test_a_gain_near_one_is_not_swallowed() -> None:
    sketch = Sketch(PLAIN)
    y = sketch("Mul", sketch("Relu", "x"), 1.0001)
    (site,) = sites_of(sketch.model(y))
    assert [n.op_type for n in site.nodes] == ["Relu"]
