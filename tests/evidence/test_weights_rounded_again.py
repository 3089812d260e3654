"""A fold rounds 16-bit weights again: that passes, and nothing wrong passes with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper
from small_models import save

from onnx_act.evidence import baseline
from onnx_act.evidence.equivalence import judge_equivalence
from onnx_act.evidence.noise import rounded_again
from onnx_act.graph.factors import unit_in_last_place
from onnx_act.runtime.feeds import FeedRequest

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_act.evidence.verdict import ProviderVerdict

BFLOAT16 = ml_dtypes.bfloat16
SHORT = [np.float16, BFLOAT16]


@dataclass(frozen=True)
class Sloped:
    """A Conv and a PRelu with a slope for each pixel; the CPU computes bfloat16 between casts.

    Attributes:
        dtype: float16 or bfloat16.
        scaled: the seed of factors that the kernel was multiplied by, and its result divided by.
        flipped: the bit of one weight that was flipped.
        slope: what slopes were multiplied by.
        drops_bias: of the first channel.
        negates: the first channel.
        network: the seed of the weights.
    """

    dtype: Any
    scaled: int | None = None
    flipped: int | None = None
    slope: float = 1.0
    drops_bias: bool = False
    negates: bool = False
    network: int = 5

    def save(self, path: Path) -> Path:
        rng = np.random.default_rng(self.network)
        kernel = rng.normal(0, 0.3, (4, 3, 3, 3)).astype(self.dtype)
        bias = rng.normal(0, 0.6, 4).astype(self.dtype)
        slopes = rng.normal(0, 0.3, (4, 8, 8)).astype(self.dtype).astype(np.float64) * self.slope
        back = None
        if self.scaled is not None:
            factors = np.random.default_rng(self.scaled).uniform(0.5, 2.0, 4)
            by_channel = factors.reshape(-1, 1, 1, 1)
            kernel = (kernel.astype(np.float64) * by_channel).astype(self.dtype)
            bias = (bias.astype(np.float64) * factors).astype(self.dtype)
            back = (1.0 / factors).reshape(1, -1, 1, 1).astype(self.dtype)
        if self.flipped is not None:
            largest = int(np.argmax(np.abs(kernel)))
            kernel.view(np.uint16).reshape(-1)[largest] ^= 1 << self.flipped
        if self.drops_bias:
            bias[0] = 0
        if self.negates:
            kernel[0] = -kernel[0]
        weights = {"w": kernel, "b": bias, "s": slopes.astype(self.dtype)}
        convolved = "c" if back is None else "grown"
        nodes = self._nodes("Conv", ["x", "w", "b"], convolved, pads=[1, 1, 1, 1])
        if back is not None:
            weights["back"] = back
            nodes += self._nodes("Mul", ["grown", "back"], "c")
        nodes += self._nodes("PRelu", ["c", "s"], "y")
        inputs = [("x", None, (1, 3, 8, 8))]
        return save(path, nodes, weights, dtype=self.dtype, inputs=inputs)

    def _nodes(self, op: str, inputs: list[str], output: str, **options: Any) -> list[Any]:
        if self.dtype is np.float16:
            return [helper.make_node(op, inputs, [output], **options)]
        wide, short = onnx.TensorProto.FLOAT, onnx.TensorProto.BFLOAT16
        names = [f"{name}_for_{output}" for name in inputs]
        return [
            *(
                helper.make_node("Cast", [name], [cast], to=wide)
                for name, cast in zip(inputs, names, strict=True)
            ),
            helper.make_node(op, names, [f"{output}_wide"], **options),
            helper.make_node("Cast", [f"{output}_wide"], [output], to=short),
        ]


def _verdict(folder: Path, reference: Sloped, candidate: Sloped) -> ProviderVerdict:
    found = judge_equivalence(
        reference.save(folder / "reference.onnx"),
        candidate.save(folder / "candidate.onnx"),
        request=FeedRequest(knots=(0.0,)),
        threads=1,
        depth=2,
        coarsest_dtype=np.dtype(reference.dtype).name,
    )
    return found.providers[0]


def _factor(verdict: ProviderVerdict) -> float:
    return verdict.outputs[0].minimum_tolerance


@pytest.mark.parametrize("dtype", SHORT)
def test_weights_that_were_multiplied_and_rounded_again_pass(tmp_path: Path, dtype: Any) -> None:
    for seed in range(12):
        found = _verdict(tmp_path, Sloped(dtype), Sloped(dtype, scaled=seed))
        assert found.passed, (seed, found.reason)
        assert "2 weights rounded again" in found.conditions


@pytest.mark.parametrize(
    ("network", "scaled"),
    [pytest.param(29, 2, id="a kernel"), pytest.param(20, 6, id="a bias just above 1")],
)
def test_without_a_look_at_the_candidate_they_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: int, scaled: int
) -> None:
    reference = Sloped(np.float16, network=network)
    candidate = replace(reference, scaled=scaled)
    after = _verdict(tmp_path, reference, candidate)
    monkeypatch.setattr(baseline, "weights_rounded_again", lambda *_: {})
    before = _verdict(tmp_path, reference, candidate)
    assert after.passed
    assert not before.passed
    assert _factor(after) < 1.0 < _factor(before)


FAULTS = [
    pytest.param({"flipped": 9}, id="a bit of one weight"),
    pytest.param({"slope": 1.01}, id="slopes 1 % off"),
    pytest.param({"drops_bias": True}, id="the bias of one channel lost"),
    pytest.param({"negates": True}, id="one channel negated"),
]


@pytest.mark.parametrize("scaled", [None, 1])
@pytest.mark.parametrize("changes", FAULTS)
def test_faults_fail_beside_a_fold_and_without(
    tmp_path: Path, changes: dict[str, Any], scaled: int | None
) -> None:
    reference = Sloped(np.float16)
    found = _verdict(tmp_path, reference, replace(reference, scaled=scaled, **changes))
    assert not found.passed
    assert _factor(found) > 2.0


# One per cent is three roundings of bfloat16: no fault that can be told from them.
@pytest.mark.parametrize("scaled", [None, 1])
@pytest.mark.parametrize("changes", [FAULTS[2], FAULTS[3]])
def test_faults_fail_in_bfloat16(
    tmp_path: Path, changes: dict[str, Any], scaled: int | None
) -> None:
    reference = Sloped(BFLOAT16)
    found = _verdict(tmp_path, reference, replace(reference, scaled=scaled, **changes))
    assert not found.passed


def test_only_what_the_change_rounded_again_is_allowed_more(tmp_path: Path) -> None:
    reference = Sloped(np.float16)
    same = _verdict(tmp_path, reference, reference)
    slopes = _verdict(tmp_path, reference, replace(reference, slope=1.01))
    flipped = _verdict(tmp_path, reference, replace(reference, flipped=9))
    for found in (slopes, flipped):
        assert found.conditions == same.conditions
        assert found.outputs[0].noise_floor == same.outputs[0].noise_floor


@pytest.mark.parametrize("dtype", SHORT)
def test_the_motion_is_that_of_one_rounding(dtype: Any) -> None:
    numbers = np.random.default_rng(0).normal(0, 0.3, (200, 100)).astype(dtype)
    weights = {"w": numbers, "b": numbers[0]}
    moves = rounded_again(weights, np.random.default_rng(1))
    assert {array.dtype for array in moves.values()} == {np.dtype(np.float32)}
    moved = moves["w"]
    units = (moved - weights["w"].astype(np.float64)) / unit_in_last_place(weights["w"])
    # Float32 itself rounds: 2^-24 against 2^-11 and 2^-8.
    assert np.max(np.abs(units)) <= 0.5 + 2.0**-12
    # Uniform over one unit: its standard deviation is sqrt(1/12), known from 20,000 to 1 %.
    assert abs(float(np.std(units)) * 12**0.5 - 1.0) < 0.03
    assert abs(float(np.mean(units))) < 0.01
    halves = (moves["b"] - numbers[0].astype(np.float64)) / unit_in_last_place(numbers[0])
    np.testing.assert_allclose(np.abs(halves), 0.5, atol=2.0**-12)
    assert set(np.sign(halves)) == {-1.0, 1.0}
