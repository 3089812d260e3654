"""Writing the document to files, by their suffix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onnx_act.errors import UsageError
from onnx_act.report.html import render_html
from onnx_act.report.json import render_json
from onnx_act.report.junit import render_junit
from onnx_act.report.markdown import render_markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from onnx_act.report.document import Report

_RENDERERS: Final[Mapping[str, Callable[[Report], str]]] = {
    ".json": render_json,
    ".md": render_markdown,
    ".xml": render_junit,
    ".html": render_html,
}

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
        UsageError: a suffix nobody knows, a file of the command, or one that is no report.
    """
    taken = {f.resolve() for f in files if f is not None}
    for path in paths:
        if baseline is not None and path.resolve() == baseline.resolve():
            raise UsageError(
                f"--report {path} would overwrite the baseline, also by what is worse: write it "
                f"elsewhere, and copy it there when it is to be the next baseline"
            )
        if path.resolve() in taken or (path.exists() and not _is_replaceable(path)):
            raise UsageError(f"--report {path} would overwrite a file that is no report")
        if path.suffix.lower() not in _RENDERERS:
            raise UsageError(f"--report {path}: the suffix says the format; use {_KNOWN}")


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
