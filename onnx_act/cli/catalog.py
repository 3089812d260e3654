"""`onnx-act catalog [NAME]`: the activations, or one of them."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import Annotated

import typer

from onnx_act.cli.options import FormatOption, OutputFormat


def catalog(
    name: Annotated[
        str | None,
        typer.Argument(help="An activation, by its torch.nn.functional, ONNX or Keras name."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A parameter of it; repeatable."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw f and f' into a .svg or .png file."),
    ] = None,
    output: FormatOption = OutputFormat.TEXT,
) -> None:
    """List the activations, or show one: formula, derivative, range, lowerings, plot."""
    from onnx_act.errors import UsageError

    given = _parameters(settings or [])
    if name is None and (given or plot is not None):
        option = "--set" if given else "--plot"
        raise UsageError(f"{option} needs an activation: onnx-act catalog NAME {option} ...")
    from onnx_act.report import catalog_page

    # The data first: a wrong name or value must not leave half a page, or a plot, behind.
    document = catalog_page.catalog_document(name, given)
    if name is not None and plot is not None:
        catalog_page.save_page_plot(name, given, plot)
    if output is OutputFormat.JSON:
        import json

        from onnx_act.report.document import package_version

        head = {"schema": "onnx-act/catalog/1", "version": package_version()}
        typer.echo(json.dumps({**head, **document}, indent=2, allow_nan=False))
        return
    from onnx_act.cli.present import terminal

    catalog_page.render_catalog(terminal(), name, given)


def _parameters(settings: list[str]) -> dict[str, float | str]:
    """The values of `--set NAME=VALUE`, as numbers where they are numbers."""
    from onnx_act.errors import UsageError

    values: dict[str, float | str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise UsageError(f"--set takes NAME=VALUE, such as beta=1.702, not {setting!r}")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            values[name.strip()] = value.strip()
    return values
