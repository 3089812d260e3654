"""Writing the document to files, by their suffix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onnx_act.errors import UsageError
from onnx_act.report.json import render_json
from onnx_act.report.markdown import render_markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from onnx_act.report.document import Report

_RENDERERS: Final[Mapping[str, Callable[[Report], str]]] = {
    ".json": render_json,
    ".md": render_markdown,
}


def check_report_paths(paths: Iterable[Path]) -> None:
    """Refuse a report that cannot be written, before any work is done.

    Raises:
        UsageError: a suffix nobody knows.
    """
    for path in paths:
        if path.suffix.lower() not in _RENDERERS:
            known = " or ".join(_RENDERERS)
            raise UsageError(f"--report {path}: the suffix says the format; use {known}")


def write_report(report: Report, path: Path) -> None:
    """Write the document in the format that the suffix names.

    Raises:
        UsageError: the file cannot be written.
    """
    text = _RENDERERS[path.suffix.lower()](report)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
