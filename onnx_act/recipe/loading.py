"""Reading recipes: from a file or by name, with the line of whatever is wrong."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import ValidationError

from onnx_act.errors import UnknownNameError, UsageError
from onnx_act.recipe.key_lines import (
    KeyPath,
    json_lines,
    line_of,
    repeated_json_keys,
    toml_lines,
)
from onnx_act.recipe.schema import OF_ONE_RUN, SCHEMA_KEY, FieldKind, Recipe, field_names
from onnx_act.recipe.sense import problems_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

_SUFFIXES: Final = (".toml", ".json")
_READY: Final = "ready"
_SYNTAX: Final = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column \d+|(?P<end>.*))\)")
# Tables whose keys are the user's own.
_FREE: Final = frozenset({"parameters", "files", "measured"})
_TYPES: Final = {
    "int_type": "takes a whole number",
    "int_from_float": "takes a whole number",
    "float_type": "takes a number",
    "bool_type": "takes true or false",
    "string_type": "takes text",
    "list_type": "takes a list",
    "dict_type": "takes a table",
    "model_type": "takes a table",
    "enum": "takes a name",
}


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe, and where it came from.

    Attributes:
        recipe: what it says.
        shown: what messages call it: its path or name.
        path: its file; None for one that came with the program, or that is no file at all.
        lines: the line of each key, counted from 1.
    """

    recipe: Recipe
    shown: str
    path: Path | None
    lines: dict[KeyPath, int]

    @property
    def folder(self) -> Path:
        """What its paths are relative to."""
        return Path() if self.path is None else self.path.parent

    def at(self, *path: str | int) -> str:
        """The place of a key, for a message."""
        return f"{self.shown}:{line_of(path, self.lines)}"


def load_recipe(source: str | Path) -> LoadedRecipe:
    """Read a recipe.

    Args:
        source: a `.toml` or `.json` file, or the name of a recipe that comes with the program.

    Raises:
        UnknownNameError: neither a file nor a recipe's name.
        UsageError: it cannot be read or is wrong; one line for each problem.
    """
    path = Path(source)
    # A folder may be called as a recipe is, for what the recipe made.
    if path.suffix.lower() not in _SUFFIXES and not path.is_file():
        name = str(source).strip().lower().replace("_", "-")
        if name in ready_names():
            return parse_recipe(ready_text(name), name, None)
        if not path.exists():
            raise UnknownNameError("recipe", str(source), ready_names())
    try:
        # A Windows editor's byte order mark is no part of the text.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a recipe: it is not UTF-8 text ({error.reason})") from None
    return parse_recipe(text, str(path), path)


def ready_names() -> tuple[str, ...]:
    """The names of the recipes that come with the program."""
    folder = resources.files("onnx_act.recipe") / _READY
    names = (item.name for item in folder.iterdir())
    return tuple(sorted(n.removesuffix(".toml") for n in names if n.endswith(".toml")))


def ready_text(name: str) -> str:
    """The text of a recipe that comes with the program.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in ready_names():
        raise UnknownNameError("recipe", name, ready_names())
    file = resources.files("onnx_act.recipe") / _READY / f"{name}.toml"
    return file.read_text(encoding="utf-8")


def parse_recipe(text: str, shown: str, path: Path | None) -> LoadedRecipe:
    """A recipe from its text: JSON when the file says so, else TOML.

    Raises:
        UsageError: it is wrong; one line for each problem.
    """
    try:
        return _parsed(text, shown, path)
    except RecursionError:
        raise UsageError(f"{shown}: this is not a recipe: it is nested too deeply") from None


def _parsed(text: str, shown: str, path: Path | None) -> LoadedRecipe:
    is_json = path is not None and path.suffix.lower() == ".json"
    data = _json(text, shown) if is_json else _toml(text, shown)
    if is_json:
        data.pop(SCHEMA_KEY, None)
    lines = {_plainly(p): n for p, n in (json_lines if is_json else toml_lines)(text).items()}
    twice: list[KeyPath] = []
    data = _underscored(data, (), twice)
    said = [(p, "it is there twice, with hyphens and with underscores") for p in twice]
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        said += [_said(e) for e in error.errors(include_url=False)]
    else:
        said += problems_of(recipe)
        if not said:
            return LoadedRecipe(recipe, shown, path, lines)
    found = sorted({(line_of(p, lines), f"{_key(p)}{what}") for p, what in said})
    raise UsageError("\n".join(f"{shown}:{line}: {what}" for line, what in found))


def _toml(text: str, shown: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _SYNTAX.fullmatch(str(error))
        if found is None:
            raise UsageError(f"{shown} is not TOML: {error}") from None
        line = found["line"] or text.count("\n") + 1
        raise UsageError(f"{shown}:{line}: this is not TOML: {found['what'].lower()}") from None


def _json(text: str, shown: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{shown}:{error.lineno}: this is not JSON: {error.msg.lower()}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{shown}:1: a recipe is a table of fields, not {type(data).__name__}")
    twice = repeated_json_keys(text).items()
    if twice:
        raise UsageError("\n".join(f"{shown}:{n}: {_key(p)}it is there twice" for p, n in twice))
    return cast("dict[str, Any]", data)


def _underscored(value: Any, path: KeyPath, twice: list[KeyPath]) -> Any:
    """The same data with the keys that are ours in one spelling."""
    if isinstance(value, list):
        return [_underscored(v, (*path, i), twice) for i, v in enumerate(value)]
    if not isinstance(value, dict) or _FREE & set(path):
        return value
    found: dict[str, Any] = {}
    for key, inner in value.items():
        name = key.replace("-", "_")
        if name in found:
            twice.append((*path, name))
        found[name] = _underscored(inner, (*path, name), twice)
    return found


def _plainly(path: KeyPath) -> KeyPath:
    """A path with the keys that are ours in one spelling."""
    found: KeyPath = ()
    for key in path:
        ours = isinstance(key, str) and not _FREE & set(found)
        found = (*found, key.replace("-", "_") if ours and isinstance(key, str) else key)
    return found


def _said(error: ErrorDetails) -> tuple[KeyPath, str]:
    """Where a problem is, and what it is, in our words."""
    path = _without_marks(error["loc"])
    kind = error["type"]
    if kind == "extra_forbidden":
        return path, _unknown(path)
    if kind == "missing":
        return path[:-1], f"there is no {path[-1]!r} in it"
    if kind == "value_error":
        return path, error["msg"].removeprefix("Value error, ")
    if kind == "list_type" and path == ("step",):
        return path, "there can be several steps: write [[step]], or a list of tables in JSON"
    if kind in _TYPES:
        return path, f"{_TYPES[kind]}, not {_shown(error['input'])}"
    return path, f"{error['msg'][:1].lower()}{error['msg'][1:]}, not {_shown(error['input'])}"


def _without_marks(place: Iterable[str | int]) -> KeyPath:
    """The path without what pydantic says about which of several types it tried."""
    return tuple(p for p in place if p not in {"float", "str"})


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, default=str)


def _unknown(path: KeyPath) -> str:
    key = str(path[-1])
    names = field_names(_table_of(path))
    if key in OF_ONE_RUN:
        option = key.replace("_", "-")
        return f"no field of a recipe, since it is about one run: give --{option} with the command"
    if _table_of(path) != "bound" and key in field_names("bound"):
        return f"this is a bound: write it under [bound], as {key} = LIMIT"
    near = get_close_matches(key.lower(), names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
    return f"unknown key; {hint}"


def _table_of(path: KeyPath) -> FieldKind:
    keys = [k for k in path[:-1] if isinstance(k, str)]
    innermost = keys[-1] if keys else "recipe"
    return cast("FieldKind", innermost if innermost in {"step", "bound", "swap"} else "recipe")


def _key(path: KeyPath) -> str:
    """The innermost key of a path, to begin a message with."""
    keys = [k for k in path if isinstance(k, str)]
    return f"{keys[-1]}: " if keys else ""
