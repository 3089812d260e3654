"""Models and results on file systems that have a URL, through fsspec.

A model is brought to a folder for passing files with its external weights, and its result put
beside nothing that is half there: under a passing name and then renamed, or, in stores where a
file is seen only when all of it has arrived, in one piece.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

from onnx_act.batch.inputs import is_remote
from onnx_act.errors import ModelError, UsageError
from onnx_act.graph.model_files import model_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# A file appears in them with all of its content, and renaming is copying.
_WHOLE_PUTS: Final = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "memory"}
)
_MISSING: Final = "missing"


def canonical(url: str) -> str:
    """A URL as its file system writes it.

    Raises:
        UsageError: there is no such file system.
    """
    system, path = _system(url)
    return _url_of(system, path)


def models_at(url: str, suffix: str) -> list[tuple[str, PurePath]]:
    """The models that a URL stands for: a file, those below a folder, or what a pattern matches.

    Args:
        url: what was named.
        suffix: how the name of a model ends.

    Returns:
        The URL of each and its path relative to the folder, or to the part of the pattern before
        the first wildcard; sorted.

    Raises:
        UsageError: no model is there, or the file system cannot be reached.
    """
    system, path = _system(url)
    try:
        found: list[str]
        if any(sign in path for sign in "*?["):
            root = re.split(r"[^/]*[*?\[]", path, maxsplit=1)[0].rstrip("/")
            found = [str(p) for p in system.glob(path)]
            empty = f"nothing matches {url}"
        elif not path.lower().endswith(suffix) and system.isdir(path):
            root, found = path.rstrip("/"), [str(p) for p in system.find(path)]
            empty = f"there is no {suffix} file below {url}"
        else:
            # Where it is not there, the outcome of its job says so.
            return [(_url_of(system, path), PurePath(path.rpartition("/")[2]))]
        found = sorted(p for p in found if _is_model(p.removeprefix(root), suffix))
    except Exception as error:
        raise UsageError(f"cannot list {url}: {_reason(error)}") from error
    if not found:
        raise UsageError(empty)
    return [(_url_of(system, p), PurePath(p.removeprefix(root).lstrip("/"))) for p in found]


def _is_model(path: str, suffix: str) -> bool:
    return path.lower().endswith(suffix) and not any(p.startswith(".") for p in path.split("/"))


def beside(url: str, name: str) -> str:
    """The URL of a file in the folder of another one."""
    return f"{url.rpartition('/')[0]}/{name}"


def tokens_of(url: str, names: Iterable[str]) -> dict[str, str]:
    """What tells whether files are as they were, without reading them: what their store says.

    Args:
        url: of the model.
        names: of its files, relative to its folder.
    """
    return {name: _token(beside(url, name)) for name in names}


def are_as_told(url: str, tokens: Mapping[str, str]) -> bool:
    """Whether the files of a model are what they were."""
    return bool(tokens) and tokens_of(url, tokens) == dict(tokens)


def _token(url: str) -> str:
    try:
        system, path = _system(url)
        system.invalidate_cache()
        told = system.info(path)
    except Exception:  # noqa: BLE001 - each file system has exceptions of its own
        return _MISSING
    # Of all that a store tells, what changes with the content.
    marks = ("ETag", "etag", "md5Hash", "content_md5", "generation", "mtime", "LastModified")
    more = ("last_modified", "created", "modified")
    kept = {m: str(told[m]) for m in (*marks, *more) if told.get(m) is not None}
    return f"size={told.get('size')};" + ";".join(f"{k}={v}" for k, v in sorted(kept.items()))


def bring(url: str, folder: Path) -> tuple[Path, dict[str, str]]:
    """Fetch a model and its external weights.

    Args:
        url: of the model.
        folder: where its files go, under the names that they have.

    Returns:
        The model's file, and `tokens_of` what was fetched.

    Raises:
        ModelError: it cannot be fetched, or its weights are not below its folder.
        UsageError: the file system cannot be reached.
    """
    system, path = _system(url)
    model = folder / path.rpartition("/")[2]
    # Before the files: one that changes meanwhile differs from what is remembered of it.
    tokens = tokens_of(url, [model.name])
    _get(system, path, model, url)
    for name in model_files(model)[1:]:
        place = folder / name
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise ModelError(f"{url}: its weights {name} are not below its folder")
        tokens |= tokens_of(url, [name])
        place.parent.mkdir(parents=True, exist_ok=True)
        _get(system, f"{path.rpartition('/')[0]}/{name}", place, beside(url, name))
    return model, tokens


def _get(system: Any, path: str, place: Path, url: str) -> None:
    try:
        system.get_file(path, str(place))
    except FileNotFoundError:
        raise ModelError(f"{url}: no such file") from None
    except Exception as error:
        raise ModelError(f"{url}: it cannot be fetched: {_reason(error)}") from error


def put(model: Path, url: str) -> dict[str, str]:
    """Store a result and its external weights; the model's file comes last.

    Args:
        model: the result, on this machine.
        url: of the file that it becomes.

    Returns:
        `tokens_of` what was stored.

    Raises:
        UsageError: it cannot be stored.
    """
    system, path = _system(url)
    names = model_files(model)
    parent = path.rpartition("/")[0]
    try:
        for name in (*names[1:], names[0]):
            target = path if name == names[0] else f"{parent}/{name}"
            system.makedirs(target.rpartition("/")[0], exist_ok=True)
            _put_whole(system, model.parent / name, target)
    except Exception as error:
        raise UsageError(f"cannot write {url}: {_reason(error)}") from error
    return tokens_of(url, names)


def _put_whole(system: Any, file: Path, target: str) -> None:
    protocols = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
    if protocols & _WHOLE_PUTS:
        system.put_file(str(file), target)
        return
    folder, _, name = target.rpartition("/")
    partial = f"{folder}/.{name[:64]}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        system.put_file(str(file), partial)
        system.mv(partial, target)
    except BaseException:
        with suppress(Exception):
            system.rm_file(partial)
        raise


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra
    except ImportError:
        raise UsageError(
            f'{url} needs fsspec: pip install "onnx-act[remote]", here and on every worker'
        ) from None
    try:
        system, path = url_to_fs(url)
    except Exception as error:
        raise UsageError(f"cannot reach {url}: {_reason(error)}") from error
    return system, str(path)


def _url_of(system: Any, path: str) -> str:
    return path if is_remote(path) else str(system.unstrip_protocol(path))


def _reason(error: Exception) -> str:
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(told).split())
