"""Output is whole or not there, and never the input."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest
from stored_models import proto, run, save, snapshot

from onnx_act.errors import ModelReadError, UsageError
from onnx_act.graph import store
from onnx_act.graph.model import load_model
from onnx_act.graph.store import check_target, stage_model

if TYPE_CHECKING:
    from pathlib import Path

    import onnx


def test_a_staged_model_is_complete_and_not_there_yet(tmp_path: Path) -> None:
    model = load_model(save(tmp_path / "in"))
    target = tmp_path / "out" / "new.onnx"
    with stage_model(model, target) as staged:
        assert not target.exists()
        assert staged.path.parent == target.parent
        assert staged.path.name.startswith(".")
        np.testing.assert_array_equal(run(staged.path), run(tmp_path / "in" / "model.onnx"))
        staged.commit()
        assert target.is_file()
        assert not staged.path.exists()
    assert list(snapshot(tmp_path / "out")) == ["new.onnx"]


def test_what_is_not_committed_vanishes(tmp_path: Path) -> None:
    model = load_model(save(tmp_path / "in", layout="one"))
    target = tmp_path / "out" / "new.onnx"
    with stage_model(model, target):
        assert len(snapshot(tmp_path / "out")) == 2  # the model and its weights
    assert snapshot(tmp_path / "out") == {}


def test_an_error_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    model = load_model(save(tmp_path / "in", layout="one"))
    with pytest.raises(RuntimeError, match="stop"), stage_model(model, tmp_path / "o" / "n.onnx"):
        raise RuntimeError("stop")
    assert snapshot(tmp_path / "o") == {}


def test_an_older_output_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    model = load_model(save(tmp_path / "in"))
    target = tmp_path / "old.onnx"
    target.write_bytes(b"older")
    with stage_model(model, target):
        assert target.read_bytes() == b"older"
    assert target.read_bytes() == b"older"
    with stage_model(model, target) as staged:
        staged.commit()
    assert run(target) is not None


def test_a_model_that_became_invalid_is_not_left_behind(tmp_path: Path) -> None:
    model = load_model(save(tmp_path / "in"))
    next(iter(model.content.graph)).op_type = "NoSuchOperator"
    with pytest.raises(ModelReadError, match="NoSuchOperator"):
        stage_model(model, tmp_path / "out" / "n.onnx")
    assert snapshot(tmp_path / "out") == {}


def test_a_failing_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(save(tmp_path / "in", layout="one"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_write", full)
    with pytest.raises(UsageError, match="No space left on device"):
        stage_model(model, tmp_path / "out" / "n.onnx")
    assert snapshot(tmp_path / "out") == {}


@pytest.mark.parametrize(
    "way", ["same", "relative", "dots", "symlink", "hardlink", "linked folder"]
)
def test_the_input_is_never_the_output(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save(tmp_path / "in")
    before = source.read_bytes()
    model = load_model(source)
    monkeypatch.chdir(source.parent)
    target = {
        "same": source,
        "relative": type(source)("model.onnx"),
        "dots": source.parent / ".." / "in" / "model.onnx",
        "symlink": tmp_path / "link.onnx",
        "hardlink": tmp_path / "hard.onnx",
        "linked folder": tmp_path / "dir" / "model.onnx",
    }[way]
    if way == "symlink":
        target.symlink_to(source)
    if way == "hardlink":
        os.link(source, target)
    if way == "linked folder":
        target.parent.symlink_to(source.parent, target_is_directory=True)
    with pytest.raises(UsageError, match="never written") as caught:
        stage_model(model, target)
    assert caught.value.exit_code == 2
    assert source.read_bytes() == before
    assert list(snapshot(source.parent)) == ["model.onnx"]


def test_a_model_that_was_loaded_through_a_link_is_the_file_behind_it(tmp_path: Path) -> None:
    source = save(tmp_path / "in")
    link = tmp_path / "link.onnx"
    link.symlink_to(source)
    with pytest.raises(UsageError, match="never written"):
        stage_model(load_model(link), source)


def test_the_weights_of_the_input_are_never_the_output(tmp_path: Path) -> None:
    source = save(tmp_path, layout="one")
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match="holds the weights of the input"):
        stage_model(load_model(source), tmp_path / "weights.bin")
    assert snapshot(tmp_path) == before


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        check_target(None, tmp_path)


def test_a_folder_that_is_a_file_is_wrong_use(tmp_path: Path) -> None:
    source = save(tmp_path / "in")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        stage_model(load_model(source), tmp_path / "file" / "n.onnx")


def test_a_folder_that_cannot_be_written_is_wrong_use(tmp_path: Path) -> None:
    source = save(tmp_path / "in")
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    try:
        (closed / "probe").write_text("")
    except OSError:
        pass
    else:
        pytest.skip("this user may write everywhere")
    with pytest.raises(UsageError, match="cannot write"):
        stage_model(load_model(source), closed / "n.onnx")
    assert snapshot(closed) == {}


def test_a_name_that_is_too_long_is_wrong_use(tmp_path: Path) -> None:
    source = save(tmp_path / "in")
    with pytest.raises(UsageError, match="cannot write"):
        stage_model(load_model(source), tmp_path / ("n" * 300 + ".onnx"))


def test_odd_names_are_fine(tmp_path: Path) -> None:
    source = save(tmp_path / "ein Ordner", layout="one")
    target = tmp_path / "süß 'n\" out" / "mödel (1).onnx"
    with stage_model(load_model(source), target) as staged:
        staged.commit()
    np.testing.assert_array_equal(run(target), run(source))


def test_models_in_memory_are_written_too(tmp_path: Path) -> None:
    wanted = run(save(tmp_path / "in"))
    sources: list[onnx.ModelProto | ir.Model] = [proto(), ir.from_proto(proto())]
    for k, source in enumerate(sources):
        model = load_model(source)
        assert model.path is None
        target = tmp_path / f"{k}.onnx"
        with stage_model(model, target) as staged:
            staged.commit()
        np.testing.assert_array_equal(run(target), wanted)


def test_what_is_given_in_memory_is_not_edited() -> None:
    given = proto()
    before = given.SerializeToString(deterministic=True)
    loaded = load_model(given)
    next(iter(loaded.content.graph)).name = "changed"
    loaded.content.graph.name = "changed"
    assert given.SerializeToString(deterministic=True) == before
    held = ir.from_proto(proto())
    names = [n.name for n in held.graph]
    copy = load_model(held)
    next(iter(copy.content.graph)).name = "changed"
    assert [n.name for n in held.graph] == names
    assert not any(v.meta for n in held.graph for v in n.outputs)
