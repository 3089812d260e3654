"""The table of the fusing benchmark: what it measures, and when it ends with exit code 1."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

_OURS = "onnx-act portable"


@pytest.fixture
def fuse(script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark with one small network, three contestants, and no process for each step."""
    module = script("fuse")
    make = script("fuse_models").normalised_mlp
    everyone = module.CONTESTANTS
    monkeypatch.setattr(module, "NETWORKS", {"tiny MLP": lambda **_: make(small=True)})
    few = {name: everyone[name] for name in ("original", "onnxsim", _OURS)}
    monkeypatch.setattr(module, "CONTESTANTS", few)
    monkeypatch.setattr(module, "OURS", (_OURS,))
    monkeypatch.setattr(module, "peer_versions", lambda: {"onnxsim": None})
    for place in (module, script("ratios")):
        monkeypatch.setattr(place, "run_isolated", _directly)
    return module


def _directly(function: Callable[..., Any], *args: Any, timeout_s: float, **kwargs: Any) -> Any:
    assert timeout_s > 0.0
    return function(*args, **kwargs)


def test_the_figures(fuse: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    assert fuse.main(["--time", "0.1", "--net", "mlp", "--json", str(figures)]) == 0
    document = json.loads(figures.read_text())
    assert document["threads"] == 1
    assert document["environment"]["onnxruntime"]
    assert document["peers"] == {"onnxsim": None}
    results = document["networks"]["tiny MLP"]
    assert results["onnxsim"] == {"failed": "not installed"}
    original, ours = results["original"], results[_OURS]
    assert original["equivalent"] is ours["equivalent"] is True
    assert original["nodes"] == original["loaded"] == 6
    assert ours["nodes"] == 4
    assert ours["loaded"] == 2
    assert original["max_abs_off"] == 0.0
    assert 0.0 < ours["max_abs_off"] < 1e-4
    assert ours["feeds"] > 1
    for key in ("ratio", "ratio_off"):
        ratio = ours[key]
        assert ratio["low"] <= ratio["median"] <= ratio["high"]
        assert ratio["blocks"] > 0
    shown = capsys.readouterr().out
    assert "pip install onnxsim" in shown
    assert "not installed" in shown


def _fake_ratio(*_: Any) -> dict[str, Any]:
    return {"median": 1.0, "low": 0.9, "high": 1.1, "sessions": 1}


def test_a_wrong_result_of_ours_is_told(
    fuse: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoil(contestant: str, source: Path, target: Path) -> None:
        model = onnx.load(source)
        if contestant == _OURS:
            weight = model.graph.initializer[0]
            spoiled = numpy_helper.to_array(weight) * np.float32(1.001)
            weight.CopyFrom(numpy_helper.from_array(spoiled, weight.name))
        onnx.save(model, target)

    monkeypatch.setattr(fuse, "make", spoil)
    monkeypatch.setattr(fuse, "measured_ratio", _fake_ratio)
    assert fuse.main([]) == 1
    shown = capsys.readouterr().out
    assert "NO" in shown
    assert "not equivalent: " in shown
    assert "1.000 [0.900, 1.100] ?" in shown


@pytest.mark.parametrize(("who", "code"), [("original", 0), (_OURS, 1)])
def test_who_fails_is_a_line(
    fuse: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    who: str,
    code: int,
) -> None:
    made = fuse.make

    def fail(contestant: str, source: Path, target: Path) -> None:
        if contestant == who:
            raise RuntimeError("first line\nit fell over")
        made(contestant, source, target)

    monkeypatch.setattr(fuse, "make", fail)
    monkeypatch.setattr(fuse, "measured_ratio", _fake_ratio)
    assert fuse.main([]) == code
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith(who)]
    assert line.endswith("it fell over")


def test_a_result_that_does_not_run_is_not_equivalent(
    fuse: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stranger(contestant: str, source: Path, target: Path) -> None:
        model = onnx.load(source)
        if contestant == _OURS:
            model.graph.node[0].domain = "nobody.knows"
            model.opset_import.append(onnx.helper.make_opsetid("nobody.knows", 1))
        onnx.save(model, target)

    monkeypatch.setattr(fuse, "make", stranger)
    monkeypatch.setattr(fuse, "measured_ratio", _fake_ratio)
    assert fuse.main([]) == 1
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith(_OURS)]
    assert " NO " in line
    assert "nobody.knows" in line


def test_a_network_that_is_not_there(fuse: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        fuse.main(["--net", "nothing"])
    assert caught.value.code == 2
    assert "tiny MLP" in capsys.readouterr().err


def test_each_contestant_can_be_run_in_a_process(script: Callable[[str], ModuleType]) -> None:
    peers = script("fuse_peers")
    assert peers.make.__module__ == "fuse_peers"
    assert set(peers.OURS) < set(peers.CONTESTANTS)
    assert set(peers.peer_versions()) == set(peers.PEERS) < set(peers.CONTESTANTS)
