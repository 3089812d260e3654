from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from onnx_act.evidence.compare import ulp_distance
from onnx_act.evidence.noise import OutputNoise, jittered, rms_by_binade
from onnx_act.evidence.precision import precision_of
from onnx_act.evidence.tolerance import judge_output

FLOAT32 = precision_of("float32")


def test_the_floor_is_the_largest_deviation() -> None:
    noise = OutputNoise(np.array([1.0, -2.0, 0.0], np.float32))
    noise.add(np.array([1.0, -2.0, 0.5], np.float32))
    noise.add(np.array([1.25, -2.0, 0.0], np.float32))
    assert noise.max_abs == 0.5
    assert noise.total_rms == pytest.approx(0.5 / math.sqrt(3))
    assert noise.rms == pytest.approx(math.sqrt(5 / 3))


def test_what_is_not_stable_is_not_judged() -> None:
    noise = OutputNoise(np.array([np.nan, np.inf, 1.0, 1.0], np.float32))
    noise.add(np.array([np.nan, np.inf, np.nan, 1.0], np.float32))
    assert noise.unstable.tolist() == [False, False, True, False]
    candidate = np.array([np.nan, np.inf, 7.0, 1.0], np.float32)
    judgement = judge_output(noise, candidate, precision=FLOAT32)
    assert judgement.severity == 0.0
    assert (judgement.judged, judgement.unjudged) == (2, 1)


def test_binades_keep_magnitudes_apart() -> None:
    noise = OutputNoise(np.array([1000.0] * 40 + [0.01] * 40, np.float32))
    values = noise.baseline.astype(np.float64)
    deviations = np.repeat([1e-3, 1e-7], 40)
    spread, counts = rms_by_binade(deviations, noise.binades(values))
    assert sorted(counts[counts > 0].tolist()) == [40, 40]
    assert sorted(spread[counts > 0].tolist()) == pytest.approx([1e-7, 1e-3])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_jitter_is_a_rounding_error(dtype: Any) -> None:
    x = np.random.default_rng(0).standard_normal((100, 100)).astype(dtype)
    x[0] = 0
    feed = {"x": x, "n": np.arange(3)}
    moved = jittered(feed, np.random.default_rng(1))
    assert moved is not None
    assert moved["x"].dtype == x.dtype
    assert moved["n"] is feed["n"]
    assert not moved["x"][0].any()
    steps = ulp_distance(x[1:], moved["x"][1:])
    assert steps.max() == 1.0
    share = 1.0 if x.dtype.itemsize >= 4 else 1 / 12
    assert np.mean(steps) == pytest.approx(share, abs=0.02)
    strong = jittered(feed, np.random.default_rng(1), strong=True)
    assert strong is not None
    assert np.mean(ulp_distance(x, strong["x"])) > 2 * np.mean(steps)


def test_integers_do_not_jitter() -> None:
    assert jittered({"n": np.arange(3)}, np.random.default_rng(0)) is None


def judged(reference: Any, candidate: Any, dtype: str = "float32", **options: Any) -> float:
    name = np.dtype(getattr(ml_dtypes, dtype, None) or dtype)
    noise = OutputNoise(np.array(reference, name))
    precision = precision_of(dtype)
    return judge_output(noise, np.array(candidate, name), precision=precision, **options).severity


def test_the_limits_are_where_they_are_said_to_be() -> None:
    """One element: 4 g u (R + |r|) = 4 * 4 * 2**-24 * 2 for a value of 1."""
    limit = 32 * 2.0**-24
    assert judged([1.0], [1.0 + limit]) == pytest.approx(1.0)
    assert judged([1.0], [1.0 + limit], depth=4) == pytest.approx(0.5)
    assert judged([1.0], [1.0 + 2 * limit]) == pytest.approx(2.0)
    assert judged([0.0], [1e-6], scale=1.0) == pytest.approx(1e-6 / (16 * 2.0**-24), rel=1e-5)


def test_noise_widens_the_limits() -> None:
    noise = OutputNoise(np.ones(1, np.float32))
    candidate = np.full(1, 1.001, np.float32)
    before = judge_output(noise, candidate, precision=FLOAT32).severity
    noise.add(np.full(1, 1.0005, np.float32))
    after = judge_output(noise, candidate, precision=FLOAT32).severity
    assert before > 100.0
    assert after == pytest.approx(2.0 / 3.0, rel=0.01)


def test_a_broad_error_is_seen_below_the_largest_rounding() -> None:
    rng = np.random.default_rng(0)
    r = rng.standard_normal(10000)
    wrong = judged(r, r * (1 + 3e-3), "float16")
    one = r.copy()
    one[5] += 1e-3
    assert wrong > 1.0
    assert judged(r, one, "float16") < 1.0


@pytest.mark.parametrize(("elements", "is_seen"), [(7, False), (8, True)])
def test_the_scores_of_a_classifier_are_enough_for_a_broad_error(
    elements: int, *, is_seen: bool
) -> None:
    noise = OutputNoise(np.ones(elements, np.float32))
    # Every element is off by 12 u: above the root mean square of 4 u, below the 32 u of one.
    candidate = np.full(elements, 1.0 + 12 * 2.0**-24, np.float32)
    judgement = judge_output(noise, candidate, precision=FLOAT32)
    assert (judgement.severity > 1.0) == is_seen
    assert (judgement.criterion == "spread") == is_seen


def test_values_may_cross_the_overflow_only_next_to_it() -> None:
    assert judged([65504.0], [np.inf], "float16") < 1.0
    assert judged([30000.0], [np.inf], "float16") > 1.0
    assert judged([np.inf, 1.0], [-np.inf, 1.0], "float16") > 1.0
    assert judged([np.inf, 1.0], [np.inf, 1.0], "float16") == 0.0


def test_nan_must_be_where_it_was() -> None:
    assert judged([1.0, np.nan], [1.0, np.nan]) == 0.0
    assert judged([1.0, np.nan], [np.nan, 1.0]) == math.inf
    assert judged([1.0], [1.0, 2.0]) == math.inf


def test_the_coarsest_type_decides() -> None:
    assert precision_of("float32", "", "float16").unit == 2.0**-11
    assert precision_of("int64").unit == 2.0**-24
