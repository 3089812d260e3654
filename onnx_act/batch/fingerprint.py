"""When two conversions are the same: equal bytes in, an equal request, equal versions."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onnx_act.activations.activation import Activation
from onnx_act.graph.model_files import model_files
from onnx_act.recipe.content import content_hash
from onnx_act.report.document import environment, package_version

if TYPE_CHECKING:
    from onnx_act.recipe.request import ConversionRequest

# What decides neither the result nor what is said of it: where the recipe came from (what it says
# is in the other fields), and how long things may take.
_BESIDE_THE_POINT: Final = frozenset({"recipe", "timeout_s", "save_profile"})

_MISSING: Final = "missing"


def request_digest(request: ConversionRequest) -> str:
    """A digest of what is asked for, the contents of the files that it names included.

    Raises:
        OSError: such a file cannot be read.
    """
    told = json.dumps(_plain(request), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()


def made_with() -> dict[str, str]:
    """The versions that decide what a conversion gives."""
    found = {k: v for k, v in environment().items() if k.startswith("onnx")}
    return {"onnx-act": package_version(), **found}


def digests_of_model(path: Path, *, is_opened: bool = True) -> dict[str, str]:
    """Digests of a model's file and of its external weights, by names relative to its folder.

    A file that is no model is told by itself, one that is not there as missing.

    Args:
        path: the model's file.
        is_opened: whether to look into it for external weights, which are left out otherwise.
    """
    try:
        names = model_files(path) if is_opened and path.is_file() else (path.name,)
    except OSError:
        names = (path.name,)
    return {name: _digest(path.parent / name) for name in names}


def are_as_told(folder: Path, digests: Mapping[str, str]) -> bool:
    """Whether files hold what they held."""
    return bool(digests) and all(_digest(folder / n) == told for n, told in digests.items())


def _digest(path: Path) -> str:
    """The digest of a regular file; anything else might never end."""
    try:
        return content_hash(path) if path.is_file() else _MISSING
    except OSError:
        return _MISSING


def _plain(value: Any) -> Any:
    """A value as JSON data that is equal for equal values, in every process."""
    if isinstance(value, Activation):
        return value.name
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: _plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if f.name not in _BESIDE_THE_POINT
        }
    if isinstance(value, Path):
        return content_hash(value) if value.exists() else str(value)
    if isinstance(value, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return [str(value.dtype), list(value.shape), content]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"a request holds a {type(value).__name__}, which has no plain form")
