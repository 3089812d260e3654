"""Showing a report, and progress, the way the options ask."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import typer

from onnx_act.cli.options import OutputFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from onnx_act.errors import OnnxActError
    from onnx_act.report.document import ModelEntry, Report

_WIDTH_WHEN_PIPED = 160
_INVOKED: ContextVar[tuple[str, ...]] = ContextVar("invoked", default=())


def invoke(arguments: list[str]) -> None:
    """Note the command line that is being run."""
    _INVOKED.set(tuple(arguments))


def invoked() -> tuple[str, ...]:
    """The command line that is being run, for the report."""
    return _INVOKED.get()


def present(
    report: Report,
    output: OutputFormat,
    files: list[Path] | None = None,
    *,
    every_site: bool = False,
) -> None:
    """Print the report, write it where asked, and end with its exit code."""
    from onnx_act.report.write import write_report

    for path in files or []:
        write_report(report, path)
    _print(report, output, every_site=every_site)
    raise typer.Exit(report.exit_code)


def failed_entry(model: Path, error: OnnxActError) -> ModelEntry:
    """What a report says of a model that ended in an error."""
    from onnx_act.errors import UsageError
    from onnx_act.report.document import ModelEntry, Outcome

    outcome = Outcome.REFUSED if isinstance(error, UsageError) else Outcome.FAILED
    return ModelEntry(str(model), outcome, exit_code=error.exit_code, message=str(error))


def write_failure(
    command: str, entries: Sequence[ModelEntry], files: list[Path] | None, output: OutputFormat
) -> None:
    """Write the reports of a run that ends here: a pipeline shows them whatever the exit code.

    Where evidence could not be had (a crash, no time left) or a provider could not, it is also
    printed as JSON where that is the format. Wrong use and files that cannot be read end before
    there is anything to tell.
    """
    from onnx_act.errors import EvidenceError, ProviderUnavailableError
    from onnx_act.report.document import Report
    from onnx_act.report.write import write_report

    report = Report(command, tuple(entries), invoked())
    for path in files or []:
        write_report(report, path)
    told = {EvidenceError.exit_code, ProviderUnavailableError.exit_code}
    if output is OutputFormat.JSON and report.exit_code in told:
        _print(report, output)


@contextmanager
def reporting_failure(
    command: str, model: Path, files: list[Path] | None, output: OutputFormat
) -> Iterator[None]:
    """Have an error that ends the work on one model stand in the reports too."""
    from onnx_act.errors import (
        EvidenceError,
        ModelError,
        ProviderUnavailableError,
        UsageError,
    )

    try:
        yield
    except (ModelError, UsageError, EvidenceError, ProviderUnavailableError) as error:
        write_failure(command, [failed_entry(model, error)], files, output)
        raise


def _print(report: Report, output: OutputFormat, *, every_site: bool = False) -> None:
    try:
        _render(report, output, every_site=every_site)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has seen enough (rich says so by SystemExit); the verdict stands.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _render(report: Report, output: OutputFormat, *, every_site: bool) -> None:
    if output is OutputFormat.JSON:
        from onnx_act.report.json import render_json

        text = render_json(report)
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:
            text = render_json(report, ascii_only=True)
        typer.echo(text)
    else:
        from onnx_act.report.console import render_report

        render_report(terminal(), report, every_site=every_site)


def terminal() -> Console:
    """Standard output for tables. Piped, it is not cut to 80 columns that are not there."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDTH_WHEN_PIPED
    return Console(width=width, highlight=False)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A function that tells what is going on, on stderr, when that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update
