"""What the program loads before it is told to do something."""

from __future__ import annotations

import subprocess
import sys

import pytest

_HEAVY = {
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "numpy",
    "ml_dtypes",
    "matplotlib",
    "google.protobuf",
    # Where recipes are described, with a library that takes its time. Newer typer (0.29) loads
    # that library itself, so that its own name would tell nothing.
    "onnx_act.recipe.schema",
}
_LIST = "import sys; print(*sorted(sys.modules), file=sys.stderr)"


def _loaded_by(statement: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{_LIST}"], capture_output=True, text=True, check=True
    )
    return set(ended.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["convert", "--help"],
        ["inspect", "--help"],
        ["swap", "--help"],
        ["fuse", "--help"],
        ["validate", "--help"],
        ["bench", "--help"],
        ["doctor", "--help"],
        ["catalog", "--help"],
        ["recipe", "--help"],
        ["recipe", "check", "--help"],
    ],
)
def test_help_loads_no_numeric_library(arguments: list[str]) -> None:
    loaded = _loaded_by(f"from onnx_act.cli.app import run; assert run({arguments!r}) == 0")
    assert "onnx_act.cli.app" in loaded
    assert not loaded & _HEAVY


def test_a_wrong_command_loads_no_numeric_library() -> None:
    loaded = _loaded_by(
        "import contextlib, io; from onnx_act.cli.app import run\n"
        "with contextlib.redirect_stderr(io.StringIO()): assert run(['covnert']) == 2"
    )
    assert not loaded & _HEAVY


def test_a_wrong_mode_loads_no_numeric_library() -> None:
    arguments = ["fuse", "a.onnx", "b.onnx", "--fuse=portible"]
    loaded = _loaded_by(
        "import contextlib, io; from onnx_act.cli.app import run\n"
        f"with contextlib.redirect_stderr(io.StringIO()): assert run({arguments!r}) == 2"
    )
    assert not loaded & _HEAVY


def test_importing_the_package_loads_no_numeric_library() -> None:
    assert not _loaded_by("import onnx_act; onnx_act.__all__; dir(onnx_act)") & _HEAVY
    assert not _loaded_by("import onnx_act; onnx_act.UsageError") & _HEAVY


def test_the_names_do_load_what_they_need() -> None:
    """The test above can fail."""
    assert {"onnx", "onnx_ir", "numpy"} <= _loaded_by("import onnx_act; onnx_act.inspect")
