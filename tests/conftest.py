"""Shared by all tests: the model corpus, a cache of their own, Hypothesis without surprises."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    print_blob=True,
    # How long examples take to be drawn says how busy the machine is.
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")

_CORPUS = os.environ.get("ONNX_ACT_CORPUS")
_BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
_REASON = "the model corpus is not here: set ONNX_ACT_CORPUS to its folder to run this test"


def pytest_configure() -> None:
    # A shell starts what runs in the background deaf to Ctrl-C, and so would be what tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _CORPUS and Path(_CORPUS).is_dir():
        return
    for item in items:
        if item.get_closest_marker("corpus"):
            item.add_marker(pytest.mark.skip(reason=_REASON))


def pytest_report_header() -> str:
    return f"corpus: {_CORPUS or 'ABSENT - tests marked corpus are skipped'}"


@pytest.fixture(scope="session", autouse=True)
def _answers_of_these_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No answer of an earlier run is believed, and none is left behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNX_ACT_CACHE_DIR", str(tmp_path_factory.mktemp("answers")))
        # Nor do these tests stand in line with whoever else measures on this machine.
        patch.setenv("ONNX_ACT_LOCK_DIR", str(tmp_path_factory.mktemp("turns")))
        yield


@pytest.fixture(scope="session")
def corpus() -> Path:
    if not _CORPUS or not Path(_CORPUS).is_dir():
        pytest.skip(_REASON)
    return Path(_CORPUS)


@pytest.fixture(scope="session")
def models() -> Path:
    return Path(__file__).parents[1] / "models"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a script of the folder `benchmarks`, which is no package, for one test."""
    monkeypatch.syspath_prepend(str(_BENCHMARKS))
    yield importlib.import_module
    for path in _BENCHMARKS.glob("*.py"):
        sys.modules.pop(path.stem, None)
