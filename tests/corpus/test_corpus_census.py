"""What is in every corpus model, counted by other means and typed here."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from onnx_act.graph.describe import describe_activation
from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model
from onnx_act.graph.sites import Role, Site, Spelling

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.corpus

Row = tuple[str, dict[str, Any], str, str]

#: activation, parameters, spelling, role of every site, in graph order.
SYNTHETIC: dict[str, tuple[Row, ...]] = {
    "clip_no_bounds": (),
    "conv_dynamic_weight": (("relu", {}, "operator", "output"),),
    "conv_no_bias_bn_relu": (("relu", {}, "operator", "output"),),
    "conv_two_consumers": (
        ("relu", {}, "operator", "main"),
        ("sigmoid", {}, "operator", "main"),
    ),
    "dynamic_clip_bounds": (),
    "ext_per_tensor/model": (("celu", {"alpha": 0.7}, "operator", "output"),),
    "func_conv_relu": (("relu", {}, "operator", "main"),),
    "func_nested_silu": (("silu", {}, "expression", "main"),),
    "func_shadow_names": (("relu", {}, "operator", "output"), ("tanh", {}, "operator", "main")),
    "gelu_erf_variants": (("gelu", {"approximate": "none"}, "expression", "main"),) * 3,
    "gemm_transposed_relu": (("relu", {}, "operator", "output"),),
    "hardswish_variants": (
        ("hardswish", {}, "operator", "main"),
        ("hardswish", {}, "expression", "main"),
        ("hardswish", {}, "expression", "main"),
        ("hardsigmoid", {"alpha": 0.2, "beta": 0.5}, "operator", "gate"),
    ),
    "if_conv_relu_outer_scope": (
        ("tanh", {}, "operator", "output"),
        ("relu", {}, "operator", "output"),
    ),
    "if_nested_two_levels": (
        ("relu", {}, "operator", "output"),
        ("hardswish", {}, "operator", "output"),
        ("sigmoid", {}, "operator", "output"),
    ),
    "initializer_overridable_ir8": (("relu", {}, "operator", "output"),),
    "loop_conv_elu": (("elu", {"alpha": 0.5}, "operator", "main"),),
    # activation_alpha is [0.2, 0, 0.5] and activation_beta [0.5]; HardSigmoid takes the first of
    # each, Softsign none, and Elu the next alpha, which is 0: a relu, as the runtime computes it.
    "lstm_custom_acts": (
        ("hardsigmoid", {"alpha": 0.2, "beta": 0.5}, "attribute", "gate"),
        ("softsign", {}, "attribute", "main"),
        ("relu", {}, "attribute", "main"),
    ),
    "mish_op_opset18": (("mish", {}, "operator", "output"),),
    "ms_fused_conv_add_z": (("relu", {}, "fused", "output"),),
    "ms_fused_conv_gelu": (("gelu", {"approximate": "none"}, "fused", "output"),),
    "ms_fused_conv_hardsigmoid": (("hardsigmoid", {"alpha": 0.2, "beta": 0.5}, "fused", "output"),),
    "ms_fused_conv_hardswish": (("hardswish", {}, "fused", "output"),),
    "ms_fused_conv_tanh": (("tanh", {}, "fused", "output"),),
    "ms_fused_gemm_leakyrelu": (("leaky_relu", {"negative_slope": 0.1}, "fused", "output"),),
    "ms_fused_gemm_sigmoid": (("sigmoid", {}, "fused", "output"),),
    "ms_fused_gemm_softplus": (("softplus", {"beta": 1.0}, "fused", "output"),),
    "ms_gelu": (("gelu", {"approximate": "none"}, "contrib", "output"),),
    "ms_quickgelu": (("swish", {"beta": 1.702}, "contrib", "output"),),
    "name_collision_bait": (
        ("relu", {}, "operator", "main"),
        ("relu", {}, "operator", "output"),
    ),
    "newest_opset28": (("relu", {}, "operator", "main"), ("silu", {}, "operator", "output")),
    "no_value_info_shapes": (
        ("selu", {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}, "operator", "output"),
    ),
    "node_metadata_props_ir10": (("relu", {}, "operator", "output"),),
    "prelu_full_shape": (("prelu", {"slope": (4, 8, 8)}, "operator", "output"),),
    "qdq_conv_relu": (("relu", {}, "operator", "main"),),
    "relu_int32": (("relu", {}, "operator", "output"),),
    "relu_is_output_and_input": (("relu", {}, "operator", "main"),),
    "rnn_relu": (("relu", {}, "attribute", "main"),),
    "silu_wrong_operand": (("sigmoid", {}, "operator", "gate"),),
    "unicode_and_odd_names": (("relu", {}, "operator", "output"),),
    **{
        name: (
            ("relu", {}, "operator", "main"),
            ("leaky_relu", {"negative_slope": 0.1}, "operator", "output"),
        )
        for name in ("opset26_ir13", "opset6_ir3", "opset8_ir3")
    },
}

MANY: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("relu", {}, "operator"),
    ("leaky_relu", {"negative_slope": 0.2}, "operator"),
    ("prelu", {"slope": 0.25}, "operator"),
    ("elu", {"alpha": 1.0}, "operator"),
    ("selu", {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}, "operator"),
    ("celu", {"alpha": 1.0}, "operator"),
    ("gelu", {"approximate": "none"}, "operator"),
    ("gelu", {"approximate": "tanh"}, "operator"),
    ("silu", {}, "expression"),
    ("mish", {}, "expression"),
    ("hardswish", {}, "operator"),
    ("hardsigmoid", {"alpha": 1 / 6, "beta": 0.5}, "operator"),
    ("softplus", {"beta": 1.0}, "operator"),
    ("softsign", {}, "expression"),
    ("tanh", {}, "operator"),
    ("sigmoid", {}, "operator"),
    ("relu6", {}, "operator"),
    ("hardtanh", {"min": -2.0, "max": 2.0}, "operator"),
    ("swish", {"beta": 1.702}, "expression"),
    ("hardswish", {}, "expression"),
)

#: How often (activation, spelling, role) occurs. The counts of operators are those of INDEX.tsv,
#: the counts of regions those of the networks as published.
LARGE: dict[str, dict[tuple[str, str, str], int]] = {
    "trained/rfb320_relu_bn": {("relu", "operator", "main"): 37},
    "trained/fastestdet_relu": {
        ("relu", "operator", "main"): 48,
        ("sigmoid", "operator", "output"): 1,
    },
    "trained/ppocr_cls_hardswish": {
        ("hardswish", "expression", "main"): 18,
        ("relu", "operator", "main"): 15,
        ("hardsigmoid(alpha=0.2)", "operator", "gate"): 9,
    },
    "trained/embedding_leakyrelu": {
        ("relu", "operator", "main"): 1,
        ("leaky_relu(negative_slope=0.2)", "operator", "main"): 19,
        ("hardtanh(min=-0.4, max=inf)", "expression", "main"): 19,
    },
    "trained/hand_landmark_relu6": {
        ("relu6", "operator", "main"): 33,
        ("sigmoid", "operator", "output"): 2,
    },
    "trained/bodypix_relu6_opset8": {
        ("relu6", "operator", "main"): 27,
        ("hardtanh(min=0)", "expression", "output"): 1,
    },
    "trained/magika_tanh_gelu": {
        ("gelu(approximate=tanh)", "expression", "main"): 2,
        ("relu", "expression", "main"): 2,
    },
    "trained/unitree_policy_elu": {("elu", "operator", "main"): 3},
    "trained/silero_vad_if_lstm": {
        ("relu", "operator", "main"): 5,
        ("sigmoid", "operator", "main"): 1,
        ("sigmoid", "attribute", "gate"): 2,
        ("tanh", "attribute", "main"): 4,
    },
    "trained/squeezenet_fp16": {("relu", "operator", "main"): 26},
    "trained/yunet_relu": {
        ("relu", "operator", "main"): 15,
        ("sigmoid", "operator", "output"): 6,
    },
    "exported/csp_mish_decomposed": {
        ("mish", "expression", "main"): 37,
        ("leaky_relu(negative_slope=0.1)", "operator", "main"): 2,
    },
    "exported/bert_erf_gelu_dynamic": {
        ("gelu", "expression", "main"): 4,
        ("tanh", "operator", "output"): 1,
    },
    "exported/pilotnet_elu": {("elu", "operator", "main"): 8},
    "exported/resnet18_relu_bn": {("relu", "operator", "main"): 17},
    "exported/yolov8n_silu_bn": {
        ("silu", "expression", "main"): 57,
        ("sigmoid", "operator", "output"): 1,
    },
    "exported/mobilenetv3_hardswish_opset9": {
        ("hardswish", "expression", "main"): 19,
        ("relu", "operator", "main"): 14,
        ("hardsigmoid", "operator", "gate"): 9,
    },
    "exported/dcgan_leaky_convtranspose": {
        ("leaky_relu(negative_slope=0.2)", "operator", "main"): 4,
        ("tanh", "operator", "output"): 1,
    },
    "exported/snn_selu_mlp": {("selu", "operator", "main"): 4},
    "exported/cond_if": {("relu", "operator", "output"): 1, ("tanh", "operator", "output"): 1},
    "derived/fastestdet_prefused": {
        ("relu", "fused", "main"): 47,
        ("relu", "operator", "main"): 1,
        ("sigmoid", "fused", "output"): 1,
    },
    "derived/fastestdet_functions": {
        ("relu", "operator", "main"): 4,
        ("sigmoid", "operator", "output"): 1,
    },
    "derived/rfb320_qdq_int8": {},
    "derived/embedding_leaky_qdq_int8": {
        ("leaky_relu(negative_slope=0.2)", "operator", "main"): 19,
        ("hardtanh(min=-0.4, max=inf)", "expression", "main"): 19,
    },
}

#: The four activations of each convnet, by the middle of its file name.
CONVNETS = {
    "elu": "elu",
    "gelu": "gelu",
    "gelu_erf_manual": "gelu",
    "gelu_tanh": "gelu(approximate=tanh)",
    "gelu_tanh_manual": "gelu(approximate=tanh)",
    "hardswish": "hardswish",
    "hardtanh": "hardtanh",
    "hsig_dec": "hardsigmoid",
    "leaky": "leaky_relu(negative_slope=0.1)",
    "logsigmoid": "logsigmoid",
    "mish": "mish",
    "prelu": "prelu",
    "quickgelu": "swish(beta=1.702)",
    "relu6": "relu6",
    "relu": "relu",
    "rrelu": "leaky_relu(negative_slope=0.2291667)",
    "sigmoid": "sigmoid",
    "softplus": "softplus",
}


def _sites(path: Path) -> list[Site]:
    return find_sites(load_model(path))


def _census(sites: list[Site]) -> dict[tuple[str, str, str], int]:
    rows = (
        (describe_activation(s.activation, s.parameters), s.spelling.value, s.role.value)
        for s in sites
    )
    return dict(Counter(rows))


def _assert_parameters(site: Site, wanted: dict[str, Any]) -> None:
    assert set(site.parameters) == set(wanted)
    for name, value in wanted.items():
        found = site.parameters[name]
        if isinstance(value, tuple):
            assert isinstance(found, np.ndarray)
            assert found.shape == value
        else:
            assert found == (value if isinstance(value, str) else pytest.approx(value, rel=1e-7))


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_trap_gives_what_its_note_says(corpus: Path, name: str) -> None:
    sites = _sites(corpus / "synthetic" / f"{name}.onnx")
    expected = SYNTHETIC[name]
    assert [(s.name, s.spelling.value, s.role.value) for s in sites] == [
        (activation, spelling, role) for activation, _, spelling, role in expected
    ]
    for site, (_, parameters, _, _) in zip(sites, expected, strict=True):
        _assert_parameters(site, parameters)


def test_every_trap_is_covered(corpus: Path) -> None:
    folder = corpus / "synthetic"
    listed = (folder / "NOTES.tsv").read_text().splitlines()
    assert {line.split("\t")[0].removesuffix(".onnx") for line in listed} == set(SYNTHETIC)


def test_every_activation_of_many_activations_is_named(corpus: Path) -> None:
    sites = _sites(corpus / "exported" / "many_activations.onnx")
    assert [(s.name, s.spelling.value) for s in sites] == [(n, sp) for n, _, sp in MANY]
    for site, (_, parameters, _) in zip(sites, MANY, strict=True):
        _assert_parameters(site, parameters)
    assert [s.index for s in sites] == list(range(20))
    assert [s.depth for s in sites] == list(range(20))
    assert [s.role for s in sites] == [Role.MAIN] * 19 + [Role.OUTPUT]


@pytest.mark.parametrize("name", LARGE)
def test_a_network_is_counted_right(corpus: Path, name: str) -> None:
    assert _census(_sites(corpus / f"{name}.onnx")) == LARGE[name]


def test_every_convnet_has_its_activation_after_each_block(corpus: Path) -> None:
    for path in sorted((corpus / "convnets").glob("*.onnx")):
        kind = path.stem.removeprefix("convnet_").split("__")[0]
        sites = _sites(path)
        # One of the exporters put the activation into one function that is called four times.
        assert len(sites) == (1 if "modulefns" in path.stem else 4), path.name
        for site in sites:
            assert describe_activation(site.activation, site.parameters) == CONVNETS[kind]
            assert site.role is Role.MAIN


def test_prelu_slopes_are_the_weights_of_the_file(corpus: Path) -> None:
    path = corpus / "exported" / "srgan_prelu.onnx"
    proto = onnx.load(path)
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    stored = [weights[n.input[1]] for n in proto.graph.node if n.op_type == "PRelu"]
    found: list[Any] = [s.parameters["slope"] for s in _sites(path) if s.name == "prelu"]
    assert len(found) == len(stored) == 11
    for slope, weight in zip(found, stored, strict=True):
        if isinstance(slope, float):
            assert weight.size == 1
        np.testing.assert_allclose(slope, weight if weight.size > 1 else weight.item(), rtol=1e-6)


def test_the_recurrent_attributes_of_gtcrn_are_listed(corpus: Path) -> None:
    sites = _sites(corpus / "trained" / "gtcrn_prelu_gru.onnx")
    proto = onnx.load(corpus / "trained" / "gtcrn_prelu_gru.onnx", load_external_data=False)
    directions = sum(
        2 if any(a.name == "direction" and a.s == b"bidirectional" for a in n.attribute) else 1
        for n in proto.graph.node
        if n.op_type == "GRU"
    )
    recurrent = [s for s in sites if s.spelling is Spelling.ATTRIBUTE]
    gates = [s for s in recurrent if s.role is Role.GATE]
    assert {s.name for s in gates} == {"sigmoid"}
    assert {s.name for s in recurrent if s.role is Role.MAIN} == {"tanh"}
    assert len(gates) == directions
    assert len(recurrent) == 2 * directions
    assert sum(s.name == "prelu" for s in sites) == 15
    assert sum(s.name == "sigmoid" and s.role is Role.GATE for s in sites) == directions + 6


def test_squeeze_and_excitation_gates_are_gates(corpus: Path) -> None:
    for name, count in (
        ("exported/mobilenetv3_hardswish_opset9", 9),
        ("trained/ppocr_cls_hardswish", 9),
    ):
        gates = [s for s in _sites(corpus / f"{name}.onnx") if s.role is Role.GATE]
        assert len(gates) == count
        assert all("Mul" in s.consumers for s in gates)


def test_open_ends_are_infinite(corpus: Path) -> None:
    sites = _sites(corpus / "trained" / "embedding_leakyrelu.onnx")
    bounds = [s.parameters for s in sites if s.name == "hardtanh"]
    assert bounds == [{"min": -0.4, "max": inf}] * 19


def test_ids_are_unique_and_edges_are_in_the_graph(corpus: Path) -> None:
    for path in sorted(corpus.rglob("*.onnx")):
        if "malformed" in path.parts:
            continue
        sites = find_sites(load_model(path), routine=True)
        assert len({s.id for s in sites}) == len(sites), path.name
        assert sorted(s.index for s in sites) == list(range(len(sites)))
        covered = [n for s in sites if s.spelling is not Spelling.ATTRIBUTE for n in s.nodes]
        assert len(covered) == len(set(covered)), f"{path.name}: a node is in two sites"
