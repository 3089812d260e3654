"""Tuning as a step of a conversion: what it must not get past, and how Python asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

import onnx_act
from onnx_act.activations.activation import Respelling
from onnx_act.activations.primitives import maximum
from onnx_act.errors import OnnxActError, UsageError
from onnx_act.evidence.statistics import Interval
from onnx_act.graph.lower import ExpressionLowering
from onnx_act.recipe.request import ConversionRequest
from onnx_act.recipe.tuning import TuneOptions
from onnx_act.runtime.cache import forget_answers
from onnx_act.runtime.session import CPU
from onnx_act.tuning.outcome import CandidateOutcome, Confirmation, GroupOutcome, TuningOutcome

if TYPE_CHECKING:
    from pathlib import Path

FASTER = Confirmation(CPU, Interval(1.5, 1.4, 1.6), "faster", {"provider": CPU, "marker": 7})


@pytest.fixture(autouse=True)
def _nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNX_ACT_CACHE_DIR", str(tmp_path / "answers"))
    forget_answers()


def _model() -> onnx.ModelProto:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[N,8] x) => (float[N,8] y) { h = MatMul (x, w) a = Elu (h) y = MatMul (a, w) }"""
    )
    assert isinstance(model, onnx.ModelProto)
    weight = np.random.default_rng(0).normal(0, 0.4, (8, 8)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "model.onnx"
    path.parent.mkdir()
    onnx.save(_model(), path)
    return path


def _answer(
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    *,
    is_kept: bool = True,
    is_approximate: bool = False,
    reason: str = "",
) -> None:
    """Let tuning say that a site is to be written so."""
    candidate = CandidateOutcome(key, key, "chosen", is_approximate=is_approximate)
    group = GroupOutcome("s", "elu", ("a",), "Elu", key, key, "r", 0.5, candidates=(candidate,))
    outcome = TuningOutcome(
        (group,), is_kept=is_kept, reason=reason, providers=(CPU,), confirmed=(FASTER,)
    )
    monkeypatch.setattr("onnx_act.recipe.tuning.tune_model", lambda *_: outcome)


def _tune(model: Any, out: Path | None, **options: Any) -> tuple[int, dict[str, Any]]:
    report = onnx_act.tune(model, out, **options)
    assert report.command == "tune"
    (entry,) = report.to_dict()["models"]
    assert isinstance(entry, dict)
    return report.exit_code, entry


def _operators(path: Path) -> list[str]:
    return [n.op_type for n in onnx.load(path).graph.node if n.op_type != "Constant"]


def test_what_was_chosen_is_written_and_validated(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer(monkeypatch, "ramp")
    out = tmp_path / "out.onnx"
    code, entry = _tune(model, out)
    assert code == 0
    assert entry["output"] == str(out)
    (change,) = entry["changes"]
    assert (change["rule"], change["site"], change["fidelity"]) == (
        "respell_activation",
        "a",
        "numeric",
    )
    assert entry["equivalence"]["passed"] is True
    # What tuning measured is what there is to say of latency.
    assert [latency["marker"] for latency in entry["latency"]] == [7]
    assert _operators(out) == ["MatMul", "Relu", "Exp", "HardSigmoid", "Sub", "MatMul"]


def test_what_is_not_equivalent_is_not_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validating does not take tuning's word for it."""
    wrong = Respelling("wrong", lambda x, alpha: maximum(x, 0) - alpha)
    monkeypatch.setattr(
        "onnx_act.rewrite.respell_activation.respelled_lowerings",
        lambda *_: [ExpressionLowering("max(x, 0) - alpha", wrong)],
    )
    _answer(monkeypatch, "wrong")
    out = tmp_path / "out" / "out.onnx"
    out.parent.mkdir()
    code, entry = _tune(model, out)
    assert code == 1
    assert entry["outcome"] == "failed"
    assert entry["output"] is None
    assert "nothing was written" in entry["message"]
    assert list(out.parent.iterdir()) == []
    older = tmp_path / "out" / "older.onnx"
    older.write_bytes(b"older")
    assert _tune(model, older)[0] == 1
    assert older.read_bytes() == b"older"
    assert [p.name for p in out.parent.iterdir()] == ["older.onnx"]


def test_what_is_not_kept_leaves_the_file_as_it_is(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer(monkeypatch, "ramp", is_kept=False, reason="the interval is not above 1")
    out = tmp_path / "out.onnx"
    code, entry = _tune(model, out)
    assert code == 0
    assert entry["changes"] == []
    assert entry["tuning"]["reason"] == "the interval is not above 1"
    assert out.read_bytes() == model.read_bytes()
    assert any("nothing was shown to be faster" in note for note in entry["notes"])


def test_what_rounds_worse_is_called_approximate(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer(monkeypatch, "ramp", is_approximate=True)
    _, entry = _tune(model, tmp_path / "out.onnx", allow_approximate=True)
    assert [c["fidelity"] for c in entry["changes"]] == ["approximate"]


def test_an_operator_of_the_runtime_alone_is_stamped_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spelled = _model()
    for node in [n for n in spelled.graph.node if n.op_type == "Elu"]:
        place = list(spelled.graph.node).index(node)
        spelled.graph.node.remove(node)
        gate = [
            onnx.helper.make_node("Sigmoid", ["h"], ["s"]),
            onnx.helper.make_node("Mul", ["h", "s"], ["a"]),
        ]
        for made in reversed(gate):
            spelled.graph.node.insert(place, made)
    _answer(monkeypatch, "com.microsoft.QuickGelu")
    out = tmp_path / "out.onnx"
    code, entry = _tune(spelled, out, allow_contrib=True)
    assert code == 0
    assert entry["equivalence"]["passed"] is True
    assert _operators(out) == ["MatMul", "QuickGelu", "MatMul"]
    stored = {p.key: p.value for p in onnx.load(out).metadata_props}
    assert stored["onnx_act.fused_for"] == "cpu"


def test_a_way_that_is_not_there_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer(monkeypatch, "of the next version")
    out = tmp_path / "out.onnx"
    code, entry = _tune(model, out)
    assert code == 0
    (refusal,) = entry["refusals"]
    assert refusal["site"] == "a"
    assert out.read_bytes() == model.read_bytes()


def test_an_object_is_tuned_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, "ramp")
    given = _model()
    before = given.SerializeToString()
    out = tmp_path / "out.onnx"
    assert _tune(given, out)[0] == 0
    assert given.SerializeToString() == before
    assert "Elu" not in _operators(out)


def test_tuning_that_fails_writes_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> TuningOutcome:
        raise OnnxActError("the machine is on fire")

    monkeypatch.setattr("onnx_act.recipe.tuning.tune_model", fails)
    with pytest.raises(OnnxActError, match="on fire"):
        onnx_act.tune(model, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("seconds", [0.0, 4.99, -1.0])
def test_a_budget_has_a_least(seconds: float) -> None:
    with pytest.raises(UsageError, match="at least 5s"):
        TuneOptions(budget_s=seconds)


def test_what_does_not_go_together(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    with pytest.raises(UsageError, match="nothing to write with --save-profile"):
        TuneOptions(profile=path, save_profile=path)
    with pytest.raises(UsageError, match="neither fuse, swap nor tune"):
        ConversionRequest(undo=True, tune=TuneOptions())
