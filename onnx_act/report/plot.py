"""Pictures of an activation and its derivative, in the terminal and as a file.

The terminal picture is drawn here, on a raster of Braille dots (2 x 4 in a character), and not by
a library: plotext draws through one figure that is a module's state, and everything but the fifty
lines below would be unused. The function is a solid line; its derivative, where it does not run
under that line, a row of circles, so that the two differ without colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onnx_act.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from onnx_act.activations.activation import Activation, Parameters

    Array = npt.NDArray[np.float64]

SUFFIXES: Final = (".png", ".svg")
_HALF_WIDTH: Final = 5.0
_LABEL: Final = 8
_EMPTY: Final = 0x2800
# The dots of a Braille character by (column, row), as Unicode numbers them.
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_CIRCLE: Final = "o"


@dataclass(frozen=True, slots=True)
class _Curves:
    """Samples of both curves, and the window that shows them.

    Attributes:
        x: ascending.
        f: the function at `x`.
        slope: its derivative at `x`, from the left at a kink.
        breaks: where the function or its derivative is not continuous.
        low: bottom of the window.
        high: top of the window.
    """

    x: Array
    f: Array
    slope: Array
    breaks: tuple[float, ...]
    low: float
    high: float


def terminal_plot(
    activation: Activation,
    parameters: Parameters | None = None,
    width: int = 76,
    height: int = 20,
) -> str:
    """A picture of f and f' in plain characters, with axes and a legend.

    Args:
        activation: what to draw.
        parameters: its parameters; defaults for the rest.
        width: of the whole picture in characters, at least 40.
        height: of the whole picture in lines, at least 8.

    Returns:
        At most `height` lines of at most `width` characters, without trailing spaces.

    Raises:
        UsageError: a parameter that cannot be drawn.
    """
    columns, rows = max(width, 40) - _LABEL - 2, max(height, 8) - 3
    curves = _curves(activation, parameters, 2 * columns)
    cells = [[_EMPTY] * columns for _ in range(rows)]
    _draw_line(cells, curves)
    marks = _circles(cells, curves)
    lines = []
    zero = _row(0.0, curves, rows)
    for r in range(rows):
        body = "".join(
            _CIRCLE if (r, c) in marks else _glyph(cells[r][c], on_axis=r == zero)
            for c in range(columns)
        )
        label = _label(r, rows, zero, curves)
        lines.append(f"{label:>{_LABEL}} {'┼' if r == zero else '┤' if label else '│'}{body}")
    lines.extend(_x_axis(curves, columns))
    lines.append(f"{'':{_LABEL}}  ⣀⠤⠒⠉ f(x)   {_CIRCLE * 3} f'(x), where it differs from f")
    return "\n".join(line.rstrip() for line in lines)


def save_plot(activation: Activation, parameters: Parameters | None, path: Path | str) -> None:
    """Draw f and f' into a file.

    Args:
        activation: what to draw.
        parameters: its parameters; defaults for the rest.
        path: ends in .svg or .png.

    Raises:
        UsageError: another suffix, matplotlib is not installed, a folder that is not there or
            a parameter that cannot be drawn.
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(f"a plot is written as {' or '.join(SUFFIXES)}, not as {target.name!r}")
    try:
        from matplotlib import rc_context  # noqa: PLC0415 - optional
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional
    except ImportError:
        raise UsageError('a plot file needs matplotlib: pip install "onnx-act[plot]"') from None
    import numpy as np  # noqa: PLC0415 - only with a plot

    from onnx_act.activations.formula import number, text  # noqa: PLC0415 - only with a plot

    curves = _curves(activation, parameters, 2001)
    # A line must not bridge a jump, so both curves are cut there.
    cuts = np.searchsorted(curves.x, curves.breaks, side="right")
    x = np.insert(curves.x, cuts, np.nan)
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.axhline(0.0, color="0.6", linewidth=0.8)
    axes.axvline(0.0, color="0.6", linewidth=0.8)
    axes.plot(x, np.insert(curves.f, cuts, np.nan), color="#1f5fa8", linewidth=2, label="f(x)")
    slope = np.insert(curves.slope, cuts, np.nan)
    axes.plot(x, slope, color="#c8501e", linewidth=1.6, linestyle="--", label="f'(x)")
    axes.set_xlim(float(curves.x[0]), float(curves.x[-1]))
    axes.set_ylim(curves.low, curves.high)
    axes.set_xlabel("x")
    values = ", ".join(
        f"{k} = {number(v) if isinstance(v, float) else v}"
        for k, v in activation.bind(parameters).items()
    )
    title = f"{activation.name}" + (f"  ({values})" if values else "")
    axes.set_title(f"{title}\n{text(activation.open_expression(parameters))}", fontsize=10)
    axes.grid(visible=True, color="0.9")
    axes.legend(frameon=False)
    try:
        # Without a date and with fixed ids, so that the same plot is the same file.
        metadata = {"Date": None} if target.suffix.lower() == ".svg" else {}
        with rc_context({"svg.hashsalt": "onnx-act"}):
            figure.savefig(target, dpi=150, metadata=metadata)
    except OSError as failure:
        raise UsageError(f"cannot write {target}: {failure.strerror or failure}") from None


def _curves(activation: Activation, parameters: Parameters | None, samples: int) -> _Curves:
    import numpy as np  # noqa: PLC0415 - the command line imports this module before it draws

    from onnx_act.activations.properties import describe  # noqa: PLC0415
    from onnx_act.activations.readings import derivative, evaluate  # noqa: PLC0415

    kinks = describe(activation, parameters).kinks
    root = activation.expression(parameters)
    half = max(_HALF_WIDTH, 1.25 * max((abs(k) for k in kinks), default=0.0))
    # Cell centres: a kink at 0 then lies between two samples, each with its own slope.
    x = (np.arange(samples) + 0.5) / samples * 2.0 * half - half
    f, slope = evaluate(root, x), derivative(root, x)
    # A window not much taller than wide, so that a steep tail does not flatten all the rest.
    limit = 1.2 * half
    low = max(-limit, min(float(np.min(f)), float(np.min(slope)), 0.0))
    high = min(limit, max(float(np.max(f)), float(np.max(slope)), 0.0))
    margin = 0.05 * (high - low or 1.0)
    return _Curves(x, f, slope, kinks, low - margin, high + margin)


def _height(value: float, curves: _Curves, steps: int) -> int | None:
    """The step from the top that `value` falls on, or None outside the window."""
    if not curves.low <= value <= curves.high:
        return None
    return min(steps - 1, int((curves.high - value) / (curves.high - curves.low) * steps))


def _row(value: float, curves: _Curves, rows: int) -> int:
    row = _height(value, curves, rows)
    assert row is not None  # zero is always inside the window
    return row


def _draw_line(cells: list[list[int]], curves: _Curves) -> None:
    """The function as dots, each joined to the next by a vertical run where it is steep."""
    dots = 4 * len(cells)
    previous: int | None = None
    for i, value in enumerate(curves.f.tolist()):
        dot = _height(value, curves, dots)
        if dot is None:
            previous = None
            continue
        step = float(curves.x[1] - curves.x[0])
        crosses = any(float(curves.x[i]) - step <= k < float(curves.x[i]) for k in curves.breaks)
        start = dot if previous is None or crosses else previous
        for d in range(min(start, dot), max(start, dot) + 1):
            cells[d // 4][i // 2] |= _DOTS[i % 2][d % 4]
        previous = dot


def _circles(cells: list[list[int]], curves: _Curves) -> set[tuple[int, int]]:
    """Every second cell that the derivative passes and the function does not."""
    found = set()
    for column in range(0, len(cells[0]), 2):
        row = _height(float(curves.slope[2 * column]), curves, len(cells))
        if row is not None and cells[row][column] == _EMPTY:
            found.add((row, column))
    return found


def _glyph(cell: int, *, on_axis: bool) -> str:
    if cell != _EMPTY:
        return chr(cell)
    return "─" if on_axis else " "


def _label(row: int, rows: int, zero: int, curves: _Curves) -> str:
    """The number beside a line: top, bottom, zero, and halves between where there is room."""
    if row == zero:
        return "0"
    step = _step(curves.high - curves.low)
    for k in range(math.ceil(curves.low / step), math.floor(curves.high / step) + 1):
        if k != 0 and _height(k * step, curves, rows) == row:
            return f"{k * step:g}"
    return ""


def _step(span: float) -> float:
    """The round number that divides `span` into four to ten parts."""
    power = 10.0 ** math.floor(math.log10(span))
    return next(m * power for m in (0.1, 0.2, 0.5, 1.0) if span / (m * power) <= 10)


def _x_axis(curves: _Curves, columns: int) -> list[str]:
    """The lower edge with a tick per round number, and the numbers under it."""
    half = -float(curves.x[0]) * 2 * columns / (2 * columns - 1)
    step = _step(2.0 * half)
    edge = ["─"] * columns
    numbers = [" "] * (columns + _LABEL + 2)
    for k in range(math.ceil(-half / step), math.floor(half / step) + 1):
        column = min(columns - 1, int((k * step + half) / (2.0 * half) * columns))
        edge[column] = "┬"
        label = f"{k * step:g}"
        start = _LABEL + 2 + column - len(label) // 2
        if start + len(label) <= len(numbers):
            numbers[start : start + len(label)] = label
    return [f"{'':{_LABEL}} └{''.join(edge)}", "".join(numbers)]
