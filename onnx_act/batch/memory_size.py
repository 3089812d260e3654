"""Amounts of memory as options write them."""

from __future__ import annotations

import re
from typing import Final

from onnx_act.errors import UsageError

_SIZE: Final = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?)(?P<binary>i?)B?", re.IGNORECASE
)
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
# Less than this does not hold the libraries that read a model.
_LEAST: Final = 64_000_000


def parse_memory(text: str) -> int:
    """Bytes from `4GB`, `512MB`, `4GiB` or a bare number.

    Raises:
        UsageError: it does not parse, or is too little to begin with.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--memory-limit takes an amount such as 4GB or 512MB, not {text!r}")
    base = 1024 if match["binary"] else 1000
    found = int(float(match["number"]) * base ** _POWERS[match["unit"].upper()])
    if found < _LEAST:
        raise UsageError(f"--memory-limit {text} is too little to read any model; give 1GB or more")
    return found
