"""A raised opset is judged by itself: a swap is compared with the raised model alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir
import pytest
from staged_conversions import convert, save_dense

from onnx_act.graph.opset import raise_opset
from onnx_act.recipe import convert as recipe
from onnx_act.report.document import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_act.graph.model import OnnxModel
    from onnx_act.report.document import ModelEntry

SWAP = "relu=elu"
JUDGED = "judging the raised opset"


def _spoil(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raising the opset also changes a weight, as a converter with a bug might."""

    def spoilt(model: OnnxModel, opset: int) -> OnnxModel:
        raised = raise_opset(model, opset)
        for value in raised.content.graph.initializers.values():
            assert value.const_value is not None
            value.const_value = ir.tensor(value.const_value.numpy() * 1.01, name=value.name)
        return raised

    monkeypatch.setattr(recipe, "raise_opset", spoilt)


def _notes_on_raising(entry: ModelEntry) -> list[str]:
    return [n for n in entry.notes if "raising the opset" in n]


@pytest.mark.parametrize(("swaps", "fuse"), [((SWAP,), False), ((SWAP,), True), ((), True)])
def test_it_is_found_equivalent(swaps: tuple[str, ...], fuse: bool, tmp_path: Path) -> None:
    model = save_dense(tmp_path / "model.onnx", 13)
    before = sorted(tmp_path.iterdir())
    entry = convert(model, tmp_path / "out.onnx", *swaps, fuse=fuse, opset=20)
    assert entry.outcome is Outcome.DONE
    assert _notes_on_raising(entry) == ["raising the opset from 13 to 20 was found equivalent"]
    written = onnx.load(tmp_path / "out.onnx")
    assert [o.version for o in written.opset_import if not o.domain] == [20]
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "out.onnx"])


def test_weights_that_lie_apart_stay_so(tmp_path: Path) -> None:
    model = save_dense(tmp_path / "model.onnx", 13, weights_apart=True)
    before = sorted(tmp_path.iterdir())
    entry = convert(model, tmp_path / "out.onnx", SWAP, opset=20)
    assert entry.outcome is Outcome.DONE
    assert len(_notes_on_raising(entry)) == 1
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "out.onnx"])


@pytest.mark.parametrize("fuse", [False, True])
def test_a_raise_that_changes_the_model_fails(
    fuse: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spoil(monkeypatch)
    model, out = save_dense(tmp_path / "model.onnx", 13), tmp_path / "out.onnx"
    entry = convert(model, out, SWAP, fuse=fuse, opset=20)
    assert entry.outcome is Outcome.FAILED
    assert entry.exit_code == 1
    assert entry.message.startswith("raising the opset changed the model: on cpu: ")
    assert _notes_on_raising(entry) == []
    assert not out.exists()
    # What was judged against the raised model says nothing of it.
    assert entry.equivalence is not None
    assert entry.equivalence.to_dict()["passed"] is True


def test_only_an_opset_that_changed_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_dense(tmp_path / "model.onnx", 13)
    asked: list[dict[str, Any]] = [{}, {"opset": 13}, {"opset": 20, "validate": False}]
    for options in asked:
        seen: dict[str, list[str]] = {}
        entry = convert(model, None, SWAP, seen=seen, **options)
        assert entry.outcome is Outcome.DONE
        assert JUDGED not in seen
        assert _notes_on_raising(entry) == []
    _spoil(monkeypatch)
    seen = {}
    entry = convert(model, None, SWAP, seen=seen, opset=20, dry_run=True)
    assert entry.outcome is Outcome.DONE
    assert JUDGED not in seen
