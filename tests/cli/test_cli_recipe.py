"""`onnx-act recipe`, and `convert --recipe`: what is shown, what wins, and how it ends."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import pytest
from command_line import assert_wrong_use, names_in, run_apart, run_here
from tiny_files import conv_model, save

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(conv_model(), tmp_path / "model.onnx")


def _recipe(folder: Path, text: str) -> Path:
    path = folder / "r.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_list_names_every_ready_recipe(capsys: Capture) -> None:
    shown = run_here(capsys, "recipe", "list")
    listed = run_here(capsys, "recipe", "list", "--format", "json").document["recipes"]
    assert (shown.code, len(listed)) == (0, 5)
    for recipe in listed:
        assert recipe["name"] in shown.out
        assert len(recipe["reason"]) > 80


def test_a_ready_recipe_is_shown_as_it_is_and_is_right(capsys: Capture, tmp_path: Path) -> None:
    shown = run_here(capsys, "recipe", "show", "edge-int8")
    assert shown.code == 0
    assert "hardswish" in tomllib.loads(shown.out)["step"][0]["swap"][0]
    checked = run_here(capsys, "recipe", "check", _recipe(tmp_path, shown.out))
    assert (checked.code, checked.err) == (0, "")
    assert "right; swap -> swap -> fuse" in checked.out


def test_a_name_that_is_none(capsys: Capture) -> None:
    assert_wrong_use(run_here(capsys, "recipe", "show", "edgeint8"), "did you mean edge-int8")


def test_the_schema_is_one_document(capsys: Capture) -> None:
    ran = run_here(capsys, "recipe", "schema")
    assert (ran.code, ran.document["title"]) == (0, "onnx-act recipe")


def test_checking_tells_every_problem_of_every_file(capsys: Capture, tmp_path: Path) -> None:
    wrong = _recipe(tmp_path, 'fusee = true\nswap = "relu=gleu"\n')
    right = tmp_path / "right.json"
    right.write_text('{"fuse": true}', encoding="utf-8")
    ran = run_here(capsys, "recipe", "check", wrong, right, tmp_path / "nowhere.toml")
    assert ran.code == 2
    assert ran.out == f"{right}: right; fuse\n"
    lines = ran.err.splitlines()
    assert lines[0].startswith(f"{wrong}:1: fusee: unknown key")
    assert lines[1].startswith(f"{wrong}:2: to: unknown activation 'gleu'")
    assert "nowhere.toml" in lines[2]


@pytest.mark.parametrize(
    ("text", "line", "parts"),
    [
        ("fuse = true\nmax-groth = 2", 2, ["did you mean max_growth"]),
        ("seed = 'x'", 1, ["whole number"]),
        ('swap = "relu=gleu"', 1, ["'gleu'", "gelu"]),
        ('[[step]]\nfuse = true\n[[step]]\nswap = "relu=gelu"', 4, ["cannot be judged"]),
    ],
)
def test_a_wrong_recipe_ends_with_its_line(
    text: str, line: int, parts: list[str], model: Path, tmp_path: Path, capsys: Capture
) -> None:
    recipe = _recipe(tmp_path, text)
    ran = run_here(capsys, "convert", model, "-o", tmp_path / "out.onnx", "--recipe", recipe)
    assert_wrong_use(ran, f"{recipe}:{line}: ", *parts)
    assert names_in(tmp_path) == {"model.onnx", "r.toml"}


def test_a_recipe_that_is_nowhere(model: Path, capsys: Capture, tmp_path: Path) -> None:
    ran = run_here(capsys, "convert", model, "--dry-run", "--recipe", "fastcpu")
    assert_wrong_use(ran, "unknown recipe 'fastcpu'", "did you mean fast-cpu")
    ran = run_here(capsys, "convert", model, "--dry-run", "--recipe", tmp_path / "no.toml")
    assert_wrong_use(ran, "no.toml", "No such file")


def test_options_win(model: Path, capsys: Capture, tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, 'swap = "relu=elu"\nfuse = "portable"\nbench = false\n')

    def after(*options: str) -> list[str]:
        given = ("convert", model, "--recipe", recipe, "--dry-run", "--format", "json", *options)
        return [c["after"].partition("(")[0] for c in run_here(capsys, *given).entry["changes"]]

    assert after() == ["elu"]
    assert after("--swap", "relu=silu") == ["silu"]
    assert after("--no-fuse") == ["elu"]
    ran = run_here(
        capsys, "convert", model, "--recipe", recipe, "--dry-run", "--where", "role:gate"
    )
    assert_wrong_use(ran, "none of the 1 relu")
    ran = run_here(capsys, "convert", model, "--recipe", recipe, "--dry-run", "--undo")
    assert_wrong_use(ran, "undo")


def test_what_is_typed_counts_even_where_it_is_the_default(
    model: Path, capsys: Capture, tmp_path: Path
) -> None:
    recipe, out = _recipe(tmp_path, "fuse = true\nseed = 5\nbench = false\n"), tmp_path / "o.onnx"
    for options, seed in (((), 5), (("--seed", "0"), 0)):
        given = ("convert", model, "-o", out, "--recipe", recipe, "--format", "json", *options)
        assert run_here(capsys, *given).entry["equivalence"]["seed"] == seed


def test_a_bound_that_fails(model: Path, capsys: Capture, tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, 'swap = "relu=elu"\nbench = false\n[bound]\nmax_abs = 1e-9\n')
    out = tmp_path / "out.onnx"
    ran = run_here(capsys, "convert", model, "-o", out, "--recipe", recipe)
    assert (ran.code, out.exists()) == (1, False)
    for part in ("bound max_abs does not hold", "must be at most 1e-09", "nothing was written"):
        assert part in " ".join(ran.out.split())
    assert "bounds" in ran.out
    held = run_here(
        capsys, "convert", model, "-o", out, "--recipe", recipe, "--bound", "max_abs=1e9"
    )
    assert (held.code, out.exists()) == (0, True)
    report = tmp_path / "report.md"
    options = ("--bound", "max-abs=1e-12", "--force", "--report", report)
    forced = run_here(capsys, "convert", model, "-o", out, "--recipe", recipe, *options)
    assert forced.code == 1
    assert "### Bounds" in report.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("bound", "part"),
    [("max_abz=1", "did you mean max_abs"), ("max_abs", "NAME=LIMIT"), ("max_abs=x", "a number")],
)
def test_a_wrong_bound(bound: str, part: str, model: Path, capsys: Capture) -> None:
    ran = run_here(capsys, "convert", model, "--dry-run", "--fuse", "--bound", bound)
    assert_wrong_use(ran, part)


def test_saved_and_repeated_from_another_folder(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    options = ("--swap", "relu=elu:alpha=0.25", "--fuse", "--no-bench", "--save-recipe")
    ran = run_apart("convert", model, "-o", out, *options)
    assert ran.code == 0, ran.err
    (tmp_path / "elsewhere").mkdir()
    again = run_apart(
        *("convert", "../model.onnx", "-o", "again.onnx", "--recipe", "../out.onnx.recipe.toml"),
        cwd=tmp_path / "elsewhere",
    )
    assert again.code == 0, again.err
    assert (tmp_path / "elsewhere" / "again.onnx").read_bytes() == out.read_bytes()
    checked = run_apart("recipe", "check", tmp_path / "out.onnx.recipe.toml")
    assert checked.code == 0, checked.err


def test_a_report_does_not_go_over_the_recipe(model: Path, tmp_path: Path, capsys: Capture) -> None:
    recipe = tmp_path / "r.json"
    recipe.write_text(json.dumps({"fuse": "portable"}), encoding="utf-8")
    given = ("convert", model, "--dry-run", "--recipe", recipe, "--report", recipe)
    assert_wrong_use(run_here(capsys, *given), "r.json")
    assert json.loads(recipe.read_text(encoding="utf-8")) == {"fuse": "portable"}
