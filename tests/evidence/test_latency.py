from __future__ import annotations

import json
import os
import pickle
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper
from small_models import Net, save

from onnx_act.errors import UsageError
from onnx_act.evidence.latency import measure_latency
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.session import OptimizationLevel, Session, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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

    monkeypatch.setattr("onnx_act.evidence.rounds.open_session", recorded)
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


def test_it_stops_when_the_interval_is_narrow(tmp_path: Path) -> None:
    short, long = chain(tmp_path / "a.onnx", 2), chain(tmp_path / "b.onnx", 20)
    latency = measure_latency(short, long, seconds=60.0, threads=1, precision=0.5)
    assert latency.is_precise
    assert latency.seconds < 30.0
    assert latency.sessions >= 4
    assert latency.ratio is not None
    assert latency.ratio.resolution <= 0.5
    assert latency.ratio.verdict == "slower"


def test_one_model_stops_too(tmp_path: Path) -> None:
    latency = measure_latency(chain(tmp_path / "a.onnx", 20), seconds=60.0, precision=0.5)
    assert latency.is_precise
    assert latency.seconds < 30.0
    assert latency.a.low_s <= latency.a.high_s <= 2.5 * latency.a.low_s


def test_the_time_ends_what_never_becomes_precise(tmp_path: Path) -> None:
    model = chain(tmp_path / "a.onnx", 2)
    latency = measure_latency(model, model, seconds=0.5, threads=1, precision=1e-5)
    assert not latency.is_precise
    assert latency.precision == 1e-5
    assert latency.seconds < 5.0


def test_what_it_was_measured_under_is_kept(tmp_path: Path) -> None:
    free = chain(tmp_path / "a.onnx", 2)
    request = FeedRequest(batch=5)
    level = OptimizationLevel.BASIC
    latency = measure_latency(free, seconds=0.1, threads=2, request=request, level=level)
    assert (latency.threads, latency.level, latency.batch) == (2, level, 5)
    assert latency.shapes == (("x", (5, 64)),)
    document = latency.to_dict()
    assert document["level"] == "basic"
    assert document["provider_options"] == dict(latency.provider_options)
    if hasattr(os, "sched_getaffinity"):
        assert latency.affinity == tuple(sorted(os.sched_getaffinity(0)))
    assert latency.a.copying_s is None


def test_rows_that_a_model_cannot_have_are_told(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    fixed = save(tmp_path / "a.onnx", [node], {}, inputs=[("x", None, (1, 4))])
    measure_latency(fixed, seconds=0.05, request=FeedRequest(batch=1))
    with pytest.raises(UsageError, match=r"does not take 8 rows.*x \[1, 4\]"):
        measure_latency(fixed, seconds=0.05, request=FeedRequest(batch=8))


def test_on_a_device_runs_are_bound_and_copies_timed_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host's own memory stands in for a device's."""
    monkeypatch.setattr("onnx_act.evidence.rounds.device_of", lambda _: "cpu")
    model = chain(tmp_path / "a.onnx", 2)
    latency = measure_latency(model, model, seconds=0.4, threads=1)
    assert latency.b is not None
    for timing in (latency.a, latency.b):
        assert timing.copying_s is not None
        assert timing.copying_s > 0.0
        assert timing.median_s > 0.0
