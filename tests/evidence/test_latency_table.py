from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from onnx import helper
from small_models import save

from onnx_act.errors import EvidenceError, UsageError
from onnx_act.evidence.latency import measure_latency
from onnx_act.evidence.latency_table import Combination, combinations, measure_table
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.session import CPU, OptimizationLevel

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_act.evidence.latency import Latency

ALL, NONE = OptimizationLevel.ALL, OptimizationLevel.DISABLE


@pytest.fixture
def model(tmp_path: Path) -> Path:
    nodes = [helper.make_node("Softplus", ["x"], ["y"])]
    return save(tmp_path / "a.onnx", nodes, {}, inputs=[("x", None, ("N", 64))])


def test_combinations_are_each_once() -> None:
    found = combinations([NONE, ALL], [1, 2, 1], [None])
    assert found == tuple(Combination(level, n) for level in (NONE, ALL) for n in (1, 2))
    assert str(Combination(ALL, 0, 8)) == "level all, the default number of threads, batch 8"
    assert str(Combination(NONE, 2)) == "level disable, threads 2"


def test_one_row_for_each_combination_within_the_time(model: Path) -> None:
    ways = combinations([NONE, ALL], [1, 2], [1, 8])
    started = time.perf_counter()
    table = measure_table(
        model, model, ways, provider=CPU, seconds=2.0, request=FeedRequest(), precision=0.005
    )
    # What each gets in any case, and a machine that is busy, are allowed for.
    assert time.perf_counter() - started < 10.0
    assert table.failures == ()
    assert [Combination(r.level, r.threads, r.batch) for r in table.rows] == list(ways)
    assert [r.shapes for r in table.rows] == [(("x", (way.batch, 64)),) for way in ways]
    assert all(r.ratio is not None and r.b is not None for r in table.rows)


def test_rows_that_the_model_does_not_take_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Softplus", ["x"], ["y"])]
    fixed = save(tmp_path / "a.onnx", nodes, {}, inputs=[("x", None, (1, 64))])
    ways = combinations([ALL], [1], [1, 8])
    with pytest.raises(UsageError, match="does not take 8 rows"):
        measure_table(fixed, None, ways, provider=CPU, seconds=0.1, request=FeedRequest())


def test_a_combination_that_fails_is_told_and_the_others_are_measured(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[float] = []

    def brittle(
        a: Path, b: Path | None, *, seconds: float, threads: int, **rest: object
    ) -> Latency:
        shares.append(seconds)
        if threads == 2:
            raise EvidenceError("no kernel")
        return measure_latency(a, b, seconds=0.05, threads=threads, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr("onnx_act.evidence.latency_table.measure_latency", brittle)
    ways = combinations([ALL], [1, 2, 3], [None])
    table = measure_table(model, None, ways, provider=CPU, seconds=6.0, request=FeedRequest())
    assert [row.threads for row in table.rows] == [1, 3]
    assert table.failures == ("not measured at level all, threads 2: no kernel",)
    # What the first left over goes to the others.
    assert shares[0] == pytest.approx(2.0, abs=0.1)
    assert 2.5 < shares[1] < 3.0
    assert 5.0 < shares[2] < 6.0


def test_nothing_that_runs_is_an_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, threads: int, **__: object) -> Latency:
        raise EvidenceError(f"no kernel for {threads}")

    monkeypatch.setattr("onnx_act.evidence.latency_table.measure_latency", fail)
    ways = combinations([ALL], [1, 2], [None])
    with pytest.raises(EvidenceError, match="no kernel for 1"):
        measure_table(model, None, ways, provider=CPU, seconds=1.0, request=FeedRequest())
