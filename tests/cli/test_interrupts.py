"""Ctrl-C while native code is being loaded comes a moment later, and as what it is."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from onnx_act.cli import app
from onnx_act.cli.interrupts import interrupt, interrupt_between_imports, is_interrupt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

# As importlib does it: the frames of a library's own code are on top of this one.
_LOADER = """
class ExtensionFileLoader:
    def exec_module(self, run):
        return run()

class SourceLoader:
    def exec_module(self, run):
        return run()
"""


@pytest.fixture
def _handled() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt_between_imports()
    yield
    signal.signal(signal.SIGINT, before)


def _frame_below(loader: str) -> FrameType:
    """The frame of code that a loader of importlib runs."""
    names: dict[str, Any] = {}
    exec(compile(_LOADER, "<frozen importlib._bootstrap_external>", "exec"), names)
    frame = names[loader]().exec_module(sys._getframe)
    assert frame.f_code.co_qualname == f"{loader}.exec_module"
    found: FrameType = frame
    return found


@pytest.mark.usefixtures("_handled")
def test_it_waits_for_native_code_and_comes() -> None:
    interrupt(signal.SIGINT, _frame_below("ExtensionFileLoader"))
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it comes between two of many pauses
        for _ in range(500):
            time.sleep(0.01)


def test_it_waits_for_nothing_else() -> None:
    for frame in (None, sys._getframe(), _frame_below("SourceLoader")):
        with pytest.raises(KeyboardInterrupt):
            interrupt(signal.SIGINT, frame)


def test_a_handler_of_somebody_else_stays() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupt_between_imports()
    assert signal.signal(signal.SIGINT, before) is signal.SIG_IGN


def test_what_became_of_an_interrupt_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def loads(_: Any) -> None:
        raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.setattr("typer.main.get_command", loads)
    assert app.run(["doctor"]) == 130
    assert capsys.readouterr().err == "onnx-act: interrupted\n"
    assert not is_interrupt(ImportError("no such library"))
