"""The main job on a trained face detector: 37 ReLUs exchanged, folded and fused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import onnx
import pytest
from independent_numbers import assert_differ, assert_same_numbers, operators_of, replace_nodes
from onnx import helper

from onnx_act.cli.app import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.corpus


@pytest.fixture(scope="module")
def converted(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Any]:
    """The input, the output, and what the report says of it."""
    folder = tmp_path_factory.mktemp("rfb")
    model, out, report = (
        corpus / "trained/rfb320_relu_bn.onnx",
        folder / "o.onnx",
        folder / "r.json",
    )
    code = run(
        [
            *("convert", str(model), "-o", str(out), "--fuse=contrib", "--no-bench"),
            *("--swap", "relu=leaky_relu:negative_slope=0.1", "--report", str(report)),
        ]
    )
    assert code == 0
    (entry,) = json.loads(report.read_text("utf-8"))["models"]
    return model, out, entry


def test_the_report(converted: tuple[Path, Path, Any]) -> None:
    _, out, entry = converted
    assert entry["output"] == str(out)
    assert [s["activation"] for s in entry["sites"]] == ["relu"] * 37
    rules = [c["rule"] for c in entry["changes"]]
    assert rules.count("swap_activation") == 37
    assert rules.count("fold_batch_normalization") == 35
    assert rules.count("fuse_conv_activation") == 36
    assert rules.count("fuse_conv_residual") == 1
    swapped = [c["site"] for c in entry["changes"] if c["rule"] == "swap_activation"]
    assert sorted(swapped) == sorted(s["id"] for s in entry["sites"])
    assert entry["equivalence"]["passed"] is True
    assert {o["output"] for o in entry["equivalence"]["providers"][0]["outputs"]} == {
        "scores",
        "boxes",
    }
    assert all(c["passed"] for c in entry["checks"])
    assert all(o["difference"]["max_abs"] > 0.01 for o in entry["drift"]["outputs"])


def test_the_graph(converted: tuple[Path, Path, Any]) -> None:
    model = onnx.load(converted[1])
    onnx.checker.check_model(model)
    operators = operators_of(model)
    assert "Relu" not in operators
    producers = {o: n.op_type for n in model.graph.node for o in n.output}
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            assert producers[node.input[0]] not in {"Conv", "FusedConv"}
    fused = [n for n in model.graph.node if n.op_type == "FusedConv"]
    assert len(fused) == 37
    for node in fused:
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        assert node.domain == "com.microsoft"
        assert given["activation"] == b"LeakyRelu"
        assert given["activation_params"] == pytest.approx([0.1])
    assert "LeakyRelu" not in operators
    original = onnx.load(converted[0])
    assert [o.name for o in model.graph.output] == [o.name for o in original.graph.output]
    assert {p.key: p.value for p in model.metadata_props}["onnx_act.fused_for"] == "cpu"


def test_the_numbers(converted: tuple[Path, Path, Any]) -> None:
    """Relu nodes replaced by LeakyRelu in the original, by a script that knows nothing else."""
    model, out, _ = converted
    expected = onnx.load(model)
    count = replace_nodes(
        expected,
        lambda n: n.op_type == "Relu",
        lambda n: [helper.make_node("LeakyRelu", n.input, n.output, n.name, alpha=0.1)],
    )
    assert count == 37
    assert_same_numbers(expected, out, relative=2e-5)
    assert_differ(model, out, None)
