"""Measured speed-ups: of something much faster, of nothing, of something that does not run."""

from __future__ import annotations

import time

import onnx
import pytest
from onnx import parser
from tiny_models import one_node

from onnx_act.errors import EvidenceError, ProviderUnavailableError
from onnx_act.runtime.speed import speedup


def _chain(length: int, side: int = 64) -> bytes:
    """`length` operators that the optimiser leaves apart."""
    names = ["x", *(f"v{k}" for k in range(length - 1)), "y"]
    body = " ".join(
        f"{names[k + 1]} = {'Sin' if k % 2 else 'Cos'} ({names[k]})" for k in range(length)
    )
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[1,{side},{side}] x) => (float[1,{side},{side}] y) {{ {body} }}"""
    model = parser.parse_model(text)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_less_work_is_faster_and_more_is_slower() -> None:
    long, short = _chain(16), _chain(4)
    assert 2.0 < speedup(long, short) < 8.0
    assert 0.125 < speedup(short, long) < 0.5


def test_a_model_is_as_fast_as_itself() -> None:
    model = _chain(8)
    assert speedup(model, model) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("length", "side", "most_s"), [(2, 4, 3.0), (8, 64, 3.0), (16, 1024, 30.0)]
)
def test_it_takes_a_fraction_of_a_second_or_a_few_runs(
    length: int, side: int, most_s: float
) -> None:
    model = _chain(length, side)
    started = time.perf_counter()
    speedup(model, model)
    assert time.perf_counter() - started < most_s


@pytest.mark.parametrize(
    "bad",
    [
        b"no model",
        one_node("NoSuchOperator"),
        _chain(2).replace(b"x", b"z"),
        _chain(2, side=32),
    ],
)
def test_both_have_to_run_on_the_same_inputs(bad: bytes) -> None:
    good = _chain(2)
    for old, new in ((good, bad), (bad, good)):
        with pytest.raises(EvidenceError):
            speedup(old, new)


def test_a_provider_that_is_not_there() -> None:
    with pytest.raises(ProviderUnavailableError):
        speedup(_chain(2), _chain(2), "NoSuchExecutionProvider")
