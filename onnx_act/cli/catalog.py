"""`onnx-act catalog [NAME]`: the activations, or one of them."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from onnx_act.cli.options import FormatOption, OutputFormat, ProviderOption, TimeoutOption
from onnx_act.recipe.option_values import parse_duration

if TYPE_CHECKING:
    from onnx_act.evidence.written_ways import MeasuredWays


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
    accuracy: Annotated[
        bool,
        typer.Option(
            "--accuracy",
            help="Run every way to write it and show how exact the installed runtime is.",
        ),
    ] = False,
    provider: ProviderOption = None,
    timeout: TimeoutOption = "5m",
    output: FormatOption = OutputFormat.TEXT,
) -> None:
    """List the activations, or show one: formula, derivative, range, lowerings, plot, accuracy."""
    from onnx_act.errors import UsageError

    given = _parameters(settings or [])
    if name is None and (given or plot is not None or accuracy):
        option = "--set" if given else "--plot" if plot is not None else "--accuracy"
        value = "" if option == "--accuracy" else " ..."
        raise UsageError(f"{option} needs an activation: onnx-act catalog NAME {option}{value}")
    if provider and not accuracy:
        raise UsageError("--provider says where --accuracy is measured, and goes with it")
    from onnx_act.report import catalog_page

    # The data first: a wrong name or value must not leave half a page, or a plot, behind.
    document = catalog_page.catalog_document(name, given)
    if name is not None and plot is not None:
        catalog_page.save_page_plot(name, given, plot)
    measured: tuple[MeasuredWays, ...] = ()
    if name is not None and accuracy:
        measured = _measured(name, given, provider, parse_duration(timeout, "--timeout"))
    if output is OutputFormat.JSON:
        import json

        from onnx_act.report.document import package_version

        if measured:
            from onnx_act.report.accuracy_page import accuracy_entries

            entries = document["activations"]
            assert isinstance(entries, list)
            entries[0]["accuracy"] = accuracy_entries(measured)
        head = {"schema": "onnx-act/catalog/1", "version": package_version()}
        typer.echo(json.dumps({**head, **document}, indent=2, allow_nan=False))
        return
    from onnx_act.cli.present import terminal

    if name is not None and measured:
        from onnx_act.report.accuracy_page import render_accuracy

        render_accuracy(terminal(), name, given, measured)
        return
    catalog_page.render_catalog(terminal(), name, given)


def _measured(
    name: str, given: dict[str, float | str], providers: list[str] | None, timeout_s: float
) -> tuple[MeasuredWays, ...]:
    from onnx_act.cli.present import progress
    from onnx_act.recipe.request import require_providers
    from onnx_act.report.accuracy_page import activation_accuracy

    names = require_providers(providers or [])
    with progress() as tell:
        tell(f"measuring every way to write {name}")
        return activation_accuracy(name, given, names, timeout_s)


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
