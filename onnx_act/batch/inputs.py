"""Which models a batch is about, and where the result of each goes."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from onnx_act.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SUFFIX: Final = ".onnx"
_WILD: Final = "*?["


@dataclass(frozen=True, slots=True)
class Input:
    """One model of a batch.

    Attributes:
        path: where it is, as it was named.
        place: where its result goes, relative to the folder of results.
    """

    path: Path
    place: PurePath


def is_pattern(path: Path) -> bool:
    """Whether a path is one that stands for several, and no file of that name exists."""
    return any(sign in str(path) for sign in _WILD) and not path.exists()


def collect_inputs(named: Sequence[Path], out_dir: Path | None) -> tuple[Input, ...]:
    """Every model that is meant, in the order in which it was named, each once.

    A folder stands for every `.onnx` file below it, and a pattern (`*`, `?`, `[...]`, `**` for any
    folders) for what it matches; the tree below the folder, or below the part of the pattern
    without wildcards, is kept. What is below `out_dir` is a result, not an input, and hidden
    files are neither.

    Args:
        named: files, folders and patterns.
        out_dir: the folder of results.

    Raises:
        UsageError: a folder or pattern without a model, two models with one place, or a result
            that would overwrite an input.
    """
    found: dict[Path, Input] = {}
    for path in named:
        for each in _expanded(path, out_dir):
            # The same file named twice, such as by a folder and by its path, is one input.
            found.setdefault(each.path.resolve(), each)
    inputs = tuple(found.values())
    _check_places(inputs, set(found), out_dir)
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
    kept = [f for f in files if results is None or not f.resolve().is_relative_to(results)]
    if not kept:
        raise UsageError(empty)
    for file in kept:
        yield Input(file, file.relative_to(root))


def _below(folder: Path) -> list[Path]:
    """The models below a folder, sorted; links to folders are not followed."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        wanted = (n for n in names if n.lower().endswith(_SUFFIX) and not n.startswith("."))
        found.extend(Path(place, name) for name in sorted(wanted))
    return found


def _root_of(pattern: Path) -> Path:
    """The folders of a pattern before the first one with a wildcard."""
    parts: list[str] = []
    for part in pattern.parent.parts:
        if any(sign in part for sign in _WILD):
            break
        parts.append(part)
    return Path(*parts)


def _check_places(inputs: Iterable[Input], sources: Iterable[Path], out_dir: Path | None) -> None:
    taken: dict[PurePath, Path] = {}
    for each in inputs:
        other = taken.setdefault(each.place, each.path)
        if other != each.path:
            raise UsageError(
                f"two models of one name would be written to one file in --out-dir: {other} and "
                f"{each.path}; name the folder that holds both, and its tree is kept"
            )
    if out_dir is None:
        return
    results = out_dir.resolve()
    overwritten = {results / place for place in taken} & set(sources)
    if overwritten:
        raise UsageError(
            f"the result of a model would be written over the input {min(overwritten)}; input "
            f"files are never written: give another --out-dir"
        )
