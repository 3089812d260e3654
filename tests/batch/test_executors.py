"""Whoever carries jobs out, the outcomes are the same."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from batch_models import convert_all, misbehave, save_model

import onnx_act
from onnx_act.batch.executors import SerialExecutor, executor_of
from onnx_act.report.document import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from onnx_act.batch.jobs import JobOutcome


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    misbehave(monkeypatch, tmp_path / "site")
    for name in ("good", "crash", "bug"):
        save_model(tmp_path / f"in/{name}.onnx")
    save_model(tmp_path / "in/sub/elu.onnx", "Elu")
    return tmp_path


@contextmanager
def _dask() -> Iterator[Executor]:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        executor_of(client, on_cuda=False) as executor,
    ):
        yield executor


def _executor(kind: str) -> AbstractContextManager[Executor]:
    match kind:
        case "serial":
            return SerialExecutor()
        case "threads":
            return ThreadPoolExecutor(2)
        case "processes":
            return ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))
        case _:
            return _dask()


def _comparable(found: dict[str, JobOutcome]) -> dict[str, JobOutcome]:
    return {name: replace(o, seconds=0.0, waited_s=0.0) for name, o in sorted(found.items())}


@pytest.mark.parametrize("kind", ["serial", "threads", "processes", "dask"])
def test_the_same_outcomes(kind: str, folder: Path) -> None:
    usual = convert_all(folder / "in", folder / "out")
    with _executor(kind) as executor:
        found = convert_all(folder / "in", folder / "out", retry="all", executor=executor)
    assert _comparable(found) == _comparable(usual)
    causes = {name: o.cause for name, o in found.items()}
    assert causes == {
        "good.onnx": "",
        "crash.onnx": "crash",
        "bug.onnx": "",
        "elu.onnx": "",
    }


class _Losing(Executor):
    """Loses every job in another way."""

    def __init__(self) -> None:
        self.count = 0

    def submit(self, *_args: Any, **_kwargs: Any) -> Future[Any]:
        self.count += 1
        future: Future[Any] = Future()
        if self.count == 1:
            raise RuntimeError("its processes are gone")
        if self.count == 2:
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_exception(OSError(32, "Broken pipe"))
        return future


def test_an_executor_that_loses_jobs(tmp_path: Path) -> None:
    for k in range(3):
        save_model(tmp_path / f"in/{k}.onnx")
    found = convert_all(tmp_path / "in", tmp_path / "out", executor=_Losing())
    assert [(o.exit_code, o.cause) for o in found.values()] == [(1, "lost")] * 3
    # Nothing of that is kept: the next run does them.
    again = convert_all(tmp_path / "in", tmp_path / "out")
    assert {(o.outcome, o.is_skipped) for o in again.values()} == {(Outcome.DONE, False)}


def test_from_python(folder: Path) -> None:
    def batch(**options: Any) -> Iterator[JobOutcome]:
        return onnx_act.convert_batch(
            [folder / "in/good.onnx", folder / "in/sub"],
            out_dir=folder / "out",
            swap={"relu": "leaky_relu"},
            validate=False,
            bench=False,
            **options,
        )

    with SerialExecutor() as serial:
        found = list(batch(executor=serial))
    assert [(o.outcome, o.exit_code, o.is_skipped) for o in found] == [
        (Outcome.DONE, 0, False),
        (Outcome.REFUSED, 2, False),
    ]
    # Options that say the same in another way are the same request.
    again = list(batch(jobs=1, memory_limit="4GB", providers=["cpu"], input_ranges={}))
    assert [o.is_skipped for o in again] == [True, True]


def test_a_recipe_is_what_it_says(folder: Path) -> None:
    recipe = folder / "r.toml"
    recipe.write_text('swap = ["relu=leaky_relu"]\nvalidate = false\nbench = false\n')
    found = list(onnx_act.convert_batch(folder / "in/good.onnx", recipe, out_dir=folder / "out"))
    assert [o.exit_code for o in found] == [0]
    recipe.write_text('# a remark\nbench = false\nvalidate = false\nswap = ["relu=leaky_relu"]\n')
    found = list(onnx_act.convert_batch(folder / "in/good.onnx", recipe, out_dir=folder / "out"))
    assert [o.is_skipped for o in found] == [True]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"covnert": 1}, TypeError, "covnert"),
        ({"out": "x.onnx"}, TypeError, "'out'"),
        ({"out_dir": None}, onnx_act.UsageError, "out-dir"),
        ({"jobs": 0}, onnx_act.UsageError, "--jobs"),
        ({"retry": "some"}, onnx_act.UsageError, "--retry"),
        ({"memory_limit": "much"}, onnx_act.UsageError, "--memory-limit"),
        ({"memory_limit": "1MB"}, onnx_act.UsageError, "too little"),
        ({"providers": ["cudda"]}, onnx_act.UnknownNameError, "cuda"),
    ],
)
def test_wrong_use(
    options: dict[str, Any], kind: type[Exception], message: str, folder: Path
) -> None:
    """Said at once, not when the first outcome is asked for."""
    with pytest.raises(kind, match=message):
        onnx_act.convert_batch(folder / "in", **{"out_dir": folder / "out", **options})
