"""On which line of a TOML or JSON text a key stands: parsers that validate do not say.

The text has been parsed already: what is found here is only used in messages, and a spelling that
is not understood makes a line less exact, never a recipe wrong.
"""

from __future__ import annotations

import json
import re
from typing import Final

#: Keys and positions in lists, from the outermost in.
KeyPath = tuple[str | int, ...]

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR: Final = re.compile(r"[^\s,\]}#]+")
_SPACE: Final = re.compile(r"(?:\s|#[^\n]*)*")
_BLANK: Final = re.compile(r"[ \t]*")
_QUOTES: Final = ('"""', "'''", '"', "'")


def toml_lines(text: str) -> dict[KeyPath, int]:
    """The line of every key and list item of a TOML text, counted from 1."""
    return _Scanner(text, "=").document()


def json_lines(text: str) -> dict[KeyPath, int]:
    """The line of every key and list item of a JSON text, counted from 1."""
    scanner = _Scanner(text, ":")
    scanner.value(())
    return scanner.lines


def repeated_json_keys(text: str) -> dict[KeyPath, int]:
    """Keys that stand in one table of a JSON text more than once -> the line of the second."""
    scanner = _Scanner(text, ":")
    scanner.value(())
    return scanner.repeated


def line_of(path: KeyPath, lines: dict[KeyPath, int]) -> int:
    """The line of a path, or of the nearest thing around it that has one; 1 for the whole."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


class _Scanner:
    """Walks over values and notes where keys are."""

    def __init__(self, text: str, assigns: str) -> None:
        self.text = text
        self.at = 0
        self.assigns = assigns
        self.lines: dict[KeyPath, int] = {}
        self.repeated: dict[KeyPath, int] = {}
        self._counted = (0, 1)

    def document(self) -> dict[KeyPath, int]:
        """A TOML text: tables under headers, each with keys."""
        table: KeyPath = ()
        lists: dict[KeyPath, int] = {}
        while self._skip():
            line = self._line()
            if self.text.startswith("[", self.at):
                is_list = self.text.startswith("[[", self.at)
                self.at += 2 if is_list else 1
                table = self._inside(self._key(), lists)
                if is_list:
                    lists[table] = lists.get(table, -1) + 1
                    table = (*table, lists[table])
                for end in range(1, len(table) + 1):
                    self.lines.setdefault(table[:end], line)
                self.at = self._end_of_line()
            else:
                self._pair(table)
                # A date may hold a space, and what follows a value is a comment.
                self.at = self._end_of_line()
        return self.lines

    def _inside(self, keys: KeyPath, lists: dict[KeyPath, int]) -> KeyPath:
        """The path that a header means: inside a list it is about the last item so far."""
        found: KeyPath = ()
        for key in keys:
            if found in lists:
                found = (*found, lists[found])
            found = (*found, key)
        return found

    def value(self, path: KeyPath) -> None:
        """Walk over one value."""
        self._skip()
        opening = self.text[self.at : self.at + 1]
        if opening in {"{", "["}:
            self._collection(path, is_list=opening == "[")
        elif opening in {'"', "'"}:
            self._string()
        else:
            found = _SCALAR.match(self.text, self.at)
            self.at = found.end() if found else self.at + 1

    def _collection(self, path: KeyPath, *, is_list: bool) -> None:
        closing, count = "]" if is_list else "}", 0
        self.at += 1
        while self._skip() and self.text[self.at] != closing:
            if self.text[self.at] == ",":
                self.at += 1
            elif is_list:
                self.lines.setdefault((*path, count), self._line())
                self.value((*path, count))
                count += 1
            else:
                self._pair(path)
        self.at += 1

    def _pair(self, table: KeyPath) -> None:
        line, keys = self._line(), self._key()
        if (*table, *keys) in self.lines:
            self.repeated.setdefault((*table, *keys), line)
        for end in range(1, len(keys) + 1):
            self.lines.setdefault((*table, *keys[:end]), line)
        self._skip()
        if self.text.startswith(self.assigns, self.at):
            self.at += 1
            self.value((*table, *keys))
        else:
            self.at = self._end_of_line()

    def _key(self) -> KeyPath:
        """A key, dotted perhaps."""
        keys: list[str | int] = []
        while True:
            self.at = self._after(_BLANK)
            if self.text[self.at : self.at + 1] in {'"', "'"}:
                keys.append(self._string())
            elif found := _BARE.match(self.text, self.at):
                keys.append(found.group())
                self.at = found.end()
            self.at = self._after(_BLANK)
            if not self.text.startswith(".", self.at):
                return tuple(keys)
            self.at += 1

    def _string(self) -> str:
        quote = next(q for q in _QUOTES if self.text.startswith(q, self.at))
        start = self.at + len(quote)
        end = start
        while end < len(self.text) and not self.text.startswith(quote, end):
            end += 2 if quote[0] == '"' and self.text[end] == "\\" else 1
        self.at = end + len(quote)
        inner = self.text[start:end]
        if quote != '"':
            return inner
        try:
            return str(json.loads(f'"{inner}"'))
        except ValueError:
            return inner

    def _skip(self) -> bool:
        """Go past space and comments; whether something is left."""
        self.at = self._after(_SPACE)
        return self.at < len(self.text)

    def _after(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self.text, self.at)
        return found.end() if found else self.at

    def _end_of_line(self) -> int:
        end = self.text.find("\n", self.at)
        return len(self.text) if end < 0 else end

    def _line(self) -> int:
        """The line of the place, counted on from where it was asked for last."""
        place, line = self._counted
        self._counted = (self.at, line + self.text.count("\n", place, self.at))
        return self._counted[1]
