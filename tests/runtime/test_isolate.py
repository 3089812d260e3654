from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import isolated_calls as calls
import pytest

from onnx_act.errors import EvidenceError, OnnxActError, UnknownNameError
from onnx_act.runtime.isolate import run_isolated


def test_the_result_comes_back_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_isolated(calls.add, 1, b=2) == 3
    assert capfd.readouterr() == ("", "")


def test_a_crash_is_named() -> None:
    with pytest.raises(EvidenceError, match=r"crashed in crash with SIGSEGV.*last words"):
        run_isolated(calls.crash)


def test_an_exit_is_named() -> None:
    with pytest.raises(EvidenceError, match="exit code 7"):
        run_isolated(calls.leave, 7)


def test_the_time_limit_holds(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    with pytest.raises(EvidenceError, match="did not finish within 2 s"):
        run_isolated(calls.sleep, str(mark), timeout_s=2.0)
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text(encoding="utf-8")), 0)


def test_an_interrupt_takes_the_child_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "pid"

    def interrupted(process: subprocess.Popen[bytes], request: bytes, **_: object) -> None:
        assert process.stdin is not None
        process.stdin.write(request)
        process.stdin.close()
        while not (mark.exists() and mark.read_text(encoding="utf-8")):
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_isolated(calls.sleep, str(mark))
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text(encoding="utf-8")), 0)


def test_our_exceptions_arrive_as_themselves() -> None:
    with pytest.raises(UnknownNameError, match="did you mean cuda") as caught:
        run_isolated(calls.refuse)
    assert caught.value.suggestions[0] == "cuda"


def test_other_exceptions_arrive_with_their_traceback() -> None:
    with pytest.raises(OnnxActError, match=r"(?s)in stumble.*KeyError: 'nothing'") as caught:
        run_isolated(calls.stumble)
    assert caught.value.exit_code == 70


def test_memory_is_evidence() -> None:
    with pytest.raises(EvidenceError, match="out of memory"):
        run_isolated(calls.exhaust)


def test_a_result_that_does_not_pickle_is_told() -> None:
    with pytest.raises(OnnxActError, match="failed in its own process"):
        run_isolated(calls.unpicklable)


def test_the_environment_reaches_the_child() -> None:
    given = {"ONNX_ACT_TEST": "yes"}
    assert run_isolated(calls.variable, "ONNX_ACT_TEST", environment=given) == "yes"


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    """What multiprocessing cannot do; and a file in the way does not shadow a library."""
    (tmp_path / "numpy.py").write_text("raise RuntimeError('shadowed')", encoding="utf-8")
    (tmp_path / "script").mkdir()
    script = tmp_path / "script" / "script.py"
    script.write_text(
        "from onnx_act.runtime.isolate import run_isolated\n"
        "from onnx_act.runtime.target import resolve_provider\n"
        "print('once', run_isolated(resolve_provider, 'cpu'))\n",
        encoding="utf-8",
    )
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "once CPUExecutionProvider\n"


def test_main_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls.add, "__module__", "__main__")
    with pytest.raises(ValueError, match="cannot find it"):
        run_isolated(calls.add, 1, b=2)
