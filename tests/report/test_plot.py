from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import pytest

from onnx_act.activations.catalogue import CATALOGUE, find, named
from onnx_act.errors import UsageError
from onnx_act.report.plot import save_plot, terminal_plot

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_act.activations.activation import Activation

EVERY = pytest.mark.parametrize("activation", CATALOGUE, ids=lambda a: a.name)


@EVERY
@pytest.mark.parametrize(("width", "height"), [(80, 24), (76, 20), (40, 8), (10, 1), (200, 60)])
def test_the_picture_fits(activation: Activation, width: int, height: int) -> None:
    lines = terminal_plot(activation, None, width, height).split("\n")
    assert len(lines) == max(height, 8)
    assert max(map(len, lines[:-1])) <= max(width, 40)
    assert all(line == line.rstrip() for line in lines)
    assert "f(x)" in lines[-1]
    assert "f'(x)" in lines[-1]
    assert sum("┼" in line for line in lines) == 1


def test_relu_is_drawn_as_everybody_knows_it() -> None:
    assert terminal_plot(named("relu"), None, 44, 11).split("\n") == [
        "       5 ┤                                ⢀⡴",
        "       4 ┤                              ⣠⠞⠉",
        "         │                           ⢀⣠⠞⠁",
        "       3 ┤                         ⢀⡴⠋",
        "       2 ┤                       ⣠⠖⠋",
        "         │                     ⣠⠞⠁",
        "       1 ┤                  ⢀⡴⠋⠁o o o o o o",
        "       0 ┼⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠴⠋───────────────",
        "         └┬──┬──┬───┬──┬───┬──┬──┬───┬──┬──┬",
        "         -5 -4 -3  -2 -1   0  1  2   3  4  5",
        "          ⣀⠤⠒⠉ f(x)   ooo f'(x), where it differs from f",
    ]


def test_a_jump_is_not_joined() -> None:
    picture = terminal_plot(named("threshold"), {"threshold": 3.0}, 80, 24)
    rows = [line[10:] for line in picture.split("\n")[:-3]]
    column = next(i for i, c in enumerate(rows[0]) if c not in " o")
    assert column > 60
    # Between the zero line and f(3) = 3 nothing is drawn but the circles of the derivative.
    middle = rows[len(rows) // 2 + 4]
    assert set(middle) <= {" ", "o"}


def test_the_window_follows_the_parameters() -> None:
    wide = terminal_plot(named("hardtanh"), {"min": -100, "max": 100})
    assert "-100" in wide
    assert "100" in wide.split("\n")[-2]
    assert " 6 ┤" in terminal_plot(named("exp")), "a steep tail is cut, not followed"


def test_extreme_parameters_are_drawn() -> None:
    for name, values in (
        ("hardtanh", {"min": 0.0, "max": 0.0}),
        ("hardtanh", {"min": -math.inf, "max": math.inf}),
        ("celu", {"alpha": 1e-6}),
        ("leaky_relu", {"negative_slope": -1e6}),
        ("threshold", {"threshold": 1e6, "value": 1.0}),
        ("threshold", {"threshold": 0.0, "value": 1e300}),
    ):
        assert terminal_plot(named(name), values).count("\n") == 19


@pytest.mark.parametrize("suffix", [".svg", ".png", ".PNG"])
def test_a_plot_file_is_written(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"plot{suffix}"
    activation, preset = find("quick_gelu")
    save_plot(activation, preset, path)
    head = path.read_bytes()[:100]
    assert head.startswith(b"\x89PNG") if suffix.lower() == ".png" else b"<?xml" in head
    if suffix == ".svg":
        again = tmp_path / "again.svg"
        save_plot(activation, preset, again)
        assert again.read_bytes() == path.read_bytes()
        assert "swish" in path.read_text(encoding="utf-8") or path.stat().st_size > 5000


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png or \.svg, not as 'plot\.pdf'"):
        save_plot(named("relu"), None, tmp_path / "plot.pdf")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*No such file"):
        save_plot(named("relu"), None, tmp_path / "nowhere" / "plot.png")


def test_without_matplotlib_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hidden: Any = None  # None in sys.modules makes the import fail
    monkeypatch.setitem(sys.modules, "matplotlib", hidden)
    with pytest.raises(UsageError, match=r'pip install "onnx-act\[plot\]"'):
        save_plot(named("relu"), None, tmp_path / "plot.png")
