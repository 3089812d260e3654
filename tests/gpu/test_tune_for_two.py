"""Tuning for a second provider: what is faster on the CPU is not taken where it is slower there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import onnx_act
from onnx_act.runtime.cache import forget_answers
from onnx_act.runtime.session import CPU
from onnx_act.runtime.target import provider_states

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS = [s.name for s in provider_states() if s.runs and s.name != CPU]
_NONE = "no provider but the CPU runs here"
pytestmark = pytest.mark.skipif(not _OTHERS, reason=_NONE)


@pytest.mark.parametrize("provider", _OTHERS)
@pytest.mark.parametrize("is_first", [True, False])
def test_the_result_is_slower_on_neither(
    provider: str,
    is_first: bool,
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ONNX_ACT_CACHE_DIR", str(tmp_path / "answers"))
    forget_answers()
    providers = [provider, CPU] if is_first else [CPU, provider]
    model, out = models / "digits_cnn_mish.onnx", tmp_path / "out.onnx"
    report = onnx_act.tune(
        model, out, providers=providers, budget=40.0, data=models / "digits_test.npz"
    )
    entry: dict[str, Any] = report.to_dict()["models"][0]
    assert report.exit_code == 0, entry["message"]
    tuning = entry["tuning"]
    assert tuning["providers"] == providers
    assert [v["provider"] for v in entry["equivalence"]["providers"]] == providers
    assert all(v["passed"] for v in entry["equivalence"]["providers"])
    if not tuning["is_kept"]:
        assert out.read_bytes() == model.read_bytes()
        assert tuning["reason"]
        return
    first, second = tuning["confirmed"]
    assert (first["provider"], second["provider"]) == tuple(providers)
    assert first["ratio"]["low"] > 1
    assert second["verdict"] != "slower"
