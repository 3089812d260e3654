"""A site with its neighbours as a model of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from onnx_act.graph.concrete_shapes import concrete_shapes
from onnx_act.graph.constants import Constants
from onnx_act.graph.excerpt import neighbourhood
from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import OnnxModel, load_model
from onnx_act.runtime.session import SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SIZE = (1, 2, 6, 6)
IMAGE = "float[1,2,6,6]"


def _model(body: str, outputs: str = f"{IMAGE} y", inputs: str = f"{IMAGE} x") -> onnx.ModelProto:
    proto = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17, "d" : 1]>
        g ({inputs}) => ({outputs}) {{ {body} }}"""
    )
    assert isinstance(proto, onnx.ModelProto)
    weight = np.random.default_rng(0).normal(0, 0.5, (2, 2, 1, 1)).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return proto


def _cut(
    source: onnx.ModelProto | Path,
    site_id: str,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> OnnxModel | None:
    model = load_model(source)
    before = ir.to_proto(model.content).SerializeToString()
    if shapes is None:
        shapes = concrete_shapes(model, {"x": SIZE})
    (site,) = [s for s in find_sites(model, routine=True) if s.id == site_id]
    found = neighbourhood(site, model, Constants(model), shapes)
    assert ir.to_proto(model.content).SerializeToString() == before
    return found


def _check(source: onnx.ModelProto | Path, site_id: str) -> onnx.ModelProto:
    """The excerpt runs, computes what the whole does there, and has the site."""
    cut = _cut(source, site_id)
    assert cut is not None
    proto = ir.to_proto(cut.content)
    onnx.checker.check_model(proto, full_check=True)
    whole = onnx.load(source) if not isinstance(source, onnx.ModelProto) else source
    edges = [*proto.graph.input, *proto.graph.output]
    asked = onnx.ModelProto()
    asked.CopyFrom(whole)
    del asked.graph.output[:]
    asked.graph.output.extend(onnx.helper.make_empty_tensor_value_info(v.name) for v in edges)
    x = np.random.default_rng(1).normal(0, 1, SIZE).astype(np.float32)
    everything = dict(
        zip(
            [v.name for v in edges],
            open_session(asked.SerializeToString(), SessionSettings()).run({"x": x}),
            strict=True,
        )
    )
    session = open_session(proto.SerializeToString(), SessionSettings())
    outputs = session.run({v.name: everything[v.name] for v in proto.graph.input})
    for value, found in zip(proto.graph.output, outputs, strict=True):
        np.testing.assert_allclose(found, everything[value.name], rtol=1e-5, atol=1e-6)
    assert site_id in [s.id for s in find_sites(cut, routine=True)]
    return proto


def _operators(proto: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in proto.graph.node]


def test_between_two_convolutions() -> None:
    proto = _check(
        _model("b = Neg (x) c = Conv (b, w) a = Elu (c) d = Conv (a, w) y = Neg (d)"), "a"
    )
    assert _operators(proto) == ["Conv", "Elu", "Conv"]
    assert [v.name for v in proto.graph.input] == ["b"]
    assert [v.name for v in proto.graph.output] == ["d"]
    assert [t.name for t in proto.graph.initializer] == ["w"]


def test_a_site_of_several_nodes_that_is_an_output_too() -> None:
    body = "c = Conv (x, w) s = Sigmoid (c) a = Mul (c, s) y = Conv (a, w)"
    proto = _check(_model(body, f"{IMAGE} a, {IMAGE} y"), "a")
    assert _operators(proto) == ["Conv", "Sigmoid", "Mul", "Conv"]
    assert {v.name for v in proto.graph.output} == {"a", "y"}


def test_of_many_consumers_two_are_enough() -> None:
    many = " ".join(f"m{k} = Neg (a)" for k in range(5))
    outputs = ", ".join(f"{IMAGE} m{k}" for k in range(5))
    proto = _check(_model(f"c = Conv (x, w) a = Elu (c) {many}", outputs), "a")
    assert _operators(proto) == ["Conv", "Elu", "Neg", "Neg"]
    # The rest is still asked for.
    assert {v.name for v in proto.graph.output} == {"a", "m0", "m1"}


def test_what_a_consumer_takes_from_elsewhere_is_an_input() -> None:
    body = "o = Neg (x) c = Conv (x, w) a = Elu (c) y = Add (a, o)"
    proto = _check(_model(body), "a")
    assert _operators(proto) == ["Conv", "Elu", "Add"]
    assert {v.name for v in proto.graph.input} == {"x", "o"}


def test_a_consumer_of_what_came_before_as_well() -> None:
    proto = _check(_model("c = Conv (x, w) a = Elu (c) y = Add (a, c)"), "a")
    assert _operators(proto) == ["Conv", "Elu", "Add"]
    assert [v.name for v in proto.graph.output] == ["y"]


def test_at_the_input() -> None:
    proto = _check(_model("a = Elu (x) y = Conv (a, w)"), "a")
    assert _operators(proto) == ["Elu", "Conv"]


def test_a_node_that_holds_a_graph_stays_outside() -> None:
    body = f"""c = Conv (x, w) a = Elu (c) t = Constant <value = bool {{1}}> ()
        y = If (t) <then_branch = p () => ({IMAGE} u) {{ u = Neg (a) }},
                    else_branch = q () => ({IMAGE} v) {{ v = Abs (a) }}>"""
    proto = _check(_model(body), "a")
    assert _operators(proto) == ["Conv", "Elu"]
    assert [v.name for v in proto.graph.output] == ["a"]


def test_weights_that_lie_elsewhere_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = _model("c = Conv (x, w) a = Elu (c) y = Conv (a, w)")
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    proto = _check(path, "a")
    assert all(t.data_location == onnx.TensorProto.DEFAULT for t in proto.graph.initializer)
    (path.parent / "weights.bin").unlink()
    open_session(proto.SerializeToString(), SessionSettings())


@pytest.mark.parametrize("missing", ["x", "o"])
def test_edges_of_unknown_size_make_no_model(missing: str) -> None:
    shapes = {name: SIZE for name in ("x", "o", "c", "a", "y") if name != missing}
    body = "o = Neg (x) c = Conv (x, w) a = Elu (c) y = Add (a, o)"
    assert _cut(_model(body), "a", shapes) is None


def test_sites_in_bodies_and_functions_are_left() -> None:
    body = f"""t = Constant <value = bool {{1}}> ()
        y = If (t) <then_branch = p () => ({IMAGE} u) {{ u = Elu (x) }},
                    else_branch = q () => ({IMAGE} v) {{ v = Neg (x) }}>"""
    proto = _model(body)
    model = load_model(proto)
    (site,) = find_sites(model)
    assert neighbourhood(site, model, Constants(model), {"x": SIZE, "u": SIZE}) is None
