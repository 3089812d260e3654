"""Fusing a folder of models: every file ends on the page, and defects end in exit code 1."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import onnx
import pytest
from onnx import TensorProto, helper

import onnx_act

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType


def _ratio(high: float) -> dict[str, Any]:
    return {
        "median": high - 0.01,
        "low": high - 0.02,
        "high": high,
        "verdict": "slower",
        "sessions": 8,
    }


@pytest.fixture
def corpus_fuse(script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, which folds and does not measure."""
    module = script("corpus_fuse")
    fuse = onnx_act.fuse
    monkeypatch.setattr(onnx_act, "fuse", lambda a, b: fuse(a, b, fuse="portable"))
    monkeypatch.setattr(module, "measured_ratio", lambda *_: _ratio(1.0))
    return module


@pytest.fixture
def folder(script: Callable[[str], ModuleType], tmp_path: Path) -> Path:
    """One model with something to fold, one with nothing, one that nothing runs, and no model."""
    place = tmp_path / "models"
    (place / "deep").mkdir(parents=True)
    onnx.save(script("fuse_models").normalised_mlp(small=True), place / "folds.onnx")
    onnx.save(_single("Relu"), place / "deep" / "nothing.onnx")
    onnx.save(_single("Foo", "nobody.knows"), place / "stranger.onnx")
    (place / "text.onnx").write_text("no model")
    return place


def _single(op_type: str, domain: str = "") -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in "xy")
    node = helper.make_node(op_type, ["x"], ["y"], domain=domain)
    graph = helper.make_graph([node], "g", [x], [y])
    imports = [helper.make_opsetid("", 17)]
    if domain:
        imports.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def _run(module: ModuleType, folder: Path, tmp_path: Path) -> tuple[int, dict[str, Any], str]:
    figures, text = tmp_path / "figures.json", tmp_path / "page.md"
    code = module.main([str(folder), "--json", str(figures), "--write", str(text)])
    return code, json.loads(figures.read_text()), text.read_text()


def test_every_file_is_told(
    corpus_fuse: ModuleType, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document, text = _run(corpus_fuse, folder, tmp_path)
    assert code == 0
    models = document["models"]
    assert {name: found["status"] for name, found in models.items()} == {
        "deep/nothing.onnx": "equivalent",
        "folds.onnx": "equivalent",
        "stranger.onnx": "not run",
        "text.onnx": "unreadable",
    }
    assert models["folds.onnx"]["nodes"] == [6, 4]
    assert models["folds.onnx"]["folds"] == 2
    assert models["folds.onnx"]["left_behind"] == []
    assert "ratio" not in models["deep/nothing.onnx"]
    assert not any(document["defects"].values())
    assert all(f"| {name} |" in text for name in models)
    assert "| deep/nothing.onnx | 1 -> 1 | 0 | 0 | 0 | 0 |  | yes | same graph |" in text
    assert str(folder) not in text
    assert "BatchNormalization left that could be folded: none" in capsys.readouterr().out


def test_what_is_slower_is_measured_twice(
    corpus_fuse: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    answers = [_ratio(0.9), _ratio(1.0), _ratio(0.97)]
    times: list[float] = []

    def measured(*arguments: Any) -> dict[str, Any]:
        times.append(arguments[-1])
        return answers[len(times) - 1]

    monkeypatch.setattr(corpus_fuse, "measured_ratio", measured)
    code, document, text = _run(corpus_fuse, folder, tmp_path)
    assert code == 1
    assert times == [1.0, 1.0, 2.0]
    found = document["models"]["folds.onnx"]
    assert found["ratio_before"]["high"] == 0.9
    assert found["ratio"]["high"] == 0.97
    assert "folds.onnx (0.960 [0.950, 0.970])" in text


def test_what_is_slower_once_passes(
    corpus_fuse: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    answers = iter([_ratio(0.9), _ratio(1.0), _ratio(1.0)])
    monkeypatch.setattr(corpus_fuse, "measured_ratio", lambda *_: next(answers))
    assert _run(corpus_fuse, folder, tmp_path)[0] == 0


def test_a_failure_of_the_program_is_a_defect(
    corpus_fuse: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("weight")

    monkeypatch.setattr(onnx_act, "fuse", fail)
    code, document, _ = _run(corpus_fuse, folder, tmp_path)
    assert code == 1
    assert len(document["defects"]["failed instead of answering"]) == 4


def test_a_result_that_only_the_original_outlives_is_not_equivalent(
    corpus_fuse: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    fuse = onnx_act.fuse

    def spoiled(source: Path, target: Path) -> onnx_act.Report:
        stranger = folder / "stranger.onnx"
        return fuse(stranger if source.name == "folds.onnx" else source, target)

    monkeypatch.setattr(onnx_act, "fuse", spoiled)
    code, document, _ = _run(corpus_fuse, folder, tmp_path)
    assert code == 1
    assert document["models"]["folds.onnx"]["status"] == "not equivalent"
    assert document["models"]["stranger.onnx"]["status"] == "not run"


def test_what_was_not_folded_is_a_defect(
    corpus_fuse: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(corpus_fuse, "left_behind", lambda _: ["here"])
    code, document, text = _run(corpus_fuse, folder, tmp_path)
    assert code == 1
    assert len(document["defects"]["BatchNormalization left that could be folded"]) == 2
    assert "folds.onnx (here)" in text


def test_a_folder_without_models(
    corpus_fuse: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        corpus_fuse.main([str(tmp_path)])
    assert caught.value.code == 2
    assert "holds no .onnx file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reason", "alike"),
    [
        ("w0 of Conv is computed", "NAME of Conv is computed"),
        ("FusedGemm[Relu] made the model 0.98 times as fast", None),
        ("its 64 channels meet 32 numbers", "its N channels meet N numbers"),
        ("FusedConv has no name for float16", "FusedConv has no name for float16"),
    ],
)
def test_reasons_are_counted_together(
    script: Callable[[str], ModuleType], reason: str, alike: str | None
) -> None:
    told = script("corpus_fuse_page").general(reason)
    assert told == (alike or "FusedGemm[Relu] made the model N times as fast")
