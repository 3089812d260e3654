"""Writing the document to files, by their suffix."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onnx_act.errors import UsageError
from onnx_act.report.html import render_html
from onnx_act.report.json import render_json
from onnx_act.report.junit import render_junit
from onnx_act.report.markdown import render_markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from onnx_act.report.document import Report

_RENDERERS: Final[Mapping[str, Callable[[Report], str]]] = {
    ".json": render_json,
    ".md": render_markdown,
    ".xml": render_junit,
    ".html": render_html,
}

_PARTIAL: Final = ".onnx-act-report-"
_KNOWN: Final = ".json, .md, .html or .junit.xml"


def check_report_paths(
    paths: Sequence[Path], files: Iterable[Path | None] = (), baseline: Path | None = None
) -> None:
    """Refuse a report that cannot be written, or would overwrite something, before any work.

    Args:
        paths: where reports are to go.
        files: inputs and outputs of the command.
        baseline: the report that this run is compared with.

    Raises:
        UsageError: a suffix nobody knows, a file of the command or one that is no report, or a
            place that cannot be written to.
    """
    # Path.resolve raises for a link that leads to itself before Python 3.13.
    taken = {Path(os.path.realpath(f)) for f in files if f is not None}
    for path in paths:
        if baseline is not None and path.resolve() == baseline.resolve():
            raise UsageError(
                f"--report {path} would overwrite the baseline, also by what is worse: write it "
                f"elsewhere, and copy it there when it is to be the next baseline"
            )
        try:
            if path.resolve() in taken or (path.exists() and not _is_replaceable(path)):
                raise UsageError(f"--report {path} would overwrite a file that is no report")
            if path.suffix.lower() not in _RENDERERS:
                raise UsageError(f"--report {path}: the suffix says the format; use {_KNOWN}")
            _try_to_write(path)
        except OSError as error:
            raise UsageError(f"cannot write --report {path}: {error.strerror or error}") from None
        # Folders of reports are made where they lack: no file of the command may be one.
        inside = next((p for p in path.resolve().parents if p in taken and not p.is_dir()), None)
        if inside is not None:
            raise UsageError(f"cannot write --report {path}: {inside} is no folder")


def _is_replaceable(path: Path) -> bool:
    """Whether a file is empty or an earlier report: anything else might be a model or weights."""
    if not path.is_file():
        return False
    with path.open("rb") as existing:
        start = existing.read(200)
    return (
        not start
        or start.startswith(b"# onnx-act")
        or b'"onnx-act/' in start
        or b'<testsuites name="onnx-act ' in start
        or b'<meta name="generator" content="onnx-act ' in start
    )


def _try_to_write(path: Path) -> None:
    """Find out whether a file can be written, and leave everything as it was.

    Raises:
        OSError: it cannot.
    """
    if path.exists():
        with path.open("ab"):
            return
    folder = path.resolve().parent
    while not folder.exists():
        folder = folder.parent
    # What a folder's mode says is no answer: of a read-only file system it knows nothing.
    with tempfile.NamedTemporaryFile(dir=folder, prefix=_PARTIAL):
        pass


def write_report(report: Report, path: Path) -> None:
    """Write the document in the format that the suffix names.

    Raises:
        UsageError: the file cannot be written.
    """
    # A path that is not UTF-8 has characters that UTF-8 cannot write.
    content = (_RENDERERS[path.suffix.lower()](report) + "\n").encode("utf-8", "backslashreplace")
    place = path.resolve()
    partial = place.with_name(f"{_PARTIAL}{os.getpid()}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(content)
            partial.replace(place)
        except OSError:
            # A file that was mounted by itself can be written, but nothing can take its place.
            if not place.exists():
                raise
            place.write_bytes(content)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
