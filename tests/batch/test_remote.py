"""Models and results with URLs: fetched with their weights, stored whole, not converted twice."""

from __future__ import annotations

import functools
import http.server
import threading
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import onnx
import pytest
from batch_models import save_model

import onnx_act
from onnx_act.batch import remote
from onnx_act.batch.inputs import collect_inputs, is_remote
from onnx_act.errors import ModelError, UsageError
from onnx_act.report.document import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_act.batch.jobs import JobOutcome

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONNX_ACT_CACHE_DIR", str(tmp_path / "cache"))
    save_model(tmp_path / "in/a.onnx")
    save_model(tmp_path / "in/sub/b.onnx", external=True)
    return tmp_path


@pytest.fixture
def store() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


def _convert(paths: Any, out: str | Path, **options: Any) -> dict[str, JobOutcome]:
    request = {"swap": {"relu": "leaky_relu"}, "validate": False, "bench": False, "jobs": 2}
    found = onnx_act.convert_batch(paths, out_dir=out, **{**request, **options})
    return {o.path.rpartition("/")[2]: o for o in found}


def test_what_is_a_url() -> None:
    assert is_remote("s3://bucket/a.onnx")
    assert is_remote("file:///a.onnx")
    assert not is_remote("C:/a.onnx")
    assert not is_remote("a://")
    assert not is_remote("/a:b//c.onnx")


def test_files_by_url(folder: Path) -> None:
    source, out = (folder / "in").as_uri(), (folder / "out").as_uri()
    found = _convert(source, out)
    assert {n: (o.outcome, o.output) for n, o in found.items()} == {
        "a.onnx": (Outcome.DONE, f"{out}/a.onnx"),
        "b.onnx": (Outcome.DONE, f"{out}/sub/b.onnx"),
    }
    written = {str(p.relative_to(folder / "out")) for p in (folder / "out").rglob("*.*")}
    assert {n for n in written if n.endswith(".onnx")} == {"a.onnx", "sub/b.onnx"}
    assert not [n for n in written if n.endswith(".tmp")]
    for name in ("a.onnx", "sub/b.onnx"):
        model = onnx.load(folder / "out" / name)
        assert [n.op_type for n in model.graph.node] == ["MatMul", "LeakyRelu", "Add"]
    # What was found is kept, and the second run knows it.
    entry = found["a.onnx"].to_entry()
    assert entry.changes
    assert all(o.is_skipped for o in _convert(source, out).values())
    (folder / "out/a.onnx").unlink()
    again = _convert(source, out)
    assert {n for n, o in again.items() if not o.is_skipped} == {"a.onnx"}
    save_model(folder / "in/sub/b.onnx", seed=1, external=True)
    again = _convert(source, out)
    assert {n for n, o in again.items() if not o.is_skipped} == {"b.onnx"}


def test_a_path_in_and_a_url_out(folder: Path) -> None:
    found = _convert(folder / "in", (folder / "out").as_uri())
    assert {o.outcome for o in found.values()} == {Outcome.DONE}
    onnx.checker.check_model(folder / "out/sub/b.onnx")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_models_from_a_web_server(folder: Path) -> None:
    pytest.importorskip("aiohttp", reason="aiohttp, with which fsspec reads the web, is missing")
    (folder / "in/text.onnx").write_text("hello")
    out = folder / "out"
    with _served(folder / "in") as url:
        names = ("a.onnx", "sub/b.onnx", "text.onnx", "none.onnx")
        found = _convert([f"{url}/{name}" for name in names], out)
        told = {n: (o.outcome, o.exit_code) for n, o in found.items()}
        assert told == {
            "a.onnx": (Outcome.DONE, 0),
            "b.onnx": (Outcome.DONE, 0),
            "text.onnx": (Outcome.FAILED, 3),
            "none.onnx": (Outcome.FAILED, 3),
        }
        assert found["text.onnx"].message.startswith(f"{url}/text.onnx")
        assert "no such file" in found["none.onnx"].message
        again = _convert([f"{url}/a.onnx"], out)
        assert again["a.onnx"].is_skipped
    onnx.checker.check_model(out / "b.onnx")


def test_a_store_that_is_listed(store: Any) -> None:
    for path in ("in/a.onnx", "in/x/b.ONNX", "in/x/notes.txt", "in/.git/c.onnx", "in/out/a.onnx"):
        store.pipe_file(f"/{path}", b"model")

    def places(url: str, out: str | None = None) -> list[tuple[str, str]]:
        return [(i.url, i.place.as_posix()) for i in collect_inputs([url], out)]

    a, b = ("memory:///in/a.onnx", "a.onnx"), ("memory:///in/x/b.ONNX", "x/b.ONNX")
    results = ("memory:///in/out/a.onnx", "out/a.onnx")
    assert places("memory://in") == [a, results, b]
    assert places("memory://in", "memory://in/out") == [a, b]
    assert places("memory://in/*.onnx") == [a]
    assert places("memory://in/x/b.ONNX") == [("memory:///in/x/b.ONNX", "b.ONNX")]
    with pytest.raises(UsageError, match="nothing matches"):
        places("memory://in/*.pb")
    with pytest.raises(UsageError, match="input files are never written"):
        places("memory://in", "memory://in/")
    with pytest.raises(UsageError, match="cannot reach nosuch"):
        places("nosuch://in")


def test_there_and_back(folder: Path, store: Any) -> None:
    url = "memory://results/sub/b.onnx"
    told = remote.put(folder / "in/sub/b.onnx", url)
    assert set(told) == {"b.onnx", "b.onnx.weights"}
    assert remote.are_as_told(url, told)
    back = folder / "back"
    back.mkdir()
    model, tokens = remote.bring(url, back)
    assert tokens == told
    assert model.read_bytes() == (folder / "in/sub/b.onnx").read_bytes()
    onnx.checker.check_model(model)
    store.pipe_file("/results/sub/b.onnx.weights", b"other")
    assert not remote.are_as_told(url, told)
    store.rm("/results/sub/b.onnx")
    assert not remote.are_as_told(url, {"b.onnx": told["b.onnx"]})
    assert not remote.are_as_told(url, {})
    with pytest.raises(ModelError, match="no such file"):
        remote.bring(url, back)


def test_storing_that_fails_shows_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = folder / "out"
    kind = type(fsspec.filesystem("file"))

    def breaking(_self: object, _local: str, target: str, **_: object) -> None:
        Path(target).write_bytes(b"hal")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kind, "put_file", breaking)
    with pytest.raises(UsageError, match=r"cannot write file://.*No space left on device"):
        remote.put(folder / "in/a.onnx", (out / "a.onnx").as_uri())
    assert list(out.iterdir()) == []


def test_weights_outside_of_a_models_folder_are_not_fetched(folder: Path, store: Any) -> None:
    model = onnx.load(folder / "in/sub/b.onnx", load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../secret"
    store.pipe_file("/in/b.onnx", model.SerializeToString())
    store.pipe_file("/secret", b"secret")
    with pytest.raises(ModelError, match=r"\.\./secret are not below its folder"):
        remote.bring("memory://in/b.onnx", folder)
    assert not Path(folder, PurePath("../secret")).exists()
