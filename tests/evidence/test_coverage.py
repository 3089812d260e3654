"""What was exercised of changed activations: told for every part of their domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper
from small_models import Net, save

from onnx_act.activations.domain_parts import Part
from onnx_act.evidence.coverage import (
    Coverage,
    changed_sites,
    measure_coverage,
    measure_coverage_between,
)
from onnx_act.graph.model import load_model
from onnx_act.runtime.feeds import FeedRequest

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from onnx_act.evidence.coverage import SiteCoverage


def _measured(path: Path, data: npt.NDArray[np.float32], *sites: str) -> Coverage:
    stored = path.with_suffix(".npz")
    np.savez(stored, x=data)
    found = measure_coverage(path, sites, request=FeedRequest(data=stored), threads=1)
    assert found is not None
    return found


def _only(found: Coverage) -> SiteCoverage:
    (site,) = found.sites
    return site


@pytest.fixture
def hardswish(tmp_path: Path) -> Path:
    """y = HardSwish(x), for two rows of four."""
    nodes = [helper.make_node("HardSwish", ["x"], ["y"])]
    return save(tmp_path / "h.onnx", nodes, {}, inputs=[("x", None, ("N", 4))])


def test_every_part_is_counted(hardswish: Path) -> None:
    data = np.array([[-5, -3, 0, 3], [4, 5, 6, 7]], np.float32)
    found = _measured(hardswish, data, "y")
    site = _only(found)
    assert [(p.part, p.elements) for p in site.parts] == [
        (Part.LEFT, 1),
        (Part.KNEE, 3),
        (Part.RIGHT, 4),
    ]
    assert [p.share for p in site.parts] == [0.125, 0.375, 0.5]
    assert (site.low, site.high) == (-5.0, 7.0)
    assert found.is_complete
    assert found.missed == ()


def test_a_part_without_numbers_is_named_with_its_site(hardswish: Path) -> None:
    found = _measured(hardswish, np.linspace(-1, 9, 8, dtype=np.float32).reshape(2, 4), "y")
    assert not found.is_complete
    (sentence,) = found.missed
    assert sentence == (
        "left tail of hardswish was not exercised at the site that was looked at (y: saw -1 to 9)"
    )
    assert _only(found).missed == (Part.LEFT,)


def test_what_the_graph_rules_out_is_not_missed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("HardSwish", ["r"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, {}, inputs=[("x", None, ("N", 4))])
    found = _measured(path, np.array([[-9, 1, 2, 9]], np.float32), "y")
    assert [p.is_reachable for p in _only(found).parts] == [False, True, True]
    assert found.is_complete


def test_of_many_sites_some_are_looked_at_and_it_is_said(tmp_path: Path) -> None:
    nodes, value = [], "x"
    for number in range(12):
        nodes.append(helper.make_node("Softplus", [value], [f"s{number}"]))
        value = f"s{number}"
    nodes.append(helper.make_node("Identity", [value], ["y"]))
    path = save(tmp_path / "m.onnx", nodes, {}, inputs=[("x", None, (2, 4))])
    found = measure_coverage(path, [f"s{k}" for k in range(12)], most_per_kind=3, threads=1)
    assert found is not None
    assert [s.site for s in found.sites] == ["s0", "s6", "s11"]
    assert (found.changed, found.not_looked_at, found.most_per_kind) == (12, 9, 3)


def test_a_site_that_is_fed_directly_and_one_behind_it(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Tanh", ["x"], ["t"])]
    nodes.append(helper.make_node("Add", ["r", "t"], ["y"]))
    path = save(tmp_path / "m.onnx", nodes, {}, inputs=[("x", None, ("N", 4))])
    found = _measured(path, np.array([[-4, -1, 1, 2]], np.float32), "r", "t")
    relu, tanh = found.sites
    assert [p.elements for p in relu.parts] == [2, 2]
    assert [p.elements for p in tanh.parts] == [1, 3, 0]


def test_what_cannot_be_looked_at_makes_it_incomplete(tmp_path: Path) -> None:
    path = Net(fused=True, folded=True).save(tmp_path / "m.onnx")
    found = measure_coverage(path, ["a", "b"], threads=1)
    assert found is not None
    assert found.not_visible == {"a": "it is inside the operator FusedConv"}
    assert not found.is_complete
    assert [s.site for s in found.sites] == ["b"]


def test_nothing_is_said_where_no_site_was_changed(tmp_path: Path) -> None:
    net = Net()
    assert measure_coverage(net.save(tmp_path / "m.onnx"), ["Conv_0"], threads=1) is None
    folded = net.but(folded=True).save(tmp_path / "f.onnx")
    assert measure_coverage_between(tmp_path / "m.onnx", folded, threads=1) is None


def test_the_sites_that_another_model_writes_otherwise(tmp_path: Path) -> None:
    net = Net()
    reference = load_model(net.save(tmp_path / "a.onnx"))

    def changed(other: Net) -> tuple[str, ...]:
        return changed_sites(reference, load_model(other.save(tmp_path / "b.onnx")))

    assert changed(net) == ()
    assert changed(net.but(folded=True, fused=True)) == ("a",)
    assert changed(net.but(second="Sigmoid")) == ("b",)
    assert changed(net.but(slope=0.2, second="Sigmoid")) == ("a", "b")


def test_between_two_models(tmp_path: Path) -> None:
    net = Net()
    reference = net.save(tmp_path / "a.onnx")
    fused = net.but(folded=True, fused=True).save(tmp_path / "b.onnx")
    found = measure_coverage_between(reference, fused, threads=1)
    assert found is not None
    assert (found.changed, _only(found).activation) == (1, "leaky_relu(negative_slope=0.1)")
    assert found.is_complete
