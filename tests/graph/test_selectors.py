"""The selector language: what it selects, and where its errors point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from graph_sketch import parsed, sites_of

from onnx_act.errors import SelectorError
from onnx_act.graph.selectors import parse_selector

if TYPE_CHECKING:
    from onnx_act.graph.sites import Site

_MODEL = """<ir_version: 8, opset_import: ["": 17, "my": 1]>
g (float[N, 3, 8, 8] x, float16[N, 4] h, float[3, 3, 1, 1] w) => (z, out, half)
{
  ["stem/conv"] c0 = Conv(x, w)
  ["stem/act"] a0 = Relu(c0)
  ["block (1)/conv"] c1 = Conv(a0, w)
  ["block (1)/act"] a1 = LeakyRelu <alpha = 0.1> (c1)
  c2 = Conv(a1, w)
  s2 = Sigmoid(c2)
  a2 = Mul(c2, s2)
  p = GlobalAveragePool(a2)
  g = Sigmoid(p)
  scaled = Mul(a2, g)
  z = Concat <axis = 1> (scaled, a0)
  o = my.Act(scaled)
  out = Tanh(o)
  half = Gelu(h)
}
<domain: "my", opset_import: ["": 17]>
Act (a) => (b) { b = Elu(a) }"""


@pytest.fixture(scope="module")
def sites() -> list[Site]:
    found = sites_of(parsed(_MODEL.replace('["": 17, "my"', '["": 20, "my"')))
    assert [s.name for s in found] == [
        "relu",
        "leaky_relu",
        "silu",
        "sigmoid",
        "tanh",
        "gelu",
        "elu",
    ]
    return found


def _selected(sites: list[Site], source: str) -> list[int]:
    selects = parse_selector(source)
    return [s.index for s in sites if selects(s)]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("activation:silu", [2]),
        ("activation:SiLU", [2]),
        ("activation:*relu", [0, 1]),
        ("activation:LeakyReLU", [1]),
        ("activation:unknown", []),
        ("activation:?anh", [4]),
        ("name:stem*", [0]),
        ("name:Stem*", []),
        ('name:"block (1)*"', [1]),
        (r"name:/block \(\d\)/", [1]),
        ("name:/^a[01]$/", [0, 1]),
        ("name:half", [5]),
        ("scope:main", [0, 1, 2, 3, 4, 5]),
        ("scope:my::*", [6]),
        ("after:Conv", [0, 1, 2]),
        ("after:conv", [0, 1, 2]),
        ("after:GlobalAveragePool", [3]),
        ("before:Concat", [0]),
        ("before:concat", [0]),
        ("before:*output*", [4, 5, 6]),
        ("index:0", [0]),
        ("index:0-2", [0, 1, 2]),
        ("index:0..2", [0, 1, 2]),
        ("index:1,4,5-", [1, 4, 5, 6]),
        ("index:-1", [0, 1]),
        ("index:9", []),
        ("depth:0", [0, 5, 6]),
        ("depth:1-2", [1, 2]),
        ("role:gate", [3]),
        ("role:Output", [4, 5]),
        ("spelling:expression", [2]),
        ("dtype:float16", [5]),
        ("dtype:float32 and role:main", [0, 1, 2, 6]),
        ("dtype:float", [0, 1, 2, 3, 4, 6]),
    ],
)
def test_a_condition(sites: list[Site], source: str, wanted: list[int]) -> None:
    assert _selected(sites, source) == wanted


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        # `and` binds closer than `or`, `not` closer than both.
        ("index:0 or index:1 and role:gate", [0]),
        ("(index:0 or index:1) and role:gate", []),
        ("role:gate and index:3 or index:0", [0, 3]),
        ("not index:0 and index:0-1", [1]),
        ("not (index:0 and role:main)", [1, 2, 3, 4, 5, 6]),
        ("not not index:2", [2]),
        ("NOT index:0-5", [6]),
        ("index:0 OR index:1", [0, 1]),
        ("((index:0))", [0]),
        ("  index:0   or(index:1)", [0, 1]),
        ("not index:0 or index:0", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_precedence(sites: list[Site], source: str, wanted: list[int]) -> None:
    assert _selected(sites, source) == wanted


@pytest.mark.parametrize(
    ("source", "position", "says"),
    [
        ("foo", 0, "'foo' is not of the form key:pattern"),
        ("index:0 index:1", 8, "'index:1' is not expected"),
        ("index:0 or", 10, "it ends too early"),
        ("not", 3, "it ends too early"),
        ("(index:0", 0, "this parenthesis is not closed"),
        ("index:0 and (index:1 or (index:2)", 12, "this parenthesis is not closed"),
        ("index:0)", 7, "')' is not expected"),
        ("index:0 or rolle:gate", 11, "did you mean role?"),
        ("role:gates", 0, "did you mean gate?"),
        ("index:a", 0, "not a list of numbers"),
        ("index:-", 0, "not a list of numbers"),
        ("index:1,,2", 0, "not a list of numbers"),
        ("index:1 or depth:1-2-3", 11, "not a list of numbers"),
        ("name:/[/", 0, "not a regular expression"),
        ("activation:rellu", 0, "relu"),
        ("spelling:prose", 0, "unknown spelling"),
        ("and index:0", 0, "'and' is not of the form"),
    ],
)
def test_an_error_points_at_the_place(source: str, position: int, says: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_selector(source)
    message = str(caught.value)
    assert says in message
    *_, shown, pointer = message.split("\n")
    assert shown == f"  {source}"
    assert pointer.index("^") == position + 2
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("source", ["", "   "])
def test_an_empty_selector_is_refused(source: str) -> None:
    with pytest.raises(SelectorError, match="empty"):
        parse_selector(source)


def test_a_preset_name_selects_its_parameters() -> None:
    text = """<ir_version: 8, opset_import: ["": 20, "com.microsoft": 1]>
    g (float[N, 4] x) => (y, z, u, v)
    { y = com.microsoft.QuickGelu(x)  z = com.microsoft.QuickGelu <alpha = 1.5> (x)
      u = Gelu(x)  v = Gelu <approximate = "tanh"> (x) }"""
    found = sites_of(parsed(text))
    assert _selected(found, "activation:quick_gelu") == [0]
    assert _selected(found, "activation:swish") == [0, 1]
    assert _selected(found, "activation:gelu") == [2, 3]
    assert _selected(found, "activation:gelu_tanh") == [3]


def test_a_nearly_quoted_pattern_points_inside_nothing() -> None:
    # An open quote is read as part of a bare pattern, and then the rest is not expected.
    with pytest.raises(SelectorError, match="is not expected"):
        parse_selector('name:"block (1)')
