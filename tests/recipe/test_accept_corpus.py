"""One real conversion for every way in which a model can hold an activation.

Each result must give the numbers of the same exchange made by hand in the original.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hand_swaps import (
    leaky,
    relu,
    set_attributes,
    silu,
    swap_chain,
    swap_fused_relu,
    swap_gated,
    swap_operator,
    tanh,
)
from independent_numbers import assert_differ, assert_same_numbers, operators_of

import onnx_act

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

pytestmark = pytest.mark.corpus


@dataclass(frozen=True)
class Case:
    """A conversion.

    Attributes:
        model: the file.
        swap: the exchange, as `--swap` takes it.
        by_hand: the same exchange; how many it made.
        count: how many sites that is.
        fused: how many operators the result must have fused.
        where: which sites, when not the ones on feature paths.
        relative: how far outputs may be apart, as a share of the largest value.
        shapes: for inputs with free dimensions.
    """

    model: str
    swap: str
    by_hand: Callable[[onnx.ModelProto], int]
    count: int
    fused: int = 0
    where: str | None = None
    relative: float = 2e-5
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def _swap_function_body(model: onnx.ModelProto) -> int:
    """The whole function is one GELU: give it another body."""
    (function,) = model.functions
    del function.node[:]
    function.node.extend(silu(function.input[0], function.output[0]))
    return 1


def _swap_gru(model: onnx.ModelProto) -> int:
    count = 0
    for node in model.graph.node:
        if node.op_type == "GRU":
            given = {a.name: a for a in node.attribute}
            both = "direction" in given and given["direction"].s == b"bidirectional"
            names = ["Sigmoid", "Softsign"] * (1 + both)
            if "activations" in given:
                node.attribute.remove(given["activations"])
            node.attribute.append(onnx.helper.make_attribute("activations", names))
            count += 1 + both
    return count


_TOKENS = {"input0": (2, 12), "input1": (2, 12)}
CASES = {
    "If body of an exporter": Case(
        "exported/cond_if.onnx",
        "relu=silu",
        swap_operator("Relu", silu),
        1,
        fused=1,
        where="activation:relu",
    ),
    "If body with weights of the outer scope": Case(
        "synthetic/if_conv_relu_outer_scope.onnx",
        "relu=leaky_relu:negative_slope=0.3",
        swap_operator("Relu", leaky(0.3)),
        1,
        fused=2,
        where="scope:*then_branch",
    ),
    "Loop body": Case(
        "synthetic/loop_conv_elu.onnx",
        "elu=tanh",
        swap_operator("Elu", tanh),
        1,
        fused=1,
        where="activation:elu",
    ),
    "local functions": Case(
        "derived/fastestdet_functions.onnx",
        "relu=leaky_relu:negative_slope=0.1",
        swap_operator("Relu", leaky(0.1)),
        4,
        fused=5,
        relative=1e-4,
    ),
    "GELU as a local function": Case(
        "convnets/convnet_gelu__torchscript_op17_modulefns.onnx",
        "gelu=silu",
        _swap_function_body,
        1,
    ),
    "fp16": Case(
        "trained/squeezenet_fp16.onnx",
        "relu=leaky_relu:negative_slope=0.1",
        swap_operator("Relu", leaky(0.1)),
        26,
        fused=26,
        relative=2e-2,
    ),
    "erf-GELU in primitives": Case(
        "exported/bert_erf_gelu_dynamic.onnx",
        "gelu=silu",
        swap_chain("Div", "Erf", "Add", "Mul", "Mul", make=silu),
        4,
        fused=1,
        relative=1e-4,
        shapes=_TOKENS,
    ),
    "hardswish as Add, Clip, Mul, Div": Case(
        "trained/ppocr_cls_hardswish.onnx",
        "hardswish=relu",
        swap_chain("Add", "Clip", "Mul", "Div", make=relu),
        18,
        fused=42,
        relative=1e-4,
    ),
    "hardswish as HardSigmoid, Mul at opset 9": Case(
        "exported/mobilenetv3_hardswish_opset9.onnx",
        "hardswish=silu",
        swap_gated("HardSigmoid", silu),
        19,
        fused=23,
        relative=1e-4,
    ),
    "PReLU": Case(
        "trained/gtcrn_prelu_gru.onnx",
        "prelu=leaky_relu:negative_slope=0.2",
        swap_operator("PRelu", leaky(0.2)),
        15,
        fused=8,
        relative=1e-3,
    ),
    "GRU": Case(
        "trained/gtcrn_prelu_gru.onnx",
        "tanh=softsign",
        _swap_gru,
        18,
        where="spelling:attribute",
        # Its PRelu have one slope each.
        fused=8,
        relative=1e-3,
    ),
    "LSTM": Case(
        "synthetic/lstm_custom_acts.onnx",
        "hardsigmoid=sigmoid",
        set_attributes(
            "LSTM",
            activations=["Sigmoid", "Softsign", "Elu"],
            activation_alpha=[0.0],
            activation_beta=None,
        ),
        1,
        where="role:gate",
    ),
    "RNN": Case(
        "synthetic/rnn_relu.onnx",
        "relu=leaky_relu:negative_slope=0.2",
        set_attributes("RNN", activations=["LeakyRelu"], activation_alpha=[0.2]),
        1,
    ),
    "FusedConv of the runtime": Case(
        "derived/fastestdet_prefused.onnx",
        "relu=leaky_relu:negative_slope=0.1",
        swap_fused_relu(0.1),
        48,
        fused=1,
        relative=1e-4,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_conversion_is_the_exchange_made_by_hand(
    case: Case, corpus: Path, tmp_path: Path
) -> None:
    model, out = corpus / case.model, tmp_path / "out.onnx"
    report = onnx_act.convert(
        model,
        out,
        swap=[case.swap],
        where=case.where,
        fuse="contrib",
        bench=False,
        shapes=case.shapes,
    )
    (entry,) = report.to_dict()["models"]
    assert report.exit_code == 0, entry["message"]
    rules = [c["rule"] for c in entry["changes"]]
    assert rules.count("swap_activation") == case.count
    assert entry["equivalence"]["passed"] is True
    assert all(c["passed"] for c in entry["checks"])
    written = onnx.load(out)
    onnx.checker.check_model(written)
    before = [o for o in operators_of(onnx.load(model)) if o.startswith("Fused")]
    after = [o for o in operators_of(written) if o.startswith("Fused")]
    assert len(after) == len(before) + case.fused

    expected = onnx.load(model)
    assert case.by_hand(expected) == case.count
    assert_same_numbers(expected, out, relative=case.relative, shapes=case.shapes)
    assert_differ(model, out, case.shapes)


def test_batch_normalisation_goes_wherever_a_conv_comes_first(corpus: Path) -> None:
    model = corpus / "exported/mobilenetv3_hardswish_opset9.onnx"
    (entry,) = onnx_act.fuse(model, None, fuse="contrib").to_dict()["models"]
    rules = [c["rule"] for c in entry["changes"]]
    assert rules.count("fold_batch_normalization") == 34


def test_silero_with_the_inputs_it_is_made_for(corpus: Path, tmp_path: Path) -> None:
    """Its If branches depend on the sampling rate, so real inputs come from a file."""
    model, out = corpus / "trained/silero_vad_if_lstm.onnx", tmp_path / "out.onnx"
    rng = np.random.default_rng(5)
    sound = (rng.standard_normal((3, 1, 576)) * 0.1).astype(np.float32)
    sound = np.concatenate([sound, -sound])
    state = np.zeros((6, 2, 1, 128), np.float32)
    rate = np.full(6, 16000, np.int64)
    np.savez(tmp_path / "data.npz", input=sound, state=state, sr=rate[0])
    report = onnx_act.convert(
        model,
        out,
        swap=["relu=leaky_relu:negative_slope=0.1"],
        fuse="contrib",
        bench=False,
        data=tmp_path / "data.npz",
    )
    (entry,) = report.to_dict()["models"]
    assert report.exit_code == 0, entry["message"]
    assert entry["equivalence"]["feeds"] == ["data"] * 6
    assert [c["rule"] for c in entry["changes"]].count("swap_activation") == 5
    expected = onnx.load(model)
    assert swap_operator("Relu", leaky(0.1))(expected) == 5
    feeds: list[Any] = [
        {"input": x, "state": s, "sr": np.asarray(r)}
        for x, s, r in zip(sound, state, rate, strict=True)
    ]
    assert_same_numbers(expected, out, relative=1e-4, feeds=feeds)


@pytest.mark.parametrize(
    ("model", "swap", "count"),
    [
        ("synthetic/qdq_conv_relu.onnx", "relu=silu", 1),
        ("derived/embedding_leaky_qdq_int8.onnx", "leaky_relu=silu", 19),
    ],
)
def test_between_quantisation_a_swap_is_refused_with_a_reason(
    model: str, swap: str, count: int, corpus: Path, tmp_path: Path
) -> None:
    report = onnx_act.swap(corpus / model, tmp_path / "out.onnx", [swap])
    (entry,) = report.to_dict()["models"]
    assert (entry["outcome"], report.exit_code) == ("refused", 2)
    assert entry["changes"] == []
    assert len(entry["refusals"]) == count
    assert all("quantised with a scale" in r["reason"] for r in entry["refusals"])
    assert list(tmp_path.iterdir()) == []


def test_a_type_without_kernels_is_refused_with_the_runtime_s_reason(corpus: Path) -> None:
    model = corpus / "convnets/convnet_relu__dynamo_op20_bf16.onnx"
    report = onnx_act.swap(model, None, {"relu": "silu"})
    (entry,) = report.to_dict()["models"]
    assert report.exit_code == 2
    assert len(entry["refusals"]) == 4
    assert all("bfloat16 cannot run" in r["reason"] for r in entry["refusals"])
    json.dumps(entry, allow_nan=False)


def test_a_quantised_conv_is_not_fused_into_a_float_one(corpus: Path) -> None:
    """The runtime makes one integer operator of such a Conv and Relu, if they are left alone."""
    report = onnx_act.fuse(corpus / "synthetic/qdq_conv_relu.onnx", None, fuse="contrib")
    (entry,) = report.to_dict()["models"]
    assert report.exit_code == 0
    assert entry["changes"] == []
    (refusal,) = entry["refusals"]
    assert "quantised" in refusal["reason"]
