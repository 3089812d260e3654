"""Whatever the network: written in other ways it computes the same, and is still seen as that."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from capabilities import Cpu
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from respellable_networks import KERNEL, Network, feeds_for, networks

from onnx_act.activations.catalogue import named
from onnx_act.evidence.accuracy import Accuracy, WrittenForm, measure_accuracies
from onnx_act.graph.constants import Constants
from onnx_act.graph.finding import find_sites
from onnx_act.graph.lower import LoweringUnavailableError
from onnx_act.graph.model import OnnxModel, load_model
from onnx_act.graph.probe_models import activation_probe, simple_parameters
from onnx_act.rewrite.engine import run_rules
from onnx_act.rewrite.expand_gate import GateExpansion
from onnx_act.rewrite.respell_activation import (
    RespellActivation,
    is_respellable,
    ways_to_write,
    would_be_written_as,
    written_as,
)
from onnx_act.rewrite.rule import Fidelity
from onnx_act.runtime.session import OptimizationLevel, SessionSettings, open_session

if TYPE_CHECKING:
    from onnx_act.graph.lower import Lowering
    from onnx_act.graph.sites import Site

LEVELS: Final = tuple(OptimizationLevel)
# As far as a way to write an activation may be off, of its largest value on [-100, 100], and still
# be of use: float16 overflows in some.
_USABLE: Final = 400.0


@cache
def _is_usable(activation: str, parameters: tuple[tuple[str, object], ...], probe: bytes) -> bool:
    form = WrittenForm(activation, named(activation).bind(dict(parameters)), probe)  # type: ignore[arg-type]
    (found,) = measure_accuracies([form])
    kind = onnx.load_from_string(probe).graph.input[0].type.tensor_type.elem_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind).name
    return isinstance(found, Accuracy) and found.max_abs <= _USABLE * KERNEL[dtype]


def _usable_ways(site: Site, channels: int | None, ir_version: int) -> dict[str, Lowering]:
    """The ways to write a site that the runtime runs, and that are not wildly off."""
    assert site.activation is not None
    assert site.dtype is not None
    found: dict[str, Lowering] = {}
    for key, way in ways_to_write(site, channels, contrib=True).items():
        assert not isinstance(way, GateExpansion)
        given = (way, site.activation, site.parameters, site.dtype, site.scope, ir_version, 1024)
        try:
            probe = activation_probe(*given)
        except LoweringUnavailableError:
            continue
        simple = tuple(simple_parameters(site.parameters).items())
        if _is_usable(site.name, simple, probe):
            found[key] = way
    return found


def _sites(model: OnnxModel) -> dict[str, Site]:
    return {s.id: s for s in find_sites(model, routine=True) if is_respellable(s)}


def _channels(network: Network) -> dict[str, int]:
    return {v.name: v.channels for v in network.values if v.is_image}


def _draw_ways(
    data: st.DataObject, network: Network, model: OnnxModel
) -> dict[str, tuple[str, Lowering]]:
    """A way for most of the sites: never the one that it has."""
    constants = Constants(model)
    channels = _channels(network)
    chosen: dict[str, tuple[str, Lowering]] = {}
    for site in _sites(model).values():
        known = channels.get(site.id)
        ways = _usable_ways(site, known, model.content.ir_version)
        present = written_as(site, constants)
        others = [k for k, w in ways.items() if would_be_written_as(site, w) != present]
        key = data.draw(st.sampled_from([None, *others, *others]), label=site.id)
        if key is not None:
            chosen[site.id] = (key, ways[key])
    return chosen


def _respelled(network: Network, before: onnx.ModelProto, keys: dict[str, str]) -> onnx.ModelProto:
    model = load_model(before)
    plan = run_rules([RespellActivation(keys, _channels(network))], model, Cpu())
    assert plan.refusals == ()
    assert {c.site for c in plan.changes} == set(keys)
    assert {c.fidelity for c in plan.changes} <= {Fidelity.NUMERIC}
    after = ir.to_proto(model.content)
    onnx.checker.check_model(after, full_check=True)
    return after


def _check_same_function(network: Network, before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    plain = SessionSettings(level=OptimizationLevel.DISABLE, threads=1)
    original = open_session(before.SerializeToString(), plain)
    feeds = feeds_for(network)
    wanted = [original.run({"x": x}) for x in feeds]
    names = [v.name for v in before.graph.output]
    for level in LEVELS:
        settings_of_it = SessionSettings(level=level, threads=1)
        result = open_session(after.SerializeToString(), settings_of_it)
        for x, expected in zip(feeds, wanted, strict=True):
            for name, a, b in zip(names, expected, result.run({"x": x}), strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_allclose(
                    b.astype(np.float64),
                    a.astype(np.float64),
                    rtol=0,
                    atol=network.bound(name),
                    err_msg=f"{name} at {level}",
                )


def _check_seen_alike(old: dict[str, Site], new: dict[str, Site]) -> None:
    assert set(new) == set(old)
    for name, site in old.items():
        again = new[name]
        assert again.name == site.name
        assert again.dtype == site.dtype
        for parameter, value in site.parameters.items():
            found = again.parameters[parameter]
            if isinstance(value, str):
                assert found == value
                continue
            assert not isinstance(found, str)
            # What is stored, or multiplied with another, is rounded to the dtype.
            np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-7)


def _check_respelling(network: Network, data: st.DataObject) -> None:
    before = network.proto()
    original = load_model(before)
    old = _sites(original)
    chosen = _draw_ways(data, network, original)
    assume(chosen)
    keys = {site: key for site, (key, _) in chosen.items()}
    event(f"{network.dtype}, {len(chosen)} sites")
    after = _respelled(network, before, keys)
    model = load_model(after)
    _check_same_function(network, before, after)
    assert list(after.graph.output) == list(before.graph.output)
    # Up to IR 3 a weight is an input too, and goes with the last that used it.
    weights = {t.name for t in before.graph.initializer}
    assert [v for v in after.graph.input if v.name not in weights] == [
        v for v in before.graph.input if v.name not in weights
    ]
    # What is not of a site stays as it was.
    gone = {n.name for site in chosen for n in old[site].nodes}
    kept = [n for n in before.graph.node if n.name not in gone]
    names = {n.name for n in kept}
    assert [n for n in after.graph.node if n.name in names] == kept
    # Everything new says where it is from.
    for node in after.graph.node:
        if node.name not in names:
            story = {p.key: p.value for p in node.metadata_props}
            assert story["onnx_act.rule"] == "respell_activation"
    if network.dtype == "float16":
        # There the stored 1 / beta of a swish is too far from that for it to be one, exactly.
        return
    new = _sites(model)
    _check_seen_alike(old, new)
    constants = Constants(model)
    for site, (_, way) in chosen.items():
        assert written_as(new[site], constants) == would_be_written_as(old[site], way)


def _check_there_and_back(network: Network, data: st.DataObject) -> None:
    before = network.proto()
    original = load_model(before)
    chosen = _draw_ways(data, network, original)
    assume(chosen)
    there = {site: key for site, (key, _) in chosen.items()}
    middle = _respelled(network, before, there)
    drawn = _draw_ways(data, network, load_model(middle))
    back = {site: key for site, (key, _) in drawn.items()}
    assume(back)
    after = _respelled(network, middle, back)
    _check_same_function(network, before, after)
    if network.dtype == "float16":
        return  # as above
    # Once more the same: neither nodes nor drift pile up.
    again = _respelled(network, after, back)
    assert len(again.graph.node) == len(after.graph.node)
    operators = [n.op_type for n in after.graph.node]
    assert sorted(operators) == sorted(n.op_type for n in again.graph.node)


@given(networks(), st.data())
@settings(max_examples=25)
def test_written_in_other_ways_it_is_the_same_function(
    network: Network, data: st.DataObject
) -> None:
    _check_respelling(network, data)


@given(networks(), st.data())
@settings(max_examples=15)
def test_written_in_other_ways_there_and_back(network: Network, data: st.DataObject) -> None:
    _check_there_and_back(network, data)


@pytest.mark.slow
@given(networks(longest=8), st.data())
@settings(max_examples=600)
def test_written_in_other_ways_many_networks_are_the_same_function(
    network: Network, data: st.DataObject
) -> None:
    _check_respelling(network, data)


@pytest.mark.slow
@given(networks(longest=8), st.data())
@settings(max_examples=300)
def test_written_in_other_ways_there_and_back_many_networks(
    network: Network, data: st.DataObject
) -> None:
    _check_there_and_back(network, data)


@given(networks())
@settings(max_examples=25)
def test_choosing_nothing_changes_nothing(network: Network) -> None:
    before = network.proto()
    untouched = ir.to_proto(load_model(before).content)
    after = _respelled(network, before, {})
    assert after == untouched
