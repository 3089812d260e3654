"""The document as JUnit XML, which pipelines show as tests: GitHub, GitLab, Jenkins and others.

One suite for the command, one case for every model and for every piece of its evidence (see
`cases`). The elements are those that all readers of the format agree on.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Final

from onnx_act.report.cases import Case, Status, cases_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx_act.report.document import Report

# XML 1.0 has no way to write these, not even as references.
_UNWRITABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ELEMENTS: Final = {Status.FAILED: "failure", Status.ERROR: "error"}


def render_junit(report: Report) -> str:
    """The document as one XML text; times are in seconds."""
    cases = cases_of(report)
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.status is Status.FAILED for case in cases)),
        "errors": str(sum(case.status is Status.ERROR for case in cases)),
    }
    skipped = str(sum(case.status is Status.SKIPPED for case in cases))
    time = _seconds(sum(case.seconds or 0.0 for case in cases))
    name = f"onnx-act {report.command}"
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        _open("testsuites", {"name": name, **counts, "time": time}),
        _open("testsuite", {"name": name, **counts, "skipped": skipped, "time": time}),
        *_properties(report),
    ]
    for case in cases:
        lines.extend(_case(case, f"onnx-act.{report.command}"))
    lines.extend(["</testsuite>", "</testsuites>"])
    return "\n".join(lines)


def _properties(report: Report) -> Iterable[str]:
    data = report.to_dict()
    properties = {
        "schema": data["schema"],
        "onnx-act": data["version"],
        **data["environment"],
        "command": " ".join(data["command"]),
        "exit_code": str(report.exit_code),
    }
    yield "<properties>"
    for name, value in properties.items():
        yield _open("property", {"name": name, "value": value}, ends=True)
    yield "</properties>"


def _case(case: Case, group: str) -> Iterable[str]:
    attributes = {"classname": group, "name": case.name, "time": _seconds(case.seconds or 0.0)}
    yield _open("testcase", attributes)
    body = _text("\n".join(case.lines))
    if case.status is Status.SKIPPED:
        yield _open("skipped", {"message": case.message}, ends=True)
    elif case.status is not Status.PASSED:
        element = _ELEMENTS[case.status]
        start = _open(element, {"message": case.message, "type": case.kind})
        # Some readers show the attribute, some the text, and few the output beside it.
        text = _text(case.message) + (f"\n{body}" if body else "")
        yield f"{start}{text}</{element}>"
    if body and case.status not in _ELEMENTS:
        yield f"<system-out>{body}</system-out>"
    yield "</testcase>"


def _open(element: str, attributes: dict[str, str], *, ends: bool = False) -> str:
    said = "".join(f' {name}="{_attribute(value)}"' for name, value in attributes.items())
    return f"<{element}{said}{'/' if ends else ''}>"


def _attribute(text: str) -> str:
    """Text within quotes; a reader would turn line ends and tabs into spaces."""
    escaped = _text(text)
    for character in "\n\r\t":
        escaped = escaped.replace(character, f"&#{ord(character)};")
    return escaped


def _text(text: str) -> str:
    """Text as XML writes it; characters that it has no way to write as Python writes them."""
    return escape(_UNWRITABLE.sub(_spelled, text))


def _spelled(found: re.Match[str]) -> str:
    return ascii(found.group())[1:-1]


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"
