"""What the installed runtime fuses when it loads a model, and what we say it does.

Where the runtime fuses differs between processors and versions; the cases that are stated in full
are those that hold for every one from 1.23 on. All others are held against what the loaded model
shows to the eye: its operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from onnx_act.errors import UsageError
from onnx_act.graph import store
from onnx_act.graph.model import load_model
from onnx_act.graph.store import stage_model
from onnx_act.graph.tags import node_name
from onnx_act.recipe import targets as module
from onnx_act.recipe.targets import ProviderTargets
from onnx_act.runtime.load import LoadedNode, optimized_nodes
from onnx_act.runtime.session import CPU

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from onnx_act.graph.model import OnnxModel

ALONE: Final = ProviderTargets((CPU,))
IMAGE: Final = ("float[1,16,8,8] x", "float[1,16,M,N] y")
SIGNAL: Final = ("float[1,16,8] x", "float[1,16,M] y")
ROWS: Final = ("float[N,16] x", "float[N,16] y")
TOKENS: Final = ("float[N,M,16] x", "float[N,M,16] y")


def _proto(body: str, ends: tuple[str, str] = IMAGE, opset: int = 20) -> onnx.ModelProto:
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1, "local" : 1]>
        g ({ends[0]}) => ({ends[1]}) {{ {body} }}
        <domain: "local", opset_import: ["" : {opset}]>
        block (x, W, B) => (y) {{ c = Conv <pads = [1, 1, 1, 1]> (x, W, B) y = Relu (c) }}"""
    )
    rng = np.random.default_rng(0)
    shapes = {"W": (16, 16, 3, 3), "V": (16, 16, 3), "B": (16,), "G": (16, 16)}
    numbers = {"low": 0.0, "high": 6.0, "half": 0.5, "one": 1.0, "root": 2.0**0.5}
    weights = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    for name, array in {**weights, **numbers}.items():
        tensor = numpy_helper.from_array(np.asarray(array, np.float32), name)
        model.graph.initializer.append(tensor)
    onnx.checker.check_model(model)
    return model


def _nodes(model: OnnxModel, made: str, scope: str = "") -> list[ir.Node]:
    """The nodes that make some values, in a scope whose name ends like this."""
    (place,) = (s for s in model.scopes() if s.name == scope or (scope and s.name.endswith(scope)))
    return [next(n for n in place.graph if v in [o.name for o in n.outputs]) for v in made.split()]


def _fate(proto: onnx.ModelProto, made: str, scope: str = "") -> str | None:
    model = load_model(proto)
    return ALONE.at_load(model).fused_as(_nodes(model, made, scope))


def _operators(proto: onnx.ModelProto, folder: Path) -> list[str]:
    path = folder / "model.onnx"
    onnx.save(proto, path)
    nodes = optimized_nodes(path)
    return [f"{n.op_type}[{n.activation}]" if n.activation else n.op_type for n in nodes]


CONV: Final = "c = Conv <pads = [1, 1, 1, 1]> (x, W, B)"


def _check(cases: Mapping[tuple[str, str], str | None], ends: tuple[str, str]) -> None:
    """Cases of (body, values made) and what they are fused as, side by side in one model.

    In a body # stands for the number of the case. Each has an input of its own: of two nodes
    that compute the same the runtime keeps one.
    """
    bodies = " ".join(body.replace("#", str(k)) for k, (body, _) in enumerate(cases))
    inputs = ", ".join(ends[0].replace(" x", f" x{k}") for k in range(len(cases)))
    outputs = ", ".join(ends[1].replace(" y", f" y{k}") for k in range(len(cases)))
    model = load_model(_proto(bodies, (inputs, outputs)))
    loaded = ALONE.at_load(model)
    found = {}
    for k, case in enumerate(cases):
        made = " ".join(f"{name}{k}" for name in case[1].split())
        found[case] = loaded.fused_as(_nodes(model, made))
    assert found == dict(cases)


@pytest.mark.parametrize("behind", ["y# = Conv (r#, W, B)", "y# = Neg (r#)"])
def test_what_follows_a_conv(behind: str) -> None:
    cases = {
        ("r# = Relu (c#)", "c r"): "Conv[Relu]",
        ("r# = LeakyRelu <alpha = 0.1> (c#)", "c r"): "Conv[LeakyRelu]",
        ("r# = Clip (c#, low, high)", "c r"): "Conv[Clip]",
        ("r# = Sigmoid (c#)", "c r"): "Conv[Sigmoid]",
        ("r# = Tanh (c#)", "c r"): "Conv[Tanh]",
        ("r# = HardSigmoid (c#)", "c r"): "Conv[HardSigmoid]",
        ("r# = Elu (c#)", "c r"): None,
        ("r# = Mish (c#)", "c r"): None,
        ("r# = Softplus (c#)", "c r"): None,
        ("r# = Gelu (c#)", "c r"): None,
        ("s# = Sigmoid (c#) r# = Mul (c#, s#)", "c s r"): None,
        ("s# = Softplus (c#) t# = Tanh (s#) r# = Mul (t#, c#)", "c s t r"): None,
    }
    conv = CONV.replace("c =", "c# =").replace("x,", "x#,")
    _check({(f"{conv} {body} {behind}", made): f for (body, made), f in cases.items()}, IMAGE)


def test_a_result_that_takes_the_name_of_its_copy_may_not_be_known() -> None:
    fate = _fate(_proto(f"{CONV} r = Relu (c) y = Identity (r)"), "c r")
    assert fate in {None, "Conv[Relu]"}


@pytest.mark.parametrize(
    "activation",
    ["HardSwish (c)", "Mul (c, h)", "Mish (c)", "Gelu (c)", "Celu (c)", "Softsign (c)"],
)
def test_what_a_runtime_may_or_may_not_fuse(activation: str, tmp_path: Path) -> None:
    made = "c r"
    body = f"{CONV} r = {activation} y = Neg (r)"
    if "h" in activation:
        body = body.replace("r = ", "h = HardSigmoid <alpha = 0.16666667, beta = 0.5> (c) r = ", 1)
        made = "c h r"
    proto = _proto(body)
    convs = [n for n in _operators(proto, tmp_path) if n.startswith("Conv")]
    fused = next((n for n in convs if "[" in n), None)
    assert _fate(proto, made) == fused
    assert fused in {None, "Conv[HardSwish]"}


@pytest.mark.parametrize("opset", [20, 24])
def test_functions_whose_nodes_lose_their_names(opset: int) -> None:
    name = "HardSwish" if opset < 24 else "Swish"
    if opset > 23:
        pytest.importorskip("onnx", minversion="1.19")
    proto = _proto(f"{CONV} r = {name} (c) d = Conv (r, W, B) y = Elu (d)", opset=opset)
    model = load_model(proto)
    loaded = ALONE.at_load(model)
    if opset > 23:
        assert loaded.fused_as(_nodes(model, "c r")) is None
    assert loaded.fused_as(_nodes(model, "r")) is None
    assert loaded.fused_as(_nodes(model, "d y")) is None


def test_a_conv_in_one_dimension() -> None:
    assert _fate(_proto("c = Conv (x, V, B) y = Relu (c)", SIGNAL), "c y") == "Conv[Relu]"
    assert _fate(_proto("c = Conv (x, V, B) y = HardSwish (c)", SIGNAL), "c y") is None
    assert _fate(_proto("c = Conv (x, V, B) y = Elu (c)", SIGNAL), "c y") is None


@pytest.mark.parametrize("activation", ["Relu", "HardSwish", "Elu"])
def test_a_conv_whose_result_is_an_output_as_well(activation: str) -> None:
    ends = (IMAGE[0], f"{IMAGE[1]}, float[1,16,M,N] c")
    assert _fate(_proto(f"{CONV} y = {activation} (c)", ends), "c y") is None


@pytest.mark.parametrize("activation", ["Relu", "HardSwish"])
def test_a_conv_whose_result_is_used_twice(activation: str) -> None:
    body = f"{CONV} r = {activation} (c) d = Tanh (c) y = Sub (d, r)"
    assert _fate(_proto(body), "c r") is None
    assert _fate(_proto(body), "c d") is None


@pytest.mark.parametrize("behind", ["y = Elu (r)", "y = Conv (r, W, B)"])
@pytest.mark.parametrize("activation", ["Relu", "HardSwish", "Elu", "Mish"])
def test_a_sum_behind_a_conv(activation: str, behind: str, tmp_path: Path) -> None:
    proto = _proto(
        f"""p = Conv <pads = [1, 1, 1, 1]> (x, W, B) q = Relu (p)
            c = Conv <pads = [1, 1, 1, 1]> (q, W, B) s = Add (c, q) r = {activation} (s) {behind}"""
    )
    found = _operators(proto, tmp_path)
    left = {activation, "Mul"} & set(found)
    model = load_model(proto)
    loaded = ALONE.at_load(model)
    made = loaded.fused_as(_nodes(model, "c s r"))
    assert made == (None if left or "Add" in found else f"Conv[{activation}]")
    assert loaded.fused_as(_nodes(model, "s r")) is None
    assert loaded.fused_as(_nodes(model, "p q")) == "Conv[Relu]"


def test_a_sum_with_something_in_the_usual_layout() -> None:
    proto = _proto(f"{CONV} s = Add (c, x) y = Relu (s)")
    assert _fate(proto, "c s y") in {None, "Conv[Relu]"}
    assert _fate(proto, "s y") is None


def test_dense_layers_of_rank_two() -> None:
    gemm = "c# = Gemm (x#, G, B)"
    matmul = "m# = MatMul (x#, G) c# = Add (m#, B)"
    cases = {
        (f"{gemm} y# = Relu (c#)", "c y"): "FusedGemm[Relu]",
        (f"{gemm} y# = Elu (c#)", "c y"): "FusedGemm[Elu]",
        (f"{gemm} y# = Celu (c#)", "c y"): None,
        (f"{gemm} y# = Gelu (c#)", "c y"): None,
        (f"{gemm} s# = Sigmoid (c#) y# = Mul (c#, s#)", "c s y"): None,
        (f"{gemm} s# = Sigmoid (c#) y# = Mul (s#, c#)", "s y"): "QuickGelu",
        (f"{matmul} y# = Relu (c#)", "m c y"): "FusedGemm[Relu]",
        (f"{matmul} y# = Relu (c#) ", "m c"): "FusedGemm[Relu]",
        (f"{matmul} y# = Celu (c#)", "m c"): "Gemm",
        (f"{matmul} y# = Celu (c#) ", "m c y"): None,
        (f"{matmul} y# = Gelu (c#)", "m c y"): None,
    }
    _check(cases, ROWS)


def test_on_tokens() -> None:
    biased = "m# = MatMul (x#, G) c# = Add (m#, B)"
    spelled = (
        "a# = Div (c#, root) e# = Erf (a#) b# = Add (e#, one) d# = Mul (c#, b#) y# = Mul (d#, half)"
    )
    cases = {
        (f"{biased} y# = Gelu (c#)", "c y"): "BiasGelu",
        (f"{biased} y# = Gelu (c#) ", "m c y"): None,
        (f'{biased} y# = Gelu <approximate = "tanh"> (c#)', "c y"): "FastGelu",
        (f"{biased} y# = Relu (c#)", "m c y"): None,
        (f"{biased} y# = Sigmoid (c#)", "c y"): None,
        (f"c# = Neg (x#) {spelled}", "a e b d y"): "Gelu",
        (f"{biased} {spelled}", "c a e b d y"): "BiasGelu",
        (f"{biased} {spelled} ", "m c a e b d y"): None,
        ("s# = Sigmoid (x#) y# = Mul (x#, s#)", "s y"): "QuickGelu",
        ("y# = Gelu (x#)", "y"): None,
        ("y# = com.microsoft.QuickGelu (x#)", "y"): None,
    }
    _check(cases, TOKENS)


def test_of_two_equal_convs_the_runtime_keeps_one_and_fuses_neither() -> None:
    proto = _proto(f"{CONV} {CONV.replace('c =', 'd =')} r = Relu (c) t = Tanh (d) y = Sub (r, t)")
    assert _fate(proto, "c r") is None
    assert _fate(proto, "d t") is None


def test_of_rank_three_and_known_size_a_dense_layer_is_more_than_one_operator() -> None:
    ends = ("float[2,3,16] x", "float[2,3,16] y")
    for activation in ("Relu", "Gelu"):
        body = f"m = MatMul (x, G) c = Add (m, B) y = {activation} (c)"
        assert _fate(_proto(body, ends), "m c y") is None
        assert _fate(_proto(body, ends), "m c") is None


_IF = """y = If (p) <
    then_branch = t () => (float[1,16,M,N] r) { c = Conv (x, W, B) r = Relu (c) },
    else_branch = e () => (float[1,16,M,N] r) { c = Conv (x, W, B) r = Elu (c) }>"""


def test_the_same_names_in_two_branches() -> None:
    proto = _proto(_IF, (f"{IMAGE[0]}, bool p", IMAGE[1]))
    assert _fate(proto, "c r", "then_branch") == "Conv[Relu]"
    assert _fate(proto, "c r", "else_branch") is None


@pytest.mark.parametrize("names", [("", ""), ("same", "same"), ("onnx-act:1:", "onnx-act:0:")])
def test_names_of_nodes_do_not_matter_and_stay(names: tuple[str, str]) -> None:
    proto = _proto(f"{CONV} r = Relu (c) d = Conv (r, W, B) y = Elu (d)")
    for node, name in zip(proto.graph.node, names * 2, strict=True):
        node.name = name
    model = load_model(proto)
    before = ir.to_proto(model.content).SerializeToString(deterministic=True)
    loaded = ALONE.at_load(model)
    assert loaded.fused_as(_nodes(model, "c r")) == "Conv[Relu]"
    assert loaded.fused_as(_nodes(model, "d y")) is None
    assert ir.to_proto(model.content).SerializeToString(deterministic=True) == before


def test_values_called_like_what_the_runtime_makes() -> None:
    proto = _proto(f"{CONV} c_nchwc = Relu (c) d = Conv (c_nchwc, W, B) y = Elu (d)")
    assert _fate(proto, "c c_nchwc") == "Conv[Relu]"
    assert _fate(proto, "d y") is None


def test_in_functions_nothing_is_known() -> None:
    proto = _proto("q = local.block (x, W, B) r = local.block (q, W, B) y = Elu (r)")
    assert _fate(proto, "c y", "local::block") is None
    assert _fate(proto, "r y") is None


def test_nodes_of_another_model_and_no_nodes() -> None:
    model, other = (load_model(_proto(f"{CONV} y = Relu (c)")) for _ in range(2))
    loaded = ALONE.at_load(model)
    assert loaded.fused_as(_nodes(model, "c y")) == "Conv[Relu]"
    assert loaded.fused_as(_nodes(other, "c y")) is None
    assert loaded.fused_as([]) is None


def test_half_precision_is_seen_through_the_casts_around_it() -> None:
    proto = _proto("s = Sigmoid (x) y = Mul (x, s)", ("float16[4] x", "float16[4] y"))
    assert _fate(proto, "s y") is None
    ends = ("float16[1,16,8,8] x, float16[16,16,3,3] K", "float16[1,16,6,6] y")
    proto = _proto("c = Conv (x, K) y = Relu (c)", ends)
    assert _fate(proto, "c y") in {None, "Conv[Relu]"}


def test_a_model_that_cannot_be_loaded_is_not_known() -> None:
    model = load_model(_proto("a = Relu (x) y = local.block (a, W, B)"))
    del model.content.functions[next(iter(model.content.functions))]
    before = ir.to_proto(model.content).SerializeToString(deterministic=True)
    assert ALONE.at_load(model).fused_as(_nodes(model, "a y")) is None
    assert ir.to_proto(model.content).SerializeToString(deterministic=True) == before


def test_a_provider_that_is_not_there_is_not_known() -> None:
    model = load_model(_proto(f"{CONV} y = Relu (c)"))
    for providers in ((CPU, "NoSuchExecutionProvider"), ("NoSuchExecutionProvider", CPU), ()):
        loaded = ProviderTargets(providers).at_load(model)
        assert loaded.fused_as(_nodes(model, "c y")) is None


def _pretend(monkeypatch: pytest.MonkeyPatch, **loaded: Sequence[LoadedNode]) -> list[str]:
    """Other providers, which make of any model what is told; the CPU is asked. Returns whom."""
    asked = []

    def answer(path: Path, provider: str) -> tuple[LoadedNode, ...]:
        asked.append(provider)
        return optimized_nodes(path) if provider == CPU else tuple(loaded[provider])

    monkeypatch.setattr(module, "optimized_nodes", answer)
    return asked


def test_every_provider_has_to_fuse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fusing = LoadedNode("FusedConv", "com.microsoft", "", (f"{node_name(1)}0",), "Relu")
    otherwise = LoadedNode("ConvAct", "com.microsoft", "", (f"{node_name(1)}0",), "")
    apart = [
        LoadedNode("Conv", "", node_name(0), (f"{node_name(0)}0",), ""),
        LoadedNode("Relu", "", node_name(1), (f"{node_name(1)}0",), ""),
    ]
    asked = _pretend(monkeypatch, A=[fusing], B=[otherwise], C=apart)
    model = load_model(_proto(f"{CONV} y = Relu (c)"))
    nodes = _nodes(model, "c y")
    for providers, made in (
        ((CPU, "A"), "Conv[Relu]"),
        ((CPU, "B"), "Conv[Relu] or ConvAct"),
        (("B", "A", CPU), "ConvAct or Conv[Relu]"),
        ((CPU, "C"), None),
        (("C", CPU), None),
    ):
        asked.clear()
        assert ProviderTargets(providers).at_load(model).fused_as(nodes) == made
        assert asked == list(providers)
    assert not list(tmp_path.iterdir())


def test_a_model_that_did_not_change_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _pretend(monkeypatch)
    targets = ProviderTargets((CPU,))
    model = load_model(_proto(f"{CONV} y = Relu (c)"))
    for _ in range(3):
        assert targets.at_load(model).fused_as(_nodes(model, "c y")) == "Conv[Relu]"
    assert asked == [CPU]
    model.content.graph.node(1).op_type = "Elu"
    assert targets.at_load(model).fused_as(_nodes(model, "c y")) is None
    assert asked == [CPU, CPU]


def test_external_weights_are_used_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(
        _proto(f"{CONV} y = Relu (c)"),
        path,
        save_as_external_data=True,
        location="w.data",
        size_threshold=0,
    )
    seen: list[tuple[Path, list[str]]] = []

    def watch(path: Path, provider: str) -> tuple[LoadedNode, ...]:
        seen.append((path, sorted(p.name for p in path.parent.iterdir())))
        return optimized_nodes(path, provider)

    monkeypatch.setattr(module, "optimized_nodes", watch)
    model = load_model(path)
    nodes = _nodes(model, "c y")
    before = (path.read_bytes(), (tmp_path / "w.data").read_bytes())
    assert ProviderTargets((CPU,)).at_load(model).fused_as(nodes) == "Conv[Relu]"
    (place, files) = seen.pop()
    assert files == sorted([place.name, "model.onnx", "w.data"])

    def read_only(model: OnnxModel, target: Path) -> object:
        if target.parent == tmp_path:
            raise UsageError("cannot write")
        return stage_model(model, target)

    monkeypatch.setattr(store, "stage_model", read_only)
    assert ProviderTargets((CPU,)).at_load(model).fused_as(nodes) == "Conv[Relu]"
    (place, files) = seen.pop()
    assert len(files) == 2
    assert place.parent != tmp_path
    assert not place.parent.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "w.data"]
    assert before == (path.read_bytes(), (tmp_path / "w.data").read_bytes())
