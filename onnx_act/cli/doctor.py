"""`onnx-act doctor`: what is installed, what really runs, and what to type."""

from __future__ import annotations

import typer

from onnx_act.cli.options import FormatOption, OutputFormat


def doctor(output: FormatOption = OutputFormat.TEXT) -> None:
    """Say what is installed, which providers really run, what is cached, and what to install."""
    from onnx_act.report.doctor_page import doctor_document, render_doctor

    document = doctor_document()
    if output is OutputFormat.JSON:
        import json

        typer.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        from onnx_act.cli.present import terminal

        render_doctor(terminal(), document)
    raise typer.Exit(document["exit_code"])
