"""The benchmarks are scripts, not a package: they are imported from their folder."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the folder `benchmarks`, for one test."""
    monkeypatch.syspath_prepend(str(_BENCHMARKS))
    yield importlib.import_module
    for path in _BENCHMARKS.glob("*.py"):
        sys.modules.pop(path.stem, None)
