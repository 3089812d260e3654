from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from small_models import Net, save

from onnx_act.errors import EvidenceError, ProviderUnavailableError
from onnx_act.evidence.equivalence import judge_equivalence
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.session import OptimizationLevel

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_act.evidence.verdict import Equivalence, OutputVerdict

FLOAT_TYPES = [np.float32, np.float16]


def verdict(tmp_path: Path, reference: Net, candidate: Net, **options: Any) -> Equivalence:
    return judge_equivalence(
        reference.save(tmp_path / "reference.onnx"),
        candidate.save(tmp_path / "candidate.onnx"),
        threads=1,
        **options,
    )


def only_output(equivalence: Equivalence) -> OutputVerdict:
    (provider,) = equivalence.providers
    (output,) = provider.outputs
    return output


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
@pytest.mark.parametrize("depth", [1, 6])
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="the same model"),
        pytest.param({"folded": True}, id="BatchNormalization folded in float64"),
        pytest.param({"folded": True, "fused": True}, id="LeakyRelu fused into the Conv"),
    ],
)
@pytest.mark.parametrize("classifies", [False, True])
def test_right_changes_pass(
    tmp_path: Path, dtype: Any, depth: int, changes: dict[str, Any], *, classifies: bool
) -> None:
    reference = Net(dtype, classifies=classifies)
    found = verdict(tmp_path, reference, reference.but(**changes), depth=depth)
    assert found.passed, found.reason
    assert found.reason == ""
    output = only_output(found)
    assert 0.0 <= output.minimum_tolerance <= 1.0
    assert [level.level for level in output.levels] == list(OptimizationLevel)
    assert output.judged > 0


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
@pytest.mark.parametrize("depth", [1, 6])
@pytest.mark.parametrize(
    "changes",
    [
        {"slope": 0.303},
        {"slope": 0.297, "folded": True},
        {"dropped_bias": True},
        {"second": "LeakyRelu", "second_slope": 0.3},
        {"second": "LeakyRelu", "second_slope": 0.01},
        {"second": "Elu"},
        {"folded": True, "negated_scale": True},
        {"slope": 0.0},
    ],
)
def test_wrong_changes_fail(
    tmp_path: Path, dtype: Any, depth: int, changes: dict[str, Any]
) -> None:
    reference = Net(dtype, slope=0.3)
    found = verdict(tmp_path, reference, reference.but(**changes), depth=depth)
    assert not found.passed
    output = only_output(found)
    assert output.minimum_tolerance > 1.0
    assert "output 'y'" in found.reason
    assert not any(level.passed for level in output.levels)


@pytest.mark.parametrize("slope", [0.01, 0.1])
def test_a_slope_off_by_one_percent_fails_in_float32(tmp_path: Path, slope: float) -> None:
    found = verdict(tmp_path, Net(slope=slope), Net(slope=1.01 * slope), depth=50)
    assert not found.passed
    assert only_output(found).minimum_tolerance > 10.0


def test_a_small_slope_beside_large_values_is_seen_in_float16(tmp_path: Path) -> None:
    """0.01 against 0.0101: 1e-4 of the positive values, a fifth of their rounding error."""

    def leaky(name: str, alpha: float) -> Path:
        node = helper.make_node("LeakyRelu", ["x"], ["y"], alpha=alpha)
        shape = ("N", 3, 16, 16)
        inputs = [("x", None, shape)]
        return save(tmp_path / name, [node], {}, dtype=np.float16, inputs=inputs)

    reference = leaky("a.onnx", 0.01)
    assert judge_equivalence(reference, leaky("b.onnx", 0.01)).passed
    assert not judge_equivalence(reference, leaky("c.onnx", 0.0101)).passed


def test_a_fault_in_small_outputs_beside_large_ones_is_seen(tmp_path: Path) -> None:
    """Boxes in pixels and scores below one in one tensor, as detectors return them."""

    def detector(name: str, gain: float) -> Path:
        nodes = [
            helper.make_node("Mul", ["x", "pixels"], ["boxes"]),
            helper.make_node("Mul", ["x", "gain"], ["scaled"]),
            helper.make_node("Sigmoid", ["scaled"], ["scores"]),
            helper.make_node("Concat", ["boxes", "scores"], ["y"], axis=1),
        ]
        weights = {"pixels": np.array([100], np.float16), "gain": np.array([gain], np.float16)}
        return save(tmp_path / name, nodes, weights, dtype=np.float16)

    reference = detector("a.onnx", 1.0)
    assert judge_equivalence(reference, detector("b.onnx", 1.0)).passed
    found = judge_equivalence(reference, detector("c.onnx", 1.2))
    assert not found.passed
    output = only_output(found)
    assert output.tolerance is not None
    assert output.max_abs < output.tolerance.atol
    assert "on the average" in found.reason


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_another_spelling_with_other_kernel_errors_passes(tmp_path: Path, dtype: Any) -> None:
    """The CPU's logistic is off by up to 1e-7, which is all of SiLU's tail at -17."""
    inputs = [("x", None, ("N", 4096))]
    by_sigmoid = [
        helper.make_node("Sigmoid", ["x"], ["s"]),
        helper.make_node("Mul", ["x", "s"], ["y"]),
    ]
    by_exp = [
        helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("Exp", ["n"], ["e"]),
        helper.make_node("Add", ["e", "one"], ["d"]),
        helper.make_node("Div", ["x", "d"], ["y"]),
    ]
    one = {"one": np.ones(1, dtype)}
    a = save(tmp_path / "a.onnx", by_sigmoid, {}, dtype=dtype, inputs=inputs)
    b = save(tmp_path / "b.onnx", by_exp, one, dtype=dtype, inputs=inputs)
    request = FeedRequest(count=5)
    for reference, candidate in ((a, b), (b, a)):
        found = judge_equivalence(reference, candidate, request=request)
        assert found.passed, found.reason
        assert only_output(found).max_abs > 0.0


def test_the_report_is_json_and_travels(tmp_path: Path) -> None:
    reference = Net().save(tmp_path / "a.onnx")
    candidate = Net(folded=True).save(tmp_path / "b.onnx")
    request = FeedRequest(seed=4, count=3)
    found = run_isolated(
        judge_equivalence, reference, candidate, request=request, threads=1, timeout_s=120
    )
    here = judge_equivalence(reference, candidate, request=request, threads=1)
    assert found == here == pickle.loads(pickle.dumps(found))
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["passed"] is True
    assert document["feeds"] == ["normal", "wide", "heavy"]
    output = document["providers"][0]["outputs"][0]
    assert set(output["tolerance"]) == {"atol", "rtol", "spread"}
    assert output["noise_floor"]["max_abs"] > 0.0
    assert output["levels"][0]["level"] == "disable"


def test_real_data_is_used(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=rng.random((70, 3, 8, 8)), labels=np.zeros(70))
    request = FeedRequest(data=tmp_path / "d.npz")
    found = verdict(tmp_path, Net(), Net(folded=True), request=request)
    assert found.passed
    assert found.feeds == ("data", "data")


def elementwise(tmp_path: Path, name: str, *ops: str, **options: Any) -> Path:
    values = ["x", *(f"v{i}" for i in range(len(ops) - 1)), "y"]
    nodes = [
        helper.make_node(op, [source], [target])
        for op, source, target in zip(ops, values, values[1:], strict=False)
    ]
    inputs = [("x", None, ("N", 64))]
    return save(tmp_path / name, nodes, {}, inputs=inputs, **options)


def test_nan_at_the_same_places_agrees(tmp_path: Path) -> None:
    log = elementwise(tmp_path, "log.onnx", "Log")
    again = elementwise(tmp_path, "again.onnx", "Identity", "Log")
    found = judge_equivalence(log, again)
    assert found.passed
    assert 0 < only_output(found).judged < 4 * 64 * 2


def test_nan_only_in_the_candidate_fails(tmp_path: Path) -> None:
    relu = elementwise(tmp_path, "a.onnx", "Relu", "Sqrt")
    root = elementwise(tmp_path, "b.onnx", "Sqrt")
    found = judge_equivalence(relu, root)
    assert not found.passed
    assert "NaN in other places" in found.reason
    assert only_output(found).to_dict()["minimum_tolerance"] is None


def test_nan_throughout_proves_nothing(tmp_path: Path) -> None:
    def never(name: str) -> Path:
        nodes = [
            helper.make_node("Abs", ["x"], ["a"]),
            helper.make_node("Sub", ["minus", "a"], ["b"]),
            helper.make_node("Log", ["b"], ["y"]),
        ]
        return save(tmp_path / name, nodes, {"minus": np.float32(-1).reshape(1)})

    found = judge_equivalence(never("a.onnx"), never("b.onnx"))
    assert not found.passed
    assert "no element that could be judged" in found.reason


def test_infinities_count_as_the_first_number_that_rounds_to_them(tmp_path: Path) -> None:
    def exponential(name: str, gain: float) -> Path:
        nodes = [helper.make_node("Mul", ["x", "k"], ["m"]), helper.make_node("Exp", ["m"], ["y"])]
        inputs = [("x", None, ("N", 64))]
        return save(tmp_path / name, nodes, {"k": np.array([gain], np.float32)}, inputs=inputs)

    reference = exponential("a.onnx", 30.0)
    assert judge_equivalence(reference, exponential("b.onnx", 30.0)).passed
    assert not judge_equivalence(reference, exponential("c.onnx", -30.0)).passed


def test_integer_outputs_are_exact(tmp_path: Path) -> None:
    def chosen(name: str, largest: str) -> Path:
        node = helper.make_node(largest, ["x"], ["y"], axis=1)
        outputs = [("y", np.int64, None)]
        inputs = [("x", None, ("N", 64))]
        return save(tmp_path / name, [node], {}, inputs=inputs, outputs=outputs)

    reference = chosen("a.onnx", "ArgMax")
    assert judge_equivalence(reference, chosen("b.onnx", "ArgMax")).passed
    found = judge_equivalence(reference, chosen("c.onnx", "ArgMin"))
    assert not found.passed
    assert "differs in 9 of 9 elements" in found.reason


def test_a_quantised_value_may_flip(tmp_path: Path) -> None:
    """A rounding error before a quantisation moves the result by a whole step."""

    def quantised(name: str, *, folded: bool, gain: float = 1.0) -> Path:
        rng = np.random.default_rng(0)
        w = rng.normal(0, 0.3, (64, 512)).astype(np.float32)
        factor = np.float32(1.0 / 3.0)
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["m"]),
            helper.make_node("Mul", ["m", "factor"], ["s"]),
            helper.make_node("QuantizeLinear", ["s", "step", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["y"]),
        ]
        weights = {
            "w": w * factor if folded else w,
            "factor": (np.float32(1) if folded else factor).reshape(1) * np.float32(gain),
            "step": np.float32(2e-4).reshape(()),
            "zero": np.zeros((), np.uint16),
        }
        inputs = [("x", None, ("N", 64))]
        return save(tmp_path / name, nodes, weights, inputs=inputs, opset=21)

    reference = quantised("a.onnx", folded=False)
    found = judge_equivalence(reference, quantised("b.onnx", folded=True))
    assert only_output(found).max_abs == pytest.approx(2e-4, rel=0.01)
    assert found.passed, found.reason
    assert not judge_equivalence(reference, quantised("c.onnx", folded=True, gain=1.01)).passed


def test_a_candidate_that_does_not_open_fails_with_the_runtimes_reason(tmp_path: Path) -> None:
    reference = elementwise(tmp_path, "a.onnx", "Relu")
    candidate = elementwise(tmp_path, "b.onnx", "NoSuchOperator")
    found = judge_equivalence(reference, candidate)
    assert not found.passed
    assert "does not run at level disable" in found.reason
    assert "NoSuchOperator" in found.reason
    assert found.providers[0].outputs == ()


def test_a_candidate_with_other_outputs_fails(tmp_path: Path) -> None:
    reference = elementwise(tmp_path, "a.onnx", "Relu")
    node = helper.make_node("ReduceSum", ["x"], ["other"])
    outputs = [("other", None, None)]
    inputs = [("x", None, ("N", 64))]
    candidate = save(tmp_path / "b.onnx", [node], {}, inputs=inputs, outputs=outputs)
    found = judge_equivalence(reference, candidate)
    assert not found.passed
    assert "another shape" in found.reason


def test_renamed_values_are_matched_by_position(tmp_path: Path) -> None:
    reference = elementwise(tmp_path, "a.onnx", "Relu")
    node = helper.make_node("Relu", ["in"], ["out"])
    inputs, outputs = [("in", None, ("N", 64))], [("out", None, None)]
    candidate = save(tmp_path / "b.onnx", [node], {}, inputs=inputs, outputs=outputs)
    assert judge_equivalence(reference, candidate).passed


def test_a_reference_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    brain = helper.make_node("Relu", ["x"], ["y"])
    values = (("x", None, ("N", 4)),)
    path = tmp_path / "a.onnx"
    save(path, [brain], {}, dtype=helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16),
         inputs=values)  # fmt: skip
    with pytest.raises(EvidenceError, match=r"reference does not run on cpu: NOT_IMPLEMENTED"):
        judge_equivalence(path, path)


def test_a_provider_that_is_missing_is_an_error(tmp_path: Path) -> None:
    path = elementwise(tmp_path, "a.onnx", "Relu")
    with pytest.raises(ProviderUnavailableError):
        judge_equivalence(path, path, providers=["NoSuchExecutionProvider"])


def test_a_second_provider_parts_the_error(tmp_path: Path) -> None:
    """Azure leaves every node to the CPU: the provider's share is nil, and is measured."""
    other = "AzureExecutionProvider"
    if other not in onnxruntime.get_available_providers():
        pytest.skip("this build of ONNX Runtime has no second provider")
    found = verdict(tmp_path, Net(), Net(folded=True), providers=["CPUExecutionProvider", other])
    assert found.passed
    first, second = (provider.outputs[0] for provider in found.providers)
    assert first.provider_difference is None
    assert second.provider_difference is not None
    assert second.provider_difference.identical
    assert second.total_difference is not None
    assert second.total_difference.max_abs > 0.0
    assert second.total_difference.sqnr_db > 100.0
    assert second.change_difference == second.total_difference
    assert found.providers[1].candidate_elsewhere


def test_a_reference_that_changes_from_run_to_run_is_noted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["r"]),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    path = save(tmp_path / "a.onnx", nodes, {})
    (provider,) = judge_equivalence(path, path).providers
    assert any("different results when it is run twice" in note for note in provider.notes)


@pytest.mark.parametrize("slope", [0.1, 0.3])
def test_a_slope_off_by_one_percent_fails_in_float16(tmp_path: Path, slope: float) -> None:
    """However deep the model is said to be: its rounding was measured."""
    found = verdict(tmp_path, Net(np.float16, slope), Net(np.float16, 1.01 * slope), depth=50)
    assert not found.passed
    assert "no rounding to 16 bits" in found.providers[0].conditions
    folded = verdict(tmp_path, Net(np.float16, slope), Net(np.float16, slope, folded=True))
    assert folded.passed, folded.reason


def test_noise_is_measured_over_numbers_of_threads(tmp_path: Path) -> None:
    path = Net().save(tmp_path / "a.onnx")
    (provider,) = judge_equivalence(path, path).providers
    assert "1 thread" in provider.conditions
    (pinned,) = judge_equivalence(path, path, threads=1).providers
    assert pinned.conditions == ()
