"""The processes of jobs: used again while they are sound, and only for what they may have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from batch_models import convert_all, misbehave, save_model, swapping

from onnx_act.batch import crew, worker
from onnx_act.batch.jobs import Job, Limits
from onnx_act.report.document import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the jobs for which a process was started."""
    found: list[str] = []
    usual = crew._start

    def start(job: Job, kind: tuple[object, ...], inherit: tuple[int, ...]) -> crew.Carrier:
        found.append(job.path.rpartition("/")[2])
        return usual(job, kind, inherit)

    monkeypatch.setattr(crew, "_start", start)
    return found


@pytest.mark.parametrize(
    ("second", "fresh"),
    [
        ("good", ["0.onnx"]),
        ("elu", ["0.onnx"]),
        ("crash", ["0.onnx", "2.onnx"]),
        ("bug", ["0.onnx", "2.onnx"]),
        ("grow", ["0.onnx", "2.onnx"]),
    ],
)
def test_what_ends_a_process(
    second: str,
    fresh: list[str],
    started: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    misbehave(monkeypatch, tmp_path / "site")
    models = [save_model(tmp_path / f"in/{name}.onnx") for name in ("0", "2", "3")]
    bad = save_model(tmp_path / f"in/{second}.onnx", "Elu" if second == "elu" else "Relu")
    found = convert_all([models[0], bad, *models[1:]], tmp_path / "out", jobs=1)
    assert [found[m.name].outcome for m in models] == [Outcome.DONE] * 3
    assert started == fresh


def test_growth_is_seen_whatever_the_parent_has(
    started: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than a job may grow by, and really there.
    held = bytearray(b"x") * 700_000_000
    misbehave(monkeypatch, tmp_path / "site")
    models = [save_model(tmp_path / f"in/{name}.onnx") for name in ("0", "grow", "2")]
    convert_all(models, tmp_path / "out", jobs=1)
    assert len(held) == 700_000_000
    assert started == ["0.onnx", "2.onnx"]


@pytest.fixture
def mine() -> Iterator[crew.Crew]:
    made = crew.Crew()
    yield made
    made.close()


def _job(folder: Path) -> Job:
    return Job("a.onnx", None, swapping(), folder=str(folder), batch="one")


def test_it_waits_for_a_job_of_its_kind(mine: crew.Crew, tmp_path: Path) -> None:
    job = _job(tmp_path)
    first = mine.take(job)
    mine.give_back(first)
    assert mine.take(replace(job, path="b.onnx")) is first
    mine.give_back(first)
    for other in (replace(job, batch="two"), replace(job, limits=Limits(9.0, 10**9))):
        second = mine.take(other)
        assert second is not first
        assert first.process.returncode is not None
        assert not first.scratch.exists()
        mine.give_back(second)
        first = second


def test_one_that_waited_for_long_is_not_used(mine: crew.Crew, tmp_path: Path) -> None:
    first = mine.take(_job(tmp_path))
    mine.give_back(first)
    # It may be about to end by itself.
    first.idle_since -= 0.75 * worker.IDLE_S
    second = mine.take(_job(tmp_path))
    assert second is not first
    mine.give_back(second)


def test_one_that_ended_meanwhile_is_not_used(mine: crew.Crew, tmp_path: Path) -> None:
    first = mine.take(_job(tmp_path))
    mine.give_back(first)
    first.process.kill()
    first.process.wait()
    second = mine.take(_job(tmp_path))
    assert second is not first
    assert second.process.poll() is None
    second.end()


def test_nobody_waits_in_a_crew_that_is_closed(mine: crew.Crew, tmp_path: Path) -> None:
    waiting, busy = mine.take(_job(tmp_path)), mine.take(_job(tmp_path))
    mine.give_back(waiting)
    mine.close()
    assert waiting.process.returncode is not None
    assert busy.process.poll() is None
    mine.give_back(busy)
    assert busy.process.returncode is not None
