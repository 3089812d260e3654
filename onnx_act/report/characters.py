"""Characters of names that would do something where they are shown: spelled, not done."""

from __future__ import annotations

import re
from typing import Final

# What moves the cursor, colours or breaks a line in some terminal or viewer, turns the direction
# of what follows, or is no character at all. A line feed is ours to write.
_ACTIVE: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Text whose control characters are spelled as in Python: `\x1b`, `\r`, `\u202e`."""
    return _ACTIVE.sub(lambda found: ascii(found.group())[1:-1], text)
