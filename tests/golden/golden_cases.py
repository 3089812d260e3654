"""Reading and writing golden cases: one text file each, before and after in ONNX text syntax.

A case is a file `<rule>/<name>.onnxtxt`:

    # What the case shows.
    #: key = value                        directives, see `DIRECTIVES`
    <the model before>
    === changed SITE: BEFORE -> AFTER     one line for every change
    === refused SITE: REASON              one line for every refusal
    === after                             only where something changed
    <the model after>

`ONNX_ACT_UPDATE_GOLDEN=1 python -m pytest tests/golden` writes everything from the first `===` on
anew; what it wrote is to be read before it is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import onnx
from onnx import parser, printer

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE: Final = Path(__file__).parent
DIRECTIVES: Final = frozenset(
    {
        "swap",  # the requests of swap_activation, separated by blanks
        "where",  # its selector
        "respell",  # of respell_activation: SITE: WAY, separated by semicolons
        "channels",  # SITE: how many, the same way
        "opsets",  # the opsets, beside the one that is written, at which all is the same
        "runtime",  # `reference` where ONNX Runtime has no kernel and onnx's evaluator stands in,
        # `none` where nothing runs it
        "cannot",  # an operator that the target is to refuse
    }
)
_MARK: Final = "=== "
# What a runtime says after its status differs between versions.
_STATUS: Final = re.compile(r"\b(NOT_IMPLEMENTED|INVALID_GRAPH|INVALID_ARGUMENT|FAIL)\b.*")
_OPSET: Final = re.compile(r'"" : \d+')


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule made of a case: its lines, and the model after it as text ("" when unchanged)."""

    lines: tuple[str, ...]
    after: str


@dataclass(frozen=True, slots=True)
class Case:
    """One golden case.

    Attributes:
        path: its file.
        directives: how to run it.
        head: everything before the first mark.
        expected: what is written down.
    """

    path: Path
    directives: dict[str, str] = field(repr=False)
    head: str = field(repr=False)
    expected: Outcome = field(repr=False)

    @property
    def rule(self) -> str:
        """The rule that the case is about: its folder."""
        return self.path.parent.name

    @property
    def name(self) -> str:
        return f"{self.rule}/{self.path.stem}"

    @property
    def other_opsets(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.directives.get("opsets", "").split())

    def pairs(self, directive: str) -> dict[str, str]:
        """The pairs of names that a directive lists."""
        listed = self.directives.get(directive, "").split(";")
        parts = (one.partition(":") for one in listed if one.strip())
        return {name.strip(): value.strip() for name, _, value in parts}

    def before(self, opset: int | None = None) -> onnx.ModelProto:
        """The model before, at another opset than the written one when given."""
        return parse(_at(self.head, opset))


def read_case(path: Path) -> Case:
    head, *rest = path.read_text(encoding="utf-8").split("\n" + _MARK)
    directives: dict[str, str] = {}
    for line in head.splitlines():
        if line.startswith("#:"):
            key, _, value = line.removeprefix("#:").partition("=")
            assert key.strip() in DIRECTIVES, f"{path}: unknown directive {key.strip()!r}"
            directives[key.strip()] = value.strip()
    lines = tuple(r.strip() for r in rest if not r.startswith("after\n"))
    after = next((r.removeprefix("after\n") for r in rest if r.startswith("after\n")), "")
    return Case(path, directives, head.rstrip("\n"), Outcome(lines, as_text(after)))


def all_cases() -> list[Case]:
    return [read_case(p) for p in sorted(HERE.glob("*/*.onnxtxt"))]


def write_case(case: Case, outcome: Outcome) -> None:
    parts = [case.head, *(_MARK + line for line in outcome.lines)]
    if outcome.after:
        parts.append(f"{_MARK}after\n{outcome.after}")
    case.path.write_text("\n".join(parts).rstrip("\n") + "\n", encoding="utf-8")


def parse(text: str) -> onnx.ModelProto:
    model = parser.parse_model(text)
    assert isinstance(model, onnx.ModelProto)
    return model


def as_text(model: onnx.ModelProto | str, opset: int | None = None) -> str:
    """A model as the printer writes what the parser read: floats and spaces have one form then.

    Node and model metadata are not part of it.
    """
    if isinstance(model, str):
        if not model.strip():
            return ""
        model = parse(model)
    for _ in range(2):
        shown = onnx.ModelProto()
        shown.CopyFrom(model)
        del shown.metadata_props[:]
        _tidy(shown.graph)
        for function in shown.functions:
            _drop_tensor_names(function.node)
        model = parse(printer.to_text(shown))
    text = printer.to_text(model)
    return "\n".join(line.rstrip() for line in _at(text, opset).splitlines())


def readable(line: str) -> str:
    """A line without what differs between versions of a runtime."""
    return _STATUS.sub(r"\1 ...", line)


def _at(text: str, opset: int | None) -> str:
    return text if opset is None else _OPSET.sub(f'"" : {opset}', text)


def _tidy(graph: onnx.GraphProto) -> None:
    """Take out what the printer writes and the parser does not read, or writes twice."""
    weights = {t.name for t in graph.initializer}
    kept = [v for v in graph.value_info if v.name not in weights]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    _drop_tensor_names(graph.node)


def _drop_tensor_names(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                attribute.t.ClearField("name")
            if attribute.HasField("g"):
                _tidy(attribute.g)
