from __future__ import annotations

import json
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_act.evidence.compare import DifferenceAccumulator, compare, ulp_distance


def test_identical_arrays() -> None:
    x = np.array([[1.0, -2.0, np.nan, np.inf]], np.float32)
    difference = compare(x, x.copy())
    assert difference.identical
    assert difference.max_abs == difference.mean_abs == difference.ulp_max == 0.0
    assert difference.sqnr_db == math.inf
    assert difference.cosine == pytest.approx(1.0)
    assert difference.nan_agrees
    assert difference.inf_agrees
    plain = difference.to_dict()
    assert plain["sqnr_db"] is None
    assert plain["identical"] is True
    json.dumps(plain, allow_nan=False)


def test_figures_of_a_known_difference() -> None:
    reference = np.array([3.0, 4.0, 0.0, 1e-9])
    candidate = np.array([3.0, 4.5, 0.0, 2e-9])
    difference = compare(reference, candidate)
    assert difference.mismatches == 2
    assert difference.max_abs == 0.5
    assert difference.mean_abs == pytest.approx(0.125)
    # 1e-9 beside 2.5 is compared with 1e-3 of the root mean square, not with itself.
    assert difference.max_rel == pytest.approx(0.125)
    assert difference.sqnr_db == pytest.approx(10 * math.log10(25 / 0.25))
    assert (difference.worst_feed, difference.worst_index) == (0, (1,))
    assert (difference.worst_reference, difference.worst_candidate) == (4.0, 4.5)
    assert difference.cosine == pytest.approx(27 / (5 * math.sqrt(29.25)))


def test_nan_and_infinity_are_told_apart() -> None:
    reference = np.array([np.nan, np.inf, -np.inf, 1.0])
    moved_nan = compare(reference, np.array([1.0, np.inf, -np.inf, np.nan]))
    assert not moved_nan.nan_agrees
    assert moved_nan.inf_agrees
    assert moved_nan.mismatches == 2
    other_sign = compare(reference, np.array([np.nan, -np.inf, -np.inf, 1.0]))
    assert other_sign.nan_agrees
    assert not other_sign.inf_agrees


def test_several_feeds_are_one_difference() -> None:
    rng = np.random.default_rng(0)
    whole = rng.standard_normal((2, 6, 4)).astype(np.float32)
    noisy = (whole + 1e-3 * rng.standard_normal(whole.shape)).astype(np.float32)
    accumulator = DifferenceAccumulator()
    for reference, candidate in zip(whole, noisy, strict=True):
        accumulator.add(reference, candidate)
    parts, at_once = accumulator.result(), compare(whole, noisy)
    for name in ("max_abs", "mean_abs", "sqnr_db", "cosine", "ulp_p50", "ulp_p99", "ulp_max"):
        assert getattr(parts, name) == pytest.approx(getattr(at_once, name)), name
    assert parts.top1 is not None
    assert parts.top1.total == 12
    assert parts.top1.low < parts.top1.rate <= parts.top1.high
    assert at_once.top1 is None


def test_top1_counts_rows() -> None:
    reference = np.eye(4, dtype=np.float32)
    candidate = reference.copy()
    candidate[0] = [0, 1, 0, 0]
    top1 = compare(reference, candidate).top1
    assert top1 is not None
    assert (top1.agreed, top1.total, top1.rate) == (3, 4, 0.75)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_one_step_is_one_ulp(dtype: Any) -> None:
    values = np.array([0.0, 1.0, -1.0, 1000.0, -1e-3], dtype)
    one_up = np.nextafter(values, np.array(np.inf, dtype))
    assert ulp_distance(values, one_up).tolist() == [1.0] * 5
    assert ulp_distance(np.array([-0.0], dtype), np.array([0.0], dtype)).tolist() == [0.0]


@given(
    st.floats(allow_nan=False, width=32),
    st.floats(allow_nan=False, width=32),
    st.floats(allow_nan=False, width=32),
)
def test_ulps_are_a_distance(a: float, b: float, c: float) -> None:
    x, y, z = (np.array([value], np.float32) for value in (a, b, c))
    assert ulp_distance(x, y) == ulp_distance(y, x)
    assert ulp_distance(x, x) == 0
    low, middle, high = sorted((x, y, z), key=lambda value: float(value[0]))
    assert ulp_distance(low, high) == ulp_distance(low, middle) + ulp_distance(middle, high)


def test_integers_booleans_and_strings() -> None:
    difference = compare(np.array([1, 5], np.int64), np.array([1, 8], np.int64))
    assert (difference.mismatches, difference.max_abs, difference.ulp_max) == (1, 3.0, 3.0)
    assert compare(np.array([True, False]), np.array([True, True])).mismatches == 1
    words = compare(np.array(["a", "b"], object), np.array(["a", "c"], object))
    assert words.mismatches == 1


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        compare(np.zeros(2), np.zeros(3))


def test_empty_arrays_are_identical() -> None:
    assert compare(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)).identical
