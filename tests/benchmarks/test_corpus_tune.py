"""Tuning a folder of models: every file ends on the page, and defects end in exit code 1."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnx_act
from onnx_act.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

_TUNE = onnx_act.tune


def _ratio(high: float, verdict: str = "faster") -> dict[str, Any]:
    return {
        "median": high - 0.01,
        "low": high - 0.02,
        "high": high,
        "verdict": verdict,
        "sessions": 8,
    }


class _Entry:
    """A result of tuning that chose something."""

    exit_code = 0
    message = ""

    def to_dict(self) -> dict[str, Any]:
        group = {"activation": "elu", "before": "Elu", "after": "max(x, |x|)", "reason": "faster"}
        groups = [
            {**group, "sites": ["a"], "chosen": "maximum"},
            {**group, "sites": ["b", "c"], "chosen": "maximum"},
            {**group, "sites": ["d"], "chosen": None},
        ]
        tuning = {
            "is_kept": True,
            "reason": "",
            "seconds": 3.21,
            "is_complete": True,
            "confirmed": [{"ratio": {"median": 1.25, "low": 1.2, "high": 1.3}}],
            "groups": groups,
        }
        return {"tuning": tuning}


class _Report:
    models = (_Entry(),)


@pytest.fixture
def corpus_tune(script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, which measures nothing and says of elu.onnx that it was tuned."""
    module = script("corpus_tune")
    monkeypatch.setenv("ONNX_ACT_CACHE_DIR", "set, so that it is put back")
    monkeypatch.setattr(module, "measured_ratio", lambda *_: _ratio(1.25))
    _tune_elu_with(monkeypatch, shutil.copyfile)
    return module


def _tune_elu_with(monkeypatch: pytest.MonkeyPatch, change: Callable[[Path, Path], object]) -> None:
    def tune(source: Path, target: Path, **options: Any) -> Any:
        if source.name != "elu.onnx":
            return _TUNE(source, target, **options)
        change(source, target)
        return _Report()

    monkeypatch.setattr(onnx_act, "tune", tune)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Models that are tuned, have nothing to tune, run nowhere, and are none."""
    place = tmp_path / "models"
    (place / "deep").mkdir(parents=True)
    onnx.save(_single("Elu"), place / "elu.onnx")
    onnx.save(_single("Neg"), place / "deep" / "nothing.onnx")
    onnx.save(_single("Foo", "nobody.knows"), place / "stranger.onnx")
    (place / "text.onnx").write_text("no model")
    return place


def _single(op_type: str, domain: str = "", factor: float = 1.0) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in "xy")
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["z"]),
        helper.make_node(op_type, ["z"], ["y"], domain=domain),
    ]
    weight = numpy_helper.from_array(np.full(3, factor, np.float32), "w")
    graph = helper.make_graph(nodes, "g", [x], [y], [weight])
    imports = [helper.make_opsetid("", 17)]
    if domain:
        imports.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def _run(
    module: ModuleType, folder: Path, tmp_path: Path, *more: str
) -> tuple[int, dict[str, Any], str]:
    figures, text = tmp_path / "figures.json", tmp_path / "page.md"
    code = module.main([str(folder), "--json", str(figures), "--write", str(text), *more])
    return code, json.loads(figures.read_text()), text.read_text()


def test_every_file_is_told(
    corpus_tune: ModuleType, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document, text = _run(corpus_tune, folder, tmp_path, "--budget", "5")
    assert code == 0
    models = document["models"]
    assert {name: found["status"] for name, found in models.items()} == {
        "deep/nothing.onnx": "equivalent",
        "elu.onnx": "equivalent",
        "stranger.onnx": "not run",
        "text.onnx": "unreadable",
    }
    assert models["deep/nothing.onnx"]["is_untouched"] is True
    assert "ratio" not in models["deep/nothing.onnx"]
    assert not any(document["defects"].values())
    assert all(f"| {name} |" in text for name in models)
    ratio = "1.240 [1.230, 1.250]"
    chosen = "3 Elu -> `max(x, /x/)`; 1 Elu -> unchanged"
    assert f"| elu.onnx | {chosen} | {ratio} | 1.25 | yes | 3.2 |" in text
    assert "2 of 4 files are models that run here. 1 of them were written otherwise" in text
    assert str(folder) not in text
    assert f"elu.onnx: equivalent, {ratio}, 3.2 s" in capsys.readouterr().out


def test_what_is_slower_is_measured_twice(
    corpus_tune: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    answers = [_ratio(0.9, "slower"), _ratio(0.97, "slower")]
    times: list[float] = []

    def measured(*arguments: Any) -> dict[str, Any]:
        times.append(arguments[-1])
        return answers[len(times) - 1]

    monkeypatch.setattr(corpus_tune, "measured_ratio", measured)
    code, document, text = _run(corpus_tune, folder, tmp_path, "--only", "elu", "--time", "1.5")
    assert code == 1
    assert times == [1.5, 3.0]
    assert document["models"]["elu.onnx"]["ratio_before"]["high"] == 0.9
    assert "slower than 0.98 x, twice: elu.onnx (0.960 [0.950, 0.970])" in text


@pytest.mark.parametrize("answers", [[0.9, 0.99], [0.985, 0.5]])
def test_what_is_not_slower_twice_passes(
    corpus_tune: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    tmp_path: Path,
    answers: list[float],
) -> None:
    left = [_ratio(high, "slower") for high in answers]
    monkeypatch.setattr(corpus_tune, "measured_ratio", lambda *_: left.pop(0))
    assert _run(corpus_tune, folder, tmp_path, "--only", "elu")[0] == 0


def test_what_is_not_equivalent_gets_no_ratio(
    corpus_tune: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    """Though the tuning itself says that it is."""

    def spoil(_: Path, target: Path) -> None:
        onnx.save(_single("Elu", factor=1.01), target)

    _tune_elu_with(monkeypatch, spoil)
    code, document, text = _run(corpus_tune, folder, tmp_path, "--only", "elu")
    assert code == 1
    found = document["models"]["elu.onnx"]
    assert found["status"] == "not equivalent"
    assert "ratio" not in found
    assert "| elu.onnx | not equivalent |" in text


def test_a_model_that_is_changed_without_a_choice_is_a_defect(
    corpus_tune: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    def without_a_choice(source: Path, target: Path) -> None:
        onnx.save(onnx.load(source), target)
        target.write_bytes(target.read_bytes() + b"\x3a\x00")

    _tune_elu_with(monkeypatch, without_a_choice)
    told = _Entry().to_dict()
    told["tuning"] |= {"is_kept": False, "reason": "nothing was faster", "confirmed": []}
    monkeypatch.setattr(_Entry, "to_dict", lambda _: told)
    code, document, text = _run(corpus_tune, folder, tmp_path, "--only", "elu")
    assert code == 1
    assert document["defects"]["changed though nothing was chosen"] == ["elu.onnx"]
    assert "| elu.onnx | 3 | nothing was faster | 3.2 |" in text


def test_weights_that_lie_beside_may_be_written_otherwise(
    corpus_tune: ModuleType, tmp_path: Path
) -> None:
    source, target = tmp_path / "a.onnx", tmp_path / "b.onnx"
    for path, beside in ((source, "a.data"), (target, "b.data")):
        onnx.save(
            _single("Elu"), path, save_as_external_data=True, location=beside, size_threshold=0
        )
    assert source.read_bytes() != target.read_bytes()
    assert corpus_tune._is_same(source, target)
    onnx.save(_single("Elu"), source)
    assert not corpus_tune._is_same(source, target)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(KeyError("weight"), "defect", 1), (EvidenceError("it does not run"), "not equivalent", 1)],
)
def test_a_failure_of_the_program_is_a_defect(
    corpus_tune: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    tmp_path: Path,
    error: Exception,
    status: str,
    code: int,
) -> None:
    """And so is it to say that a model does not run that does."""

    def fail(*_: Any) -> None:
        raise error

    _tune_elu_with(monkeypatch, fail)
    found = _run(corpus_tune, folder, tmp_path, "--only", "elu")
    assert found[0] == code
    assert found[1]["models"]["elu.onnx"]["status"] == status


def test_a_folder_without_models(
    corpus_tune: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        corpus_tune.main([str(folder), "--only", "nowhere"])
    assert caught.value.code == 2
    assert "holds no .onnx file with 'nowhere' in its path" in capsys.readouterr().err
