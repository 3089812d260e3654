"""The program: its commands, and how it ends."""

from __future__ import annotations

import gc
import io
import os
import shlex
import sys
from typing import Final, cast

import typer

from onnx_act.cli.bench import bench
from onnx_act.cli.catalog import catalog
from onnx_act.cli.convert import convert
from onnx_act.cli.doctor import doctor
from onnx_act.cli.fusing_command import FusingCommand
from onnx_act.cli.inspect import inspect
from onnx_act.cli.interrupts import interrupt_between_imports, is_interrupt
from onnx_act.cli.present import invoke
from onnx_act.cli.recipe import recipe
from onnx_act.cli.steps import fuse, swap, tune
from onnx_act.cli.validate import validate
from onnx_act.errors import OnnxActError
from onnx_act.graph.garbage import collection_paused
from onnx_act.report.characters import printable

app = typer.Typer(
    name="onnx-act",
    help="Find, swap and fuse the activations of ONNX models, and prove with numbers that "
    "nothing else changed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _command, _summary in (
    (convert, "Find, swap, fuse, validate, measure, and write"),
    (inspect, "What activations are where, in one model or several"),
    (swap, "Exchange activations, and validate"),
    (fuse, "Fold and fuse for the named providers, or undo it, and validate"),
    (tune, "Write activations in the fastest exact way, measured in place"),
    (validate, "Do two models compute the same"),
    (bench, "Latency of a model, or of two and their ratio"),
    (catalog, "The activations, or one of them"),
    (doctor, "Versions, providers that really run, what to install"),
):
    # Without it the list of commands shows the first words of each docstring, cut off.
    _class = FusingCommand if _command in {convert, fuse} else None
    app.command(short_help=_summary, cls=_class)(_command)
app.add_typer(
    recipe,
    name="recipe",
    short_help="Recipes for convert: those that are there, and checking one's own",
    help="Recipes say what one conversion does: onnx-act convert MODEL -o OUT --recipe FILE|NAME.",
)
_INTERRUPTED = 130
_BUG = 70
# Newer typer carries its own click; this is the root of its usage errors in either case.
_WRONG_USE: Final = cast(
    "type[typer.BadParameter]",
    next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"),
)


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
    interrupt_between_imports()
    _open_what_is_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A pipe may take less than names of values hold, such as code page 1252 of Windows.
        sys.stdout.reconfigure(errors="backslashreplace")
    with collection_paused():
        code = run(sys.argv[1:] if arguments is None else arguments)
        # The process ends here: nothing is gained by taking a large graph apart first.
        gc.freeze()
        sys.exit(code)


def _open_what_is_closed() -> None:
    """Have all three standard streams, for whoever started this may have closed some."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            # The lowest number that is free is this one's own.
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def run(arguments: list[str]) -> int:
    """Run the program; the exit code. Messages go to stderr, never a traceback but for a bug."""
    command = shlex.join(["onnx-act", *arguments])
    invoke(arguments)
    try:
        code = typer.main.get_command(app).main(
            arguments, prog_name="onnx-act", standalone_mode=False
        )
    except (typer.Abort, KeyboardInterrupt):
        return _said("interrupted", _INTERRUPTED)
    except _WRONG_USE as error:
        if not arguments:
            # The program alone, without a command: the message is the help.
            error.show()
            return 2
        return _said(_wrong_use(error), 2)
    except OnnxActError as error:
        if type(error) is OnnxActError:
            return _said(f"{error}\nthis is a bug; it came from: {command}", _BUG)
        return _said(str(error), error.exit_code)
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has seen enough; rich and typer say so by SystemExit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last resort: say that it is our fault, and how to repeat it
        if is_interrupt(error):
            return _said("interrupted", _INTERRUPTED)
        import traceback

        traceback.print_exc()
        return _said(f"this is a bug; it came from: {command}", _BUG)
    if code == _INTERRUPTED:
        # Newer typer turns Ctrl-C into this code, without a word.
        return _said("interrupted", _INTERRUPTED)
    return code if isinstance(code, int) else 0


def _wrong_use(error: typer.BadParameter) -> str:
    """What typer says of a wrong command or option, in one line, and where to read on."""
    place = error.ctx.command_path if error.ctx is not None else "onnx-act"
    problem = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    return f"{problem[:1].lower()}{problem[1:]}; see {place} --help"


def _said(message: str, code: int) -> int:
    print(f"onnx-act: {printable(message)}", file=sys.stderr)  # noqa: T201 - typer may be what failed
    return code
