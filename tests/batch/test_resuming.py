"""What was converted from the same bytes, alike, is not converted again; what differs is."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from batch_models import convert_all, misbehave, save_model, swapping, visible_files

from onnx_act.batch import fingerprint, manifest
from onnx_act.batch.fingerprint import request_digest
from onnx_act.batch.jobs import Limits
from onnx_act.recipe.request import ConversionRequest
from onnx_act.recipe.swap_steps import SwapStep
from onnx_act.report.document import Outcome
from onnx_act.rewrite.fuse_mode import FuseMode
from onnx_act.rewrite.swap_request import parse_swap
from onnx_act.runtime.feeds import FeedRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_act.batch.jobs import JobOutcome


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "in/a.onnx")
    save_model(tmp_path / "in/b.onnx", external=True)
    save_model(tmp_path / "in/elu.onnx", "Elu")
    return tmp_path


def _again(found: Mapping[str, JobOutcome]) -> set[str]:
    return {name for name, outcome in found.items() if not outcome.is_skipped}


def test_nothing_is_done_twice(folder: Path) -> None:
    first = convert_all(folder / "in", folder / "out")
    assert _again(first) == {"a.onnx", "b.onnx", "elu.onnx"}
    before = {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("*.onnx")}
    second = convert_all(folder / "in", folder / "out")
    assert _again(second) == set()
    assert {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("*.onnx")} == before
    # How it ended the first time is how it ends, and the file of outcomes says so again.
    for name, o in second.items():
        assert o.seconds == pytest.approx(first[name].seconds, abs=1e-3)
        kept = replace(first[name], seconds=o.seconds, waited_s=o.waited_s)
        assert replace(o, is_skipped=False) == kept
    lines = (folder / "out/outcomes.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert sorted(t["path"] for t in told) == sorted(o.path for o in second.values())
    assert all(t["is_skipped"] for t in told)
    assert second["a.onnx"].to_entry().changes


def test_retrying_what_failed(folder: Path) -> None:
    convert_all(folder / "in", folder / "out")
    found = convert_all(folder / "in", folder / "out", retry="failed")
    assert _again(found) == {"elu.onnx"}
    assert found["elu.onnx"].exit_code == 2
    found = convert_all(folder / "in", folder / "out", retry="all")
    assert _again(found) == {"a.onnx", "b.onnx", "elu.onnx"}


def test_a_crash_is_retried_when_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_model(tmp_path / "in/crash.onnx")
    with monkeypatch.context() as patch:
        misbehave(patch, tmp_path / "site")
        assert convert_all(model, tmp_path / "out")["crash.onnx"].cause == "crash"
    kept = convert_all(model, tmp_path / "out")["crash.onnx"]
    assert (kept.cause, kept.is_skipped, kept.exit_code) == ("crash", True, 1)
    again = convert_all(model, tmp_path / "out", retry="failed")["crash.onnx"]
    assert (again.cause, again.outcome) == ("", Outcome.DONE)


def test_a_changed_input_is_converted_again(folder: Path) -> None:
    convert_all(folder / "in", folder / "out")
    save_model(folder / "in/a.onnx", seed=1)
    assert _again(convert_all(folder / "in", folder / "out")) == {"a.onnx"}
    # The same bytes at another time are the same model.
    save_model(folder / "in/a.onnx", seed=1)
    assert _again(convert_all(folder / "in", folder / "out")) == set()


def test_changed_weights_beside_a_model(folder: Path) -> None:
    convert_all(folder / "in", folder / "out")
    weights = folder / "in/b.onnx.weights"
    weights.write_bytes(bytes(reversed(weights.read_bytes())))
    assert _again(convert_all(folder / "in", folder / "out")) == {"b.onnx"}


def test_a_result_that_was_tampered_with(folder: Path) -> None:
    convert_all(folder / "in", folder / "out")
    (folder / "out/a.onnx").write_bytes(b"")
    data = folder / "out/b.onnx.data"
    data.write_bytes(data.read_bytes()[:-4])
    assert _again(convert_all(folder / "in", folder / "out")) == {"a.onnx", "b.onnx"}
    onnx.checker.check_model(folder / "out/a.onnx")
    onnx.load(folder / "out/b.onnx")
    (folder / "out/a.onnx").unlink()
    assert _again(convert_all(folder / "in", folder / "out")) == {"a.onnx"}


def test_another_request_or_version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert_all(folder / "in", folder / "out")
    other = swapping("elu")
    assert _again(convert_all(folder / "in", folder / "out", other)) == {
        "a.onnx",
        "b.onnx",
        "elu.onnx",
    }
    assert _again(convert_all(folder / "in", folder / "out", other)) == set()
    # How long it may take decides nothing of the result.
    patient = replace(other, timeout_s=7.0)
    found = convert_all(folder / "in", folder / "out", patient, limits=Limits(7.0))
    assert _again(found) == set()
    newer = {**fingerprint.made_with(), "onnxruntime": "99.0"}
    monkeypatch.setattr("onnx_act.batch.run.made_with", lambda: newer)
    assert len(_again(convert_all(folder / "in", folder / "out", other))) == 3


def test_a_manifest_that_was_torn(folder: Path) -> None:
    convert_all(folder / "in", folder / "out", jobs=1)
    path = folder / "out" / manifest.STATE / "manifest.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 3
    path.write_bytes(b"".join(lines[:2]) + lines[2][:40])
    assert len(_again(convert_all(folder / "in", folder / "out"))) == 1
    # What was torn has not spoilt what came after it.
    assert _again(convert_all(folder / "in", folder / "out")) == set()
    path.write_bytes(b'\xff\x00nonsense\n[1]\n{"format": 1}\n' + whole)
    assert _again(convert_all(folder / "in", folder / "out")) == set()


def test_the_manifest_does_not_grow_for_ever(folder: Path) -> None:
    for k in range(4):
        convert_all(folder / "in/a.onnx", folder / "out", swapping(f"elu:alpha={k + 1}"))
    lines = (folder / "out" / manifest.STATE / "manifest.jsonl").read_text().splitlines()
    assert len(lines) <= 3
    assert (
        _again(convert_all(folder / "in/a.onnx", folder / "out", swapping("elu:alpha=4"))) == set()
    )


def test_a_dry_run_keeps_nothing(folder: Path) -> None:
    found = convert_all(folder / "in", folder / "out", swapping(dry_run=True))
    assert not (folder / "out").exists()
    assert found["a.onnx"].to_entry().changes
    assert visible_files(folder / "in") == {
        "a.onnx",
        "b.onnx",
        "b.onnx.weights",
        "elu.onnx",
    }


def _requests(folder: Path) -> list[ConversionRequest]:
    slopes = folder / "slopes.npz"
    np.savez(slopes, value=np.ones(4))
    data = folder / "data.npz"
    np.savez(data, x=np.ones((2, 4), np.float32))
    swap = SwapStep((parse_swap(f"relu=prelu:slope=@{slopes}"),))
    return [
        ConversionRequest(),
        ConversionRequest(fuse=FuseMode.AUTO),
        ConversionRequest(swap=(swap,)),
        ConversionRequest(swap=(replace(swap, where=("after:Conv",)),)),
        ConversionRequest(swap=(SwapStep((parse_swap("relu=elu:alpha=0.5"),)),)),
        ConversionRequest(swap=(SwapStep((parse_swap("relu=elu:alpha=0.25"),)),)),
        ConversionRequest(feeds=FeedRequest(seed=1)),
        ConversionRequest(feeds=FeedRequest(data=data)),
        ConversionRequest(providers=("CUDAExecutionProvider",)),
    ]


def test_what_a_request_asks_for_is_its_digest(tmp_path: Path) -> None:
    first = [request_digest(r) for r in _requests(tmp_path)]
    assert len(set(first)) == len(first)
    assert [request_digest(r) for r in _requests(tmp_path)] == first
    # Of a file that is named, what it holds.
    np.savez(tmp_path / "data.npz", x=np.zeros((2, 4), np.float32))
    changed = [request_digest(replace(r)) for r in _requests_as_they_are(tmp_path)]
    assert changed[0] != first[7]


def _requests_as_they_are(folder: Path) -> list[ConversionRequest]:
    return [ConversionRequest(feeds=FeedRequest(data=folder / "data.npz"))]


def test_a_name_that_is_no_text(folder: Path) -> None:
    odd = folder / "in" / os.fsdecode(b"odd\xff\n.onnx")
    try:
        save_model(folder / "in" / "c.onnx").rename(odd)
    except OSError as error:
        if error.errno != errno.EILSEQ:
            raise
        pytest.skip("file names are text here")
    first = convert_all(folder / "in", folder / "out")
    assert (first[odd.name].exit_code, "rename it" in first[odd.name].message) == (3, True)
    assert first["a.onnx"].exit_code == 0
    assert _again(convert_all(folder / "in", folder / "out")) == set()
    lines = (folder / "out" / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()
    assert str(odd) in {json.loads(line)["path"] for line in lines}


def test_weights_count_for_a_model_that_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    misbehave(monkeypatch, tmp_path / "site")
    save_model(tmp_path / "in/crash.onnx", external=True)
    assert convert_all(tmp_path / "in", tmp_path / "out")["crash.onnx"].cause == "crash"
    assert convert_all(tmp_path / "in", tmp_path / "out")["crash.onnx"].is_skipped
    weights = tmp_path / "in/crash.onnx.weights"
    weights.write_bytes(weights.read_bytes()[::-1])
    assert not convert_all(tmp_path / "in", tmp_path / "out")["crash.onnx"].is_skipped


def test_a_report_that_is_gone_is_missed_aloud(folder: Path) -> None:
    first = convert_all(folder / "in", folder / "out")["a.onnx"]
    assert first.report is not None
    assert not any("is gone" in note for note in first.to_entry().notes)
    Path(first.report).unlink()
    again = convert_all(folder / "in", folder / "out")["a.onnx"]
    assert again.is_skipped
    (note,) = again.to_entry().notes
    assert note.startswith(f"what was found is not told again: {first.report} is gone or damaged")
