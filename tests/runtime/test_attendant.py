"""One process for many calls: what goes wrong in one of them does not touch the next."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import isolated_calls as calls
import pytest
from tiny_models import one_node

from onnx_act.errors import EvidenceError, OnnxActError, UnknownNameError
from onnx_act.runtime import probe
from onnx_act.runtime.attendant import ATTENDANT, Attendant
from onnx_act.runtime.miscomputation import miscomputation
from onnx_act.runtime.probe import can_run, forget

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def attendant() -> Iterator[Attendant]:
    started = Attendant()
    yield started
    started.close()


def test_calls_share_a_process(attendant: Attendant) -> None:
    assert attendant.call(calls.add, 30.0, 1, b=2) == 3
    first = attendant.call(os.getpid, 30.0)
    assert attendant.call(os.getpid, 30.0) == first != os.getpid()


def test_a_crash_is_told_and_the_next_call_finds_another_process(attendant: Attendant) -> None:
    first = attendant.call(os.getpid, 30.0)
    with pytest.raises(EvidenceError, match=r"crashed in crash with SIGSEGV.*last words"):
        attendant.call(calls.crash, 30.0)
    with pytest.raises(EvidenceError, match="exit code 7"):
        attendant.call(calls.leave, 30.0, 7)
    assert attendant.call(os.getpid, 30.0) != first


def test_the_time_limit_holds(attendant: Attendant, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    with pytest.raises(EvidenceError, match="did not finish within 2 s"):
        attendant.call(calls.sleep, 2.0, str(mark))
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text(encoding="utf-8")), 0)
    assert attendant.call(calls.add, 30.0, 2, b=2) == 4


def test_exceptions_arrive_and_leave_the_process_alone(attendant: Attendant) -> None:
    first = attendant.call(os.getpid, 30.0)
    with pytest.raises(UnknownNameError, match="did you mean cuda"):
        attendant.call(calls.refuse, 30.0)
    with pytest.raises(OnnxActError, match=r"(?s)in stumble.*KeyError"):
        attendant.call(calls.stumble, 30.0)
    with pytest.raises(EvidenceError, match="out of memory"):
        attendant.call(calls.exhaust, 30.0)
    with pytest.raises(OnnxActError, match="failed in its own process"):
        attendant.call(calls.unpicklable, 30.0)
    assert attendant.call(os.getpid, 30.0) == first


def test_a_large_answer_arrives_whole(attendant: Attendant) -> None:
    assert attendant.call(bytes, 30.0, 5_000_000) == bytes(5_000_000)


def test_it_ends_with_the_program() -> None:
    """Also when that forgot about it, and without a word."""
    program = (
        "import os\n"
        "from onnx_act.runtime.attendant import ATTENDANT\n"
        "print(ATTENDANT.call(os.getpid, 30.0))"
    )
    root = str(Path(__file__).resolve().parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(ended.stdout), 0)


def test_a_probe_that_crashes_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_try", calls.crash_whatever_is_asked)
    model = one_node("Relu", shape=(1, 5))
    try:
        found = can_run(model, may_crash=True)
        there = can_run(model, "OtherExecutionProvider")
    finally:
        forget()
    assert not found.ok
    assert "crashed in crash_whatever_is_asked with SIGSEGV" in found.reason
    assert not there.ok
    assert "SIGSEGV" in there.reason


def test_a_comparison_that_crashes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx_act.runtime.miscomputation._found", calls.crash_whatever_is_asked)
    found = miscomputation(one_node("Relu"), "OtherExecutionProvider")
    assert found is not None
    assert found.startswith("whether its result is right cannot be told: ONNX Runtime crashed")
    assert ATTENDANT.call(calls.add, 30.0, 1, b=1) == 2
