"""Whatever becomes of one model is its outcome, and the others go on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

import pytest
from batch_models import convert_all, misbehave, save_model, swapping, visible_files

from onnx_act.batch import crew, files
from onnx_act.batch.apart import StoppedError
from onnx_act.batch.inputs import collect_inputs
from onnx_act.batch.jobs import Limits
from onnx_act.batch.run import BatchRequest, run_batch
from onnx_act.errors import UsageError
from onnx_act.report.document import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_tree_is_kept_and_reports_too(tmp_path: Path) -> None:
    save_model(tmp_path / "in/a/one.onnx")
    save_model(tmp_path / "in/b/two.onnx")
    out = tmp_path / "out"
    found = convert_all(tmp_path / "in", out)
    assert visible_files(out) == {"a/one.onnx", "b/two.onnx"}
    assert {o.output for o in found.values()} == {str(out / "a/one.onnx"), str(out / "b/two.onnx")}
    report = found["one.onnx"].report
    assert report is not None
    with open(report, encoding="utf-8") as stored:  # noqa: PTH123 - a path as it is told
        assert [c["rule"] for c in json.load(stored)["changes"]] == ["swap_activation"]
    entry = found["one.onnx"].to_entry()
    assert entry.duration_s == found["one.onnx"].seconds > 0.0
    assert entry.changes is not None
    assert entry.to_dict()["output"] == str(out / "a/one.onnx")


@pytest.mark.parametrize(
    ("name", "outcome", "code", "cause", "message"),
    [
        ("crash", Outcome.FAILED, 1, "crash", "ended by SIGKILL"),
        ("abort", Outcome.FAILED, 1, "crash", "SIGABRT; its last words: something is rotten"),
        ("hang", Outcome.FAILED, 1, "timeout", "within 3 s and was stopped"),
        ("hog", Outcome.FAILED, 1, "memory", r"ran out of memory \(--memory-limit 2GB\)"),
        ("bug", Outcome.FAILED, 70, "", "this is a bug: ZeroDivisionError: by zero"),
        ("elu", Outcome.REFUSED, 2, "", "no relu in the model; it has 1 elu"),
        ("text", Outcome.FAILED, 3, "", "not an ONNX model"),
        ("missing", Outcome.FAILED, 3, "", "no such file"),
    ],
)
def test_the_others_go_on(
    name: str,
    outcome: Outcome,
    code: int,
    cause: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    misbehave(monkeypatch, tmp_path / "site")
    bad = tmp_path / f"in/{name}.onnx"
    good = [save_model(tmp_path / f"in/good{k}.onnx") for k in range(2)]
    if name == "text":
        bad.write_text("hello")
    elif name != "missing":
        save_model(bad, "Elu" if name == "elu" else "Relu")
    limits = Limits(3.0 if name == "hang" else 60.0, 2_000_000_000 if name == "hog" else None)
    out = tmp_path / "out"
    found = convert_all([good[0], bad, good[1]], out, limits=limits)
    told = found[f"{name}.onnx"]
    assert (told.outcome, told.exit_code, told.cause) == (outcome, code, cause), told.message
    assert re.search(message, told.message)
    assert told.output is None
    assert all(found[f"good{k}.onnx"].outcome is Outcome.DONE for k in range(2))
    assert visible_files(out) == {"good0.onnx", "good1.onnx"}


@pytest.mark.corpus
def test_the_corpus_of_damaged_files_ends_with_an_outcome_each(
    corpus: Path, tmp_path: Path
) -> None:
    damaged = sorted((corpus / "malformed").glob("*.onnx"))[::6]
    found = convert_all(damaged, tmp_path / "out", swapping(), limits=Limits(60.0))
    assert {o.exit_code for o in found.values()} <= {0, 2, 3}
    assert not [o for o in found.values() if o.cause or "bug" in o.message]


def test_outcomes_can_be_read_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    misbehave(monkeypatch, tmp_path / "site")
    good, slow = save_model(tmp_path / "in/a.onnx"), save_model(tmp_path / "in/hang.onnx")
    out = tmp_path / "out"
    wanted = BatchRequest(swapping(), out, limits=Limits(600.0), jobs=2)
    running = run_batch(collect_inputs([slow, good], out), wanted)
    assert next(running).path == str(good)
    lines = (out / "outcomes.jsonl").read_text().splitlines()
    assert [json.loads(line)["output"] for line in lines] == [str(out / "a.onnx")]
    started = time.monotonic()
    running.close()
    assert time.monotonic() - started < 10
    assert not _workers()
    assert visible_files(out) == {"a.onnx"}


def _workers() -> list[str]:
    """The processes of jobs that this process has."""
    asked = ["ps", "--ppid", str(os.getpid()), "-o", "args="]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return [line for line in told.splitlines() if "onnx_act.batch.worker" in line]


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where passing files go, of processes that do not end by themselves."""
    found = tmp_path / "scratch"
    found.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(found))
    misbehave(monkeypatch, tmp_path / "site")
    return found


def test_stopping_leaves_no_process_and_no_passing_file(tmp_path: Path, scratch: Path) -> None:
    models = [save_model(tmp_path / f"in/hang{k}.onnx") for k in range(3)]
    out = tmp_path / "out"
    running = run_batch(
        collect_inputs(models, out),
        BatchRequest(swapping(), out, jobs=2, tell=_interrupt_when_two_run()),
    )
    with pytest.raises(KeyboardInterrupt):
        list(running)
    assert not _workers()
    assert not list(scratch.iterdir())
    assert visible_files(out) == set()


class _Interrupted(Executor):
    """Starts a thread for each job, and is interrupted before it has noted the second one.

    As a ThreadPoolExecutor may be, that waits for a new thread to start when Ctrl-C comes.
    """

    def __init__(self) -> None:
        self.begun = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()

        def carry_out() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except StoppedError as error:
                future.set_exception(error)

        threading.Thread(target=carry_out).start()
        self.begun += 1
        if self.begun == 2:
            deadline = time.monotonic() + 60
            while len(_workers()) < 2:
                assert time.monotonic() < deadline
            raise KeyboardInterrupt
        return future


def test_threads_that_nobody_knows_of_leave_nothing(tmp_path: Path, scratch: Path) -> None:
    models = [save_model(tmp_path / f"in/hang{k}.onnx") for k in range(2)]
    out = tmp_path / "out"
    wanted = BatchRequest(swapping(), out, executor=_Interrupted())
    with pytest.raises(KeyboardInterrupt):
        list(run_batch(collect_inputs(models, out), wanted))
    assert not _workers()
    assert not list(scratch.iterdir())


def _interrupt_when_two_run() -> Callable[[str, str], None]:
    seen: set[str] = set()

    def tell(path: str, _text: str) -> None:
        if path not in seen:
            seen.add(path)
            if len(seen) == 2:
                # As Ctrl-C does it: also while the main thread waits for outcomes.
                main = threading.main_thread().ident
                assert main is not None
                signal.pthread_kill(main, signal.SIGINT)

    return tell


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    model = save_model(tmp_path / "in/a.onnx")
    taken = tmp_path / "out"
    taken.write_text("a file")
    with pytest.raises(UsageError, match=r"cannot write to .*out"):
        convert_all(model, taken)


def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    mounted = os.geteuid() == 0
    if mounted and not _mounted(out, "ro"):
        pytest.skip("nothing is read-only for the superuser, who may not mount here either")
    try:
        with pytest.raises(UsageError, match=r"cannot write to .*out"):
            convert_all(save_model(tmp_path / "in/a.onnx"), out)
    finally:
        if mounted:
            subprocess.run(["umount", str(out)], check=True)


def test_a_full_disk(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if os.geteuid() != 0 or not _mounted(out, "size=64k"):
        pytest.skip("only the superuser can mount a small disk")
    try:
        models = [save_model(tmp_path / f"in/{k}.onnx", size=160) for k in range(2)]
        found = convert_all(models, out)
        assert [o.outcome for o in found.values()] == [Outcome.REFUSED] * 2
        assert all("No space left" in o.message for o in found.values())
        assert visible_files(out) == set()
        subprocess.run(["mount", "-o", "remount,size=1m", str(out)], check=True)
        again = convert_all(models, out, retry="failed")
        assert [o.outcome for o in again.values()] == [Outcome.DONE] * 2
    finally:
        subprocess.run(["umount", str(out)], check=True)


def _mounted(place: Path, options: str) -> bool:
    asked = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def test_outcomes_that_cannot_be_kept_do_not_end_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: files.LineFile, _record: object) -> None:
        raise OSError(28, "No space left on device", str(self.path))

    monkeypatch.setattr(files.LineFile, "add", full)
    said: list[str] = []
    models = [save_model(tmp_path / f"in/{k}.onnx") for k in range(2)]
    found = convert_all(models, tmp_path / "out", warn=said.append)
    assert [o.outcome for o in found.values()] == [Outcome.DONE] * 2
    assert len(said) == 1
    assert "No space left" in said[0]


def test_a_process_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> Path:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(crew, "make_scratch", none_left)
    found = convert_all(save_model(tmp_path / "in/a.onnx"), tmp_path / "out")
    told = found["a.onnx"]
    assert (told.exit_code, told.cause) == (1, "lost")
    assert "temporarily unavailable" in told.message
    monkeypatch.undo()
    # What was lost is no outcome to keep to.
    assert convert_all(tmp_path / "in", tmp_path / "out")["a.onnx"].outcome is Outcome.DONE


def test_two_batches_do_not_write_to_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnx_act.batch.manifest.sole_writer.__wrapped__.__defaults__", (0.2,))
    model, out = save_model(tmp_path / "in/a.onnx"), tmp_path / "out"
    inputs = collect_inputs([model, save_model(tmp_path / "in/b.onnx")], out)
    first = run_batch(inputs, BatchRequest(swapping(), out))
    next(first)
    with pytest.raises(UsageError, match="another batch writes to"):
        convert_all(model, out)
    first.close()
    assert convert_all(model, out)["a.onnx"].is_skipped


def test_nothing_but_outcomes_is_written_over(tmp_path: Path) -> None:
    model = save_model(tmp_path / "in/a.onnx")
    notes = tmp_path / "notes.json"
    notes.write_text('{"mine": 1}\n')
    out = tmp_path / "out"
    convert_all(model, out)
    kept = out / ".onnx-act" / "manifest.jsonl"
    for taken in (model, notes, kept, tmp_path / "in"):
        held = taken.read_bytes() if taken.is_file() else b""
        with pytest.raises(UsageError, match=re.escape(str(taken))):
            convert_all(model, out, outcomes=taken)
        assert held == (taken.read_bytes() if taken.is_file() else b"")
    again = tmp_path / "again.jsonl"
    for _ in range(2):
        convert_all(model, out, outcomes=again)
        assert len(again.read_text().splitlines()) == 1


def test_a_link_to_itself_is_one_model_that_cannot_be_read(tmp_path: Path) -> None:
    save_model(tmp_path / "in/a.onnx")
    (tmp_path / "in/loop.onnx").symlink_to("loop.onnx")
    found = convert_all(tmp_path / "in", tmp_path / "out")
    assert {name: o.exit_code for name, o in found.items()} == {"a.onnx": 0, "loop.onnx": 3}
