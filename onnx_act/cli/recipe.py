"""`onnx-act recipe`: the recipes that come with the program, and checking one's own."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import Annotated

import typer

from onnx_act.cli.options import FormatOption, OutputFormat

recipe = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@recipe.command("list", short_help="The recipes that --recipe takes by name")
def list_recipes(output: FormatOption = OutputFormat.TEXT) -> None:
    """The recipes that come with the program, and what each is for."""
    from onnx_act.recipe.loading import load_recipe, ready_names

    reasons = {name: " ".join(load_recipe(name).recipe.reason.split()) for name in ready_names()}
    if output is OutputFormat.JSON:
        import json

        found = [{"name": name, "reason": reason} for name, reason in reasons.items()]
        typer.echo(json.dumps({"schema": "onnx-act/recipe-list/1", "recipes": found}, indent=2))
        return
    from rich.table import Table

    from onnx_act.cli.present import terminal

    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("what it is for", overflow="fold")
    for name, reason in reasons.items():
        table.add_row(name, reason.split(". ")[0].rstrip(".") + ".")
    terminal().print(table)
    typer.echo(
        "\nMore: onnx-act recipe show NAME. Use: onnx-act convert MODEL -o OUT --recipe NAME"
    )


@recipe.command("show", short_help="The text of one of them")
def show(name: Annotated[str, typer.Argument(help="One of onnx-act recipe list.")]) -> None:
    """The text of a recipe that comes with the program, to be copied and changed."""
    from onnx_act.recipe.loading import ready_text

    typer.echo(ready_text(name), nl=False)


@recipe.command("check", short_help="Whether recipe files are right")
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="TOML or JSON files.")],
) -> None:
    """Say what is wrong in recipe files, with the line; no model and no provider is needed."""
    import sys

    from onnx_act.errors import UsageError
    from onnx_act.recipe.loading import load_recipe
    from onnx_act.recipe.sense import steps_of

    wrong = 0
    for file in files:
        try:
            steps = [kind for _, kind, _ in steps_of(load_recipe(file).recipe)]
        except UsageError as error:
            wrong += 1
            typer.echo(str(error), file=sys.stderr)
        else:
            typer.echo(f"{file}: right; {' -> '.join(steps) or 'no step: it only judges'}")
    if wrong:
        raise typer.Exit(UsageError.exit_code)


@recipe.command("schema", short_help="The JSON Schema of recipe files, for editors")
def schema() -> None:
    """The JSON Schema of recipe files, for an editor to complete and check them."""
    import json

    from onnx_act.recipe.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
