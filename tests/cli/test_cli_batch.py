"""`onnx-act convert` of folders and patterns, several at a time."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from command_line import assert_wrong_use, names_in, run_here
from tiny_files import conv_model, save

Capture = pytest.CaptureFixture[str]
QUICK = ("--swap", "relu=leaky_relu", "--no-validate", "--no-bench")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("x", "x/y"):
        (tmp_path / "in" / name).mkdir(parents=True)
    save(conv_model(), tmp_path / "in/x/relu.onnx")
    save(conv_model(), tmp_path / "in/x/y/relu.onnx")
    save(conv_model("Elu"), tmp_path / "in/x/y/elu.onnx")
    return tmp_path


def _models(names: set[str]) -> set[str]:
    return {n for n in names if n.endswith(".onnx")}


def test_a_folder(folder: Path, capsys: Capture) -> None:
    out = folder / "out"
    options = ("--out-dir", out, *QUICK, "--jobs", "2")
    ran = run_here(capsys, "convert", folder / "in", *options, "--format", "json")
    assert ran.code == 2
    document = ran.document
    assert document["schema"] == "onnx-act/convert/1"
    paths = [str(folder / "in/x" / n) for n in ("relu.onnx", "y/elu.onnx", "y/relu.onnx")]
    assert [e["path"] for e in document["models"]] == paths
    assert [e["outcome"] for e in document["models"]] == ["done", "refused", "done"]
    assert [len(e.get("changes", [])) for e in document["models"]] == [1, 0, 1]
    assert _models(names_in(out)) == {"x/relu.onnx", "x/y/relu.onnx"}
    told = [json.loads(line) for line in (out / "outcomes.jsonl").read_text().splitlines()]
    assert sorted(t["path"] for t in told) == sorted(paths)
    assert document["batch"]["outcomes"] == str(out / "outcomes.jsonl")
    assert document["batch"]["jobs"] == 2

    ran = run_here(capsys, "convert", folder / "in", *options)
    assert ran.code == 2
    assert "3 models: 2 done, 1 refused" in ran.out
    assert "3 were done before" in ran.out
    assert "1 of them failed (--retry failed tries again)" in ran.out
    assert "no relu in the model" in ran.out

    ran = run_here(
        capsys, "convert", folder / "in", *options, "--retry", "failed", "--format", "json"
    )
    assert [m["is_skipped"] for m in ran.document["batch"]["models"]] == [True, False, True]


def test_a_pattern_and_a_file_of_outcomes(folder: Path, capsys: Capture) -> None:
    out, outcomes, report = folder / "out", folder / "o/all.jsonl", folder / "report.md"
    options = ("--out-dir", out, *QUICK, "--outcomes", outcomes, "--report", report)
    ran = run_here(capsys, "convert", folder / "in/**/relu.onnx", *options)
    assert ran.code == 0
    assert _models(names_in(out)) == {"x/relu.onnx", "x/y/relu.onnx"}
    assert len(outcomes.read_text().splitlines()) == 2
    assert not (out / "outcomes.jsonl").exists()
    written = report.read_text()
    assert "2 models: 2 done" in written
    assert written.count("## ") >= 2


def test_latency_is_measured_alone_and_the_report_says_so(folder: Path, capsys: Capture) -> None:
    options = ("--out-dir", folder / "out", "--swap", "relu=leaky_relu", "--time", "300ms")
    models = folder / "in/**/relu.onnx"
    ran = run_here(capsys, "convert", models, *options, "--jobs", "2", "--format", "json")
    assert ran.code == 0
    for entry in ran.document["models"]:
        assert entry["latency"][0]["ratio"]["median"] > 0
        assert any("no other job of a batch" in note for note in entry["notes"])


def test_models_and_results_with_urls(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    monkeypatch.setenv("ONNX_ACT_CACHE_DIR", str(folder / "cache"))
    models, out = (folder / "in/x/y").as_uri(), (folder / "out").as_uri()
    options = (models, "--out-dir", out, *QUICK, "--format", "json")
    ran = run_here(capsys, "convert", *options)
    assert ran.code == 2
    entries = ran.document["models"]
    assert [(e["path"], e["output"]) for e in entries] == [
        (f"{models}/elu.onnx", None),
        (f"{models}/relu.onnx", f"{out}/relu.onnx"),
    ]
    assert [len(e.get("changes", [])) for e in entries] == [0, 1]
    assert names_in(folder / "out") == {"relu.onnx"}
    told = Path(ran.document["batch"]["outcomes"])
    assert told.is_relative_to(folder / "cache")
    assert len(told.read_text().splitlines()) == 2
    again = run_here(capsys, "convert", *options)
    assert [m["is_skipped"] for m in again.document["batch"]["models"]] == [True, True]


def test_urls_without_what_reads_them(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fsspec", "fsspec.core"):
        monkeypatch.setitem(sys.modules, name, None)
    ran = run_here(capsys, "convert", "s3://bucket/a.onnx", "--out-dir", folder / "out", *QUICK)
    assert_wrong_use(ran, 'pip install "onnx-act[remote]"')


def test_a_dry_run_needs_no_folder(folder: Path, capsys: Capture) -> None:
    before = names_in(folder)
    ran = run_here(capsys, "convert", folder / "in", *QUICK, "--dry-run", "--format", "json")
    assert ran.code == 2
    assert [len(e.get("changes", [])) for e in ran.document["models"]] == [1, 0, 1]
    assert names_in(folder) == before


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ((), ["--out-dir"]),
        (("--out-dir", "out", "-o", "x.onnx"), ["--out-dir"]),
        (("--out-dir", "out", "--retry", "some"), ["--retry is failed or all", "'some'"]),
        (("--out-dir", "out", "--memory-limit", "a lot"), ["--memory-limit", "4GB"]),
        (("--out-dir", "out", "--jobs", "0"), ["--jobs"]),
        (("--out-dir", "out", "--outcomes", "taken.txt"), ["--outcomes", ".jsonl"]),
        (("--out-dir", "out", "--dask", "x", "--jobs", "2"), ["--jobs", "cluster"]),
        (("--out-dir", "in"), ["input files are never written"]),
    ],
)
def test_wrong_use(
    options: tuple[str, ...],
    parts: list[str],
    folder: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    (folder / "taken.txt").write_text("notes")
    before = names_in(folder)
    assert_wrong_use(run_here(capsys, "convert", "in", *QUICK, *options), *parts)
    assert names_in(folder) == before


def test_dask_that_is_not_there(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    options = ("--out-dir", folder / "out", *QUICK, "--dask", "tcp://localhost:1")
    ran = run_here(capsys, "convert", folder / "in", *options)
    assert_wrong_use(ran, 'pip install "onnx-act[dask]"')
