"""The selector language: which sites a request is about.

```
selector  := term ("or" term)*
term      := factor ("and" factor)*
factor    := "not" factor | "(" selector ")" | key ":" pattern
```

| key | matches |
|---|---|
| `activation:silu` | the activation; any of its names, `unknown`, or a pattern with `*` |
| `name:backbone*` | the id, a node's name or the output's name; a pattern, or `/regex/` |
| `scope:*then_branch` | the scope's name; `scope:main` is the main graph |
| `after:Conv`, `before:Concat` | the operator that makes the input, or one that uses the output |
| `index:0-9`, `index:1,4,7-` | the site's number in `inspect --sites` |
| `depth:0-2` | how many sites lie before it on the longest way |
| `role:main` | main, gate or output |
| `spelling:expression` | operator, contrib, expression, fused or attribute |
| `dtype:float16` | the element type |

Patterns with spaces or parentheses are quoted: `name:"block (1)*"`. Case does not matter, except
in names and scopes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from onnx_act.activations.catalogue import find
from onnx_act.errors import SelectorError, UnknownNameError
from onnx_act.graph.sites import UNKNOWN, Role, Spelling

if TYPE_CHECKING:
    from onnx_act.graph.sites import Site

Selector = Callable[["Site"], bool]
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<paren>[()])|(?P<key>[a-z_]+):(?P<pattern>"[^"]*"|/(?:\\.|[^/\\])*/|[^\s()]+)
    |(?P<word>[^\s()]+))""",
    re.VERBOSE,
)


def parse_selector(source: str) -> Selector:
    """The predicate that a selector stands for.

    Raises:
        SelectorError: it does not parse; the message points at the place.
    """
    return _Parser(source).parse()


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens: list[tuple[int, re.Match[str]]] = []
        position = 0
        while source[position:].strip():
            match = _TOKEN.match(source, position)
            if match is None:
                raise self._error(position, "cannot be read")
            self._tokens.append((match.end() - len(match.group().lstrip()), match))
            position = match.end()
        self._next = 0

    def _error(self, position: int, problem: str) -> SelectorError:
        return SelectorError(f"selector: {problem}\n  {self._source}\n  {' ' * position}^")

    def parse(self) -> Selector:
        if not self._tokens:
            raise SelectorError("selector: it is empty")
        selector = self._either()
        if self._next < len(self._tokens):
            position, match = self._tokens[self._next]
            problem = f"{match.group().strip()!r} is not expected; join parts with and, or"
            raise self._error(position, problem)
        return selector

    def _word(self) -> str:
        if self._next >= len(self._tokens):
            return ""
        match = self._tokens[self._next][1]
        return (match.group("word") or match.group("paren") or "").lower()

    def _either(self) -> Selector:
        parts = [self._both()]
        while self._word() == "or":
            self._next += 1
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda site: any(p(site) for p in parts)

    def _both(self) -> Selector:
        parts = [self._factor()]
        while self._word() == "and":
            self._next += 1
            parts.append(self._factor())
        return parts[0] if len(parts) == 1 else lambda site: all(p(site) for p in parts)

    def _factor(self) -> Selector:
        if self._next >= len(self._tokens):
            raise self._error(len(self._source), "it ends too early")
        position, match = self._tokens[self._next]
        word = self._word()
        self._next += 1
        if word == "not":
            inner = self._factor()
            return lambda site: not inner(site)
        if word == "(":
            inner = self._either()
            if self._word() != ")":
                raise self._error(position, "this parenthesis is not closed")
            self._next += 1
            return inner
        if match.group("key") is None:
            problem = f"{match.group().strip()!r} is not of the form key:pattern"
            raise self._error(position, problem)
        pattern = match.group("pattern").strip('"')
        try:
            return _condition(match.group("key"), pattern)
        except SelectorError as error:
            raise self._error(position, str(error)) from None


def _condition(key: str, pattern: str) -> Selector:
    maker = _CONDITIONS.get(key)
    if maker is None:
        raise SelectorError(str(UnknownNameError("selector key", key, _CONDITIONS)))
    return maker(pattern)


def _matcher(pattern: str) -> Callable[[str], bool]:
    if len(pattern) > 1 and pattern[0] == pattern[-1] == "/":
        try:
            compiled = re.compile(pattern[1:-1])
        except re.error as error:
            raise SelectorError(f"{pattern} is not a regular expression: {error}") from None
        return lambda name: compiled.search(name) is not None
    return lambda name: fnmatchcase(name, pattern)


def _activation(pattern: str) -> Selector:
    if "*" in pattern or "?" in pattern:
        matches = _matcher(pattern.lower())
        return lambda site: matches(site.name)
    if pattern.lower() == UNKNOWN:
        return lambda site: site.activation is None
    try:
        activation, preset = find(pattern)
    except UnknownNameError as error:
        raise SelectorError(str(error)) from None
    return lambda site: (
        site.activation is activation
        and all(site.parameters.get(k) == v for k, v in preset.items())
    )


def _name(pattern: str) -> Selector:
    matches = _matcher(pattern)
    return lambda site: any(
        matches(n) for n in (site.id, site.output.name or "", *(n.name or "" for n in site.nodes))
    )


def _scope(pattern: str) -> Selector:
    matches = _matcher(pattern)
    return lambda site: matches(site.scope.name or "main")


def _after(pattern: str) -> Selector:
    matches = _matcher(pattern.lower())
    return lambda site: matches(site.producer.lower())


def _before(pattern: str) -> Selector:
    matches = _matcher(pattern.lower())
    return lambda site: any(matches(c.lower()) for c in site.consumers)


def _ranges(pattern: str) -> Callable[[int], bool]:
    spans: list[tuple[float, float]] = []
    for part in pattern.split(","):
        match = re.fullmatch(r"(\d*)(-|\.\.)?(\d*)", part)
        if match is None or not part.strip("-."):
            raise SelectorError(f"{pattern!r} is not a list of numbers and ranges such as 0-9,12")
        low, dash, high = match.groups()
        first = int(low) if low else 0
        last = (float(high) if high else float("inf")) if dash else first
        spans.append((first, last))
    return lambda number: any(low <= number <= high for low, high in spans)


def _index(pattern: str) -> Selector:
    within = _ranges(pattern)
    return lambda site: within(site.index)


def _depth(pattern: str) -> Selector:
    within = _ranges(pattern)
    return lambda site: within(site.depth)


def _role(pattern: str) -> Selector:
    if pattern.lower() not in {r.value for r in Role}:
        raise SelectorError(str(UnknownNameError("role", pattern, (r.value for r in Role))))
    return lambda site: site.role.value == pattern.lower()


def _spelling(pattern: str) -> Selector:
    known = {s.value for s in Spelling}
    if pattern.lower() not in known:
        raise SelectorError(str(UnknownNameError("spelling", pattern, known)))
    return lambda site: site.spelling.value == pattern.lower()


def _dtype(pattern: str) -> Selector:
    wanted = "float" if pattern.lower() == "float32" else pattern.lower()
    return lambda site: site.dtype is not None and site.dtype.name.lower() == wanted


_CONDITIONS: Final[dict[str, Callable[[str], Selector]]] = {
    "activation": _activation,
    "name": _name,
    "scope": _scope,
    "after": _after,
    "before": _before,
    "index": _index,
    "depth": _depth,
    "role": _role,
    "spelling": _spelling,
    "dtype": _dtype,
}
