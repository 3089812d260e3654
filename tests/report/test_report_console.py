"""The document for a person: every width, every outcome, and names full of markup."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from sample_reports import (
    CHECK,
    DIFFERENT_CHECK,
    DONE,
    DRY,
    ENTRIES,
    EVERYTHING,
    FAILED,
    FORCED,
    LATENCY,
    LEFT,
    REFUSAL,
    REFUSED,
    SITE,
    Given,
    equivalence,
    output,
)

from onnx_act.report.console import render_report
from onnx_act.report.document import ModelEntry, Report
from onnx_act.report.summary import headline


def _shown(*entries: ModelEntry, width: int = 160, command: str = "convert", **how: bool) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, highlight=False, color_system=None)
    render_report(console, Report(command, entries), **how)
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 160])
@pytest.mark.parametrize("every_site", [False, True])
@pytest.mark.parametrize("command", ["convert", "inspect", "validate", "bench"])
def test_everything_at_every_width(width: int, every_site: bool, command: str) -> None:
    said = _shown(*EVERYTHING.models, width=width, command=command, every_site=every_site)
    assert max(len(line) for line in said.splitlines()) <= width
    # Names full of markup come out as they are; beside others only the file's name is shown.
    aside = command == "inspect" and not every_site
    if not aside or width > 80:
        assert ("[a|b].onnx" if aside else "[bold]") in "".join(said.split())


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("done", "PASSED; wrote out.onnx"),
        ("refused", "REFUSED: every site that was asked for was refused; nothing was written"),
        ("failed", "FAILED: not equivalent: on cpu: output 'y' differs"),
        ("forced", "FAILED: not equivalent: on cpu: output 'y' differs; wrote out.onnx"),
        ("dry", "DONE (not validated)"),
        ("unreadable", "FAILED: d.onnx: not an ONNX model"),
    ],
)
def test_the_last_line_is_the_verdict(name: str, line: str) -> None:
    assert _shown(ENTRIES[name]).rstrip().splitlines()[-1] == line


def test_what_changes_nothing_is_not_said_to_lack_validation() -> None:
    assert headline(ModelEntry("a.onnx", latency=(LATENCY,))) == "DONE"
    assert headline(ModelEntry("a.onnx", changes=())) == "DONE (not validated)"


def test_what_a_person_reads() -> None:
    said = _shown(DONE)
    for part in (
        "models/[a|b].onnx",
        "prelu(slope=[2x1x1])",
        "unknown: max(x, 0) | x",
        "relu -> elu(alpha=0.5)",
        "99.00 %" if "99.00 %" in said else "100.00 % -> 90.00 %",
        "1.500x [1.400, 1.600] faster",
        "1.5 ms",
        "nodes 10 -> 8, bytes 1,000 -> 900",
        "not finite",
        "shapes differ",
        "note: a note | with a pipe",
        "note: the machine is busy | very",
    ):
        assert part in said, part
    assert "dry run: nothing was written" in _shown(DRY)
    assert "because" in _shown(REFUSED)


def test_alike_lines_are_counted() -> None:
    said = _shown(DONE)
    (line,) = [line for line in said.splitlines() if "relu -> elu" in line]
    assert line.split()[0] == "2"


def test_long_lists_are_cut_and_say_so() -> None:
    many = tuple(Given({**REFUSAL.data, "reason": f"reason {k}"}) for k in range(30))
    said = _shown(replace(REFUSED, refusals=many))
    assert "... and 18 more reasons; see --report" in said


def test_what_is_left_to_the_runtime_stands_apart() -> None:
    said = _shown(DONE)
    left, refused = said.index("left to the runtime"), said.index("left as it is")
    line = "2  fuse_conv_activation  Conv, Relu -> Conv[Relu] when the runtime loads the model"
    assert left < said.index(line) < refused
    assert said.count("when the runtime loads the model") == 1
    only = _shown(replace(DONE, refusals=(LEFT,)))
    assert "left to the runtime" in only
    assert "because" not in only
    many = (Given({**LEFT.data, "reason": f"{k} -> Conv"}) for k in range(30))
    assert "... and 18 more kinds" in _shown(replace(DONE, refusals=tuple(many)))


def test_a_failed_output_is_shown_however_many_there_are() -> None:
    outputs = [output(f"o{k}") for k in range(20)]
    outputs.append(output("the_bad_one", passed=False, max_abs=None))
    said = _shown(replace(FAILED, equivalence=equivalence(*outputs, reason="it differs")))
    assert "the_bad_one" in said
    assert "... and 13 more; 1 failed in all" in said


def test_two_providers_that_fail_each_tell_why() -> None:
    judged = equivalence(reason="does not run at all").data
    other = {**judged["providers"][0], "provider": "CUDAExecutionProvider", "reason": "no memory"}
    both = Given({**judged, "providers": [*judged["providers"], other]})
    said = _shown(replace(FORCED, equivalence=both))
    assert "cpu: does not run at all" in said
    assert "cuda: no memory" in said


def test_where_new_activations_differ_is_shown_where_they_do() -> None:
    assert "differs at" not in _shown(DONE)
    said = _shown(replace(DONE, checks=(CHECK, DIFFERENT_CHECK)))
    head, alike, different = (
        next(line for line in said.splitlines() if part in line)
        for part in ("new activation ", "elu(alpha=0.5) (Elu)", "elu (Elu)")
    )
    assert head.split()[-2:] == ["differs", "at"]
    assert alike.split()[-1] == "-"
    assert different.split()[-2:] == ["nan,", "-inf"]


def test_several_models_side_by_side() -> None:
    first, second = replace(DONE, path="in/a.onnx"), replace(DONE, path="in/b.onnx")
    said = _shown(first, second, ENTRIES["unreadable"], command="inspect")
    head = next(line for line in said.splitlines() if line.startswith("activation "))
    assert head.split()[-2:] == ["a.onnx", "b.onnx"]
    (line,) = [line for line in said.splitlines() if line.startswith("prelu")]
    assert line.split()[-2:] == ["2", "2"]
    assert "FAILED: d.onnx: not an ONNX model" in said


def test_no_name_is_a_command_to_the_terminal() -> None:
    name = "\x1b]0;title\x07\x1b[2J\r\x9b\u202e"
    site = Given({**SITE.data, "producer": name, "id": name})
    entry = replace(DONE, path=name, message=name, sites=(site,), notes=(name,))
    for every_site in (False, True):
        said = _shown(entry, every_site=every_site)
        assert not set(said) & set("\x1b\x07\r\x9b\u202e")
        assert r"\x1b]0;title\x07\x1b[2J\r\x9b\u202e" in said
