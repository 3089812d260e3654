"""Running the program in this process, and reading what it said."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from onnx_act.cli.app import run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


@dataclass(frozen=True)
class Ran:
    """How one command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document that stdout holds."""
        found = json.loads(self.out, parse_constant=_no_constant)
        assert isinstance(found, dict)
        return found

    @property
    def entry(self) -> dict[str, Any]:
        """What the document says of the only model."""
        (found,) = self.document["models"]
        assert isinstance(found, dict)
        return found


def _no_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is not JSON")


def run_here(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ran:
    capsys.readouterr()
    code = run([str(a) for a in arguments])
    said = capsys.readouterr()
    return Ran(code, said.out, said.err)


def run_apart(*arguments: object, cwd: Path | None = None) -> Ran:
    """In a process of its own, as a shell would."""
    ended = subprocess.run(
        [sys.executable, "-m", "onnx_act", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=300,
    )
    return Ran(ended.returncode, ended.stdout, ended.stderr)


def assert_wrong_use(ran: Ran, *parts: str, code: int = 2, lines: int = 1) -> None:
    """One message on stderr, nothing on stdout, no traceback."""
    assert ran.code == code, ran
    assert ran.out == "", ran
    assert "Traceback" not in ran.err
    assert ran.err.startswith("onnx-act: "), ran.err
    assert len(ran.err.splitlines()) == lines, ran.err
    for part in parts:
        assert part in ran.err, ran.err


def names_in(folder: Path) -> set[str]:
    """Every file below a folder, hidden and temporary ones too."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}
