"""What is measured of the accuracy of a group's ways."""

from __future__ import annotations

import pytest
from onnx import parser

from onnx_act.evidence.accuracy import Accuracy
from onnx_act.graph.constants import Constants
from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model
from onnx_act.runtime.session import CPU
from onnx_act.tuning.exactness import Exactness
from onnx_act.tuning.grouping import group_sites


@pytest.mark.parametrize(
    ("slopes", "is_exact"),
    # A quarter has few digits, so that x/4 + 3x/4 is x to the last bit; 0.37 has many.
    [("0.25, 0.25, 0.25, 0.25", True), ("0.25, 0.25, 0.25, 0.37", False)],
)
def test_a_slope_with_few_digits_does_not_speak_for_the_others(slopes: str, is_exact: bool) -> None:
    model = load_model(
        parser.parse_model(
            f"""<ir_version: 8, opset_import: ["" : 17]>
            g (float[1,4,2,2] x) => (float[1,4,2,2] y) <float[4,1,1] s = {{{slopes}}}>
            {{ y = PRelu (x, s) }}"""
        )
    )
    shapes = {"x": (1, 4, 2, 2), "y": (1, 4, 2, 2)}
    (group,) = group_sites(find_sites(model), Constants(model), shapes, contrib=False)
    exactness = Exactness(CPU, 8)
    exactness.measure([group])
    standard = exactness.of_standard(group)
    found = exactness.of(group, group.ways["two slopes"])  # type: ignore[arg-type]
    assert isinstance(standard, Accuracy)
    assert isinstance(found, Accuracy)
    assert found.is_worse_than(standard) is not is_exact
