"""Races: who is the fastest of several, and when nobody is shown to be."""

from __future__ import annotations

import json
import pickle
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper
from small_models import save

from onnx_act.errors import EvidenceError, UsageError
from onnx_act.evidence import race as module
from onnx_act.evidence.race import race, race_all
from onnx_act.runtime.feeds import FeedRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onnx_act.evidence.race import RaceResult


def chain(path: Path, length: int, *, outputs: bool = True) -> Path:
    """`length` multiplications of matrices that no optimisation merges; or what nothing runs."""
    nodes = []
    for i in range(length):
        last = f"v{i + 1}" if i + 1 < length else "y"
        nodes += [
            helper.make_node("MatMul", [f"v{i}" if i else "x", "w"], [f"m{i}"]),
            helper.make_node("Tanh" if outputs else "NoSuchThing", [f"m{i}"], [last]),
        ]
    w = np.random.default_rng(0).normal(0, 0.1, (64, 64)).astype(np.float32)
    return save(path, nodes, {"w": w}, inputs=[("x", None, ("N", 64))])


def test_a_tenth_of_the_work_wins(tmp_path: Path) -> None:
    long, short = chain(tmp_path / "long.onnx", 20), chain(tmp_path / "short.onnx", 2)
    result = race([long, short, long], seconds=3.0)
    assert result.winner == 1
    first, second, third = result.standings
    assert first.ratio is not None
    assert (first.ratio.low, first.ratio.median, first.ratio.high) == (1.0, 1.0, 1.0)
    assert second.ratio is not None
    assert 2.0 < second.ratio.low <= second.ratio.median <= second.ratio.high
    assert third.ratio is None or third.ratio.low <= 1.05
    assert pickle.loads(pickle.dumps(result)) == result
    assert json.loads(json.dumps(second.to_dict(), allow_nan=False))["problem"] == ""


def test_a_model_wins_no_race_against_itself(tmp_path: Path) -> None:
    model = chain(tmp_path / "a.onnx", 4)
    result = race([model, model], seconds=1.0)
    ratio = result.standings[1].ratio
    assert ratio is not None
    # That it is exactly as fast is not for this machine to say; that it is near is.
    assert ratio.low < 1.1
    assert ratio.high > 0.9


def test_who_cannot_run_leaves_with_a_reason(tmp_path: Path) -> None:
    good, bad = chain(tmp_path / "a.onnx", 2), chain(tmp_path / "b.onnx", 2, outputs=False)
    result = race([good, bad], seconds=1.0)
    assert result.winner == 0
    assert result.is_decided
    assert result.standings[1].ratio is None
    assert "NoSuchThing" in result.standings[1].problem
    with pytest.raises(EvidenceError, match="NoSuchThing"):
        race([bad, good], seconds=1.0)


def test_bytes_race_as_files_do_on_sizes_that_are_given(tmp_path: Path) -> None:
    long, short = (chain(tmp_path / f"{n}.onnx", n).read_bytes() for n in (12, 2))
    result = race([long, short], seconds=1.0, request=FeedRequest(shapes=(("x", (8, 64)),)))
    assert result.winner == 1
    with pytest.raises(UsageError):
        race([long, short], seconds=1.0, request=FeedRequest(shapes=(("nobody", (8, 64)),)))


def test_several_races_share_the_time(tmp_path: Path) -> None:
    long, short = chain(tmp_path / "long.onnx", 12), chain(tmp_path / "short.onnx", 1)
    bad = chain(tmp_path / "bad.onnx", 2, outputs=False)
    started = time.perf_counter()
    first, second, third = race_all([[long, short], [bad, short], [short, long]], seconds=2.0)
    assert time.perf_counter() - started < 2.0 + 3.0
    assert not isinstance(first, str)
    assert first.winner == 1
    assert isinstance(second, str)
    assert "NoSuchThing" in second
    assert not isinstance(third, str)
    assert third.winner == 0
    assert race_all([[long, short]], seconds=0.0) == ("the time was up",)
    assert race_all([], seconds=1.0) == ()


@dataclass(slots=True)
class Track:
    """Sessions whose runs take as long as a table says.

    Attributes:
        costs: model -> seconds.
        wobble: model -> how far off every other block is, as a factor.
        session_luck: how far off every session of the first model is, one after the other.
        now: the time.
        opened: what was opened, in order.
    """

    costs: dict[bytes, float]
    wobble: dict[bytes, float] = field(default_factory=dict)
    session_luck: tuple[float, ...] = (1.0,)
    now: float = 0.0
    opened: list[bytes] = field(default_factory=list)
    blocks: int = 0

    def install(self, patch: pytest.MonkeyPatch) -> Track:
        patch.setattr(module, "open_session", self.open)
        patch.setattr(module, "feeds_for", lambda *_: _Feeds())
        patch.setattr(module, "runs_in_a_segment", lambda _run, _seconds: 1)
        patch.setattr(module, "time_segment", self.segment)
        patch.setattr("time.perf_counter", lambda: self.now)
        return self

    def open(self, model: bytes, _: object) -> Opened:
        self.opened.append(model)
        luck = 1.0
        if model == b"first":
            luck = self.session_luck[(self.opened.count(model) - 1) % len(self.session_luck)]
        return Opened(model, luck)

    def segment(self, run: Callable[[], tuple[bytes, float]], _: int) -> float:
        model, luck = run()
        self.blocks += 1
        cost = self.costs[model] * luck
        if self.blocks % 2:
            cost *= self.wobble.get(model, 1.0)
        self.now += cost
        return cost


@dataclass(frozen=True, slots=True)
class _Feeds:
    feeds: tuple[dict[str, object], ...] = ({},)


@dataclass(frozen=True, slots=True)
class Opened:
    """A session of a track."""

    model: bytes
    luck: float

    def prepared(self, _: object) -> Callable[[], tuple[bytes, float]]:
        return lambda: (self.model, self.luck)


def _raced(patch: pytest.MonkeyPatch, costs: dict[bytes, float], **options: Any) -> RaceResult:
    Track(costs, **options).install(patch)
    return race(list(costs), seconds=1.0)


def test_the_fastest_of_those_that_beat_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _raced(monkeypatch, {b"first": 1e-3, b"b": 0.8e-3, b"c": 0.5e-3, b"d": 2e-3})
    assert result.winner == 2
    assert result.is_decided
    medians = [s.ratio.median for s in result.standings if s.ratio is not None]
    assert medians == pytest.approx([1.0, 1.25, 2.0, 0.5])


@pytest.mark.parametrize("gain", [1.0, 1.002, 0.5])
def test_nobody_wins_by_less_than_sessions_differ(
    gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _raced(monkeypatch, {b"first": 1e-3, b"b": 1e-3 / gain})
    assert result.winner == 0
    assert result.is_decided
    ratio = result.standings[1].ratio
    assert ratio is not None
    assert ratio.median == pytest.approx(gain)
    assert ratio.low <= 1.0


def test_a_lucky_session_wins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every session of the first is off by another few thousandths."""
    result = _raced(monkeypatch, {b"first": 1e-3, b"b": 1e-3}, session_luck=(1.006, 0.997, 1.004))
    assert result.winner == 0


def test_of_a_tie_the_earlier_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _raced(monkeypatch, {b"first": 1e-3, b"b": 0.5e-3, b"c": 0.4999e-3})
    assert result.winner == 1


def test_the_hopeless_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _raced(monkeypatch, {b"first": 1e-3, b"slow": 30e-3, b"b": 0.9e-3})
    assert result.standings[1].blocks <= 3
    assert result.winner == 2
    slow = result.standings[1].ratio
    assert slow is not None
    assert slow.median == pytest.approx(1 / 30)


def test_what_is_off_in_every_other_block_is_in_the_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = _raced(monkeypatch, {b"first": 1e-3, b"b": 1e-3}, wobble={b"b": 1.5})
    ratio = result.standings[1].ratio
    assert ratio is not None
    assert ratio.low <= ratio.median <= ratio.high
    assert result.winner == 0


def test_when_the_time_is_up_it_is_not_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block is run in any case: it shows nothing."""
    result = _raced(monkeypatch, {b"first": 0.4, b"b": 0.39})
    assert not result.is_decided
    assert result.standings[1].blocks == 1
    assert result.seconds > 1.0


def test_sessions_are_opened_again_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    track = Track({b"first": 1e-3, b"b": 1e-3}).install(monkeypatch)
    race([b"first", b"b"], seconds=1.0)
    assert track.opened[:4] == [b"first", b"b", b"b", b"first"]


def test_one_alone_has_won_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _raced(monkeypatch, {b"first": 1e-3})
    assert (result.winner, result.is_decided) == (0, True)
    assert [(s.ratio, s.blocks) for s in result.standings] == [(None, 0)]
