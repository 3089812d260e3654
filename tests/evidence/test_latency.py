from __future__ import annotations

import json
import pickle
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper
from small_models import Net, save

from onnx_act.evidence.latency import measure_latency
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.session import OptimizationLevel, Session, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def chain(path: Path, length: int) -> Path:
    """`length` multiplications of matrices that no optimisation merges."""
    nodes = []
    for i in range(length):
        nodes += [
            helper.make_node("MatMul", [f"v{i}" if i else "x", "w"], [f"m{i}"]),
            helper.make_node("Tanh", [f"m{i}"], [f"v{i + 1}" if i + 1 < length else "y"]),
        ]
    w = np.random.default_rng(0).normal(0, 0.1, (64, 64)).astype(np.float32)
    return save(path, nodes, {"w": w}, inputs=[("x", None, ("N", 64))])


def test_ten_times_the_work_is_slower(tmp_path: Path) -> None:
    short, long = chain(tmp_path / "a.onnx", 2), chain(tmp_path / "b.onnx", 20)
    latency = measure_latency(short, long, seconds=1.5, threads=1)
    assert latency.ratio is not None
    assert latency.b is not None
    assert latency.ratio.verdict == "slower"
    assert latency.ratio.low <= latency.ratio.median <= latency.ratio.high < 0.5
    assert latency.a.median_s < latency.b.median_s
    for timing in (latency.a, latency.b):
        assert timing.min_s <= timing.median_s <= timing.p90_s <= timing.p99_s
        assert timing.creation_s > 0.0
    assert latency.blocks >= 3
    assert latency.sessions >= 2
    other_way = measure_latency(long, short, seconds=1.0, threads=1)
    assert other_way.ratio is not None
    assert other_way.ratio.verdict == "faster"


def test_one_model_has_no_ratio(tmp_path: Path) -> None:
    latency = measure_latency(Net().save(tmp_path / "a.onnx"), seconds=0.3, threads=1)
    assert latency.b is None
    assert latency.ratio is None
    assert latency.shapes == (("x", (1, 3, 8, 8)),)
    assert pickle.loads(pickle.dumps(latency)) == latency
    document = json.loads(json.dumps(latency.to_dict(), allow_nan=False))
    assert document["a"]["median_s"] > 0.0
    assert document["threads"] == 1


def test_the_request_decides_the_shape(tmp_path: Path) -> None:
    request = FeedRequest(shapes=(("x", (3, 3, 10, 8)),))
    node = helper.make_node("Relu", ["x"], ["y"])
    free = save(tmp_path / "a.onnx", [node], {}, inputs=[("x", None, ("N", 3, "H", 8))])
    latency = measure_latency(free, seconds=0.2, request=request)
    assert latency.shapes == (("x", (3, 3, 10, 8)),)


def test_both_run_at_the_level_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Net().save(tmp_path / "a.onnx")
    opened: set[OptimizationLevel] = set()

    def recorded(path: Path, settings: SessionSettings) -> Session:
        opened.add(settings.level)
        return open_session(path, settings)

    monkeypatch.setattr("onnx_act.evidence.latency.open_session", recorded)
    measure_latency(model, model, seconds=0.1)
    assert opened == {OptimizationLevel.ALL}
    opened.clear()
    measure_latency(model, model, seconds=0.1, level=OptimizationLevel.DISABLE)
    assert opened == {OptimizationLevel.DISABLE}


def test_slow_models_stay_within_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that takes longer than the whole time is still measured once, with a warning."""
    runs = 0

    def slow(_: Session, *__: Any) -> Callable[[], object]:
        def run() -> None:
            nonlocal runs
            runs += 1
            time.sleep(0.2)

        return run

    monkeypatch.setattr(Session, "prepared", slow)
    model = Net().save(tmp_path / "a.onnx")
    latency = measure_latency(model, model, seconds=0.1)
    assert latency.blocks == 1
    assert runs <= 8
    assert any("only 1 blocks" in warning for warning in latency.warnings)
    assert latency.ratio is not None
    assert latency.ratio.verdict == "no difference shown"


def test_a_model_against_itself_shows_no_difference() -> None:
    """The rule behind the verdict, without a clock: one pair of sessions claims nothing small."""
    from onnx_act.evidence.latency import _ratio  # noqa: PLC0415 - the rule is internal

    near = [1.004 + 1e-4 * (i % 3) for i in range(30)]
    assert _ratio([near], 0).verdict == "no difference shown"
    assert _ratio([[1.05 + 1e-4 * (i % 3) for i in range(30)]], 0).verdict == "faster"
    assert _ratio([[0.5, 0.5]], 0).verdict == "no difference shown"
    several = _ratio([near, near, near, near], 0)
    assert several.verdict == "faster"
    assert several.resolution < 0.003
    barely = [1.0008] * 30
    assert _ratio([barely] * 8, 0).verdict == "no difference shown"
