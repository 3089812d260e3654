from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper
from small_models import Net, save

from onnx_act.evidence.baseline import equivalence_settings, measure_baseline
from onnx_act.evidence.drift import measure_drift
from onnx_act.evidence.equivalence import judge_equivalence
from onnx_act.evidence.precision import precision_of
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.kinds import KINDS, ORDINARY
from onnx_act.runtime.session import CPU, open_session

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import NodeProto


def elementwise(tmp_path: Path, name: str, *nodes: NodeProto, dtype: Any = np.float32) -> Path:
    inputs = [("x", None, ("N", 64))]
    return save(tmp_path / name, nodes, {"one": np.ones(1, dtype)}, dtype=dtype, inputs=inputs)


def log_of_one_and_exp(tmp_path: Path) -> Path:
    """Softplus as it must not be written: the exponential overflows from 88 on."""
    return elementwise(
        tmp_path,
        "by_exp.onnx",
        helper.make_node("Exp", ["x"], ["e"]),
        helper.make_node("Add", ["e", "one"], ["s"]),
        helper.make_node("Log", ["s"], ["y"]),
    )


def test_an_overflow_that_only_huge_inputs_show_fails(tmp_path: Path) -> None:
    reference = elementwise(tmp_path, "a.onnx", helper.make_node("Softplus", ["x"], ["y"]))
    found = judge_equivalence(reference, log_of_one_and_exp(tmp_path))
    assert not found.passed
    assert "on huge inputs" in found.reason
    # Nothing else shows it: the same feeds without the huge one.
    assert judge_equivalence(
        reference, log_of_one_and_exp(tmp_path), request=FeedRequest(count=2)
    ).passed


def test_infinities_at_the_same_places_agree(tmp_path: Path) -> None:
    path = log_of_one_and_exp(tmp_path)
    found = judge_equivalence(path, path)
    assert found.passed, found.reason
    feeds = feeds_for(open_session(path), FeedRequest())
    (y,) = open_session(path).run(feeds.feeds[KINDS.index("huge")])
    assert 0 < np.count_nonzero(np.isinf(y)) <= y.size / 2


def test_huge_inputs_are_divided_until_half_of_the_output_is_finite(tmp_path: Path) -> None:
    square = helper.make_node("Mul", ["x", "x"], ["y"])
    path = elementwise(tmp_path, "square.onnx", square, dtype=np.float16)
    x = feeds_for(open_session(path), FeedRequest()).feeds[KINDS.index("huge")]["x"]
    # 256 squared is the first power of two that float16 lacks.
    assert np.median(np.abs(x.astype(np.float64))) < 256.0
    assert np.abs(x.astype(np.float64)).min() >= 9.9
    plain = elementwise(tmp_path, "plain.onnx", helper.make_node("Relu", ["x"], ["y"]))
    x = feeds_for(open_session(plain), FeedRequest()).feeds[KINDS.index("huge")]["x"]
    assert np.abs(x).min() >= 100.0


def test_figures_are_those_of_the_other_feeds(tmp_path: Path) -> None:
    reference = Net().save(tmp_path / "a.onnx")
    candidate = Net(folded=True).save(tmp_path / "b.onnx")
    without = judge_equivalence(reference, candidate, request=FeedRequest(count=5), threads=1)
    found = judge_equivalence(reference, candidate, request=FeedRequest(count=6), threads=1)
    assert found.feeds[-1] == "huge"
    ((output,),) = (list(p.outputs) for p in found.providers)
    ((other,),) = (list(p.outputs) for p in without.providers)
    assert output.max_abs == other.max_abs > 0.0
    assert output.difference == other.difference
    assert output.noise_floor.max_abs == other.noise_floor.max_abs
    assert output.minimum_atol == other.minimum_atol
    assert output.judged > other.judged


def test_feeds_after_a_huge_one_keep_their_numbers(tmp_path: Path) -> None:
    leaky = helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.5)
    reference = elementwise(tmp_path, "a.onnx", helper.make_node("Relu", ["x"], ["y"]))
    candidate = elementwise(tmp_path, "b.onnx", leaky)
    found = judge_equivalence(reference, candidate, request=FeedRequest(count=14))
    worst = found.providers[0].outputs[0].difference
    feeds = feeds_for(open_session(reference), FeedRequest(count=14)).feeds
    assert feeds[worst.worst_feed]["x"][worst.worst_index] == worst.worst_candidate / 0.5


def test_drift_is_that_on_ordinary_inputs(tmp_path: Path) -> None:
    before = Net(slope=0.1).save(tmp_path / "a.onnx")
    after = Net(slope=0.2).save(tmp_path / "b.onnx")
    drift = measure_drift(before, after, threads=1)
    assert set(drift.origin) == ORDINARY - {"data"}
    assert drift.feeds == 4
    assert drift == measure_drift(before, after, threads=1, request=FeedRequest(count=4))


def test_jumps_on_huge_inputs_do_not_widen_the_noise_of_others(tmp_path: Path) -> None:
    """exp(x / 200) of a rounding error of 10,000 is a jump; that of 3 is none."""
    nodes = [
        helper.make_node("Div", ["x", "big"], ["d"]),
        helper.make_node("Exp", ["d"], ["y"]),
    ]
    inputs = [("x", None, ("N", 64))]
    path = save(tmp_path / "m.onnx", nodes, {"big": np.array([200.0], np.float32)}, inputs=inputs)
    settings = equivalence_settings(CPU, 1)
    found = {
        count: measure_baseline(path, settings, FeedRequest(count=count), most=16)
        for count in (5, 6)
    }
    precision = precision_of("float32")
    jumps = [noise["y"].comes_in_jumps(precision) for noise in found[6].noises]
    assert jumps == [False] * 5 + [True]
    for with_huge, without in zip(found[6].noises, found[5].noises, strict=False):
        assert with_huge["y"].max_abs == without["y"].max_abs
