"""Files that are whole at every moment: replaced at once, or grown by whole lines."""

from __future__ import annotations

import errno
import json
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from onnx_act.errors import UsageError
from onnx_act.graph.store import machine_mark

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


# A name of a file may hold bytes that are no text: Python has lone surrogates for them, and so has
# JSON, in the very form that this gives them.
_ODD_NAMES: Final = "backslashreplace"
_LONGEST_LINE: Final = 1 << 26


def write_whole(path: Path, text: str) -> None:
    """Write a file of JSON that is there with all of the text, or as it was before.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tag = f"{os.getpid()}-{machine_mark()}{secrets.token_hex(4)}"
    partial = path.with_name(f".{path.name[:64]}.{tag}.tmp")
    try:
        with partial.open("w", encoding="utf-8", errors=_ODD_NAMES) as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def check_line_file(path: Path) -> None:
    """Refuse a file that holds anything but outcomes, for it would be emptied.

    Raises:
        UsageError: it does.
    """
    try:
        with path.open("rb") as file:
            first = file.readline(_LONGEST_LINE)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
    try:
        told = json.loads(first) if first.strip() else {"outcome": ""}
    except ValueError:
        told = None
    if not isinstance(told, dict) or "outcome" not in told:
        raise UsageError(
            f"{path} is there and is no file of outcomes: give another --outcomes FILE.jsonl"
        )


class LineFile:
    """A file of JSON texts, one a line, that others may read while it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a line, and see that it is on the disk.

        Raises:
            OSError: it cannot be written; what there is of the line is no line.
        """
        line = json.dumps(record, allow_nan=False, ensure_ascii=False) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            end = os.lseek(handle, 0, os.SEEK_END)
            # Whoever wrote last may have been stopped in the middle of a line.
            torn = end > 0 and os.pread(handle, 1, end - 1) != b"\n"
            payload = (b"\n" if torn else b"") + line.encode(errors=_ODD_NAMES)
            written = os.write(handle, payload)
            if written < len(payload):
                os.ftruncate(handle, end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        finally:
            os.close(handle)

    def records(self) -> Iterator[dict[str, Any]]:
        """Every line that is whole; what is none is passed over."""
        try:
            stored = self.path.open(encoding="utf-8", errors="replace")
        except OSError:
            return
        with stored:
            for line in stored:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record
