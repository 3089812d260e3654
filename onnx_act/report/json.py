"""The document as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_act.report.document import Report


def render_json(report: Report, *, ascii_only: bool = False) -> str:
    """The document as one JSON text, without NaN or infinity: those are written as text.

    Args:
        report: the document.
        ascii_only: whether to spell every other character, for a reader that takes no more.
    """
    return json.dumps(report.to_dict(), indent=2, allow_nan=False, ensure_ascii=ascii_only)
