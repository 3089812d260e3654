"""Answers on disk: found again, never believed when damaged, never in the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onnx_act.runtime import cache
from onnx_act.runtime.cache import Question, cache_folder, count_answers, keep, recall
from onnx_act.runtime.session import CPU

ASKED = Question("capability", CPU, (b"model",), ("all",))


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    place = tmp_path / "answers"
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(place))
    return place


def _as_another_process(question: Question) -> dict[str, Any] | None:
    cache.forget_answers()
    return recall(question)


@pytest.mark.parametrize("answer", [{"reason": ""}, {"reason": "ä\n\x00"}, {"ratio": 1.25}, {}])
def test_an_answer_is_found_again(folder: Path, answer: dict[str, Any]) -> None:
    assert recall(ASKED) is None
    keep(ASKED, answer)
    assert recall(ASKED) == answer
    assert _as_another_process(ASKED) == answer
    (entry,) = folder.iterdir()
    assert entry.name == f"{ASKED.key}.json"
    assert json.loads(entry.read_text())["answer"] == answer


def test_only_the_same_question_gets_it(folder: Path) -> None:
    keep(ASKED, {"reason": ""})
    others = [
        replace(ASKED, kind="speedup"),
        replace(ASKED, provider="CUDAExecutionProvider"),
        replace(ASKED, models=(b"mode", b"l")),
        replace(ASKED, models=(b"model", b"")),
        replace(ASKED, models=(b"other",)),
        replace(ASKED, settings=("basic",)),
        replace(ASKED, settings=("all", "1 threads")),
    ]
    assert [recall(q) for q in others] == [None] * len(others)
    assert len({q.key for q in (ASKED, *others)}) == len(others) + 1
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("what", ["runtime_version", "runtime_build", "processor"])
def test_another_runtime_or_machine_is_asked_anew(
    folder: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(ASKED, {"reason": ""})
    monkeypatch.setattr(cache, what, lambda: "another")
    assert recall(ASKED) is None
    assert folder.is_dir()


def test_devices_are_told_apart_by_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    device = replace(ASKED, provider="CUDAExecutionProvider")
    before = (ASKED.key, device.key)
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    assert ASKED.key == before[0]
    assert device.key != before[1]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[1]",
        b'"answer"',
        b"{}",
        b'{"answer": 1}',
        b'{"answer": null}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_answer_is_ignored_and_written_again(folder: Path, content: bytes) -> None:
    keep(ASKED, {"reason": "old"})
    (entry,) = folder.iterdir()
    entry.write_bytes(content)
    assert _as_another_process(ASKED) is None
    keep(ASKED, {"reason": "new"})
    assert _as_another_process(ASKED) == {"reason": "new"}


def test_where_nothing_can_be_written_the_process_still_remembers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/onnx-act")):
        monkeypatch.setenv(cache.CACHE_VARIABLE, str(place))
        assert recall(ASKED) is None
        keep(ASKED, {"reason": "here"})
        assert recall(ASKED) == {"reason": "here"}
        assert count_answers() == 0
        assert _as_another_process(ASKED) is None


def test_a_disk_that_is_full_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(json, "dump", full)
        keep(ASKED, {"reason": "here"})
    assert list(folder.iterdir()) == []
    assert recall(ASKED) == {"reason": "here"}


def test_only_whole_answers_are_counted(folder: Path) -> None:
    assert count_answers() == 0
    for number in range(3):
        keep(replace(ASKED, settings=(str(number),)), {})
    (folder / ".x.tmp").write_text("")
    assert count_answers() == 3


def _write_often(place: str, number: int) -> None:
    os.environ[cache.CACHE_VARIABLE] = place
    for turn in range(50):
        keep(ASKED, {"reason": "x" * 5000, "who": number, "turn": turn})


def test_several_writers_at_once_never_show_half_an_answer(folder: Path) -> None:
    keep(ASKED, {"reason": "x" * 5000})
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_often, args=(str(folder), n)) for n in range(2)]
    for writer in writers:
        writer.start()
    seen = []
    while any(writer.is_alive() for writer in writers):
        found = _as_another_process(ASKED)
        seen.append(found is not None and len(found["reason"]) == 5000)
    for writer in writers:
        writer.join()
    assert seen
    assert all(seen)
    assert [entry.suffix for entry in folder.iterdir()] == [".json"]


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(cache.CACHE_VARIABLE, "here")
    monkeypatch.chdir(tmp_path)
    assert cache_folder() == tmp_path / "here"
    monkeypatch.setenv(cache.CACHE_VARIABLE, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "onnx-act"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "onnx-act"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv(cache.CACHE_VARIABLE)
    assert cache_folder() == tmp_path / ".cache" / "onnx-act"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "onnx-act"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "onnx-act" / "cache"


def test_the_processor_is_more_than_a_name() -> None:
    if not Path("/proc/cpuinfo").exists():
        pytest.skip("the system does not tell")
    assert "\n" in cache.processor()


def test_answers_are_files_of_the_user_alone(folder: Path) -> None:
    keep(ASKED, {})
    (entry,) = folder.iterdir()
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600
