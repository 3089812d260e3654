"""A runtime that crashes or hangs, and models that nothing can be said of: each ends in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hostile_models as hostile
import numpy as np
import pytest

import onnx_act
from onnx_act.cli.app import run
from onnx_act.errors import EvidenceError, ModelUnsupportedError
from onnx_act.evidence.equivalence import judge_equivalence
from onnx_act.recipe import compare_models, evidence, placement
from onnx_act.report import accuracy_page
from onnx_act.runtime.isolate import run_isolated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onnx_act.evidence.verdict import ProviderVerdict


def _judged(reference: Path, candidate: Path | None = None) -> ProviderVerdict:
    (verdict,) = judge_equivalence(reference, candidate or reference).providers
    return verdict


# A runtime that hangs: a loop of 2**62 rounds.


def test_a_hang_of_validate_is_stopped(tmp_path: Path) -> None:
    model = hostile.endless(tmp_path / "m.onnx")
    with pytest.raises(EvidenceError, match=r"did not finish within 3 s.*--timeout") as caught:
        onnx_act.validate(model, model, timeout=3.0)
    assert caught.value.exit_code == 1


def test_a_hang_of_a_conversion_writes_nothing(tmp_path: Path) -> None:
    model, out = hostile.endless(tmp_path / "m.onnx"), tmp_path / "out.onnx"
    report = onnx_act.swap(model, out, {"relu": "tanh"}, timeout=3.0)
    assert report.exit_code == 1
    assert "could not be validated" in report.models[0].message
    assert "did not finish within 3 s" in report.models[0].message
    assert not out.exists()


# A runtime that crashes: a stand-in that reads where no memory is, in the process that is there
# for it.


def _crashes_at(monkeypatch: pytest.MonkeyPatch, place: object, name: str) -> None:
    def crashed(function: object, *_: object, **__: object) -> object:
        assert getattr(function, "__name__", "") == name
        return run_isolated(hostile.crash)

    monkeypatch.setattr(place, "run_isolated", crashed)


def test_a_crash_of_validate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = hostile.write(tmp_path / "m.onnx", "y = Relu (x)")
    _crashes_at(monkeypatch, compare_models, "judge_equivalence")
    with pytest.raises(EvidenceError, match="ONNX Runtime crashed in crash with SIGSEGV"):
        onnx_act.validate(model, model)


def test_a_crash_of_a_conversion(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, out = hostile.write(tmp_path / "m.onnx", "y = Relu (x)"), tmp_path / "out.onnx"
    _crashes_at(monkeypatch, evidence, "judge_equivalence")
    report = onnx_act.fuse(model, out)
    assert report.exit_code == 1
    assert "ONNX Runtime crashed in crash with SIGSEGV" in report.models[0].message
    assert not out.exists()


def test_a_crash_where_accuracy_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    _crashes_at(monkeypatch, accuracy_page, "measure_ways")
    with pytest.raises(EvidenceError, match="crashed in crash with SIGSEGV"):
        accuracy_page.activation_accuracy("relu", None, ["CPUExecutionProvider"])


def test_a_crash_where_placement_is_read_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = hostile.write(tmp_path / "m.onnx", "y = Relu (x)")
    _crashes_at(monkeypatch, placement, "measure_placement")
    monkeypatch.setattr(placement, "CPU", "something else")
    report = onnx_act.validate(model, model)
    assert report.exit_code == 0
    assert any("SIGSEGV" in note for note in report.models[0].notes)


# Inputs and numbers.


def test_an_input_that_cannot_be_made_up(tmp_path: Path) -> None:
    model = hostile.string_input(tmp_path / "m.onnx")
    with pytest.raises(EvidenceError, match=r"input 'x' of type string.*--data") as caught:
        onnx_act.validate(model, model)
    assert caught.value.exit_code == 1


def test_strings_are_judged_by_equality_when_they_are_given(tmp_path: Path) -> None:
    model = hostile.string_input(tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.array(["a", "b"]))
    assert onnx_act.validate(model, model, data=tmp_path / "x.npy").exit_code == 0


def test_nan_of_the_original_must_be_nan_of_the_result(tmp_path: Path) -> None:
    """Square roots of negative numbers; elsewhere the values are judged."""
    same = hostile.write(tmp_path / "a.onnx", "y = Sqrt (x)")
    other = hostile.write(tmp_path / "b.onnx", "a = Abs (x) y = Sqrt (a)")
    verdict = _judged(same)
    assert verdict.passed
    (output,) = verdict.outputs
    assert output.difference.nan_agrees
    apart = _judged(same, other)
    assert not apart.passed
    assert "NaN in other places than the reference" in apart.reason


def test_nothing_but_nan_is_no_pass(tmp_path: Path) -> None:
    model = hostile.write(tmp_path / "m.onnx", "a = Sub (x, x) b = Div (a, a) y = Add (b, x)")
    verdict = _judged(model)
    assert not verdict.passed
    assert "no element that could be judged" in verdict.reason


# Outputs that are no plain tensors.

_SEQUENCE = "s = SequenceConstruct (r)"


@pytest.mark.parametrize(
    ("body", "outputs", "said"),
    [
        (f"r = Relu (x) {_SEQUENCE}", "seq(float[4]) s", "seq"),
        ("r = Relu (x) o = Optional (r)", "optional(float[4]) o", "optional"),
    ],
)
def test_no_output_that_is_a_tensor(tmp_path: Path, body: str, outputs: str, said: str) -> None:
    interface = f"(float[4] x) => ({outputs})"
    model = hostile.write(tmp_path / "m.onnx", body, interface)
    with pytest.raises(EvidenceError, match="no output that is a tensor") as caught:
        onnx_act.validate(model, model)
    assert caught.value.exit_code == 1
    beside = hostile.write(
        tmp_path / "both.onnx", f"{body} y = Tanh (r)", interface[:-1] + ", float[4] y)"
    )
    verdict = _judged(beside)
    assert verdict.passed
    assert [output.output for output in verdict.outputs] == ["y"]
    assert any(f"{said}" in note and "is not judged" in note for note in verdict.notes)


def test_a_map_cannot_be_read_and_that_says_what_to_do(tmp_path: Path) -> None:
    model = hostile.mapped(tmp_path / "m.onnx")
    with pytest.raises(ModelUnsupportedError, match=r"is a map.*without ZipMap") as caught:
        onnx_act.validate(model, model)
    assert caught.value.exit_code == 3


def test_strings_that_a_model_makes(tmp_path: Path) -> None:
    def made(name: str, operator: str) -> Path:
        body = f"r = {operator} (x) y = Cast <to = 8> (r)"
        return hostile.write(tmp_path / name, body, "(int64[4] x) => (string[4] y)")

    model = made("m.onnx", "Identity")
    assert _judged(model).passed
    apart = _judged(model, made("o.onnx", "Neg"))
    assert not apart.passed
    assert "differs in" in apart.reason


@pytest.mark.parametrize("write", [hostile.write])
def test_an_empty_output_beside_another(tmp_path: Path, write: Callable[..., Path]) -> None:
    body = "y = Relu (x) e = Slice (x, z, z)"
    interface = "(float[4] x) => (float[4] y, float[0] e) <int64[1] z = {0}>"
    verdict = _judged(write(tmp_path / "m.onnx", body, interface))
    assert verdict.passed
    assert [output.difference.elements for output in verdict.outputs][1] == 0


def test_nothing_but_empty_outputs(tmp_path: Path) -> None:
    interface = "(float[4] x) => (float[0] e) <int64[1] z = {0}>"
    model = hostile.write(tmp_path / "m.onnx", "e = Slice (x, z, z)", interface)
    with pytest.raises(EvidenceError, match="every output is empty"):
        onnx_act.validate(model, model)


def test_a_hang_of_bench_is_stopped(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = hostile.endless(tmp_path / "m.onnx")
    assert run(["bench", str(model), "--timeout", "3s"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "did not finish within 3 s and was stopped" in said.err


def test_accuracy_has_a_time_limit_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["catalog", "silu", "--accuracy", "--timeout", "1ms"]) == 1
    assert "did not finish within 0.001 s" in capsys.readouterr().err


def test_numbers_that_a_model_prints(tmp_path: Path) -> None:
    """As text every element would change by rounding, and any model would do."""

    def made(name: str, operator: str) -> Path:
        body = f"r = {operator} (x) y = Cast <to = 8> (r)"
        return hostile.write(tmp_path / name, body, "(float[8] x) => (string[8] y)")

    model = made("m.onnx", "Relu")
    assert _judged(model).passed
    apart = _judged(model, made("o.onnx", "Abs"))
    assert not apart.passed
    assert "as far off as rounding explains" in apart.reason


def test_integers_of_which_most_change_by_rounding(tmp_path: Path) -> None:
    def made(name: str, last: str) -> Path:
        body = f"r = Mul (x, c) z = Cast <to = 7> (r) {last}"
        interface = "(float[8] x) => (int64[8] y) <float c = {1e9}, int64 one = {1}>"
        return hostile.write(tmp_path / name, body, interface)

    model = made("m.onnx", "y = Identity (z)")
    assert _judged(model).passed
    apart = _judged(model, made("o.onnx", "y = Add (z, one)"))
    assert not apart.passed
    assert "cannot be judged" in apart.reason
