"""A scheduler and workers in processes of their own: the same outcomes, also when one is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from batch_models import convert_all, misbehave, save_model, swapping, visible_files

from onnx_act.batch.executors import dask_executor
from onnx_act.batch.inputs import collect_inputs
from onnx_act.batch.jobs import Limits
from onnx_act.batch.run import BatchRequest, run_batch
from onnx_act.errors import UsageError
from onnx_act.recipe.request import ConversionRequest
from onnx_act.rewrite.fuse_mode import FuseMode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from onnx_act.batch.jobs import JobOutcome

pytest.importorskip("distributed", reason="Dask is not installed")

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class _Cluster:
    address: str
    workers: tuple[subprocess.Popen[bytes], ...]


@contextmanager
def _cluster(folder: Path, *resources: str) -> Iterator[_Cluster]:
    """A scheduler and as many workers as there are texts of resources."""
    told = folder / "scheduler.json"
    common = ["--no-dashboard", "--host", "127.0.0.1"]
    with ExitStack() as stack:
        scheduler = ["dask_scheduler", *common, "--port", "0", "--scheduler-file", str(told)]
        stack.enter_context(_started(folder, scheduler))
        deadline = time.monotonic() + _PATIENCE_S
        while not told.exists() or not told.read_text():
            assert time.monotonic() < deadline, "the scheduler does not start"
            time.sleep(0.05)
        workers = []
        for k, resource in enumerate(resources):
            alone = ["--nthreads", "1", "--no-nanny", "--name", f"worker{k}"]
            asked = ["dask_worker", *common, *alone, "--scheduler-file", str(told)]
            given = ["--resources", resource] if resource else []
            workers.append(stack.enter_context(_started(folder, [*asked, *given])))
        yield _Cluster(_address(told, len(resources)), tuple(workers))


def _address(told: Path, workers: int) -> str:
    # Without types for all of it.
    distributed: Any = import_module("distributed")
    with distributed.Client(scheduler_file=str(told), set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=_PATIENCE_S)
        return str(client.scheduler.address)


@contextmanager
def _started(folder: Path, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "dask.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{arguments[0]}", *arguments[1:]],
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _comparable(found: dict[str, JobOutcome]) -> dict[str, JobOutcome]:
    return {name: replace(o, seconds=0.0, waited_s=0.0) for name, o in sorted(found.items())}


def test_the_same_outcomes_although_a_worker_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    misbehave(monkeypatch, tmp_path / "site")
    names = ["abort", "bug", "crash", *(f"good{k}" for k in range(5))]
    models = [save_model(tmp_path / f"in/{name}.onnx") for name in names]
    (tmp_path / "in/text.onnx").write_text("hello")
    out = tmp_path / "out"
    usual = convert_all(tmp_path / "in", out)
    found: dict[str, JobOutcome] = {}
    with (
        _cluster(tmp_path, "", "") as cluster,
        dask_executor(cluster.address, on_cuda=False) as executor,
    ):
        wanted = BatchRequest(swapping(), out, executor=executor, retry="all")
        for outcome in run_batch(collect_inputs([tmp_path / "in"], out), wanted):
            assert os.path.basename(outcome.path) not in found  # noqa: PTH119
            found[os.path.basename(outcome.path)] = outcome  # noqa: PTH119
            if len(found) == 3:
                cluster.workers[0].send_signal(signal.SIGKILL)
        assert cluster.workers[0].wait() == -signal.SIGKILL
        assert cluster.workers[1].poll() is None
    assert _comparable(found) == _comparable(usual)
    assert len(found) == len(models) + 1
    assert visible_files(out) == {f"good{k}.onnx" for k in range(5)}


@pytest.mark.slow
@pytest.mark.corpus
def test_a_whole_corpus_although_a_worker_is_killed_half_way(corpus: Path, tmp_path: Path) -> None:
    inputs = collect_inputs([corpus], tmp_path / "out")
    request = ConversionRequest(fuse=FuseMode.PORTABLE, bench=False, threads=1)
    wanted = BatchRequest(request, tmp_path / "out", jobs=2, limits=Limits(300.0))
    usual = {o.path: o for o in run_batch(inputs, wanted)}
    found: dict[str, JobOutcome] = {}
    with (
        _cluster(tmp_path, "", "") as cluster,
        dask_executor(cluster.address, on_cuda=False) as executor,
    ):
        for outcome in run_batch(inputs, replace(wanted, executor=executor, retry="all")):
            assert outcome.path not in found
            found[outcome.path] = outcome
            if len(found) == len(inputs) // 2:
                cluster.workers[0].send_signal(signal.SIGKILL)
        assert cluster.workers[0].wait() == -signal.SIGKILL
    assert len(found) == len(inputs)
    assert _comparable(found) == _comparable(usual)


def test_workers_are_asked_for_what_they_need(tmp_path: Path) -> None:
    with _cluster(tmp_path, "", "CUDA=1") as cluster:
        pid = cluster.workers[1].pid
        with dask_executor(cluster.address, on_cuda=True) as executor:
            assert {executor.submit(os.getpid).result(_PATIENCE_S) for _ in range(6)} == {pid}


def test_nobody_answers() -> None:
    with (
        pytest.raises(UsageError, match="no Dask scheduler answers at tcp://"),
        dask_executor("tcp://127.0.0.1:9", on_cuda=False, patience_s=1.0),
    ):
        pass
