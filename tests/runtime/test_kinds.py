from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from onnx_act.errors import EvidenceError, UsageError
from onnx_act.runtime.kinds import DEFAULT_COUNT, KINDS, ORDINARY, values_of_kind
from onnx_act.runtime.tensors import Array, TensorSpec, numpy_dtype

FLOATS = ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"]
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


def values(
    kind: str,
    dtype: str = "float32",
    *,
    shape: tuple[int, ...] = (50, 40),
    seed: int = 0,
    limits: tuple[float, float] | None = None,
    knots: tuple[float, ...] = (),
    divisor: float = 1.0,
) -> Array:
    spec = TensorSpec("x", dtype, shape, is_tensor=True)
    rng = np.random.default_rng(seed)
    return values_of_kind(rng, spec, shape, kind, limits=limits, knots=knots, divisor=divisor)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "bool"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (0, 3), (5, 4)])
def test_every_dtype_is_made_of_every_kind(dtype: str, kind: str, shape: tuple[int, ...]) -> None:
    x = values(kind, dtype, shape=shape)
    assert isinstance(x, np.ndarray)
    assert x.dtype == numpy_dtype(dtype)
    assert x.shape == shape
    assert np.isfinite(x.astype(np.float64)).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", [k for k in KINDS if k not in {"zero", "constant"}])
def test_floats_are_as_often_negative_as_positive(dtype: str, kind: str) -> None:
    x = values(kind, dtype).astype(np.float64)
    count = np.count_nonzero(x)
    # Five standard deviations of that many fair coins.
    assert abs(np.count_nonzero(x < 0) - count / 2) < 2.5 * np.sqrt(count)
    assert count > x.size / 2


@pytest.mark.parametrize(
    ("dtype", "most"), [("float16", 1e3), ("float32", 1e4), ("float64", 1e4), ("bfloat16", 1e4)]
)
def test_huge_is_huge_and_finite(dtype: str, most: float) -> None:
    x = np.abs(values("huge", dtype).astype(np.float64))
    rounding = 1.0 + float(ml_dtypes.finfo(numpy_dtype(dtype)).eps)  # type: ignore[no-untyped-call]
    assert 100.0 / rounding <= x.min() <= 110.0
    assert 0.9 * most <= x.max() <= most * rounding


def test_huge_is_divided() -> None:
    np.testing.assert_allclose(10.0 * values("huge", divisor=10.0), values("huge"), rtol=1e-6)


def test_knots_of_the_model_are_drawn_with_the_usual_ones() -> None:
    x = values("knots", knots=(0.123, -7.5))
    found = set(x.astype(np.float64).ravel().tolist())
    own = {float(np.float32(0.123)), -float(np.float32(0.123)), 7.5, -7.5}
    assert own <= found
    assert {0.0, 3.0, -6.0} <= found
    share = np.isin(x, np.array(sorted(own), np.float32)).mean()
    assert 0.4 < share < 0.6
    assert not own & set(values("knots").astype(np.float64).ravel().tolist())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "uint64"])
def test_ranges_are_kept(kind: str, dtype: str) -> None:
    x = values(kind, dtype, limits=(2, 5), knots=(3.5, 99.0)).astype(np.float64)
    assert x.min() >= 2.0
    assert x.max() <= 5.0
    if kind == "knots":
        assert {2.0, 5.0} <= set(x.ravel().tolist())
        assert (3.5 in x) == dtype.startswith("float")
    if kind == "zero":
        assert set(x.ravel().tolist()) == {2.0}


def test_rounding_does_not_leave_a_range() -> None:
    # 0.1 rounds down in float16: an end of the range is what it rounds to.
    x = values("normal", "float16", limits=(0.1, 0.1003))
    assert x.min() >= np.float16(0.1)
    assert x.max() <= np.float16(0.1003)


def test_integers_of_a_large_range_reach_both_ends() -> None:
    x = values("normal", "int64", limits=(-(2**40), 2**40), shape=(2000,))
    assert x.min() < -(2**39) < 2**39 < x.max()
    assert set(values("knots", "int64", limits=(0, 30521)).ravel().tolist()) == {0, 30521}


@pytest.mark.parametrize(
    ("dtype", "limits", "message"),
    [
        ("uint8", (0, 256), "goes beyond uint8, which holds 0 to 255"),
        ("int8", (-200, 0), "goes beyond int8"),
        ("uint64", (0, 2.0**64), "goes beyond uint64"),
        ("bool", (0, 2), "goes beyond bool"),
        ("int32", (0, 1.5), "whole numbers"),
        ("float16", (0, 1e6), "goes beyond float16, which ends at 65504"),
        ("float32", (1, 0), "is empty"),
        ("float32", (0, float("inf")), "finite ends"),
    ],
)
def test_ranges_that_cannot_be_are_wrong_use(
    dtype: str, limits: tuple[float, float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        values("normal", dtype, limits=limits)


@pytest.mark.parametrize(
    ("dtype", "is_tensor", "advice"),
    [
        ("string", True, "--data FILE.npz"),
        ("complex64", True, "--data FILE.npz"),
        ("int4", True, "cannot be run here"),
        ("seq(tensor(float))", False, "cannot be run here"),
    ],
)
def test_what_cannot_be_generated_says_what_else_to_do(
    dtype: str, advice: str, *, is_tensor: bool
) -> None:
    spec = TensorSpec("words", dtype, (1,), is_tensor=is_tensor)
    with pytest.raises(EvidenceError, match=f"'words' of type .*{advice}"):
        values_of_kind(np.random.default_rng(0), spec, (1,), "normal")


def test_the_default_number_ends_with_the_kinds_that_look_for_faults() -> None:
    chosen = KINDS[:DEFAULT_COUNT]
    assert set(chosen) & ORDINARY == ORDINARY - {"data"}
    assert {"knots", "huge"} <= set(chosen)
