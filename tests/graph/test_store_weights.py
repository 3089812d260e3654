"""External weights: shared where they can be, copied where they must be, never rewritten."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_sketch import Sketch
from stored_models import SIDE, proto, run, save, snapshot, weights

from onnx_act.errors import ModelError, OnnxActError, UsageError
from onnx_act.graph.model import OnnxModel, load_model
from onnx_act.graph.store import stage_model

_TENSOR = SIDE * SIDE * 4


def _write(model: OnnxModel, target: Path) -> tuple[Path, ...]:
    with stage_model(model, target) as staged:
        shared = staged.shares_weights_with
        staged.commit()
    return shared


def _without_unused(path: Path) -> OnnxModel:
    model = load_model(path)
    model.content.graph.initializers.pop("unused")
    return model


def _external(path: Path) -> dict[str, dict[str, str]]:
    loaded = onnx.load(path, load_external_data=False)
    return {
        t.name: {e.key: e.value for e in t.external_data}
        for t in loaded.graph.initializer
        if t.data_location == onnx.TensorProto.EXTERNAL
    }


@pytest.mark.parametrize("layout", ["one", "each"])
def test_in_the_same_folder_the_weights_are_shared(tmp_path: Path, layout: str) -> None:
    source = save(tmp_path, layout=layout)
    before = snapshot(tmp_path)
    shared = _write(_without_unused(source), tmp_path / "out.onnx")
    after = snapshot(tmp_path)
    out = after.pop("out.onnx")
    assert after == before  # no file is new, and none was touched
    assert out[2] < _TENSOR
    assert {p.name for p in shared} == {
        e["location"] for e in _external(tmp_path / "out.onnx").values()
    }
    np.testing.assert_array_equal(run(tmp_path / "out.onnx"), run(source))


@pytest.mark.parametrize("layout", ["one", "each"])
def test_in_another_folder_only_what_is_used_is_copied(tmp_path: Path, layout: str) -> None:
    source = save(tmp_path / "in", layout=layout)
    before = snapshot(tmp_path / "in")
    target = tmp_path / "out" / "new.onnx"
    assert _write(_without_unused(source), target) == ()
    assert snapshot(tmp_path / "in") == before
    assert sorted(snapshot(tmp_path / "out")) == ["new.onnx", "new.onnx.data"]
    assert snapshot(tmp_path / "out")["new.onnx.data"][2] == 2 * _TENSOR
    held = _external(target)
    assert {e["location"] for e in held.values()} == {"new.onnx.data"}
    assert sorted(int(e["offset"]) for e in held.values()) == [0, _TENSOR]
    wanted = run(source)
    shutil.rmtree(tmp_path / "in")
    np.testing.assert_array_equal(run(target), wanted)
    for tensor in onnx.load(target).graph.initializer:
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), weights()[tensor.name])


def test_a_staged_copy_runs_before_it_has_its_name(tmp_path: Path) -> None:
    source = save(tmp_path / "in", layout="one")
    with stage_model(load_model(source), tmp_path / "out" / "n.onnx") as staged:
        np.testing.assert_array_equal(run(staged.path), run(source))


def test_tensors_start_on_a_page(tmp_path: Path) -> None:
    sketch = Sketch(shape=("N", 3))
    for name in ("a", "b"):
        array = np.full((3,), 2.0, dtype=np.float32) if name == "a" else np.ones((3,), np.float32)
        sketch.initializers.append(onnx.numpy_helper.from_array(array, name))
    model = sketch.model(sketch("Mul", sketch("Add", "x", "a"), "b"))
    (tmp_path / "in").mkdir()
    onnx.save(
        model,
        tmp_path / "in" / "m.onnx",
        save_as_external_data=True,
        location="w",
        size_threshold=0,
    )
    target = tmp_path / "out" / "m.onnx"
    _write(load_model(tmp_path / "in" / "m.onnx"), target)
    assert all(int(e["offset"]) % 4096 == 0 for e in _external(target).values())
    assert all(int(e["length"]) == 12 for e in _external(target).values())


def test_two_tensors_at_one_place_are_copied_once(tmp_path: Path) -> None:
    source = save(tmp_path / "in", layout="one")
    loaded = onnx.load(source, load_external_data=False)
    first, second = loaded.graph.initializer[0], loaded.graph.initializer[1]
    del second.external_data[:]
    second.external_data.extend(first.external_data)
    source.write_bytes(loaded.SerializeToString())
    target = tmp_path / "out" / "n.onnx"
    _write(_without_unused(source), target)
    assert snapshot(tmp_path / "out")["n.onnx.data"][2] == _TENSOR
    np.testing.assert_array_equal(run(target), run(source))


def test_a_data_file_of_the_input_is_not_overwritten(tmp_path: Path) -> None:
    # The input's weights have the name that the output's would get, one folder further down.
    folder = tmp_path / "out"
    inner = folder / "w"
    inner.mkdir(parents=True)
    source = tmp_path / "model.onnx"
    onnx.save(
        proto(),
        source,
        save_as_external_data=True,
        location="taken",
        size_threshold=16,
    )
    (tmp_path / "taken").rename(folder / "new.onnx.data")
    loaded = onnx.load(source, load_external_data=False)
    for tensor in loaded.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "out/new.onnx.data"
    source.write_bytes(loaded.SerializeToString())
    before = snapshot(folder)
    _write(load_model(source), folder / "new.onnx")
    after = snapshot(folder)
    assert after["new.onnx.data"] == before["new.onnx.data"]
    np.testing.assert_array_equal(run(folder / "new.onnx"), run(source))
    # The same bytes are there already: they are used, and not written again.
    assert {e["location"] for e in _external(folder / "new.onnx").values()} == {"new.onnx.data"}
    assert "new.onnx.1.data" not in after


def test_weights_that_another_output_uses_are_not_replaced(tmp_path: Path) -> None:
    """out/n.onnx is written again, of another model, while out/other.onnx shares its weights."""
    first = save(tmp_path / "first", layout="one")
    target = tmp_path / "out" / "n.onnx"
    _write(load_model(first), target)
    sharing = tmp_path / "out" / "other.onnx"
    _write(load_model(target), sharing)
    wanted = run(sharing)
    second = save(tmp_path / "second", layout="one")
    weights = tmp_path / "second" / "weights.bin"
    weights.write_bytes(bytes(weights.stat().st_size))
    _write(load_model(second), target)
    np.testing.assert_array_equal(run(target), run(second))
    np.testing.assert_array_equal(run(sharing), wanted)
    assert {e["location"] for e in _external(target).values()} == {"n.onnx.1.data"}


def test_weights_that_are_too_short_are_refused(tmp_path: Path) -> None:
    source = save(tmp_path / "in", layout="one")
    model = load_model(source)
    data = tmp_path / "in" / "weights.bin"
    with data.open("r+b") as file:
        file.truncate(_TENSOR // 2)
    with pytest.raises((UsageError, ModelError)) as caught:
        stage_model(model, tmp_path / "out" / "n.onnx")
    assert isinstance(caught.value, OnnxActError)
    assert snapshot(tmp_path / "out") == {}


def test_weights_that_are_gone_are_refused(tmp_path: Path) -> None:
    source = save(tmp_path / "in", layout="one")
    (tmp_path / "in" / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"weights\.bin"):
        load_model(source)


def test_an_ir_model_knows_where_its_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save(tmp_path / "in", layout="one")
    monkeypatch.chdir(tmp_path)
    model = load_model(ir.load(source))
    target = tmp_path / "out" / "n.onnx"
    _write(model, target)
    assert snapshot(tmp_path / "out")["n.onnx.data"][2] == 3 * _TENSOR
    np.testing.assert_array_equal(run(target), run(source))


def test_an_ir_model_is_written_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save(tmp_path / "in", layout="one")
    held = ir.load(source)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    same = tmp_path / "in" / "again.onnx"
    before = snapshot(tmp_path / "in")
    _write(load_model(held), same)
    after = snapshot(tmp_path / "in")
    after.pop("again.onnx")
    assert after == before
    np.testing.assert_array_equal(run(same), run(source))


def test_relative_paths_find_their_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save(tmp_path / "in", layout="one")
    wanted = run(source)
    monkeypatch.chdir(tmp_path)
    _write(load_model(Path("in") / "model.onnx"), Path("here.onnx"))
    np.testing.assert_array_equal(run(tmp_path / "here.onnx"), wanted)
    monkeypatch.chdir(tmp_path / "in")
    _write(load_model("model.onnx"), Path("other.onnx"))
    assert not (tmp_path / "in" / "other.onnx.data").exists()
    np.testing.assert_array_equal(run(tmp_path / "in" / "other.onnx"), wanted)


def test_an_output_without_a_type_hides_no_weights(tmp_path: Path) -> None:
    # The checker is asked a second time then, about a copy that it did not read itself.
    loaded = proto()
    loaded.graph.output[0].ClearField("type")
    path = tmp_path / "m.onnx"
    onnx.save(loaded, path, save_as_external_data=True, location="w", size_threshold=16)
    assert load_model(path).path == path
    (tmp_path / "w").unlink()
    with pytest.raises(ModelError, match=r"'w'|w, but it"):
        load_model(path)


@pytest.mark.corpus
def test_a_file_per_tensor(corpus: Path, tmp_path: Path) -> None:
    folder = corpus / "synthetic" / "ext_per_tensor"
    local = tmp_path / "in"
    shutil.copytree(folder, local)
    before = snapshot(local)
    _write(load_model(local / "model.onnx"), local / "same.onnx")
    assert {k: v for k, v in snapshot(local).items() if k != "same.onnx"} == before
    _write(load_model(local / "model.onnx"), tmp_path / "out" / "other.onnx")
    assert sorted(snapshot(tmp_path / "out")) == ["other.onnx", "other.onnx.data"]
    stored = [
        {t.name: onnx.numpy_helper.to_array(t).tobytes() for t in onnx.load(p).graph.initializer}
        for p in (local / "model.onnx", local / "same.onnx", tmp_path / "out" / "other.onnx")
    ]
    assert stored[0] == stored[1] == stored[2]
