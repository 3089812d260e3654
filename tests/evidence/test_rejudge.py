"""Judging by given tolerances, at once and again from metrics."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper
from small_models import Net, save

from onnx_act.errors import UsageError
from onnx_act.evidence.equivalence import judge_equivalence
from onnx_act.evidence.metrics import Metrics, check_metrics_path, load_metrics, save_metrics
from onnx_act.evidence.overrides import GivenTolerances, tolerances_from_mappings
from onnx_act.evidence.rejudge import rejudge

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_act.evidence.verdict import Equivalence


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two models that differ, and by how little or much is known only to those that look."""
    reference = Net().save(tmp_path / "reference.onnx")
    return reference, Net(slope=0.11).save(tmp_path / "candidate.onnx")


def stored(equivalence: Equivalence, path: Path) -> Equivalence:
    save_metrics(Metrics("a", "b", equivalence), path)
    found = load_metrics(path)
    assert (found.reference, found.candidate) == ("a", "b")
    return found.equivalence


def test_metrics_come_back_as_they_were(pair: tuple[Path, Path], tmp_path: Path) -> None:
    for candidate in pair:
        measured = judge_equivalence(pair[0], candidate, threads=1)
        assert stored(measured, tmp_path / "m.json") == measured


def test_a_metrics_file_judges_as_the_models_do(pair: tuple[Path, Path], tmp_path: Path) -> None:
    measured = judge_equivalence(*pair, threads=1)
    assert not measured.passed
    kept = stored(measured, tmp_path / "m.json")
    needed = measured.providers[0].outputs[0].max_abs
    verdicts = set()
    for atol, rtol in ((0.5, 0.0), (1.001, 0.0), (0.0, 1e-3), (0.7, 1e-2), (1.001, 1e-3)):
        given = tolerances_from_mappings(atol * needed, rtol)
        again = rejudge(kept, given)
        at_once = judge_equivalence(*pair, threads=1, tolerances=given)
        assert again == at_once
        verdicts.add(again.passed)
        (output,) = again.providers[0].outputs
        assert output.is_given
        passing = tolerances_from_mappings(output.minimum_atol, rtol)
        assert rejudge(kept, passing).passed
    assert verdicts == {True, False}


def test_the_reason_says_what_it_would_take(pair: tuple[Path, Path]) -> None:
    found = judge_equivalence(*pair, threads=1, tolerances=tolerances_from_mappings(1e-6, None))
    assert not found.passed
    assert "as was given (atol 1e-06, rtol 0)" in found.reason
    assert "it would take atol" in found.reason


def test_a_given_tolerance_may_be_tighter_than_the_derived_one(tmp_path: Path) -> None:
    reference, candidate = (
        Net().save(tmp_path / "a.onnx"),
        Net(folded=True).save(tmp_path / "b.onnx"),
    )
    assert judge_equivalence(reference, candidate, threads=1).passed
    exact = tolerances_from_mappings(0.0, None)
    assert not judge_equivalence(reference, candidate, threads=1, tolerances=exact).passed
    assert judge_equivalence(reference, reference.with_name("a.onnx"), threads=1).passed


def test_other_outputs_keep_their_verdict(tmp_path: Path) -> None:
    def two(name: str, gain: float) -> Path:
        nodes = [
            helper.make_node("Mul", ["x", "k"], ["y"]),
            helper.make_node("ArgMax", ["y"], ["class"], axis=1),
        ]
        outputs = [("y", None, None), ("class", np.int64, None)]
        inputs = [("x", None, ("N", 64))]
        weights = {"k": np.array([gain], np.float32)}
        return save(tmp_path / name, nodes, weights, inputs=inputs, outputs=outputs)

    measured = judge_equivalence(two("a.onnx", 1.0), two("b.onnx", -1.0), threads=1)
    kept = stored(measured, tmp_path / "m.json")
    loose = rejudge(kept, tolerances_from_mappings(1e5, None))
    first, second = loose.providers[0].outputs
    assert first.passed
    assert first.is_given
    assert not second.passed
    assert not second.is_given
    assert rejudge(kept, tolerances_from_mappings({"": 1e5, "class": 64}, None)).passed
    assert rejudge(kept, GivenTolerances()) == measured
    with pytest.raises(UsageError, match="no output 'klass'; did you mean 'class'"):
        rejudge(kept, tolerances_from_mappings({"klass": 1.0}, None))


def test_no_tolerance_helps_against_nan_or_a_candidate_that_does_not_run(tmp_path: Path) -> None:
    def model(name: str, *ops: str) -> Path:
        values = ["x", *(f"v{i}" for i in range(len(ops) - 1)), "y"]
        nodes = [
            helper.make_node(op, [a], [b])
            for op, a, b in zip(ops, values, values[1:], strict=False)
        ]
        return save(tmp_path / name, nodes, {}, inputs=[("x", None, ("N", 64))])

    reference = model("a.onnx", "Relu", "Sqrt")
    for candidate in (model("b.onnx", "Sqrt"), model("c.onnx", "NoSuchOperator")):
        measured = judge_equivalence(reference, candidate, threads=1)
        kept = stored(measured, tmp_path / "m.json")
        found = rejudge(kept, tolerances_from_mappings(1e30, 1e30))
        assert not found.passed
    assert (
        "NaN in other places"
        in rejudge(
            stored(judge_equivalence(reference, model("b.onnx", "Sqrt")), tmp_path / "m.json"),
            tolerances_from_mappings(1e30, None),
        ).reason
    )


def test_envelopes_are_not_part_of_reports(pair: tuple[Path, Path]) -> None:
    level = judge_equivalence(*pair, threads=1).to_dict()["providers"][0]["outputs"][0]["levels"][0]
    assert set(level) == {"level", "passed", "max_abs", "severity"}


def test_a_file_that_holds_something_else_is_not_overwritten(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "m.json"
    check_metrics_path(path)
    save_metrics(Metrics("a", "b", judge_equivalence(*pair, threads=1)), path)
    check_metrics_path(path)
    with pytest.raises(UsageError, match="would overwrite"):
        check_metrics_path(pair[0])


def test_what_is_no_metrics_file_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    with pytest.raises(UsageError, match="cannot be read"):
        load_metrics(path)
    for text in ("not json", "[]", '{"schema": "onnx-act/validate/1"}'):
        path.write_text(text)
        with pytest.raises(UsageError, match="holds no metrics"):
            load_metrics(path)
    measured = judge_equivalence(*pair, threads=1)
    save_metrics(Metrics("a", "b", replace(measured, seed=7)), path)
    document = json.loads(path.read_text())
    del document["equivalence"]["providers"][0]["outputs"][0]["difference"]
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="damaged"):
        load_metrics(path)
    with pytest.raises(UsageError, match="cannot be written"):
        save_metrics(Metrics("a", "b", measured), tmp_path / "no" / "m.json")
