"""What recipe files may say, and what is answered to wrong ones: the line and what to write."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING

import pytest

from onnx_act.cli.convert import convert
from onnx_act.errors import UnknownNameError, UsageError
from onnx_act.recipe.loading import load_recipe, ready_names, ready_text
from onnx_act.recipe.schema import OF_ONE_RUN, Recipe, field_names, json_schema
from onnx_act.recipe.sense import steps_of
from onnx_act.rewrite.fuse_mode import FuseMode

if TYPE_CHECKING:
    from pathlib import Path

# Parameters of the command that are called otherwise than their options.
_OPTIONS = {"output_path": "output", "output": "format"}
_NO_OPTIONS = {"context", "models"}
_NO_OPTION_YET = {"reason", "step", "optional", "files", "measured"}


def _file(folder: Path, text: str, name: str = "r.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def _problems(folder: Path, text: str, name: str = "r.toml") -> list[str]:
    path = _file(folder, text, name)
    with pytest.raises(UsageError) as caught:
        load_recipe(path)
    assert caught.value.exit_code == 2
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


def test_every_field_is_an_option_and_every_option_a_field() -> None:
    options = {_OPTIONS.get(n, n) for n in inspect.signature(convert).parameters} - _NO_OPTIONS
    assert options - OF_ONE_RUN == set(field_names("recipe")) - _NO_OPTION_YET


@pytest.mark.parametrize(
    ("text", "line", "parts"),
    [
        ('\nfusee = "auto"', 2, ["fusee", "did you mean fuse"]),
        ("max-groth = 2\nfuse = true", 1, ["max_groth", "did you mean max_growth"]),
        ('[[step]]\nfuse = true\nwere = "x:y"', 3, ["were", "did you mean where"]),
        ('[bound]\n\nmax_abz = "x"', 3, ["max_abz", "did you mean max_abs"]),
        ("max_abs = 1e-3", 1, ["max_abs", "[bound]"]),
        ("fuse = true\nforce = true", 2, ["force", "--force"]),
        ("seed = 'x'", 1, ["seed", "whole number", '"x"']),
        ("seed = 1.5", 1, ["seed", "whole number", "1.5"]),
        ("seed = -1", 1, ["seed", "greater than or equal to 0"]),
        ("bench = 1", 1, ["bench", "true or false", "1"]),
        ("reason = 1", 1, ["reason", "text"]),
        ("bound = 3", 1, ["bound", "table"]),
        ("swap = 3", 1, ["swap", "list"]),
        ('step = "x"', 1, ["step", "list"]),
        ("\n[step]\nfuse = true", 2, ["step", "[[step]]"]),
        ("fuse = 7", 1, ["portable", "true or false", "7"]),
        ("fuse = true\nbaseline = 'x.json'", 2, ["baseline", "--baseline"]),
        ("[bound]\nmax_abs = true", 2, ["max_abs", "a number", "true"]),
        ("[bound]\nmin_accuracy = 3", 2, ["min_accuracy", "from 0 to 1"]),
        ("[bound]\nmax_abs = nan", 2, ["max_abs", "nan"]),
        ('budget = "soon"\ntune = true', 1, ["budget", "30s", "soon"]),
        ('time = "0s"', 1, ["time", "0s"]),
        ("time = 0", 1, ["time", "30s"]),
        ("time = inf", 1, ["time", "30s", "inf"]),
        ("timeout = nan", 1, ["timeout", "30s", "nan"]),
        ('fuse = "portible"', 1, ["did you mean portable"]),
        ('provider = "cudda"', 1, ["'cudda'", "cuda"]),
        ('shape = "x=1"', 1, ["NAME:1,3,224,224"]),
        ('input_range = "x"', 1, ["NAME:LOW,HIGH"]),
        ('normalize = "pale"', 1, ["normalize", "'pale'"]),
        ('swap = [\n"relu=gelu",\n"silo=gelu"]', 3, ["'silo'", "silu"]),
        ('swap = "relu"', 1, ["FROM=TO"]),
        ("[[step]]\nswap = []", 2, ["swap", "swaps nothing", "FROM=TO"]),
        ('swap = { from = "relu", to = "gleu" }', 1, ["'gleu'", "gelu"]),
        ('swap = { from = "relu" }', 1, ["'to'"]),
        ('swap = "relu=elu:beta=1"', 1, ["'beta'", "alpha"]),
        ('swap = "relu=elu:alpha=@x.npz"', 1, ["elu:alpha", "not a file"]),
        (
            'swap = [\n{ from = "relu", to = "elu", parameters = { alpha = "x" } }]',
            2,
            ["elu:alpha", "a number"],
        ),
        (
            'swap = [{ from = "relu", to = "elu", parameters = { alpha = [1] } }]',
            1,
            ["a number or text"],
        ),
        ('swap = "relu=elu"\nwhere = "colour:red"', 2, ["'colour'", "role"]),
        ('fuse = true\nwhere = "role:main"', 2, ["where", "needs swap"]),
        ("fuse = true\nbudget = 60", 2, ["budget", "needs tune"]),
        ("[[step]]\noptional = true\nfuse = true", 2, ["optional", "swap in the same step"]),
        ("[[step]]\nfuse = true\ntune = true", 1, ["exactly one", "fuse and tune"]),
        ("\n[[step]]", 2, ["exactly one", "none of them"]),
        ("fuse = true\n[[step]]\ntune = true", 1, ["fuse", "list of steps"]),
        (
            '[[step]]\nfuse = true\n[[step]]\nswap = "relu=gelu"',
            4,
            ["cannot be judged", "swapped and nothing else", "put the swap first"],
        ),
        (
            '[[step]]\ntune = true\n[[step]]\nswap = "relu=gelu"',
            4,
            ["cannot be judged", "measured"],
        ),
        ("[[step]]\ntune = true\n[[step]]\nfuse = true", 4, ["put fuse first"]),
        ('[[step]]\nswap = "relu=gelu"\n[[step]]\nopset = 18', 4, ["put it first"]),
        ("[[step]]\nfuse = true\n[[step]]\nfuse = true", 4, ["say it once"]),
        ("[[step]]\nundo = true\n[[step]]\nfuse = true", 4, ["neither fuse"]),
        ('[[step]]\nswap = "relu=gelu"\n[[step]]\nundo = true', 4, ["neither swap"]),
        ("max-growth = 2\nmax_growth = 2\nfuse = true", 2, ["there twice"]),
        ("fuse = true\n\noops", 3, ["not TOML"]),
        ("fuse = 1\nfuse = 2", 2, ["not TOML"]),
        ('fuse = "', 1, ["not TOML"]),
    ],
)
def test_a_wrong_recipe(text: str, line: int, parts: list[str], tmp_path: Path) -> None:
    (problem,) = [p for p in _problems(tmp_path, text) if p.startswith(f"{line}: ")]
    for part in parts:
        assert part in problem, problem


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = 'fusee = 1\n[[step]]\nswap = "relu=gleu"\n[bound]\nmax_abz = 1\nmin_accuracy = 2\n'
    assert [p.split(":")[0] for p in _problems(tmp_path, text)] == ["1", "3", "5", "6"]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ('{\n"fuse": "auto",\n"tuen": true}', 3, "did you mean tune"),
        ('{"step": [\n{"fuse": true},\n{"swap": "relu=gelu"}]}', 3, "cannot be judged"),
        ('{"fuse":\n oops}', 2, "not JSON"),
        ("[1]", 1, "table of fields"),
    ],
)
def test_a_wrong_recipe_in_json(text: str, line: int, part: str, tmp_path: Path) -> None:
    (problem,) = _problems(tmp_path, text, "r.json")
    assert problem.startswith(f"{line}: ")
    assert part in problem


def test_keys_that_are_there_twice_in_json(tmp_path: Path) -> None:
    text = '{"step": [{"fuse": true},\n{"tune": true}], "bound": {"max_abs": 1,\n"max_abs": 2},\n'
    found = _problems(tmp_path, text + '"step": [],\n"reason": "a", "reason": "a"}', "r.json")
    assert found == [
        "3: max_abs: it is there twice",
        "4: step: it is there twice",
        "5: reason: it is there twice",
    ]


@pytest.mark.parametrize("depth", [300, 600, 100_000])
@pytest.mark.parametrize(("name", "start"), [("r.toml", "a = "), ("r.json", '{"a": ')])
def test_a_file_that_is_nested_too_deeply(
    name: str, start: str, depth: int, tmp_path: Path
) -> None:
    end = "}" if name == "r.json" else ""
    path = _file(tmp_path, f"{start}{'[' * depth}{']' * depth}{end}", name)
    with pytest.raises(UsageError, match=r"nested too deeply|unknown key"):
        load_recipe(path)


def test_hyphens_and_underscores_mean_the_same(tmp_path: Path) -> None:
    first = _file(tmp_path, "fuse = true\nmax-growth = 2.0\nstrict-placement = true", "a.toml")
    second = _file(tmp_path, "fuse = true\nmax_growth = 2\nstrict_placement = true", "b.toml")
    assert load_recipe(first).recipe == load_recipe(second).recipe


def test_toml_and_json_mean_the_same(tmp_path: Path) -> None:
    toml = '[[step]]\nswap = "relu=elu:alpha=0.5"\nwhere = "after:Conv"\n[bound]\nmax_abs = 1\n'
    same = {"step": [{"swap": ["relu=elu:alpha=0.5"], "where": ["after:Conv"]}]}
    json_text = json.dumps({**same, "bound": {"max_abs": 1.0}})
    loaded = load_recipe(_file(tmp_path, toml)).recipe
    assert loaded == load_recipe(_file(tmp_path, json_text, "r.json")).recipe


def test_a_recipe_without_steps_does_what_its_fields_say(tmp_path: Path) -> None:
    text = 'tune = true\nfuse = false\nswap = "relu=gelu"\nopset = 20\nbudget = "1m"'
    recipe = load_recipe(_file(tmp_path, text)).recipe
    assert [kind for _, kind, _ in steps_of(recipe)] == ["opset", "swap", "fuse", "tune"]
    assert (recipe.fuse, recipe.budget) == (FuseMode.NONE, 60.0)


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_texts_of_other_systems(mark: bytes, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(mark + b"fuse = true\r\nseed = 3\r\n")
    assert load_recipe(path).recipe.seed == 3


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_recipe(path)
    with pytest.raises(UsageError, match="cannot read"):
        load_recipe(tmp_path / "nowhere.toml")


def test_a_name_that_is_none() -> None:
    with pytest.raises(UnknownNameError, match="did you mean fast-cpu"):
        load_recipe("fast-cpuu")


@pytest.mark.parametrize("name", ready_names())
def test_ready_recipes_are_right_and_say_why(name: str) -> None:
    recipe = load_recipe(name).recipe
    assert len(recipe.reason.split()) > 20
    assert steps_of(recipe)
    swaps = [step for _, kind, step in steps_of(recipe) if kind == "swap"]
    assert all(step.optional for step in swaps)
    assert "reason" in ready_text(name)


def test_what_is_ready() -> None:
    assert ready_names() == ("edge-int8", "fast-cpu", "portable", "relu-only", "tensorrt-dla")


def test_a_folder_does_not_hide_a_recipe_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("portable", "other"):
        (tmp_path / name).mkdir()
    assert load_recipe("portable").recipe.undo
    with pytest.raises(UsageError, match="cannot read other"):
        load_recipe("other")
    (tmp_path / "fast-cpu").write_text("fuse = true")
    assert [kind for _, kind, _ in steps_of(load_recipe("fast-cpu").recipe)] == ["fuse"]


def test_a_json_recipe_may_name_its_schema(tmp_path: Path) -> None:
    text = '{"$schema": "onnx-act.schema.json",\n"fuse": true}'
    assert load_recipe(_file(tmp_path, text, "r.json")).recipe.fuse is FuseMode.AUTO
    (problem,) = _problems(tmp_path, text.replace("fuse", "fusee"), "r.json")
    assert problem.startswith("2: fusee: unknown key")


def test_the_schema_knows_every_field() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == {*field_names("recipe"), "$schema"}
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Step"]["additionalProperties"] is False
    assert "string" in json.dumps(schema["properties"]["swap"])
    json.dumps(schema, allow_nan=False)
    assert all(field.description for n, field in Recipe.model_fields.items() if n != "reason")
