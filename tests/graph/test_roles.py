"""What each site is for, and how deep it lies."""

from __future__ import annotations

import pytest
from graph_sketch import parsed, sites_of
from onnx import TensorProto, helper

from onnx_act.graph.sites import Role

_HEAD = '<ir_version: 8, opset_import: ["": 17]>'
_GATE, _MAIN, _OUTPUT = Role.GATE, Role.MAIN, Role.OUTPUT


def _roles(body: str, inputs: str = "", outputs: str = "y") -> list[tuple[str, Role]]:
    text = f"{_HEAD} g (float[N, 4, 8, 8] x{inputs}) => ({outputs}) {{ {body} }}"
    return [(s.name, s.role) for s in sites_of(parsed(text))]


@pytest.mark.parametrize(
    ("body", "inputs", "wanted"),
    [
        pytest.param(
            """p = GlobalAveragePool(x)  c = Conv(p, w)  r = Relu(c)  d = Conv(r, w)
            s = Sigmoid(d)  m = Mul(x, s)  y = Conv(m, w)""",
            ", float[4, 4, 1, 1] w",
            [("relu", _MAIN), ("sigmoid", _GATE)],
            id="squeeze-and-excitation",
        ),
        pytest.param(
            """f = Relu(x)  p = GlobalAveragePool(f)  c = Conv(p, w)  s = HardSigmoid(c)
            m = Mul(s, f)  y = Conv(m, w)""",
            ", float[4, 4, 1, 1] w",
            [("relu", _MAIN), ("hardsigmoid", _GATE)],
            id="squeeze-and-excitation of an activation",
        ),
        pytest.param(
            "a, b = Split <axis = 1> (x)  s = Sigmoid(b)  m = Mul(a, s)  y = Neg(m)",
            "",
            [("sigmoid", _GATE)],
            id="GLU",
        ),
        pytest.param(
            """u = MatMul(x, w)  v = MatMul(x, w)  s = Sigmoid(u)  a = Mul(u, s)  m = Mul(a, v)
            y = MatMul(m, w)""",
            ", float[8, 8] w",
            [("silu", _GATE)],
            id="SwiGLU",
        ),
        pytest.param(
            """h = Conv(x, w)  c = Conv(h, w)  s = Sigmoid(c)  m = Mul(h, s)  y = Conv(m, w)""",
            ", float[4, 4, 1, 1] w",
            [("sigmoid", _GATE)],
            id="attention map over its own input",
        ),
        pytest.param(
            "a = Relu(x)  m = Mul(a, a)  n = Mul(m, x)  y = Neg(n)",
            "",
            [("squared_relu", _GATE)],
            id="squared relu times x",
        ),
        pytest.param(
            "a = Tanh(x)  b = Sigmoid(z)  m = Mul(a, b)  y = Neg(m)",
            ", float[N, 4, 8, 8] z",
            [("tanh", _MAIN), ("sigmoid", _GATE)],
            id="the narrower range gates",
        ),
        pytest.param(
            "a = Elu(x)  b = Tanh(z)  m = Mul(a, b)  y = Neg(m)",
            ", float[N, 4, 8, 8] z",
            [("elu", _MAIN), ("tanh", _GATE)],
            id="a bounded one gates an unbounded one",
        ),
        pytest.param(
            "t = Constant <value_float = 2.0> ()  a = Sigmoid(x)  m = Mul(a, t)  y = Neg(m)",
            "",
            [("sigmoid", _MAIN)],
            id="scaling is no gating",
        ),
        pytest.param(
            """s = Sigmoid(x)  r = Constant <value_ints = [0, 4, 64]> ()  k = Reshape(s, r)
            v = Reshape(z, r)  m = Mul(v, k)  y = Neg(m)""",
            ", float[N, 4, 8, 8] z",
            [("sigmoid", _GATE)],
            id="a gate that is reshaped on the way",
        ),
        pytest.param(
            "a = Relu(x)  b = MatMul(a, w)  m = Mul(a, b)  y = Neg(m)",
            ", float[8, 8] w",
            [("relu", _MAIN)],
            id="a branch that is computed of the other is gated by nothing",
        ),
        pytest.param(
            "a = Relu(x)  m = Add(a, z)  y = Neg(m)",
            ", float[N, 4, 8, 8] z",
            [("relu", _MAIN)],
            id="a residual is no gate",
        ),
    ],
)
def test_gates(body: str, inputs: str, wanted: list[tuple[str, Role]]) -> None:
    assert _roles(body, inputs) == wanted


def test_an_lstm_written_in_primitives() -> None:
    body = """
        gi, gf, go, gc = Split <axis = 1> (x)
        i = Sigmoid(gi)  f = Sigmoid(gf)  o = Sigmoid(go)  c = Tanh(gc)
        fc = Mul(f, cell)  ic = Mul(i, c)  new = Add(fc, ic)  t = Tanh(new)  h = Mul(o, t)
        y = Neg(h)"""
    assert _roles(body, ", float[N, 1, 8, 8] cell") == [
        ("sigmoid", _GATE),
        ("sigmoid", _GATE),
        ("sigmoid", _GATE),
        ("tanh", _MAIN),
        ("tanh", _MAIN),
    ]


def test_attention_has_no_gates() -> None:
    body = """
        q = MatMul(x, w)  k = MatMul(x, w)  v = MatMul(x, w)
        kt = Transpose <perm = [0, 1, 3, 2]> (k)  s = MatMul(q, kt)  a = Softmax <axis = -1> (s)
        c = MatMul(a, v)  h = MatMul(c, w)  r = Relu(h)  y = MatMul(r, w)"""
    assert _roles(body, ", float[8, 8] w") == [("relu", _MAIN)]


@pytest.mark.parametrize(
    ("body", "outputs", "wanted"),
    [
        ("y = Tanh(x)", "y", [_OUTPUT]),
        ("t = Tanh(x)  s = Constant <value_ints = [0, -1]> ()  y = Reshape(t, s)", "y", [_OUTPUT]),
        (
            """a = Sigmoid(x)  b = Sigmoid(a)  k = Transpose <perm = [0, 2, 3, 1]> (b)
            y = Concat <axis = 0> (k, k)""",
            "y",
            [_MAIN, _OUTPUT],
        ),
        ("t = Tanh(x)  y = Neg(t)", "y", [_MAIN]),
        ("t = Tanh(x)  y = Neg(t)", "y, t", [_MAIN]),
        ("t = Tanh(x)  y = Identity(t)", "y, t", [_OUTPUT]),
        ("t = Tanh(x)  u = Relu(x)  y = Concat <axis = 1> (t, u)", "y", [_OUTPUT, _OUTPUT]),
        ("t = Tanh(x)  m = Neg(x)  y = Identity(m)", "y", [_MAIN]),
    ],
)
def test_outputs(body: str, outputs: str, wanted: list[Role]) -> None:
    assert [role for _, role in _roles(body, outputs=outputs)] == wanted


@pytest.mark.parametrize(("after", "wanted"), [("Identity", _OUTPUT), ("Neg", _MAIN)])
def test_what_a_branch_returns_is_what_the_if_returns(after: str, wanted: Role) -> None:
    branches = {
        name: helper.make_graph(
            [helper.make_node(op, ["x"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )
        for name, op in (("then_branch", "Relu"), ("else_branch", "Tanh"))
    }
    graph = helper.make_graph(
        [
            helper.make_node("If", ["c"], ["h"], **branches),  # type: ignore[arg-type]
            helper.make_node(after, ["h"], ["y"]),
        ],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert [s.role for s in sites_of(proto)] == [wanted, wanted]


def test_depth_is_the_longest_way() -> None:
    text = f"""{_HEAD} g (float[N, 4] x) => (y, z) {{
        a = Relu(x)  b = Relu(a)  c = Tanh(x)  d = Add(b, c)  y = Elu(d)  z = Sigmoid(c) }}"""
    sites = sites_of(parsed(text))
    assert {s.output.name: s.depth for s in sites} == {"a": 0, "b": 1, "c": 0, "y": 2, "z": 1}
    assert [s.index for s in sites] == [0, 1, 2, 3, 4]
    assert [s.output.name for s in sites] == ["a", "b", "c", "y", "z"]


def test_depth_goes_on_through_a_fused_operator() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        g (float[N, 4] x, float[4, 4] w) => (y)
        { a = Relu(x)  b = com.microsoft.FusedGemm <activation = "Relu"> (a, w)  y = Tanh(b) }"""
    assert [s.depth for s in sites_of(parsed(text))] == [0, 1, 2]


def test_a_number_means_one_site_whether_routine_ones_are_listed_or_not() -> None:
    text = f"""{_HEAD} g (float[N, 4] x) => (y) {{
        e = Exp(x)  a = Relu(e)  f = Erf(a)  y = Tanh(f) }}"""
    shown = sites_of(parsed(text))
    every = sites_of(parsed(text), routine=True)
    assert [s.name for s in shown] == ["relu", "tanh"]
    assert [s.depth for s in shown] == [0, 1]
    assert [s.name for s in every] == ["exp", "relu", "erf", "tanh"]
    by_index = {s.index: s.id for s in every}
    assert sorted(by_index) == [0, 1, 2, 3]
    assert all(by_index[s.index] == s.id for s in shown)


def test_consumers_and_producers_are_named() -> None:
    text = f"""{_HEAD} g (float[N, 4] x) => (y, r) {{
        h = Neg(x)  r = Relu(h)  a = Abs(r)  b = Abs(r)  y = Add(a, b) }}"""
    (site,) = sites_of(parsed(text))
    assert site.producer == "Neg"
    assert set(site.consumers) == {"Abs", "(output)"}
    assert site.to_dict()["operators"] == ["Relu"]
