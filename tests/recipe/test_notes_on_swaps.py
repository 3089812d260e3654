"""What a report says of evidence that a swap cannot have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from staged_conversions import convert, save_dense, save_recurrent

from onnx_act.report.document import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_act.report.document import ModelEntry

SWAP = "relu=elu"


def _with_itself(entry: ModelEntry) -> bool:
    return any("of the result, unoptimised, with itself" in note for note in entry.notes)


@pytest.mark.parametrize("fuse", [False, True])
def test_only_swaps_are_judged_against_themselves(fuse: bool, tmp_path: Path) -> None:
    """There is nothing to fuse here: what was asked for does not count, but what was done."""
    model = save_dense(tmp_path / "model.onnx")
    entry = convert(model, tmp_path / "out.onnx", SWAP, fuse=fuse)
    assert entry.outcome is Outcome.DONE
    assert [c.to_dict()["rule"] for c in entry.changes or ()] == ["swap_activation"]
    assert _with_itself(entry)


def test_what_was_fused_is_judged_against_another_model(models: Path) -> None:
    model = models / "digits_cnn_relu.onnx"
    assert not _with_itself(convert(model, None, SWAP, fuse=True))
    assert not _with_itself(convert(model, None, fuse=True))


def test_nothing_is_said_where_nothing_was_judged(tmp_path: Path) -> None:
    entry = convert(save_dense(tmp_path / "model.onnx"), None, SWAP, validate=False)
    assert not _with_itself(entry)


@pytest.mark.parametrize(
    ("functions", "were", "them"),
    [(["Relu"], "1 activation # was", "it"), (["Relu", "Relu"], "2 activations # were", "them")],
)
def test_functions_of_recurrent_operators_are_counted(
    functions: list[str], were: str, them: str, tmp_path: Path
) -> None:
    model = save_recurrent(tmp_path / "model.onnx", functions)
    entry = convert(model, tmp_path / "out.onnx", "relu=tanh")
    assert entry.outcome is Outcome.DONE
    assert len(entry.changes or ()) == len(functions)
    counted = were.replace("#", "inside recurrent operators")
    note = f"{counted} not checked one by one (drift and equivalence cover {them})"
    assert note in entry.notes


def test_activations_that_were_checked_are_not_counted(tmp_path: Path) -> None:
    entry = convert(save_dense(tmp_path / "model.onnx"), None, SWAP)
    assert not any("one by one" in note for note in entry.notes)
