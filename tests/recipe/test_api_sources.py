"""Models as paths, protos and IR models; what comes back, and that none of them is changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir
import pytest

import onnx_act
from onnx_act.cli.app import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onnx_act.graph.model import ModelSource

SOURCES = ("path", "text", "proto", "ir")
# What may differ between two runs of one request.
_VOLATILE = {"command", "output", "path", "bytes_before", "bytes_after"}
# Where only that they are there must be the same.
_TIMES = {"duration_s"}


@pytest.fixture
def model(models: Path) -> Path:
    return models / "digits_cnn_relu.onnx"


def _source(kind: str, path: Path) -> tuple[ModelSource, Callable[[], bytes]]:
    """A model of that kind, and a function that says what it holds now."""
    if kind == "proto":
        proto = onnx.load(path)
        return proto, lambda: proto.SerializeToString(deterministic=True)
    if kind == "ir":
        model = ir.load(path)
        return model, lambda: ir.to_proto(model).SerializeToString(deterministic=True)
    return (path if kind == "path" else str(path)), path.read_bytes


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in _VOLATILE}
        return {k: v > 0.0 if k in _TIMES else _stable(v) for k, v in kept.items()}
    return [_stable(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", SOURCES)
def test_inspect(kind: str, model: Path) -> None:
    source, content = _source(kind, model)
    before = content()
    report = onnx_act.inspect(source)
    assert report.exit_code == 0
    (entry,) = report.to_dict()["models"]
    assert [s["activation"] for s in entry["sites"]] == ["relu"] * 4
    assert entry["path"] == (str(model) if kind in {"path", "text"} else "<model>")
    assert content() == before


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("verb", ["convert", "swap", "fuse"])
def test_convert_and_its_steps(kind: str, verb: str, model: Path, tmp_path: Path) -> None:
    source, content = _source(kind, model)
    before, in_folder = content(), sorted(model.parent.iterdir())
    out = tmp_path / "out.onnx"
    match verb:
        case "convert":
            report = onnx_act.convert(source, out, swap={"relu": "elu"}, fuse=True, bench=False)
        case "swap":
            report = onnx_act.swap(source, out, {"relu": "elu"})
        case _:
            report = onnx_act.fuse(source, out)
    assert report.exit_code == 0
    assert report.command == verb
    (entry,) = report.models
    assert entry.outcome is onnx_act.Outcome.DONE
    assert entry.output == str(out)
    assert entry.path == (str(model) if kind in {"path", "text"} else "<model>")
    assert entry.to_dict()["equivalence"]["passed"] is True
    assert [p.name for p in tmp_path.iterdir()] == ["out.onnx"]
    written = {n.op_type for n in onnx.load(out).graph.node}
    assert ("Elu" in written) == (verb != "fuse")
    assert ("BatchNormalization" in written) == (verb == "swap")
    assert content() == before
    assert sorted(model.parent.iterdir()) == in_folder


@pytest.mark.parametrize("kind", SOURCES)
def test_validate_and_bench(kind: str, model: Path) -> None:
    source, content = _source(kind, model)
    before = content()
    shown = str(model) if kind in {"path", "text"} else "<model>"
    same = onnx_act.validate(model, source)
    assert same.exit_code == 0
    assert same.models[0].against == str(model)
    assert same.models[0].path == shown
    other = onnx_act.validate(source, model.with_name("digits_cnn_silu.onnx"))
    assert other.exit_code == 1
    alone = onnx_act.bench(source, seconds=0.1).to_dict()["models"][0]
    assert alone["path"] == shown
    assert alone["latency"][0]["a"]["median_s"] > 0
    pair = onnx_act.bench(model, source, seconds=0.1).to_dict()["models"][0]
    assert pair["latency"][0]["ratio"]["median"] > 0
    assert content() == before


def test_without_an_output_nothing_is_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(model.parent.iterdir())
    (entry,) = onnx_act.convert(model, swap={"relu": "silu"}, fuse=True, bench=False).models
    assert entry.output is None
    assert entry.equivalence is not None
    assert list(tmp_path.iterdir()) == []
    assert sorted(model.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (["inspect", "MODEL"], lambda m, _: onnx_act.inspect(m)),
        (
            ["convert", "MODEL", "-o", "OUT", "--swap", "relu=silu", "--fuse", "--no-bench"],
            lambda m, o: onnx_act.convert(m, o, swap={"relu": "silu"}, fuse=True, bench=False),
        ),
        (
            ["swap", "MODEL", "OUT", "--swap", "relu=elu:alpha=0.5", "--where", "index:0-1"],
            lambda m, o: onnx_act.swap(m, o, {"relu": ("elu", {"alpha": 0.5})}, where="index:0-1"),
        ),
        (["fuse", "MODEL", "OUT", "--seed", "3"], lambda m, o: onnx_act.fuse(m, o, seed=3)),
        (
            ["validate", "MODEL", "MODEL", "--shape", "image:2,1,8,8"],
            lambda m, _: onnx_act.validate(m, m, shapes={"image": (2, 1, 8, 8)}),
        ),
    ],
)
def test_the_document_is_that_of_the_command_line(
    arguments: list[str],
    call: Callable[[Path, Path], onnx_act.Report],
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"MODEL": str(model), "OUT": str(tmp_path / "cli.onnx")}
    assert run([*(places.get(a, a) for a in arguments), "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    returned = call(model, tmp_path / "api.onnx").to_dict()
    assert json.loads(json.dumps(returned, allow_nan=False)) == returned
    assert _stable(returned) == _stable(printed)


def test_the_catalogue_is_that_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for name in (None, "gelu", "quick_gelu"):
        assert run(["catalog", *([name] if name else []), "--format", "json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        returned = onnx_act.catalog(name)
        assert returned.items() <= printed.items()
        assert printed.keys() - returned.keys() <= {"schema", "version"}
