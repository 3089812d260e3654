from __future__ import annotations

from sample_reports import equivalence, output, output_elsewhere

from onnx_act.report.equivalence_summary import difference_rows, source_rows
from onnx_act.report.summary import equivalence_rows


def test_how_outputs_are_apart() -> None:
    data = equivalence(output("y"), output("z", passed=False)).to_dict()
    first, second = difference_rows(data)
    assert first[1] == "z"
    assert second == (
        "cpu",
        "y",
        "0.002",
        "0, 3, 17",
        "100 dB",
        "1",
        "yes, NO",
        "75.00 %",
        "[0, 3] of feed 2: 1 -> 1",
        "1e-07 beside rtol 1e-06",
    )


def test_where_a_difference_comes_from() -> None:
    assert source_rows(equivalence(output("y")).to_dict()) == []
    (row,) = source_rows(equivalence(output("y"), output_elsewhere("z")).to_dict())
    assert row == ("cpu", "z", "0, identical", "1e-06, 100 dB", "1e-06, 100 dB")


def test_a_given_tolerance_is_named() -> None:
    derived, given = equivalence_rows(equivalence(output("y"), output_elsewhere("z")).to_dict())
    assert derived[4] == "0.5 x"
    assert given[4] == "0.5 x of what was given"
