"""What tuning remembers: in the cache of this machine, and in profiles for others."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import onnx
import pytest
from simulated import Machine, group_of, network, tuned, verdicts

from onnx_act.errors import UsageError
from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model
from onnx_act.runtime.cache import forget_answers
from onnx_act.runtime.session import CPU, CUDA
from onnx_act.tuning.memory import load_profile, save_profile
from onnx_act.tuning.outcome import TuningOutcome
from onnx_act.tuning.shares import measure_shares

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from onnx_act.graph.sites import Site
    from onnx_act.tuning.shares import Shares

MEASURING = ("race", "race_all", "measure_latency")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine().install(monkeypatch, tmp_path / "answers")


def _measured(machine: Machine) -> list[str]:
    return [what for what, _ in machine.asked if what in MEASURING]


def _same_but_for_the_time(one: TuningOutcome, other: TuningOutcome) -> bool:
    return replace(one, seconds=0.0, source="") == replace(other, seconds=0.0, source="")


@pytest.mark.parametrize("wins", [True, False])
def test_the_second_time_nothing_is_measured(wins: bool, machine: Machine) -> None:
    if not wins:
        machine.costs[CPU] = {}
    first = tuned(network("Elu", "Softplus"))
    assert first.is_kept is wins
    assert _measured(machine)
    machine.asked.clear()
    forget_answers()  # as another process would know nothing
    second = tuned(network("Elu", "Softplus"))
    assert machine.asked == []
    assert second.source == "cache"
    assert _same_but_for_the_time(first, second)
    assert second.choices == first.choices


@pytest.mark.parametrize(
    "other",
    [{"threads": 2}, {"approximate": True}, {"contrib": True}, {"providers": (CPU, CUDA)}],
)
def test_another_question_is_measured_anew(other: dict[str, Any], machine: Machine) -> None:
    machine.costs[CUDA] = {}
    tuned(network("Elu"))
    machine.asked.clear()
    assert tuned(network("Elu"), **other).source == "measured"
    assert _measured(machine)


def test_a_larger_budget_searches_again_only_where_something_was_left_out(
    machine: Machine,
) -> None:
    machine.decides = False
    assert not tuned(network("Elu"), budget_s=20.0).is_complete
    machine.asked.clear()
    assert tuned(network("Elu"), budget_s=20.0).source == "cache"
    assert tuned(network("Elu"), budget_s=10.0).source == "cache"
    assert machine.asked == []
    machine.decides = True
    again = tuned(network("Elu"), budget_s=40.0)
    assert (again.source, again.is_complete) == ("measured", True)
    machine.asked.clear()
    assert tuned(network("Elu"), budget_s=400.0).source == "cache"
    assert machine.asked == []


def test_what_failed_is_measured_again_with_more_time(machine: Machine) -> None:
    machine.fails = frozenset({"race"})
    assert not tuned(network("Elu"), budget_s=20.0).is_complete
    machine.fails = frozenset()
    assert tuned(network("Elu"), budget_s=30.0).is_kept


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"answer": null}',
        b'{"answer": []}',
        b'{"answer": {}}',
        b'{"answer": {"groups": null}}',
        b'{"answer": {"groups": [1], "is_kept": true}}',
        b'{"answer": {"groups": [{"signature": 3}], "chosen": 7, "accuracy": 9}}',
        b'{"answer": {"accuracy": {}}}',
        b'{"answer": {"accuracy": {"median_ulp": "x", "p99_ulp": [], "max_abs": {}}}}',
        b"[" * 100_000,
    ],
)
def test_damaged_answers_only_cost_time(damage: bytes, machine: Machine, tmp_path: Path) -> None:
    first = tuned(network("Elu"))
    files = list((tmp_path / "answers").iterdir())
    assert files
    for file in files:
        file.write_bytes(damage)
    forget_answers()
    machine.asked.clear()
    second = tuned(network("Elu"))
    assert second.source == "measured"
    assert second.choices == first.choices
    assert _measured(machine)
    for file in (tmp_path / "answers").iterdir():
        json.loads(file.read_bytes())


@pytest.mark.parametrize(
    "change",
    [
        {"image": []},
        {"image": [1]},
        {"channels": "many"},
        {"channels": math.inf},
        {"candidates": [{}]},
        {"sites": None},
        {"share": []},
    ],
)
def test_a_group_that_is_damaged_only_costs_time(
    change: dict[str, Any], machine: Machine, tmp_path: Path
) -> None:
    first = tuned(network("Elu"))
    spoilt = 0
    for file in (tmp_path / "answers").iterdir():
        stored = json.loads(file.read_text())
        if stored["kind"] == "tuning":
            stored["answer"]["groups"][0].update(change)
            file.write_text(json.dumps(stored))
            spoilt += 1
    assert spoilt == 1
    forget_answers()
    machine.asked.clear()
    second = tuned(network("Elu"))
    assert (second.source, second.choices) == ("measured", first.choices)
    assert _measured(machine)


def test_an_answer_about_sites_that_are_not_there_changes_nothing(
    machine: Machine, tmp_path: Path
) -> None:
    first = tuned(network("Elu"))
    assert first.choices == {"a0": "maximum"}
    told = first.to_dict()
    assert TuningOutcome.from_dict(json.loads(json.dumps(told))) == first
    told["groups"][0]["chosen"] = "nobody knows it"
    assert TuningOutcome.from_dict(told).choices == {"a0": "nobody knows it"}
    assert _measured(machine)
    assert not (tmp_path / "answers").joinpath("partial").exists()


def test_what_won_in_one_model_is_tried_first_in_the_next(machine: Machine) -> None:
    assert tuned(network("Elu")).choices == {"a0": "maximum"}
    machine.asked.clear()
    second = tuned(network("Elu", "Relu"))
    assert second.source == "measured"
    group = group_of(second, "elu")
    assert group.chosen == "maximum"
    told = verdicts(group)
    assert {told[k] for k in told if k != "maximum"} == {
        "was not the best for such sites in another model"
    }
    # It is measured and proved in this model all the same.
    assert "race" in _measured(machine)
    assert "measure_latency" in _measured(machine)


def test_what_won_in_one_model_need_not_in_the_next(machine: Machine) -> None:
    tuned(network("Elu"))
    machine.costs[CPU] = {"Exp": 90.0}
    second = tuned(network("Elu", "Relu"))
    assert not second.is_kept
    assert group_of(second, "elu").chosen is None


def test_what_did_not_win_in_one_model_is_tried_in_the_next(machine: Machine) -> None:
    """There it may have had too small a part for anything to be shown."""
    machine.costs[CPU] = {"Elu": 1.0, "Exp": 90.0, "Softplus": 900.0, "Constant": 0.0}
    first = tuned(network("Softplus", "Elu"))
    assert first.is_kept
    elu = group_of(first, "elu")
    assert elu.chosen is None
    machine.costs[CPU] = {"Elu": 90.0, "Constant": 0.0}
    second = tuned(network("Relu", "Elu"))
    assert group_of(second, "elu").signature == elu.signature
    assert group_of(second, "elu").chosen is not None


def test_the_share_afterwards_is_that_of_the_written_sites(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1,2,32,32] x) => (float[1,2,32,32] y) <float[2,1,1] s = {0.25, -0.5}>
        { a = PRelu (x, s) y = MaxPool <kernel_shape = [1, 1]> (a) }"""
    )
    machine.costs[CPU] = {"PRelu": 90.0, "Max": 90.0, "Where": 90.0, "Constant": 0.0}
    seen: list[list[tuple[str, str]]] = []

    def spy(given: Any, sites: Iterable[Site], *rest: Any, **named: Any) -> Shares:
        listed = list(sites)
        seen.append([(s.id, s.name) for s in listed])
        return measure_shares(given, listed, *rest, **named)

    monkeypatch.setattr("onnx_act.tuning.tuner.measure_shares", spy)
    outcome = tuned(model)
    assert outcome.choices == {"a": "two relus"}
    assert seen == [[("a", "prelu")], [("a", "prelu")]]
    assert outcome.share_after is not None


def test_a_profile_is_applied_without_measuring(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "profile.json"
    first = tuned(network("Elu", "Softplus"))
    save_profile(path, [first])
    assert [p.name for p in path.parent.iterdir()] == ["profile.json"]
    machine.asked.clear()
    profile = load_profile(path)
    assert profile.choices == {g.signature: g.chosen for g in first.groups}
    applied = tuned(network("Elu", "Softplus"), profile=profile)
    assert _measured(machine) == []
    assert applied.source == "profile"
    assert applied.is_kept
    assert applied.choices == first.choices
    assert applied.confirmed == ()
    assert applied.notes == ()


def test_a_profile_of_another_machine_is_said_to_be_that(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    save_profile(path, [tuned(network("Elu"))])
    told = json.loads(path.read_text())
    told["processor"] = "a toaster"
    path.write_text(json.dumps(told))
    applied = tuned(network("Elu"), profile=load_profile(path))
    assert applied.is_kept
    (note,) = applied.notes
    assert "a toaster" in note
    assert "not here" in note
    assert machine.measured("race") == 1


def test_what_a_profile_cannot_decide(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    first = tuned(network("Elu", "Softplus", "Selu"))
    save_profile(path, [first])
    told = json.loads(path.read_text())
    elu, softplus, selu = (
        next(g for g in told["groups"] if g["signature"].startswith(name + "("))
        for name in ("elu", "softplus", "selu")
    )
    elu["signature"] = "of nobody"
    softplus["chosen"] = "plain maximum"
    selu["chosen"] = "of the next version"
    path.write_text(json.dumps(told))
    applied = tuned(network("Elu", "Softplus", "Selu"), profile=load_profile(path))
    assert not applied.is_kept
    assert applied.choices == {}
    assert group_of(applied, "elu").reason == "the profile says nothing about such sites"
    assert "less exact than the operator" in group_of(applied, "softplus").reason
    assert "not known here" in group_of(applied, "selu").reason
    assert machine.measured("measure_latency") == 1


def test_a_way_that_cannot_run_here_is_not_applied(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "profile.json"
    save_profile(path, [tuned(network("Elu"))])

    def against(_: object, model: bytes, *, may_crash: bool = False) -> str | None:
        assert not may_crash
        kinds = {n.op_type for n in onnx.load_from_string(model).graph.node}
        return "no kernel for Max" if "Max" in kinds else None

    monkeypatch.setattr("capabilities.Cpu.reason_against", against)
    applied = tuned(network("Elu"), profile=load_profile(path))
    assert applied.choices == {}
    (group,) = applied.groups
    assert group.reason == "the profile says maximum, but: cannot run: no kernel for Max"
    assert machine.measured("race") == 1


def test_a_profile_grows_and_takes_nothing_back(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    first = tuned(network("Elu"))
    save_profile(path, [first])
    machine.costs[CPU] = {"Elu": 1.0, "Exp": 90.0, "Constant": 0.0}
    second = tuned(network("Elu", "Selu"))
    assert not second.is_kept
    save_profile(path, [second])
    choices = load_profile(path).choices
    assert choices[first.groups[0].signature] == "maximum"
    assert choices[group_of(second, "selu").signature] == ""


_PROFILE: dict[str, Any] = {
    "schema": "onnx-act/profile/1",
    "runtime": "1",
    "processor": "p",
    "providers": ["CPUExecutionProvider"],
    "threads": 1,
    "groups": [],
}


def test_the_least_of_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(_PROFILE))
    assert load_profile(path).choices == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": None},
        {"groups": 3},
        {"groups": [3]},
        {"groups": ["text"]},
        {"groups": [{}]},
        {"groups": [{"signature": "s"}]},
        {"providers": None},
        {"threads": "many"},
        {"threads": None},
        {"threads": math.inf},
        {"schema": "onnx-act/profile/2"},
        {"schema": None},
    ],
)
def test_a_damaged_profile_is_wrong_use(changes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({**_PROFILE, **changes}))
    with pytest.raises(
        UsageError, match=r"profile\.json is (not a profile|a profile that is damaged)"
    ):
        load_profile(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"onnx", b"[" * 100_000])
def test_what_is_no_profile(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is not a profile"):
        load_profile(path)
    with pytest.raises(UsageError, match="cannot read"):
        load_profile(tmp_path)
    with pytest.raises(UsageError, match="cannot read"):
        load_profile(tmp_path / "missing.json")


def test_sites_are_found_in_what_a_test_tunes() -> None:
    assert [s.name for s in find_sites(load_model(network("Elu", "Softplus")))] == [
        "elu",
        "softplus",
    ]
