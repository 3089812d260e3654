"""What is put beside an input while it is converted: nothing, or no more than it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from staged_conversions import convert, save_dense

from onnx_act.report.document import Outcome

if TYPE_CHECKING:
    from pathlib import Path

SWAP = "relu=elu"


def test_a_model_in_one_file_gets_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    model = save_dense(tmp_path / "in/model.onnx")
    seen: dict[str, list[str]] = {}
    entry = convert(model, tmp_path / "out.onnx", SWAP, fuse=True, opset=20, seen=seen)
    assert entry.outcome is Outcome.DONE
    assert {"judging the raised opset", "judging equivalence", "measuring drift"} <= seen.keys()
    assert all(names == ["model.onnx"] for names in seen.values()), seen


def test_beside_external_weights_models_share_them(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    model = save_dense(tmp_path / "in/model.onnx", weights_apart=True)
    seen: dict[str, list[str]] = {}
    entry = convert(model, tmp_path / "out.onnx", SWAP, fuse=True, seen=seen)
    assert entry.outcome is Outcome.DONE
    names = seen["judging equivalence"]
    assert {"model.onnx", "weights.bin"} < set(names)
    assert [n for n in names if "swapped.onnx" in n]
    assert not [n for n in names if n.endswith(".data.tmp")]
    assert sorted(p.name for p in model.parent.iterdir()) == ["model.onnx", "weights.bin"]
