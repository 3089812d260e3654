"""What `--baseline` and `--baseline-bound` say, for the commands that take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onnx_act.recipe.baseline import Baseline


def open_baseline(
    path: Path | None, bounds: Sequence[str] | None, command: str, models: Sequence[str]
) -> Baseline | None:
    """The earlier report, None where none was named.

    Args:
        path: its file.
        bounds: by how much the evidence may be worse, as they were typed.
        command: the verb.
        models: the models of this run, as they were named.

    Raises:
        UsageError: it is no report of the command, has none of the models, or a bound is wrong.
    """
    from onnx_act.errors import UsageError
    from onnx_act.recipe.baseline import parse_baseline_bounds, read_baseline

    limits = parse_baseline_bounds(bounds or ())
    if path is not None:
        return read_baseline(path, command, models, limits)
    if bounds:
        raise UsageError("--baseline-bound says how much worse it may be: it needs --baseline FILE")
    return None
