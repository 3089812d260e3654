"""The envelope answers for every tolerance what all elements would answer."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from onnx_act.evidence.envelope import Envelope, envelope_of

Floats = npt.NDArray[np.float64]
_NUMBERS = st.floats(0.0, 1e6, allow_subnormal=False)
_POINTS = arrays.arrays(np.float64, st.tuples(st.integers(1, 60), st.just(2)), elements=_NUMBERS)


def passes(m: Floats, d: Floats, atol: float, rtol: float) -> bool:
    return bool(np.all(d <= atol + rtol * m))


@given(_POINTS, st.floats(0.0, 1e6), st.floats(0.0, 10.0))
def test_it_passes_what_all_elements_pass(points: Floats, atol: float, rtol: float) -> None:
    m, d = points[:, 0], points[:, 1]
    assert (envelope_of(m, d).factor(atol, rtol) <= 1.0) == passes(m, d, atol, rtol)


@given(_POINTS, _POINTS, st.floats(0.0, 1e6), st.floats(0.0, 10.0))
def test_merged_it_passes_what_both_pass(a: Floats, b: Floats, atol: float, rtol: float) -> None:
    both = envelope_of(a[:, 0], a[:, 1]).merged(envelope_of(b[:, 0], b[:, 1]))
    expected = passes(a[:, 0], a[:, 1], atol, rtol) and passes(b[:, 0], b[:, 1], atol, rtol)
    assert (both.factor(atol, rtol) <= 1.0) == expected


@pytest.mark.parametrize("size", [1000, 300_000])
@pytest.mark.parametrize("growing", [False, True])
def test_few_points_stand_for_many(size: int, *, growing: bool) -> None:
    rng = np.random.default_rng(size)
    m = np.abs(rng.standard_normal(size))
    d = np.abs(rng.standard_normal(size)) * 1e-6 * (m if growing else 1.0)
    found = envelope_of(m, d)
    assert 0 < len(found.magnitudes) < 100
    for rtol in (0.0, 1e-7, 1e-6, 1e-5):
        exact = float(np.max(d - rtol * m))
        # Where it was simplified it asks for more, and for no more than a rounding's worth.
        assert exact <= found.minimum_atol(rtol) <= exact + 1e-3 * float(d.max())


def test_many_corners_are_cut_to_the_safe_side() -> None:
    m = np.linspace(0.0, 1.0, 200_000)
    d = np.sqrt(m)
    found = envelope_of(m, d)
    assert len(found.magnitudes) <= 256
    for rtol in np.linspace(0.1, 10.0, 50).tolist():
        exact = float(np.max(d - rtol * m))
        assert exact <= found.minimum_atol(rtol) <= exact + 0.1


def test_what_it_takes() -> None:
    found = envelope_of(np.array([0.0, 1.0, 10.0]), np.array([0.5, 1.0, 3.0]))
    assert found.minimum_atol(0.0) == 3.0
    assert found.minimum_atol(0.25) == 0.75
    assert found.minimum_rtol(1.0) == pytest.approx(0.2)
    assert found.factor(3.0, 0.0) == 1.0
    assert found.factor(0.0, 1.0) == math.inf
    assert found.minimum_rtol(0.1) == math.inf


def test_no_difference_passes_everything() -> None:
    found = envelope_of(np.array([0.0, 1.0]), np.zeros(2))
    assert found == Envelope()
    assert found.factor(0.0, 0.0) == 0.0
    assert found.minimum_atol(0.0) == 0.0
