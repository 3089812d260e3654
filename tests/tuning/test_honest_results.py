"""What tuning says and does, with every measurement answered by a table of costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from simulated import COSTS, Machine, group_of, network, tuned, verdicts

from onnx_act.runtime.session import CPU, CUDA

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine().install(monkeypatch, tmp_path / "answers")


def test_what_is_faster_is_chosen_and_proved(machine: Machine) -> None:
    outcome = tuned(network("Elu", "Elu"))
    assert outcome.is_kept
    assert outcome.reason == ""
    assert outcome.source == "measured"
    # One group in the middle and one behind the input, of one family.
    assert [g.chosen for g in outcome.groups] == ["maximum", "maximum"]
    assert outcome.choices == {"a0": "maximum", "a1": "maximum"}
    (proof,) = outcome.confirmed
    assert (proof.provider, proof.verdict) == (CPU, "faster")
    assert proof.ratio.low > 1
    assert machine.measured("measure_latency") == 1
    assert outcome.is_complete
    assert outcome.seconds < outcome.budget_s


def test_all_of_a_model_without_choices_stays_unmeasured(machine: Machine) -> None:
    outcome = tuned(network("Relu"))
    assert not outcome.is_kept
    assert outcome.reason == "no activation of the model has another way to be written"
    assert outcome.groups == ()
    assert machine.asked == []


def test_what_is_slower_is_left(machine: Machine) -> None:
    machine.costs[CPU] = {"Exp": 50.0, "Tanh": 50.0, "HardSigmoid": 9.0}
    outcome = tuned(network("Elu"))
    assert not outcome.is_kept
    assert outcome.choices == {}
    assert outcome.reason == "no other way was shown to be faster"
    assert outcome.is_complete
    assert machine.measured("measure_latency") == 0
    (group,) = outcome.groups
    assert (group.chosen, group.after) == (None, "Elu")
    assert all(v for v in verdicts(group).values())


@pytest.mark.parametrize(("low", "high"), [(0.99, 1.2), (1.0, 1.1), (0.8, 0.9)])
def test_an_interval_that_does_not_clear_one_keeps_the_original(
    low: float, high: float, machine: Machine
) -> None:
    machine.proof[CPU] = (low, high)
    outcome = tuned(network("Elu"))
    assert not outcome.is_kept
    assert outcome.choices == {}
    assert (
        outcome.reason
        == f"the interval of the whole result, [{low:.3f}, {high:.3f}], is not above 1"
    )
    assert [c.ratio.low for c in outcome.confirmed] == [low]


def test_what_is_not_clear_at_first_is_measured_for_longer(machine: Machine) -> None:
    machine.proof[CPU] = (1.01, 1.05)
    outcome = tuned(network("Elu"))
    assert outcome.is_kept
    assert machine.measured("measure_latency") == 2


def test_a_race_that_cannot_tell_chooses_nothing(machine: Machine) -> None:
    machine.doubt = 50.0
    outcome = tuned(network("Elu"))
    assert not outcome.is_kept
    assert outcome.choices == {}
    assert machine.measured("measure_latency") == 0


def test_a_second_provider_that_loses_in_the_race_has_a_veto(machine: Machine) -> None:
    # Everything but `ramp` makes a Max or another Exp of it there.
    machine.costs[CUDA] = {"Max": 90.0}
    outcome = tuned(network("Elu"), providers=(CPU, CUDA))
    assert ("race", CUDA) in machine.asked
    (group,) = outcome.groups
    told = verdicts(group)
    assert told["maximum"].startswith("slower on cuda")
    if group.chosen is not None:
        assert all(c.verdict != "slower" for c in outcome.confirmed)
        assert group.chosen != "maximum"


def test_a_second_provider_on_which_everything_loses_keeps_the_original(machine: Machine) -> None:
    machine.costs[CUDA] = {"Elu": 1.0, "Exp": 90.0, "Tanh": 90.0}
    outcome = tuned(network("Elu"), providers=(CPU, CUDA))
    assert not outcome.is_kept
    assert outcome.choices == {}
    assert machine.measured("measure_latency") == 0


def test_a_second_provider_that_loses_in_the_proof_has_a_veto(machine: Machine) -> None:
    machine.costs[CUDA] = COSTS
    machine.proof[CUDA] = (0.7, 0.8)
    outcome = tuned(network("Elu"), providers=(CPU, CUDA))
    assert not outcome.is_kept
    assert outcome.choices == {}
    assert outcome.reason == f"the result is slower on {CUDA}"
    assert [c.verdict for c in outcome.confirmed] == ["faster", "slower"]


def test_a_second_provider_may_stay_as_fast_as_it_is(machine: Machine) -> None:
    machine.costs[CUDA] = {"Elu": 7.0, "Constant": 0.0}
    machine.proof[CUDA] = (0.98, 1.02)
    outcome = tuned(network("Elu"), providers=(CPU, CUDA))
    assert outcome.is_kept
    assert [c.verdict for c in outcome.confirmed] == ["faster", "no difference shown"]


def test_what_is_less_exact_needs_to_be_allowed(machine: Machine) -> None:
    # The way that loses the digits of the left tail is by far the fastest here.
    machine.costs[CPU] = {"Softplus": 90.0, "Sub": 20.0, "Constant": 0.0}
    exact = group_of(tuned(network("Softplus")), "softplus")
    (loose,) = [c for c in exact.candidates if c.key == "plain maximum"]
    assert loose.is_approximate
    assert loose.verdict == "less exact than the operator"
    assert (loose.neighbourhood, loose.model) == (None, None)
    assert exact.chosen == "maximum"
    outcome = tuned(network("Softplus"), approximate=True, threads=2)
    assert group_of(outcome, "softplus").chosen == "plain maximum"
    assert outcome.approximate == {"softplus: plain maximum"}


def test_operators_of_other_domains_need_to_be_allowed(machine: Machine) -> None:
    machine.costs[CPU] = {"Gelu": 1.0, "Erf": 90.0, "Constant": 0.0}
    plain = tuned(network("Gelu", opset=20))
    assert not any("com.microsoft" in c.key for g in plain.groups for c in g.candidates)
    contrib = tuned(network("Gelu", opset=20), contrib=True)
    keys = {c.key for g in contrib.groups for c in g.candidates}
    assert "com.microsoft.Gelu" in keys


@pytest.mark.parametrize("what", ["race", "measure_latency"])
def test_a_measurement_that_falls_over_chooses_nothing_and_says_so(
    what: str, machine: Machine
) -> None:
    machine.fails = frozenset({what})
    outcome = tuned(network("Elu"))
    assert not outcome.is_kept
    assert outcome.choices == {}
    told = [outcome.reason, *(g.reason for g in outcome.groups)]
    assert any(f"{what} fell over" in reason for reason in told), told
    assert not any("no time" in reason for reason in told), told


def test_accuracy_that_cannot_be_measured_rules_every_way_out(machine: Machine) -> None:
    machine.fails = frozenset({"measure_accuracies"})
    outcome = tuned(network("Elu"))
    assert not outcome.is_kept
    (group,) = outcome.groups
    assert group.reason == "no other way runs and is as exact as the operator"
    assert all("fell over" in v for v in verdicts(group).values())
    assert machine.measured("race") == machine.measured("race_all") == 0


def test_neighbourhoods_that_cannot_be_measured_do_not_matter(machine: Machine) -> None:
    machine.fails = frozenset({"race_all"})
    outcome = tuned(network("Elu"))
    assert outcome.is_kept
    assert machine.measured("race") >= 1


def test_no_time_is_said_and_remembered_to_be_incomplete(machine: Machine) -> None:
    outcome = tuned(network("Elu"), budget_s=5.0, spent_s=4.9)
    assert not outcome.is_kept
    assert not outcome.is_complete
    (group,) = outcome.groups
    assert "no time" in group.reason
    assert machine.measured("race") == 0


def test_in_the_least_budget_something_is_measured(machine: Machine) -> None:
    outcome = tuned(network("Elu"), budget_s=5.0, spent_s=0.5)
    assert machine.measured("race") >= 1
    assert outcome.is_kept


def test_a_race_that_time_ended_is_incomplete(machine: Machine) -> None:
    machine.decides = False
    outcome = tuned(network("Elu"))
    assert not outcome.is_complete


def test_every_way_has_a_verdict_and_every_group_a_reason(machine: Machine) -> None:
    outcome = tuned(network("Elu", "Softplus", "Selu", "LeakyRelu"))
    assert machine.measured("race") >= 2
    assert {g.activation.partition("(")[0] for g in outcome.groups} >= {"elu", "softplus", "selu"}
    for group in outcome.groups:
        assert group.reason
        told = verdicts(group)
        assert all(told.values()), group
        assert [k for k, v in told.items() if v == "chosen"] == (
            [] if group.chosen is None else [group.chosen]
        )
