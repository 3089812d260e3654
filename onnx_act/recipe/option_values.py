"""Values as options and recipes write them: durations, shapes, numbers. Nothing heavy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from onnx_act.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHAPE: Final = re.compile(r"(?P<name>.+?):\[?(?P<dims>\d+(?:\s*[,x]\s*\d+)*)\]?")
_DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h)?")
_PART: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<percent>%)?")
_UNITS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


def parse_shapes(texts: Iterable[str] | None) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Shapes as `--shape` writes them: `x:1,3,224,224` or `x:[1,3,224,224]`.

    Raises:
        UsageError: one of them does not parse.
    """
    found: list[tuple[str, tuple[int, ...]]] = []
    for text in texts or ():
        match = _SHAPE.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"--shape takes NAME:1,3,224,224, not {text!r}")
        dims = tuple(int(d) for d in re.split(r"[,x]", match.group("dims")))
        found.append((match.group("name"), dims))
    return tuple(found)


def parse_duration(text: str, option: str) -> float:
    """Seconds from `30s`, `5m`, `500ms` or a bare number.

    Raises:
        UsageError: it does not parse, or is nothing.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or float(match.group("number")) == 0:
        raise UsageError(f"{option} takes a time such as 30s or 5m, not {text!r}")
    return float(match.group("number")) * _UNITS[match.group("unit")]


def parse_counts(text: str, option: str, least: int) -> tuple[int, ...]:
    """Whole numbers from `1,2,8`, each at least `least`.

    Raises:
        UsageError: it does not parse, or one of them is too small.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) >= least for part in parts):
        raise UsageError(f"{option} takes numbers from {least} on, such as 1 or 1,2, not {text!r}")
    return tuple(int(part) for part in parts)


def parse_part(text: str, option: str) -> float | None:
    """A part of one from `1%` or `0.01`; None from zero.

    Raises:
        UsageError: it does not parse, or is no less than all.
    """
    match = _PART.fullmatch(text.strip())
    part = 1.0 if match is None else float(match["number"]) * (0.01 if match["percent"] else 1.0)
    if part >= 1.0:
        raise UsageError(f"{option} takes a part below 100 %, such as 1% or 0.01, not {text!r}")
    return part or None


def parse_named_limit(text: str, option: str, example: str) -> tuple[str, str]:
    """Name and limit of `NAME=LIMIT`; hyphens in names stand for underscores.

    Raises:
        UsageError: it is something else.
    """
    name, assigned, limit = text.partition("=")
    if not assigned:
        raise UsageError(f"{option} takes NAME=LIMIT, such as {example}, not {text!r}")
    return name.strip().lower().replace("-", "_"), limit.strip()


def parse_limit(text: str, option: str) -> float:
    """A limit that is a number.

    Raises:
        UsageError: it is none.
    """
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{option} takes a number, not {text!r}") from None
