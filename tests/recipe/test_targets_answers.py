"""What several providers answer together, and what of it is kept."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import onnx
import onnxruntime
import pytest
from onnx import parser

from onnx_act.errors import EvidenceError
from onnx_act.graph.model import load_model
from onnx_act.recipe import targets
from onnx_act.recipe.targets import ProviderTargets
from onnx_act.runtime import cache, miscomputation, probe, speed
from onnx_act.runtime.probe import Capability
from onnx_act.runtime.session import CPU

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Providers that are answered for; there is no device here.
ONE, TWO = "OneExecutionProvider", "TwoExecutionProvider"


def _model(operator: str = "Relu", length: int = 1) -> bytes:
    body = " ".join(f"v{k + 1} = {operator} (v{k})" for k in range(length))
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17, "com.example" : 1]>
        g (float[1,64] v0) => (float[1,64] v{length}) {{ {body} }}"""
    )
    assert isinstance(model, onnx.ModelProto)
    return bytes(model.SerializeToString())


MODEL = _model()


def _faster(targets: ProviderTargets, old: bytes, new: bytes) -> float:
    models = (load_model(onnx.load_from_string(m)) for m in (old, new))
    return targets.speedup(*models)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing was ever asked before."""
    place = tmp_path / "answers"
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(place))
    probe.forget()
    return place


def _at_once(function: Callable[..., float], *given: object, **others: object) -> float:
    """In this process, where what is asked is stood in for."""
    del others["timeout_s"]
    return function(*given, **others)


class Runtime:
    """Answers for providers, by their names, and remembers who was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reasons: dict[str, str] = {}
        self.wrongs: dict[str, str | Exception] = {}
        self.ratios: dict[str, float | Exception] = {}
        self.asked: list[str] = []
        monkeypatch.setattr(probe, "can_run", self._can_run)
        monkeypatch.setattr(miscomputation, "miscomputation", self._miscomputation)
        monkeypatch.setattr(miscomputation, "overflow", self._miscomputation)
        monkeypatch.setattr(speed, "speedup", self._speedup)
        monkeypatch.setattr(targets, "run_isolated", _at_once)

    def _can_run(self, model: bytes, provider: str, *, may_crash: bool) -> Capability:
        assert model
        self.asked.append(f"{provider} apart" if may_crash else provider)
        reason = self.reasons.get(provider, "")
        return Capability(ok=not reason, reason=reason)

    def _miscomputation(self, model: bytes, provider: str) -> str | None:
        assert model
        self.asked.append(provider)
        found = self.wrongs.get(provider)
        if isinstance(found, Exception):
            raise found
        return found

    def _speedup(self, old: Path, new: Path, provider: str, **others: object) -> float:
        assert old.read_bytes() != new.read_bytes()
        assert others.keys() == {"threads", "request"}
        self.asked.append(provider)
        found = self.ratios[provider]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    return Runtime(monkeypatch)


def _another_process() -> None:
    cache.forget_answers()


def test_all_have_to_run_it_and_the_first_that_does_not_says_why(runtime: Runtime) -> None:
    both = ProviderTargets((ONE, TWO))
    assert both.reason_against(MODEL) is None
    assert runtime.asked == [ONE, TWO]
    runtime.reasons = {ONE: "no kernel", TWO: "no memory"}
    assert both.reason_against(_model("Elu")) == "one: no kernel"
    runtime.reasons = {TWO: "no memory"}
    assert both.reason_against(_model("Selu")) == "two: no memory"


def test_all_have_to_compute_it_rightly(runtime: Runtime) -> None:
    both = ProviderTargets((ONE, TWO))
    assert both.miscomputation(MODEL) is None
    assert runtime.asked == [ONE, TWO]
    runtime.wrongs = {TWO: "its optimiser changes the result (max difference 4.2)"}
    assert both.miscomputation(_model("Elu")) == (
        "two: its optimiser changes the result (max difference 4.2)"
    )
    runtime.wrongs = {ONE: EvidenceError("gone")}
    assert both.miscomputation(_model("Selu")) == "one: gone"


def test_all_have_to_keep_it_finite(runtime: Runtime) -> None:
    both = ProviderTargets((ONE, TWO))
    assert both.overflow(MODEL) is None
    assert runtime.asked == [ONE, TWO]
    runtime.wrongs = {TWO: "it makes inf of 12"}
    assert both.overflow(_model("Elu")) == "two: it makes inf of 12"


def test_the_least_lucky_one_says_how_fast_it_is(runtime: Runtime) -> None:
    runtime.ratios = {ONE: 1.5, TWO: 1.25}
    assert _faster(ProviderTargets((ONE, TWO)), MODEL, _model("Elu")) == 1.25
    assert _faster(ProviderTargets((ONE,)), MODEL, _model("Elu")) == 1.5
    runtime.ratios = {ONE: EvidenceError("does not run"), TWO: 3.0}
    assert _faster(ProviderTargets((TWO, ONE)), MODEL, _model("Selu")) == 0.0


def test_without_a_provider_nothing_is_gained() -> None:
    assert _faster(ProviderTargets(()), MODEL, MODEL) == 0.0


def test_what_was_answered_is_not_asked_again(runtime: Runtime, folder: Path) -> None:
    runtime.ratios = {CPU: 1.5, ONE: 1.25}
    runtime.reasons = {CPU: "no kernel"}
    runtime.wrongs = {CPU: "its optimiser changes the result"}
    both = ProviderTargets((ONE, CPU))
    for _ in range(2):
        assert both.reason_against(MODEL) == "cpu: no kernel"
        assert both.miscomputation(MODEL) == "cpu: its optimiser changes the result"
        assert _faster(both, MODEL, _model("Elu")) == 1.25
        assert runtime.asked == [ONE, CPU] * 3
        _another_process()
    assert len(list(folder.iterdir())) == 6
    assert _faster(both, _model("Elu"), MODEL) == 1.25
    assert runtime.asked == [ONE, CPU] * 4


def test_a_failure_of_a_device_is_asked_again(runtime: Runtime, folder: Path) -> None:
    runtime.reasons = {ONE: "out of memory"}
    runtime.wrongs = {ONE: "whether its optimiser changes the result cannot be told"}
    runtime.ratios = {ONE: EvidenceError("out of memory")}
    one = ProviderTargets((ONE,))
    for _ in range(2):
        assert one.reason_against(MODEL) == "one: out of memory"
        assert one.miscomputation(MODEL) is not None
        assert _faster(one, MODEL, _model("Elu")) == 0.0
    assert runtime.asked == [ONE] * 6
    assert not folder.exists()


def test_a_process_that_came_to_grief_is_asked_again(runtime: Runtime) -> None:
    runtime.reasons = {CPU: "was stopped after 60 s"}
    cpu = ProviderTargets((CPU,))
    for _ in range(2):
        assert cpu.reason_against(MODEL, may_crash=True) == "cpu: was stopped after 60 s"
    assert runtime.asked == [f"{CPU} apart"] * 2
    runtime.reasons = {}
    for _ in range(2):
        assert cpu.reason_against(MODEL, may_crash=True) is None
    assert runtime.asked == [f"{CPU} apart"] * 3


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"reason": 1, "ratio": "1.5"},
        {"reason": None, "ratio": None},
        {"reason": [], "ratio": float("nan")},
        {"reason": True, "ratio": -1.0},
        {"ratio": float("inf")},
        {"ratio": 0.0},
        {"ratio": 2},
    ],
)
def test_answers_that_make_no_sense_are_not_believed(
    answer: object, runtime: Runtime, folder: Path
) -> None:
    runtime.ratios = {CPU: 1.5}
    cpu = ProviderTargets((CPU,))

    def ask() -> None:
        assert cpu.reason_against(MODEL) is None
        assert cpu.miscomputation(MODEL) is None
        assert _faster(cpu, MODEL, _model("Elu")) == 1.5

    ask()
    for entry in folder.iterdir():
        entry.write_text(json.dumps({**json.loads(entry.read_text()), "answer": answer}))
    _another_process()
    ask()
    assert runtime.asked == [CPU] * 6
    _another_process()
    ask()
    assert runtime.asked == [CPU] * 6


def test_a_folder_that_is_deleted_is_asked_anew(runtime: Runtime, folder: Path) -> None:
    cpu = ProviderTargets((CPU,))
    assert cpu.reason_against(MODEL) is None
    shutil.rmtree(folder)
    _another_process()
    assert cpu.reason_against(MODEL) is None
    assert runtime.asked == [CPU] * 2


def test_the_cpu_itself() -> None:
    cpu = ProviderTargets((CPU,))
    assert cpu.reason_against(MODEL) is None
    assert cpu.reason_against(MODEL, may_crash=True) is None
    reason = cpu.reason_against(_model("com.example.NoSuchOperator"))
    assert reason is not None
    assert reason.startswith("cpu: ")
    assert cpu.miscomputation(MODEL) is None
    assert "cpu: whether" in (cpu.miscomputation(_model("com.example.NoSuchOperator")) or "")
    assert _faster(cpu, _model("Sin", 64), _model("Sin", 8)) > 1.5
    assert _faster(cpu, MODEL, _model("com.example.NoSuchOperator")) == 0.0
    assert _faster(cpu, _model("com.example.NoSuchOperator"), MODEL) == 0.0


def test_beside_a_provider_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    both = ProviderTargets((CPU, "CUDAExecutionProvider"))
    missing = "cuda: CUDAExecutionProvider is not part of the installed ONNX Runtime"
    assert (both.reason_against(MODEL) or "").startswith(missing)
    assert (both.miscomputation(MODEL) or "").startswith(missing)
    assert _faster(both, _model("Sin", 64), _model("Sin", 8)) == 0.0


def test_targets_are_equal_by_their_providers() -> None:
    assert ProviderTargets((CPU,)) == ProviderTargets((CPU,))
    assert ProviderTargets((CPU,)) != ProviderTargets((CPU, ONE))
    assert len({ProviderTargets((CPU,)), ProviderTargets((CPU,))}) == 1
    assert "_traces" not in repr(ProviderTargets((CPU,)))
