"""The program: its commands, and how it ends."""

from __future__ import annotations

import shlex
import sys

import typer

from onnx_act.cli.bench import bench
from onnx_act.cli.catalog import catalog
from onnx_act.cli.convert import convert
from onnx_act.cli.doctor import doctor
from onnx_act.cli.inspect import inspect
from onnx_act.cli.steps import fuse, swap
from onnx_act.cli.validate import validate
from onnx_act.errors import OnnxActError

app = typer.Typer(
    name="onnx-act",
    help="Find, swap and fuse the activations of ONNX models, and prove with numbers that "
    "nothing else changed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _command in (convert, inspect, swap, fuse, validate, bench, catalog, doctor):
    app.command()(_command)
_INTERRUPTED = 130
_BUG = 70
# Newer typer carries its own click; this is the root of its usage errors in either case.
_WRONG_USE = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and end."),
) -> None:
    if version:
        from onnx_act.report.document import package_version

        typer.echo(f"onnx-act {package_version()}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the program and end the process with its exit code (see `errors`)."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run the program; the exit code. Messages go to stderr, never a traceback but for a bug."""
    command = shlex.join(["onnx-act", *arguments])
    try:
        code = typer.main.get_command(app).main(
            arguments, prog_name="onnx-act", standalone_mode=False
        )
    except (typer.Abort, KeyboardInterrupt):
        return _said("interrupted", _INTERRUPTED)
    except _WRONG_USE as error:
        error.show()
        return 2
    except OnnxActError as error:
        if type(error) is OnnxActError:
            return _said(f"{error}\nthis is a bug; it came from: {command}", _BUG)
        return _said(str(error), error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        sys.stderr.close()
        return 0
    except Exception:  # noqa: BLE001 - the last resort: say that it is our fault, and how to repeat it
        import traceback

        traceback.print_exc()
        return _said(f"this is a bug; it came from: {command}", _BUG)
    return code if isinstance(code, int) else 0


def _said(message: str, code: int) -> int:
    print(f"onnx-act: {message}", file=sys.stderr)  # noqa: T201 - typer may be what failed
    return code
