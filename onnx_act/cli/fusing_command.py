"""`--fuse`, `--fuse=MODE`, `--fuse MODE` and `--no-fuse`: an option whose value may be left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperCommand

from onnx_act.rewrite.fuse_mode import FuseMode

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPTION: Final = "--fuse"
_WITHOUT: Final = "--no-fuse"
# A mode, well or wrongly spelled: no path, and no further option.
_WORD: Final = re.compile(r"[A-Za-z_]+")


class FusingCommand(TyperCommand):
    """A command whose `--fuse` may stand alone; typer has no options of that kind."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse with the value of `--fuse` filled in."""
        return super().parse_args(ctx, fill_in_modes(args))


def fill_in_modes(arguments: Sequence[str]) -> list[str]:
    """The arguments with every `--fuse` in the form `--fuse=MODE`, and `--no-fuse` as one of them.

    What follows a `--fuse` is its mode when it is a single word that names no file: a wrong mode
    is then called wrong, and not taken for a model.
    """
    found: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*found, argument, *rest]
        if argument == _WITHOUT:
            found.append(f"{_OPTION}={FuseMode.NONE}")
        elif argument == _OPTION:
            mode = rest.pop(0) if rest and _is_mode(rest[0]) else FuseMode.AUTO
            found.append(f"{_OPTION}={mode}")
        else:
            found.append(argument)
    return found


def _is_mode(text: str) -> bool:
    if text.lower() in set(FuseMode):
        return True
    return _WORD.fullmatch(text) is not None and not Path(text).exists()
