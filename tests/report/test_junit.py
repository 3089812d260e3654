"""JUnit XML: what the readers of the format accept, whatever names and messages a report has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from sample_reports import (
    AWKWARD,
    CRASHED,
    DONE,
    DRY,
    ENTRIES,
    EVERYTHING,
    FAILED,
    LATENCY,
    UNREADABLE,
    Given,
    equivalence,
    output,
)

from onnx_act.errors import UsageError
from onnx_act.report.document import ModelEntry, Report
from onnx_act.report.junit import render_junit
from onnx_act.report.write import check_report_paths, write_report

if TYPE_CHECKING:
    from pathlib import Path

# What each element may hold, in the schema that Jenkins publishes and the others keep to: the
# attributes it must have, those it may have, and its children in their order.
_SCHEMA = {
    "testsuites": (set(), {"name", "tests", "failures", "errors", "time"}, ["testsuite"]),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"skipped", "time", "timestamp", "hostname", "id", "package"},
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "properties": (set(), set(), ["property"]),
    "property": ({"name", "value"}, set(), []),
    "testcase": (
        {"name"},
        {"time", "classname"},
        ["skipped", "error", "failure", "system-out", "system-err"],
    ),
    "skipped": (set(), {"message", "type"}, []),
    "error": (set(), {"message", "type"}, []),
    "failure": (set(), {"message", "type"}, []),
    "system-out": (set(), set(), []),
}
_WITH_TEXT = {"skipped", "error", "failure", "system-out"}
_AT_MOST_ONCE = {"properties", "skipped", "system-out"}


def _parsed(report: Report) -> ET.Element:
    root = ET.fromstring(render_junit(report).encode("utf-8"))
    assert root.tag == "testsuites"
    for element in root.iter():
        needed, allowed, children = _SCHEMA[element.tag]
        assert needed <= {*element.keys()} <= needed | allowed, element.attrib
        tags = [child.tag for child in element]
        assert [children.index(tag) for tag in tags] == sorted(map(children.index, tags)), tags
        assert all(tags.count(tag) == 1 for tag in _AT_MOST_ONCE & {*tags})
        if element.tag not in _WITH_TEXT:
            assert not (element.text or "").strip()
    _counts_agree(root)
    return root


def _counts_agree(root: ET.Element) -> None:
    (suite,) = root
    cases = suite.findall("testcase")
    for element in (root, suite):
        assert int(element.attrib["tests"]) == len(cases)
        assert int(element.attrib["failures"]) == len(suite.findall("testcase/failure"))
        assert int(element.attrib["errors"]) == len(suite.findall("testcase/error"))
        total = sum(float(case.attrib["time"]) for case in cases)
        assert float(element.attrib["time"]) == pytest.approx(total, abs=1e-3 * len(cases))
    assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped"))
    names = [(case.attrib["classname"], case.attrib["name"]) for case in cases]
    assert len(set(names)) == len(names)


def _names(report: Report, path: str) -> list[str]:
    return [case.attrib["name"] for case in _parsed(report).findall(path)]


@pytest.mark.parametrize("command", ["convert", "validate", "bench", "inspect"])
def test_every_report_keeps_to_the_schema(command: str) -> None:
    _parsed(replace(EVERYTHING, command=command))
    _parsed(Report(command))


@pytest.mark.parametrize("name", ENTRIES)
def test_a_case_does_not_pass_exactly_when_the_exit_code_is_not_0(name: str) -> None:
    report = Report("convert", (ENTRIES[name],))
    root = _parsed(report)
    wrong = int(root.attrib["failures"]) + int(root.attrib["errors"])
    assert bool(wrong) == bool(report.exit_code)


def test_a_case_for_the_model_and_one_for_each_piece_of_evidence() -> None:
    entry = replace(
        DONE,
        path="m.onnx",
        equivalence=equivalence(output("x"), output("y")),
        latency=(LATENCY,),
        placement=(_placed(elsewhere=True),),
        bounds=(_bound(held=True),),
        baseline=(_comparison(is_worse=False),),
    )
    assert _names(Report("convert", (entry,)), "testsuite/testcase") == [
        "m.onnx",
        "m.onnx: new activation elu(alpha=0.5) (Elu) on cpu",
        "m.onnx: equivalence on cpu: output x",
        "m.onnx: equivalence on cpu: output y",
        "m.onnx: bound max_abs",
        "m.onnx: baseline: speed-up on cpu",
        "m.onnx: latency on cpu",
        "m.onnx: placement on openvino: result",
    ]
    assert _parsed(Report("convert", (entry,))).attrib["failures"] == "0"


def test_what_fails_is_the_case_of_what_failed() -> None:
    failed = _parsed(Report("convert", (FAILED,))).findall("testsuite/testcase[failure]")
    assert [case.attrib["name"].rpartition(": ")[2] for case in failed] == [FAILED.path, "output y"]
    shown = failed[0].find("failure")
    assert shown is not None
    assert shown.attrib == {"message": FAILED.message, "type": "evidence"}
    assert shown.text is not None
    assert shown.text.startswith(FAILED.message)
    crashed = _parsed(Report("convert", (CRASHED,))).findall("testsuite/testcase/failure")
    assert [each.attrib["message"] for each in crashed][1:] == ["the candidate does not run"]


def test_a_bound_a_baseline_and_a_strict_placement_that_fail() -> None:
    message = "2 nodes run on cpu instead of openvino in the result: Erf 'a', Erf 'b'"
    entry = replace(
        FAILED,
        message=message,
        equivalence=equivalence(output("y")),
        placement=(_placed(elsewhere=True),),
        bounds=(_bound(held=False),),
        baseline=(_comparison(is_worse=True),),
    )
    failed = _names(Report("convert", (entry,)), "testsuite/testcase[failure]")
    assert [name.removeprefix(entry.path).removeprefix(": ") for name in failed] == [
        "",
        "bound max_abs",
        "baseline: speed-up on cpu",
        "placement on openvino: result",
    ]


def test_an_error_is_no_failure() -> None:
    (error,) = _parsed(Report("convert", (UNREADABLE,))).findall("testsuite/testcase/error")
    assert error.attrib == {"message": UNREADABLE.message, "type": "model"}


def test_what_was_not_judged_is_skipped() -> None:
    (skipped,) = _parsed(Report("convert", (DRY,))).findall("testsuite/testcase[skipped]")
    assert skipped.attrib["name"] == "c.onnx: equivalence"
    unmeasured = replace(DONE, latency=(), notes=("latency could not be measured: it crashed",))
    (skipped,) = _parsed(Report("convert", (unmeasured,))).findall("testsuite/testcase/skipped")
    assert skipped.attrib["message"] == "latency could not be measured: it crashed"
    assert not _parsed(Report("inspect", (DRY,))).findall("testsuite/testcase/skipped")


def test_times_add_up_to_what_the_command_took() -> None:
    latency = Given({**LATENCY.data, "seconds": 2.0})
    root = _parsed(Report("convert", (replace(DONE, latency=(latency,), duration_s=5.5),)))
    assert root.attrib["time"] == "5.500"
    times = {c.attrib["name"].rpartition(": ")[2]: c.attrib["time"] for c in root.iter("testcase")}
    assert times[DONE.path] == "3.500"
    assert times["latency on cpu"] == "2.000"


def test_versions_and_the_command_are_properties() -> None:
    found = {p.attrib["name"]: p.attrib["value"] for p in _parsed(EVERYTHING).iter("property")}
    assert {"onnx-act", "python", "onnxruntime", "numpy"} <= found.keys()
    assert found["command"] == "convert a.onnx"
    assert found["schema"] == "onnx-act/convert/1"
    assert found["exit_code"] == str(EVERYTHING.exit_code)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (AWKWARD, AWKWARD),
        ("a < b && c > \"d\" 'e' ]]>", "a < b && c > \"d\" 'e' ]]>"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("Größe \N{SNOWMAN} \N{GRINNING FACE}", "Größe \N{SNOWMAN} \N{GRINNING FACE}"),
        ("nul \x00 bell \x07 escape \x1b[31m", "nul \\x00 bell \\x07 escape \\x1b[31m"),
        ("\ufffe \uffff \udcff", "\\ufffe \\uffff \\udcff"),
    ],
)
def test_any_text_comes_through(text: str, read: str) -> None:
    entry = replace(UNREADABLE, path=text, message=text, notes=(text,))
    root = _parsed(Report("convert", (entry,), (text,)))
    case = root.find("testsuite/testcase")
    error = root.find("testsuite/testcase/error")
    assert case is not None
    assert error is not None
    assert case.attrib["name"] == read
    assert error.attrib["message"] == read
    assert error.text == f"{read}\nnote: {read}"


def test_cases_of_one_name_are_told_apart() -> None:
    entry = replace(DONE, path="m", equivalence=equivalence(output("y"), output("y")))
    names = _names(Report("validate", (entry, entry)), "testsuite/testcase")
    assert "m: equivalence on cpu: output y (2)" in names


@pytest.mark.parametrize("name", ["a.junit.xml", "deep/b.XML"])
def test_written_by_suffix_and_replaced_later(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for _ in range(2):
        check_report_paths([path])
        write_report(EVERYTHING, path)
    assert path.read_text("utf-8") == render_junit(EVERYTHING) + "\n"
    foreign = tmp_path / "foreign.xml"
    foreign.write_text('<?xml version="1.0"?>\n<testsuites name="pytest tests"></testsuites>')
    with pytest.raises(UsageError, match="no report"):
        check_report_paths([foreign])


def _bound(*, held: bool) -> Given:
    said = {"name": "max_abs", "limit": 1e-3, "value": 0.5, "reason": "drift, output y"}
    return Given({**said, "held": held})


def _placed(*, elsewhere: bool) -> Given:
    node = {"op_type": "Erf", "name": "a", "provider": "CPUExecutionProvider"}
    return Given(
        {
            "provider": "OpenVINOExecutionProvider",
            "model": "result",
            "nodes": {"OpenVINOExecutionProvider": 3, "CPUExecutionProvider": 2},
            "elsewhere": [node, {**node, "name": "b"}] if elsewhere else [],
            "copied_bytes": None,
        }
    )


def _comparison(*, is_worse: bool) -> Given:
    return Given(
        {
            "kind": "speedup",
            "what": "speed-up on cpu",
            "then": "1.5x",
            "now": "1.1x",
            "bound": "at least 1.425x",
            "is_worse": is_worse,
            "then_value": 1.5,
            "now_value": 1.1,
        }
    )


def test_an_entry_without_evidence_is_one_case() -> None:
    assert _names(Report("inspect", (ModelEntry("a.onnx"),)), "testsuite/testcase") == ["a.onnx"]
