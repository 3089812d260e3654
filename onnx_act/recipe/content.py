"""What a file holds, in a few characters."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def content_hash(path: Path) -> str:
    """`sha256:` and the digest of a file, or of the names and contents of a folder's files.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.iterdir() if p.is_file()):
            digest.update(f"{file.name}\0{content_hash(file)}\n".encode())
    else:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
    return f"sha256:{digest.hexdigest()}"
