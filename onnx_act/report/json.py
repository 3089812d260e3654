"""The document as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_act.report.document import Report


def render_json(report: Report) -> str:
    """The document as one JSON text, without NaN or infinity: those are written as text."""
    return json.dumps(report.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)
