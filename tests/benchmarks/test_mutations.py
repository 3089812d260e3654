"""The mutation benchmark: its truth, its table, and its exit code, on a few models."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType


def _network() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "b1": rng.normal(0, 0.3, 8),
        "scale": rng.uniform(0.5, 1.5, 8),
        "shift": rng.normal(0, 0.3, 8),
        "mean": rng.normal(0, 0.3, 8),
        "var": rng.uniform(0.5, 1.5, 8),
        "wg": rng.normal(0, 1.0, (8, 5)),
        "bg": rng.normal(0, 0.3, 5),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"], pads=[1] * 4, kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"]),
        helper.make_node("LeakyRelu", ["n"], ["a"], alpha=0.1),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "wg", "bg"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    onnx.save(_network(), folder / "network.onnx")
    return folder


def _run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["mutations.py", *map(str, arguments)])
    code: int = module.main()
    return code


def test_faults_are_caught_and_right_changes_pass(
    script: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    corpus: Path,
    tmp_path: Path,
) -> None:
    module = script("mutations")
    monkeypatch.setattr(module, "PEERS", {})
    monkeypatch.setattr(script("mutations_page"), "PEERS", {})
    monkeypatch.setattr(script("mutations_page"), "_JUDGES", ("onnx-act",))
    found = tmp_path / "m.json"
    assert _run(module, monkeypatch, corpus, "--count", 14, "--json", found) == 0
    mutants = json.loads(found.read_text().replace("Infinity", "1e999"))
    wrong = [m for m in mutants if m["is_wrong"]]
    assert len([m for m in wrong if m["beyond"] > 10]) >= 10
    assert len([m for m in mutants if not m["is_wrong"]]) >= 10
    assert {m["model"] for m in mutants} == {"network.onnx", "network.onnx in float16"}


def test_a_miss_and_a_rejection_end_in_exit_code_1(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module, trial = script("mutations"), script("mutations_trial")

    def mutant(*, is_wrong: bool, beyond: float, answer: str) -> Any:
        judges = ("onnx-act", "onnxsim", "onnxslim", "polygraphy")
        answers = dict.fromkeys(judges, answer)
        return trial.Mutant("m.onnx", "kind", is_wrong, "", beyond, answers, "", 0.1)

    cases = [
        (mutant(is_wrong=True, beyond=11.0, answer="same"), 1),
        (mutant(is_wrong=True, beyond=math.inf, answer="same"), 1),
        (mutant(is_wrong=True, beyond=9.0, answer="same"), 0),
        (mutant(is_wrong=True, beyond=11.0, answer="differs"), 0),
        (mutant(is_wrong=False, beyond=0.0, answer="differs"), 1),
        (mutant(is_wrong=False, beyond=0.0, answer="same"), 0),
    ]
    for found, code in cases:
        monkeypatch.setattr(module, "mutants_of", lambda *_, found=found: iter([found]))
        assert _run(module, monkeypatch, tmp_path) == code


def test_the_truth_knows_noise_from_faults(script: Callable[[str], ModuleType]) -> None:
    truth = script("mutations_truth").Truth(_network())
    same, rounded, faulty = _network(), _network(), _network()
    assert truth.beyond_noise(same) == 0.0
    for model, step in ((rounded, 2.0**-24), (faulty, 0.01)):
        (bias,) = (t for t in model.graph.initializer if t.name == "bg")
        moved = numpy_helper.to_array(bias) * np.float32(1 + 2 * step)
        bias.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), "bg"))
    assert 0.0 < truth.beyond_noise(rounded) < 10.0 < truth.beyond_noise(faulty)
    broken = _network()
    broken.graph.node[0].op_type = "NoSuchOperator"
    assert truth.beyond_noise(broken) == math.inf


def test_every_wrong_change_changes_something(script: Callable[[str], ModuleType]) -> None:
    before = _network().SerializeToString(deterministic=True)
    made = 0
    for kind, change in script("mutations_wrong").WRONG.items():
        model = _network()
        if change(model, np.random.default_rng(0)) is not None:
            assert model.SerializeToString(deterministic=True) != before, kind
            made += 1
    assert made >= 8
