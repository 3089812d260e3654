"""The page of accuracies: what is shown of ways that run, that do not, and that have no digit."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

from rich.console import Console

from onnx_act.evidence.accuracy import Accuracy
from onnx_act.evidence.written_ways import Exactness, MeasuredWay, MeasuredWays, WayKind
from onnx_act.report.accuracy_page import accuracy_entries, render_accuracy

CPU = "CPUExecutionProvider"
NONE = Accuracy(0.0, 0.0, 0.0, ())


def _way(key: str, accuracy: Accuracy | None, exactness: Exactness | None) -> MeasuredWay:
    reason = "" if accuracy else "no kernel for it"
    return MeasuredWay(
        kind=WayKind.RESPELLING,
        key=key,
        written=f"the {key}",
        is_channelwise=True,
        accuracy=accuracy,
        reason=reason,
        exactness=exactness,
    )


MEASURED = MeasuredWays(
    CPU,
    22,
    (
        _way("good", NONE, Exactness.REFERENCE),
        _way("lost", Accuracy(0.25, math.inf, math.inf, ("nan", "-inf")), Exactness.APPROXIMATE),
        _way("missing", None, None),
    ),
)


def _printed(measured: tuple[MeasuredWays, ...], **parameters: float) -> str:
    output = io.StringIO()
    console = Console(file=output, width=160, color_system=None)
    render_accuracy(console, "elu", parameters, measured)
    return output.getvalue()


def test_the_page() -> None:
    page = _printed((MEASURED,), alpha=0.5)
    rows = {line.split()[1]: line for line in page.splitlines() if line.startswith(" the ")}
    assert "elu with alpha=0.5: float32 on cpu" in page
    assert "opset 22" in page
    assert rows["good"].split("good", 2)[2].split() == ["0.00", "0.00", "0.0e+00", "reference"]
    assert "nan, -inf" in rows["lost"]
    assert "all digits" in rows["lost"]
    assert "approximate" in rows["lost"]
    assert "does not run" in rows["missing"]
    assert "missing does not run: no kernel for it" in page
    assert "all digits: " in page
    assert "per channel: " in page


def test_several_providers_are_several_tables() -> None:
    other = MeasuredWays("CUDAExecutionProvider", 20, MEASURED.ways[:1])
    page = _printed((MEASURED, other))
    assert "on cpu" in page
    assert "on cuda" in page
    assert [e["provider"] for e in accuracy_entries((MEASURED, other))] == [
        *[CPU] * 3,
        "CUDAExecutionProvider",
    ]


def test_a_legend_only_for_what_is_there() -> None:
    plain = replace(_way("good", NONE, Exactness.REFERENCE), is_channelwise=False)
    page = _printed((MeasuredWays(CPU, 22, (plain,)),))
    assert "all digits" not in page
    assert "per channel" not in page


def test_entries_are_json() -> None:
    good, lost, missing = accuracy_entries((MEASURED,))
    assert json.loads(json.dumps([good, lost, missing], allow_nan=False)) == [good, lost, missing]
    assert lost["accuracy"] == {
        "median_ulp": 0.25,
        "p99_ulp": None,
        "max_abs": None,
        "wrong_at": ["nan", "-inf"],
    }
    assert missing["accuracy"] is None
    assert missing["exactness"] is None
    assert missing["reason"] == "no kernel for it"
    assert good["opset"] == 22
