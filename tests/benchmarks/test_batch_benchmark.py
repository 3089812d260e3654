"""The benchmark of batches: on a few models here, on all of the corpus in a long run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


def test_the_parent_does_not_grow(
    script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("batch_memory").memory_of_small(20) < 2.0
    assert "20 outcomes of 20 models, exit code 0" in capsys.readouterr().out


@pytest.mark.slow
def test_a_batch_of_a_thousand_does_not_grow(script: Callable[[str], ModuleType]) -> None:
    assert script("batch_memory").memory_of_small(1000) <= 1.2


@pytest.mark.slow
def test_every_way_to_end_at_once(
    script: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script("batch_memory").save_small(tmp_path / "good.onnx", 7)
    assert script("batch_planted").planted(tmp_path, "20s")
    told = capsys.readouterr().out
    assert "5 outcomes" in told
    assert "planted_victim: its process was ended by SIGKILL" in told


@pytest.mark.slow
@pytest.mark.corpus
def test_all_of_the_corpus_with_jobs_that_misbehave(
    script: Callable[[str], ModuleType], corpus: Path
) -> None:
    assert script("batch_planted").planted(corpus)
