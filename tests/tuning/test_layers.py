"""Linear layers between activations are tuned like groups of activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import pytest
from capabilities import Cpu
from onnx import parser
from simulated import COSTS, Machine, group_of, tuned, verdicts

from onnx_act.graph.model import load_model
from onnx_act.rewrite.engine import run_rules
from onnx_act.runtime.session import CPU, CUDA
from onnx_act.tuning.memory import load_profile, save_profile
from onnx_act.tuning.outcome import FLATTENED, TuningOutcome
from onnx_act.tuning.tuner import chosen_rules

if TYPE_CHECKING:
    from pathlib import Path

_FAST = {"Gemm": 1.0, "MatMul": 20.0, "Constant": 0.0}
_ALL = frozenset({"y", "z"})
_SLOW = {"Gemm": 90.0, "Constant": 0.0}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine().install(monkeypatch, tmp_path / "answers")


def _network(activation: str = "Relu", bias: int = 4) -> onnx.ModelProto:
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3,4] x) => (float[6,4] y, float[6,4] z)
        <float[4,4] W = {{1,2,3,4,5,6,7,8,1,0,0,0,0,1,0,0}}, float[4] B = {{1,2,3,{bias}}},
         int64[2] w = {{-1, 4}}>
        {{
            k = {activation} (x)
            c = MatMul (k, W)
            a = Add (c, B)
            y = Reshape (a, w)
            d = MatMul (k, W)
            b = Add (d, B)
            z = Reshape (b, w)
        }}"""
    )
    assert isinstance(model, onnx.ModelProto)
    return model


def _operators(outcome: TuningOutcome) -> list[str]:
    model = load_model(_network())
    run_rules(chosen_rules(outcome), model, Cpu())
    return [n.op_type for n in model.content.graph]


def test_layers_that_are_faster_as_gemm_are_flattened(machine: Machine) -> None:
    machine.costs[CPU] = _FAST
    outcome = tuned(_network())
    group = group_of(outcome, "linear layers")
    assert outcome.is_kept
    assert (group.sites, group.chosen) == (("y", "z"), FLATTENED)
    assert group.reason.startswith("the fastest in the whole model: ")
    assert verdicts(group) == {FLATTENED: "chosen"}
    assert (outcome.choices, outcome.flattened) == ({}, _ALL)
    assert _operators(outcome) == ["Relu", "Flatten", "Gemm", "Reshape", "Gemm", "Reshape"]


def test_layers_that_are_slower_as_gemm_stay(machine: Machine) -> None:
    machine.costs[CPU] = _SLOW
    outcome = tuned(_network())
    group = group_of(outcome, "linear layers")
    assert not outcome.is_kept
    assert (group.chosen, group.after) == (None, "MatMul, Add, Reshape")
    assert group.reason == "no other way was shown to be faster"
    assert verdicts(group) == {FLATTENED: "not shown to be faster in the whole model"}
    assert chosen_rules(outcome) == ()
    assert outcome.is_complete


@pytest.mark.parametrize(
    ("costs", "activation", "layers"),
    [
        ({**COSTS, **_SLOW}, {"k": "maximum"}, frozenset()),
        ({**_FAST, "Exp": 30.0, "Tanh": 30.0, "HardSigmoid": 30.0}, {}, _ALL),
        ({**COSTS, **_FAST}, {"k": "maximum"}, _ALL),
    ],
)
def test_layers_and_activations_are_decided_apart(
    costs: dict[str, float], activation: dict[str, str], layers: frozenset[str], machine: Machine
) -> None:
    machine.costs[CPU] = costs
    outcome = tuned(_network("Elu"))
    assert outcome.is_kept
    assert (outcome.choices, outcome.flattened) == (activation, layers)


def test_another_provider_has_a_veto_on_layers(machine: Machine) -> None:
    machine.costs[CPU] = _FAST
    machine.costs[CUDA] = _SLOW
    outcome = tuned(_network(), providers=(CPU, CUDA))
    group = group_of(outcome, "linear layers")
    assert not outcome.is_kept
    assert verdicts(group)[FLATTENED].startswith("slower on cuda")


def test_what_is_not_proved_in_the_end_is_not_flattened(machine: Machine) -> None:
    machine.costs[CPU] = _FAST
    machine.proof[CPU] = (0.99, 1.2)
    outcome = tuned(_network())
    assert not outcome.is_kept
    assert (outcome.flattened, chosen_rules(outcome)) == (frozenset(), ())
    assert group_of(outcome, "linear layers").chosen is None


def test_layers_go_through_a_profile_and_the_cache(machine: Machine, tmp_path: Path) -> None:
    machine.costs[CPU] = _FAST
    outcome = tuned(_network())
    save_profile(tmp_path / "p.json", [outcome])
    assert tuned(_network()).source == "cache"
    assert tuned(_network()).flattened == _ALL
    assert TuningOutcome.from_dict(outcome.to_dict()).flattened == _ALL

    machine.asked.clear()
    applied = tuned(_network(), profile=load_profile(tmp_path / "p.json"))
    assert (applied.source, applied.flattened) == ("profile", _ALL)
    assert machine.measured("race") == machine.measured("measure_latency") == 0

    machine.costs[CPU] = _SLOW
    save_profile(tmp_path / "q.json", [tuned(_network(bias=5))])
    left = tuned(_network(), profile=load_profile(tmp_path / "q.json"))
    assert (left.is_kept, left.flattened) == (False, frozenset())
    assert group_of(left, "linear layers").reason == "not the choice of the profile"


def test_layers_that_cannot_be_measured_stay(machine: Machine) -> None:
    machine.costs[CPU] = _FAST
    machine.fails = frozenset({"race"})
    outcome = tuned(_network())
    group = group_of(outcome, "linear layers")
    assert not outcome.is_kept
    assert "could not be measured" in group.reason
    assert not outcome.is_complete
