"""On which line keys stand, against parsers that do not tell."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_act.recipe.key_lines import json_lines, line_of, toml_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOML = '''\
# "step" = [[nothing]]
reason = """
[[step]] in a text
fuse = "x"  \\" quoted
"""
path = 'C:\\temp'   # a comment with = and [
provider = [
    "cpu",  # , ] "
    'cuda',
]
"quoted key" = 1
"caf\\u00e9" = 2
a.b.c = 1
time = 2021-01-01 00:00:00

[[step]]
swap = [
    { from = "silu", to = "hardswish", parameters = { alpha = 1.0, "b" = 2 } },
    "relu=gelu",
]

[[step]]
fuse = "auto"

[bound]
max_abs = 1e-3
[deep."er".still]
x = """a
"""
y = 1
[[step.inner]]
z = 1
[[step.inner]]
z = 2
'''


def _paths(data: Any, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items: Any = ()
    if isinstance(data, dict):
        items = data.items()
    elif isinstance(data, list):
        items = enumerate(data)
    for key, value in items:
        yield (*before, key)
        yield from _paths(value, (*before, key))


def test_every_key_of_a_toml_text_has_a_line() -> None:
    lines = toml_lines(_TOML)
    assert set(_paths(tomllib.loads(_TOML))) == set(lines)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("reason",), 2),
        (("path",), 6),
        (("provider",), 7),
        (("provider", 1), 9),
        (("quoted key",), 11),
        (("café",), 12),
        (("a", "b", "c"), 13),
        (("step", 0), 16),
        (("step", 0, "swap", 0, "parameters", "alpha"), 18),
        (("step", 0, "swap", 1), 19),
        (("step", 1, "fuse"), 23),
        (("bound", "max_abs"), 26),
        (("deep", "er", "still", "x"), 28),
        (("deep", "er", "still", "y"), 30),
        (("step", 1, "inner", 0, "z"), 32),
        (("step", 1, "inner", 1, "z"), 34),
        (("step", 1, "nowhere", 7), 22),
        (("nowhere",), 1),
        ((), 1),
    ],
)
def test_the_line_of_a_key(path: tuple[str | int, ...], line: int) -> None:
    assert line_of(path, toml_lines(_TOML)) == line


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), _VALUES, max_size=4), st.sampled_from([None, 0, 2]))
def test_json_of_any_kind(data: dict[str, Any], indent: int | None) -> None:
    text = json.dumps(data, indent=indent)
    lines = json_lines(text)
    assert set(lines) == set(_paths(data))
    for path, line in lines.items():
        if isinstance(path[-1], str):
            assert json.dumps(path[-1]) in text.splitlines()[line - 1]


@given(st.text(alphabet="[]{}=\"'#,.\n\\ ab1", max_size=60))
def test_a_text_that_is_no_toml_ends_the_scan_too(text: str) -> None:
    assert all(1 <= line <= text.count("\n") + 1 for line in toml_lines(text).values())
