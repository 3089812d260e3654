"""Evidence as plain JSON data."""

from __future__ import annotations

import dataclasses
import math
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def plain(value: DataclassInstance) -> dict[str, Any]:
    """A dataclass as nested dictionaries and lists of JSON types.

    JSON has no NaN and no infinity: both become null. Where that leaves a doubt the record has
    another field that settles it (the signal-to-noise ratio of identical outputs is infinite,
    and `identical` is true). Fields whose metadata has `left_out` are left out.
    """
    return {
        field.name: _plain(getattr(value, field.name))
        for field in dataclasses.fields(value)
        if not field.metadata.get("left_out")
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    return _container(value)


def _container(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
