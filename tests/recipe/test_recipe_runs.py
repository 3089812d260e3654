"""Recipes that run: options win, steps have selectors of their own, a saved one repeats the run."""

from __future__ import annotations

import shutil
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import onnx_act
from onnx_act.errors import NoSiteMatchedError, UsageError
from onnx_act.recipe import targets
from onnx_act.recipe.loading import load_recipe, ready_names

if TYPE_CHECKING:
    from pathlib import Path

_QUICK: dict[str, Any] = {"bench": False, "validate": False}


def _write(folder: Path, text: str) -> Path:
    (folder / "r.toml").write_text(text, encoding="utf-8")
    return folder / "r.toml"


def _changes(model: Path, recipe: Path | str, **options: Any) -> list[tuple[str, str]]:
    report = onnx_act.convert(model, recipe=recipe, dry_run=True, **options)
    changes = report.to_dict()["models"][0]["changes"]
    return [(c["before"], c["after"].partition("(")[0]) for c in changes]


@pytest.fixture
def relu(models: Path) -> Path:
    return models / "digits_cnn_relu.onnx"


_SWAP = 'swap = "relu=elu:alpha=0.5"\n'


def test_steps_have_selectors_of_their_own(relu: Path, tmp_path: Path) -> None:
    text = """
    [[step]]
    swap = "relu=elu"
    where = "index:0"
    [[step]]
    swap = ["relu=silu", "elu=gelu"]
    where = "index:0-2"
    optional = true
    """
    # A site that the first step took is not the second one's, and what it wrote is no site of it.
    found = _changes(relu, _write(tmp_path, text))
    assert found == [("relu", "elu"), ("relu", "silu"), ("relu", "silu")]


def test_options_win(relu: Path, tmp_path: Path) -> None:
    recipe = _write(tmp_path, _SWAP + 'where = "index:0"\n')
    assert _changes(relu, recipe) == [("relu", "elu")]
    assert _changes(relu, recipe, swap=["relu=gelu"]) == [("relu", "gelu")] * 4
    assert _changes(relu, recipe, where="index:1-2") == [("relu", "elu")] * 2
    folded = _write(tmp_path, _SWAP + 'fuse = "portable"\n')
    assert len(_changes(relu, folded)) > 4
    assert _changes(relu, folded, fuse=False) == [("relu", "elu")] * 4


def test_where_needs_a_swap_in_either(relu: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="swaps nothing"):
        _changes(relu, _write(tmp_path, "fuse = true"), where="index:0")


def test_an_option_on_tuning_needs_tuning_in_either(relu: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs --tune"):
        _changes(relu, _write(tmp_path, "fuse = true"), budget=60.0)


def test_only_an_optional_swap_may_match_nothing(relu: Path, tmp_path: Path) -> None:
    text = 'swap = "gelu=elu"\n'
    with pytest.raises(NoSiteMatchedError, match="4 relu"):
        _changes(relu, _write(tmp_path, text))
    recipe, out = _write(tmp_path, text + "optional = true\n"), tmp_path / "out.onnx"
    report = onnx_act.convert(relu, out, recipe=recipe, **_QUICK)
    assert report.exit_code == 0
    assert out.read_bytes() == relu.read_bytes()
    assert any("nothing to swap" in note for note in report.models[0].notes)


@pytest.mark.parametrize(
    ("bound", "fails"),
    [
        ({"max_abs": 1e-9}, True),
        ({"max_abs": 1e9, "min_accuracy": 0.5}, False),
        ({"min_accuracy": 1.0}, True),
        ({"min_sqnr_db": 200.0}, True),
    ],
)
def test_bounds_decide_whether_anything_is_written(
    bound: dict[str, float], fails: bool, relu: Path, models: Path, tmp_path: Path
) -> None:
    recipe = _write(tmp_path, _SWAP + "bench = false\n[bound]\nmax_abs = 1e9\n")
    out = tmp_path / "out.onnx"
    options: dict[str, Any] = {
        "recipe": recipe,
        "bounds": bound,
        "data": models / "digits_test.npz",
    }
    entry = onnx_act.convert(relu, out, **options).models[0]
    assert (entry.exit_code, out.exists()) == ((1, False) if fails else (0, True))
    name = next(iter(bound))
    judged = {b["name"]: b for b in entry.to_dict()["bounds"]}
    assert set(judged) == {"max_abs", *bound}
    assert judged[name]["held"] is not fails
    if fails:
        assert f"bound {name}" in entry.message
        forced = onnx_act.convert(relu, out, **options, force=True).models[0]
        assert (forced.exit_code, out.exists()) == (1, True)


def test_accuracy_is_measured_for_a_bound_where_nothing_is_swapped(
    relu: Path, models: Path
) -> None:
    data = models / "digits_test.npz"
    report = onnx_act.convert(
        relu, fuse="portable", bench=False, data=data, bounds={"min_accuracy": 0.99}
    )
    (bound,) = report.to_dict()["models"][0]["bounds"]
    assert (report.exit_code, bound["value"]) == (0, pytest.approx(448 / 450))


def test_a_bound_that_nothing_speaks_about_fails(relu: Path) -> None:
    entry = onnx_act.convert(relu, fuse="portable", bench=False, bounds={"min_speedup": 0.1})
    assert entry.exit_code == 1
    assert "could not be evaluated" in entry.models[0].message


def test_a_saved_recipe_repeats_a_swap(relu: Path, tmp_path: Path) -> None:
    slopes = np.linspace(0.1, 0.9, 16).reshape(-1, 1, 1)
    np.savez(tmp_path / "slopes.npz", slope=slopes)
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    report = onnx_act.convert(
        relu,
        first,
        swap=[f"relu=prelu:slope=@{tmp_path / 'slopes.npz'}"],
        where="index:0-1",
        fuse="portable",
        opset=18,
        seed=7,
        bench=False,
        shapes={"image": (2, 1, 8, 8)},
        bounds={"max_abs": 1e6},
        save_recipe=True,
    )
    assert report.exit_code == 0
    saved = tmp_path / "first.onnx.recipe.toml"
    stated = tomllib.loads(saved.read_text(encoding="utf-8"))
    assert (stated["provider"], stated["seed"]) == (["CPUExecutionProvider"], 7)
    assert stated["files"].keys() == {"slopes.npz"}
    assert stated["shape"] == ["image:2,1,8,8"]
    assert [next(iter(step)) for step in stated["step"]] == ["opset", "swap", "fuse"]
    again = onnx_act.convert(relu, second, recipe=saved, save_recipe=True)
    assert again.exit_code == 0
    assert second.read_bytes() == first.read_bytes()
    assert again.models[0].latency is None
    other = tomllib.loads((tmp_path / "second.onnx.recipe.toml").read_text(encoding="utf-8"))
    assert other == stated


def test_arrays_that_came_from_no_file_are_saved_too(relu: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    slope = np.linspace(0.1, 0.9, 16).reshape(-1, 1, 1)
    swap: Any = {"relu": ("prelu", {"slope": slope})}
    onnx_act.convert(relu, first, swap=swap, where="index:0", save_recipe=True, **_QUICK)
    onnx_act.convert(relu, second, recipe=tmp_path / "first.onnx.recipe.toml")
    assert second.read_bytes() == first.read_bytes()


def test_a_file_that_changed_is_told(relu: Path, tmp_path: Path) -> None:
    slopes, out = tmp_path / "slopes.npz", tmp_path / "out.onnx"
    np.savez(slopes, slope=np.float64(0.25))
    swap = [f"relu=prelu:slope=@{slopes}"]
    onnx_act.convert(relu, out, swap=swap, save_recipe=True, **_QUICK)
    np.savez(slopes, slope=np.float64(0.5))
    saved = tmp_path / "out.onnx.recipe.toml"
    line = saved.read_text(encoding="utf-8").splitlines().index("[files]") + 2
    with pytest.raises(UsageError, match=rf"recipe\.toml:{line}: .*is not what it was"):
        onnx_act.convert(relu, recipe=saved)


def test_what_was_carried_over_still_is(models: Path, tmp_path: Path) -> None:
    """A slope that was not stated is not stated in the saved recipe: it comes from the site."""
    model, first = models / "digits_cnn_prelu.onnx", tmp_path / "first.onnx"
    onnx_act.convert(model, first, swap=["prelu=leaky_relu"], save_recipe=True, **_QUICK)
    stated = tomllib.loads((tmp_path / "first.onnx.recipe.toml").read_text(encoding="utf-8"))
    assert stated["step"][0]["swap"] == [{"from": "prelu", "to": "leaky_relu"}]


def test_measured_fusions_are_repeated_and_not_measured(
    relu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    # A Swish, which the runtime expands where it is not fused before.
    asked: dict[str, Any] = {"swap": ["relu=silu"], "opset": 24, "fuse": "auto"}
    monkeypatch.setattr(targets.ProviderTargets, "_speedup", lambda *_: 3.0)
    onnx_act.convert(relu, first, **asked, save_recipe=True, **_QUICK)
    saved = tmp_path / "first.onnx.recipe.toml"
    measured = tomllib.loads(saved.read_text(encoding="utf-8"))["measured"]
    assert set(measured.values()) == {3.0}
    monkeypatch.setattr(targets.ProviderTargets, "_speedup", lambda *_: 0.5)
    onnx_act.convert(relu, second, recipe=saved)
    assert second.read_bytes() == first.read_bytes()
    # The figure decides: measured again, another model comes out.
    onnx_act.convert(relu, second, **asked, **_QUICK)
    assert second.read_bytes() != first.read_bytes()


def test_tuning_is_repeated_from_its_profile(models: Path, tmp_path: Path) -> None:
    model = models / "digits_cnn_mish.onnx"
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    entry = onnx_act.convert(
        model, first, tune=True, budget=8.0, save_recipe=True, **_QUICK
    ).models[0]
    assert entry.exit_code == 0
    saved = tmp_path / "first.onnx.recipe.toml"
    stated = tomllib.loads(saved.read_text(encoding="utf-8"))
    assert stated["step"][0]["profile"] == "first.onnx.profile.json"
    assert "first.onnx.profile.json" in stated["files"]
    again = onnx_act.convert(model, second, recipe=saved).models[0]
    assert again.tuning is not None
    assert again.tuning.to_dict()["source"] == "profile"
    assert second.read_bytes() == first.read_bytes()


def test_a_recipe_is_not_written_over(relu: Path, tmp_path: Path) -> None:
    recipe = _write(tmp_path, _SWAP)
    with pytest.raises(UsageError, match="is the recipe"):
        onnx_act.convert(relu, recipe, recipe=recipe, **_QUICK)
    saved = tmp_path / "out.onnx.recipe.toml"
    shutil.copy(recipe, saved)
    with pytest.raises(UsageError, match="which this run uses"):
        onnx_act.convert(relu, tmp_path / "out.onnx", recipe=saved, save_recipe=True)
    with pytest.raises(UsageError, match="beside the output"):
        onnx_act.convert(relu, recipe=recipe, save_recipe=True, **_QUICK)


@pytest.mark.parametrize("name", ready_names())
@pytest.mark.parametrize("model", ["digits_cnn_relu", "digits_cnn_silu", "digits_mlp_gelu"])
def test_ready_recipes_run(name: str, model: str, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    tunes = any(step.tune for step in load_recipe(name).recipe.step)
    options: dict[str, Any] = {"budget": 6.0} if tunes else {}
    report = onnx_act.convert(
        models / f"{model}.onnx",
        out,
        recipe=name,
        bench=False,
        data=models / "digits_test.npz",
        **options,
    )
    assert report.exit_code == 0, report.models[0].message
    left = Counter(s["activation"] for s in onnx_act.inspect(out).to_dict()["models"][0]["sites"])
    if name in {"relu-only", "tensorrt-dla"}:
        assert set(left) <= {"relu", "leaky_relu", "sigmoid", "tanh"}
    if name == "edge-int8":
        assert set(left) <= {"relu", "relu6", "hardswish", "hardsigmoid"}


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["portable", "relu-only", "edge-int8", "tensorrt-dla"])
@pytest.mark.parametrize(
    "model",
    [
        "exported/many_activations.onnx",
        "exported/mobilenetv3_hardswish_opset9.onnx",
        "trained/magika_tanh_gelu.onnx",
        "derived/fastestdet_prefused.onnx",
    ],
)
def test_ready_recipes_on_models_of_others(
    name: str, model: str, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.onnx"
    report = onnx_act.convert(corpus / model, out, recipe=name, bench=False, timeout=240.0)
    assert report.exit_code == 0, report.models[0].message
    assert out.exists()
