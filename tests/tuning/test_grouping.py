"""Which sites are alike, and in which ways they could be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import parser

from onnx_act.graph.constants import Constants
from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model
from onnx_act.tuning.grouping import group_sites

if TYPE_CHECKING:
    from onnx_act.tuning.grouping import SiteGroup

IMAGE = "float[1,2,8,8]"


def _groups(
    body: str,
    weights: str = "",
    shapes: dict[str, tuple[int, ...]] | None = None,
    *,
    opset: int = 17,
    kind: str = IMAGE,
    contrib: bool = False,
) -> list[SiteGroup]:
    stated = f"<{weights}>" if weights else ""
    proto = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g ({kind} x) => ({kind} y) {stated} {{ {body} }}"""
    )
    assert isinstance(proto, onnx.ModelProto)
    model = load_model(proto)
    return group_sites(find_sites(model), Constants(model), shapes or {}, contrib=contrib)


def test_alike_is_what_is_placed_sized_and_written_alike() -> None:
    body = """a = Elu (x) b = MaxPool <kernel_shape = [1, 1]> (a)
        c = Elu (b) d = MaxPool <kernel_shape = [1, 1]> (c)
        e = Elu (d) y = MaxPool <kernel_shape = [1, 1]> (e)"""
    first, second = _groups(body)
    assert [s.id for s in first.sites] == ["a"]
    assert [s.id for s in second.sites] == ["c", "e"]
    assert first.family == second.family
    assert first.signature != second.signature
    assert "(input) > MaxPool" in first.signature
    assert "2 channels, 2^7 elements" in first.signature
    assert first.channels == 2


def test_the_signature_does_not_depend_on_names_or_weights() -> None:
    one = _groups("a = Elu (x) y = Abs (a)")
    other = _groups("[n] other = Elu <alpha = 1.0> (x) [m] y = Abs (other)")
    assert [g.signature for g in one] == [g.signature for g in other]


def test_parameters_that_allow_other_ways_are_another_group() -> None:
    body = "a = Elu (x) b = Tan (a) c = Elu <alpha = 1.5> (b) d = Tan (c) y = Identity (d)"
    groups = _groups(body)
    ways = {s.id: set(g.ways) for g in groups for s in g.sites}
    assert "maximum" in ways["a"]
    assert "maximum" not in ways["c"]
    assert "ramp" in ways["a"] & ways["c"]


@pytest.mark.parametrize(
    ("body", "opset", "present"),
    [
        ("a = Elu (x) y = Tan (a)", 17, "Elu"),
        ("a = Elu <alpha = 0.5> (x) y = Tan (a)", 17, "Elu"),
        ("s = Sigmoid (x) a = Mul (x, s) y = Tan (a)", 17, "formula"),
        ("n = Neg (x) e = Exp (n) d = Add (o, e) a = Div (x, d) y = Tan (a)", 17, "quotient"),
    ],
)
def test_the_way_it_is_written_is_none_of_the_others(body: str, opset: int, present: str) -> None:
    (group,) = _groups(body, "float o = {1}", opset=opset)
    assert group.present == present
    assert present not in group.ways
    assert group.ways


def test_a_spelling_that_is_none_of_ours_may_become_any() -> None:
    (group,) = _groups("s = Sigmoid (x) m = Mul (s, x) a = Mul (m, o) y = Tan (a)", "float o = {1}")
    assert group.present is None
    assert {"formula", "quotient"} <= set(group.ways)
    assert group.before == "Sigmoid, Mul, Mul"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("y = Relu (x)", IMAGE),
        ("a = Tan (x) y = Neg (a)", IMAGE),
        ("y = Relu (x)", "int32[4]"),
        ("y = Exp (x)", IMAGE),
    ],
)
def test_what_has_no_other_way_is_in_no_group(body: str, kind: str) -> None:
    assert _groups(body, kind=kind) == []


def test_channels_only_where_there_are_four_dimensions() -> None:
    body = "a = LeakyRelu (x) y = Tan (a)"
    (image,) = _groups(body)
    (row,) = _groups(body, kind="float[4,2]")
    (free,) = _groups(body, kind="float[N,2,H,V]")
    assert (image.channels, row.channels, free.channels) == (2, None, None)
    assert "two slopes" in image.ways
    assert not {"two slopes", "two relus", "channelwise maximum"} & {*row.ways, *free.ways}
    assert "of unknown size" in free.signature
    (given,) = _groups(body, kind="float[N,2,H,V]", shapes={"a": (1, 2, 4, 4)})
    assert given.channels == 2
    (none,) = _groups(body, kind="float[N,0,H,V]", shapes={"a": (1, 0, 4, 4)})
    assert none.channels is None


def test_what_the_opset_cannot_write_is_no_way() -> None:
    """Max broadcasts from opset 8 on."""
    (old,) = _groups("a = Elu (x) y = Tan (a)", opset=7)
    (new,) = _groups("a = Elu (x) y = Tan (a)", opset=8)
    assert "maximum" not in old.ways
    assert "maximum" in new.ways


def test_operators_of_other_domains_only_when_allowed() -> None:
    body = "s = Sigmoid (x) a = Mul (x, s) y = Tan (a)"
    (plain,) = _groups(body)
    (contrib,) = _groups(body, contrib=True)
    assert "com.microsoft.QuickGelu" not in plain.ways
    assert "com.microsoft.QuickGelu" in contrib.ways
    # So that what is remembered of one is not taken for the other.
    assert plain.signature != contrib.signature
