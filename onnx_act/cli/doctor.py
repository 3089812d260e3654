"""`onnx-act doctor`: what is installed, what really runs, and what to type."""

from __future__ import annotations

from typing import Annotated

import typer

from onnx_act.cli.options import FormatOption, OutputFormat


def doctor(
    clear_cache: Annotated[
        bool,
        typer.Option(
            "--clear-cache", help="Delete what runtimes answered, so that they are asked again."
        ),
    ] = False,
    output: FormatOption = OutputFormat.TEXT,
) -> None:
    """Say what is installed, which providers really run, what is cached, and what to install."""
    from onnx_act.report.doctor_page import doctor_document

    document = doctor_document(clear_cache=clear_cache)
    if output is OutputFormat.JSON:
        import json

        typer.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        from onnx_act.cli.present import terminal
        from onnx_act.report.doctor_summary import render_doctor

        render_doctor(terminal(), document)
    raise typer.Exit(document["exit_code"])
