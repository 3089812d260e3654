"""`onnx-act inspect`: what activations are where."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from onnx_act.cli.options import FormatOption, OutputFormat, ReportOption, WhereOption

if TYPE_CHECKING:
    from onnx_act.report.document import ModelEntry


def inspect(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL", help="ONNX files.")],
    sites: Annotated[
        bool, typer.Option("--sites", help="One line per site instead of one per kind.")
    ] = False,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Also exp, erf, identity, and bounds of integers."),
    ] = False,
    where: WhereOption = None,
    report: ReportOption = None,
    output: FormatOption = OutputFormat.TEXT,
) -> None:
    """Say what activations are in a model, and where; several models side by side."""
    from onnx_act.cli.present import failed_entry, invoked, present, write_failure
    from onnx_act.errors import ModelError
    from onnx_act.graph.selectors import parse_selector
    from onnx_act.recipe.inspect import inspect_model
    from onnx_act.report.document import Report
    from onnx_act.report.write import check_report_paths

    check_report_paths(report or [], models)
    selectors = [parse_selector(w) for w in where or []]
    entries: list[ModelEntry] = []
    for model in models:
        try:
            found = inspect_model(
                model, routine=everything, where=lambda site: all(s(site) for s in selectors)
            )
        except ModelError as error:
            found = failed_entry(model, error)
            if len(models) == 1:
                write_failure("inspect", [found], report, output)
                raise
        entries.append(found)
    present(Report("inspect", tuple(entries), invoked()), output, report, every_site=sites)
