"""Which models a batch is about, and where the result of each goes."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from onnx_act.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SUFFIX: Final = ".onnx"
_WILD: Final = "*?["
# Two letters at least: `C:/` is a drive.
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.+")


@dataclass(frozen=True, slots=True)
class Input:
    """One model of a batch.

    Attributes:
        path: where it is, as it was named; of one with a URL the name alone.
        place: where its result goes, relative to the folder of results.
        url: where it is, when that is no path.
    """

    path: Path
    place: PurePath
    url: str = ""

    @property
    def named(self) -> str:
        """What it is called wherever it is spoken of."""
        return self.url or str(self.path)


def is_remote(text: str) -> bool:
    """Whether a text is a URL, not a path."""
    return _URL.fullmatch(text) is not None


def place_of(text: str) -> Path | str:
    """A path, or the URL that a text is."""
    return text if is_remote(text) else Path(text)


def is_pattern(path: Path) -> bool:
    """Whether a path is one that stands for several, and no file of that name exists."""
    return any(sign in str(path) for sign in _WILD) and not path.exists()


def collect_inputs(named: Sequence[Path | str], out_dir: Path | str | None) -> tuple[Input, ...]:
    """Every model that is meant, in the order in which it was named, each once.

    A folder stands for every `.onnx` file below it, and a pattern (`*`, `?`, `[...]`, `**` for any
    folders) for what it matches; the tree below the folder, or below the part of the pattern
    without wildcards, is kept. What is below `out_dir` is a result, not an input, and hidden
    files are neither.

    Args:
        named: files, folders and patterns; texts are URLs of them.
        out_dir: the folder of results; a text is its URL.

    Raises:
        UsageError: a folder or pattern without a model, two models with one place, or a result
            that would overwrite an input; a URL that cannot be listed.
    """
    if isinstance(out_dir, str):
        from onnx_act.batch.remote import canonical  # noqa: PLC0415 - for URLs only

        out_dir = canonical(out_dir)
    found: dict[Path | str, Input] = {}
    for one in named:
        if isinstance(one, str):
            for each in _at_url(one, out_dir):
                found.setdefault(each.url, each)
            continue
        for each in _expanded(one, out_dir if isinstance(out_dir, Path) else None):
            # The same file named twice, such as by a folder and by its path, is one input.
            found.setdefault(_as_it_is_named(each.path), each)
    inputs = tuple(found.values())
    sources = {each.url or _without_links(each.path) for each in inputs}
    _check_places(inputs, sources | set(found), out_dir)
    return inputs


def _expanded(path: Path, out_dir: Path | None) -> Iterator[Input]:
    if path.is_dir():
        root, files = path, _below(path)
        empty = f"there is no {_SUFFIX} file below {path}"
    elif is_pattern(path):
        root = _root_of(path)
        matches = sorted(Path(p) for p in glob.glob(str(path), recursive=True))  # noqa: PTH207
        files = [f for match in matches for f in (_below(match) if match.is_dir() else [match])]
        empty = f"nothing matches {path}"
    else:
        yield Input(path, PurePath(path.name))
        return
    results = None if out_dir is None else out_dir.resolve()
    if results is not None and root.resolve() not in results.parents:
        results = None  # what is meant is not a folder around the results
    kept = [
        f
        for f in files
        # A pipe might never end. What is not there, such as the end of a link, has an outcome.
        if (f.is_file() or not f.exists())
        and (results is None or not _without_links(f).is_relative_to(results))
    ]
    if not kept:
        raise UsageError(empty)
    for file in kept:
        yield Input(file, file.relative_to(root))


def _at_url(url: str, out_dir: Path | str | None) -> Iterator[Input]:
    from onnx_act.batch.remote import canonical, models_at  # noqa: PLC0415 - for URLs only

    results = f"{out_dir.rstrip('/')}/" if isinstance(out_dir, str) else ""
    if not results.startswith(f"{canonical(url).rstrip('/')}/") or canonical(url) == out_dir:
        results = ""  # what is meant is not a folder around the results
    found = [m for m in models_at(url, _SUFFIX) if not results or not m[0].startswith(results)]
    if not found:
        raise UsageError(f"there is no {_SUFFIX} file below {url}")
    for each, place in found:
        yield Input(Path(place.name), place, each)


def _below(folder: Path) -> list[Path]:
    """The models below a folder, sorted; links to folders are not followed."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        wanted = (n for n in names if n.lower().endswith(_SUFFIX) and not n.startswith("."))
        found.extend(Path(place, name) for name in sorted(wanted))
    return found


def _as_it_is_named(path: Path) -> Path:
    """The path of a file without links to folders; one that is a link itself is another input."""
    return _without_links(path.parent) / path.name


def _without_links(path: Path) -> Path:
    """The path of a file without links; one that leads only to itself stays as it is."""
    # Path.resolve raises for such a link before Python 3.13.
    return Path(os.path.realpath(path))


def _root_of(pattern: Path) -> Path:
    """The folders of a pattern before the first one with a wildcard."""
    parts: list[str] = []
    for part in pattern.parent.parts:
        if any(sign in part for sign in _WILD):
            break
        parts.append(part)
    return Path(*parts)


def _check_places(
    inputs: Iterable[Input], sources: Iterable[Path | str], out_dir: Path | str | None
) -> None:
    taken: dict[PurePath, str] = {}
    for each in inputs:
        if ".." in each.place.parts:
            raise UsageError(
                f"{each.named} would go outside of --out-dir: a pattern has no .. behind a wildcard"
            )
        other = taken.setdefault(each.place, each.named)
        if other != each.named:
            raise UsageError(
                f"two models of one name would be written to one file in --out-dir: {other} and "
                f"{each.named}; name the folder that holds both, and its tree is kept"
            )
    if out_dir is None:
        return
    overwritten = {result_at(out_dir, place) for place in taken} & set(sources)
    if overwritten:
        first = min(str(each) for each in overwritten)
        raise UsageError(
            f"the result of a model would be written over the input {first}; input "
            f"files are never written: give another --out-dir"
        )


def result_at(out_dir: Path | str, place: PurePath) -> Path | str:
    """Where the result at a place goes: a path without links, or a URL."""
    if isinstance(out_dir, str):
        return f"{out_dir.rstrip('/')}/{place.as_posix()}"
    return out_dir.resolve() / place
