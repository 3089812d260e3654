"""Turns at measuring: one at a time, nobody of a batch beside it, and never held by the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from onnx_act.runtime import turn
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.turn import inherited, measuring_turn, sharing_machine, when_waiting

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks are POSIX")

_ROOT = Path(__file__).parents[2]
# Writes down when it had its turn, by the clock that all processes share.
_MEASURE = """
import sys, time
from onnx_act.runtime.turn import measuring_turn, sharing_machine
def note(what):
    with open(sys.argv[1], "a") as out:
        out.write(f"{time.monotonic()} {what} {sys.argv[2]}\\n")
def measure():
    with measuring_turn() as turn:
        assert turn.is_alone
        note("begin"); time.sleep(0.15); note("end")
if sys.argv[3] == "job":
    with sharing_machine():
        note("work"); time.sleep(0.1); note("rest")
        measure()
        note("work"); time.sleep(0.1); note("rest")
else:
    measure()
"""


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(turn.FOLDER_VARIABLE, str(tmp_path / "locks"))


def _start(code: str, *arguments: str) -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.parametrize("kind", ["job", "alone"])
def test_measurements_do_not_overlap(kind: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    kinds = [kind, "job", kind, "job"]
    started = [_start(_MEASURE, str(log), str(k), each) for k, each in enumerate(kinds)]
    assert [p.wait(timeout=60) for p in started] == [0] * len(kinds)
    for process in started:
        process.communicate()
    events = sorted(line.split() for line in log.read_text().splitlines())
    measuring: str | None = None
    working: set[str] = set()
    overlaps = 0
    for _, what, who in events:
        match what:
            case "begin":
                assert measuring is None
                assert not working
                measuring = who
            case "end":
                measuring = None
            case "work":
                assert measuring is None
                working.add(who)
                overlaps = max(overlaps, len(working))
            case "rest":
                working.discard(who)
    assert sum(what == "begin" for _, what, _ in events) == len(kinds)
    # Work that is not measured does go on side by side: the locks are not one lock.
    assert overlaps > 1


_HOLD = """
import sys, time
from onnx_act.runtime.turn import measuring_turn
with measuring_turn():
    print("held", flush=True)
    time.sleep(60)
"""


def _held_by(code: str) -> subprocess.Popen[str]:
    process = _start(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_turn_is_released_when_its_process_is_killed() -> None:
    with _held_by(_HOLD) as process:
        with measuring_turn(patience_s=0.1) as had:
            assert not had.is_alone
            assert "did not end" in had.notes()[0]
        process.send_signal(signal.SIGKILL)
        process.wait()
        with measuring_turn(patience_s=5.0) as had:
            assert had.is_alone


_HOLD_BY_CHILD = """
import subprocess, sys, time
from onnx_act.runtime.turn import inherited, measuring_turn
with measuring_turn():
    child = subprocess.Popen(["sleep", "60"], pass_fds=inherited(), stdout=subprocess.DEVNULL)
    print("held", flush=True)
    print(child.pid, flush=True)
    time.sleep(60)
"""


def test_what_measures_keeps_the_turn_of_a_parent_that_was_killed() -> None:
    with _held_by(_HOLD_BY_CHILD) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
        with measuring_turn(patience_s=0.2) as had:
            assert not had.is_alone
        os.kill(child, signal.SIGKILL)
        with measuring_turn(patience_s=5.0) as had:
            assert had.is_alone


def test_a_process_that_measures_for_another_inherits_its_turn() -> None:
    assert inherited() == ()
    with measuring_turn():
        (handle,) = inherited()
        assert run_isolated(os.fstat, handle, timeout_s=30).st_ino == os.fstat(handle).st_ino
    assert inherited() == ()


def test_a_turn_within_a_turn() -> None:
    with measuring_turn() as outer, measuring_turn(patience_s=0.0) as inner:
        assert inner is outer
        assert inner.is_alone


def test_threads_take_turns_too() -> None:
    order: list[str] = []

    def measure() -> None:
        with measuring_turn():
            order.append("second")

    thread = threading.Thread(target=measure)
    with measuring_turn():
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_who_stands_in_line_is_told() -> None:
    told: list[str] = []
    when_waiting(told.append)
    try:
        with _held_by(_HOLD) as process, measuring_turn(patience_s=0.2):
            process.kill()
    finally:
        when_waiting(lambda _: None)
    assert told == ["standing by for a measurement", ""]


def test_a_job_says_how_its_latency_was_measured() -> None:
    with measuring_turn() as had:
        assert had.notes() == ()
    with sharing_machine(), measuring_turn() as had:
        assert "no other job of a batch" in had.notes()[0]


def test_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = tmp_path / "taken"
    taken.write_text("")
    monkeypatch.setenv(turn.FOLDER_VARIABLE, str(taken / "below"))
    with sharing_machine(), measuring_turn() as had:
        assert not had.is_alone
        assert "no lock" in had.notes()[0]
