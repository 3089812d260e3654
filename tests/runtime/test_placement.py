"""Where nodes run, read from the runtime: with the CPU alone here, and with made-up profiles."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import onnx
import pytest
from onnx import parser

from onnx_act.errors import EvidenceError
from onnx_act.runtime.placement import observe_placement
from onnx_act.runtime.session import CPU, PlacedNode, Session, open_session

if TYPE_CHECKING:
    from pathlib import Path

_OTHER = "OpenVINOExecutionProvider"


def _event(name: str, op_type: str, provider: str, index: int, **arguments: Any) -> dict[str, Any]:
    told = {"op_name": op_type, "provider": provider, "node_index": str(index), **arguments}
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": 1, "args": told}


def _model(folder: Path) -> Path:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[4,16] x) => (float[4,16] y) { a = Relu (x) y = Tanh (a) }"""
    )
    onnx.save(model, folder / "m.onnx")
    return folder / "m.onnx"


def test_on_the_cpu_everything_is_on_the_cpu(tmp_path: Path) -> None:
    seen = observe_placement(_model(tmp_path), CPU)
    assert seen.nodes == ((CPU, 2),)
    assert seen.elsewhere == ()
    assert seen.copied is None


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the runtime says: `events` of its profile, and `placed` nodes."""
    told: dict[str, Any] = {"events": [], "placed": None}

    def end_profile(session: Session) -> Path:
        session._native.end_profiling()
        path = tmp_path / "told.json"
        path.write_text(json.dumps(told["events"]), encoding="utf-8")
        return path

    def on_the_cpu(model: Path, settings: Any) -> Session:
        return open_session(model, replace(settings, provider=CPU))

    monkeypatch.setattr("onnx_act.runtime.placement.open_session", on_the_cpu)
    monkeypatch.setattr(Session, "end_profile", end_profile)
    monkeypatch.setattr(Session, "assigned_nodes", lambda _: told["placed"])
    return told


def test_sizes_come_from_the_run(pretended: dict[str, Any], tmp_path: Path) -> None:
    """A node without a name goes by its operator and its number; strings have no size."""
    pretended["placed"] = (PlacedNode("Relu", "", CPU), PlacedNode("Tanh", "t", _OTHER))
    pretended["events"] = [
        _event(
            "Relu_0",
            "Relu",
            CPU,
            0,
            input_type_shape=[{"float": [4, 16]}, {"string": [2]}],
            output_type_shape=[{"double": []}, {"float16": [0, 3]}],
        ),
        _event("t", "Tanh", _OTHER, 1),
        {"cat": "Session", "name": "model_run"},
    ]
    seen = observe_placement(_model(tmp_path), _OTHER)
    (node,) = seen.elsewhere
    assert (node.op_type, node.name, node.provider, node.index) == ("Relu", "", CPU, 0)
    assert node.inputs == (256, None)
    assert node.outputs == (8, 0)
    assert seen.nodes == ((CPU, 1), (_OTHER, 1))
    assert seen.copied is None


def test_copying_nodes_are_counted_per_run_and_are_no_nodes(
    pretended: dict[str, Any], tmp_path: Path
) -> None:
    copy = _event("m", "MemcpyToHost", _OTHER, 7, output_size="256")
    run = {"cat": "Session", "name": "model_run"}
    pretended["events"] = [copy, copy, copy, run, run, run]
    seen = observe_placement(_model(tmp_path), _OTHER)
    assert seen.copied == 256
    assert seen.elsewhere == ()
    copy["args"]["output_size"] = ""
    assert observe_placement(_model(tmp_path), _OTHER).copied is None


def test_a_node_that_did_not_run_is_listed_all_the_same(
    pretended: dict[str, Any], tmp_path: Path
) -> None:
    """A branch that was not taken; and of two nodes of a kind, the one that is left over."""
    pretended["placed"] = (PlacedNode("Unique", "", CPU), PlacedNode("Unique", "", CPU))
    pretended["events"] = [_event("Unique_3", "Unique", CPU, 3)]
    seen = observe_placement(_model(tmp_path), _OTHER)
    assert [node.index for node in seen.elsewhere] == [3, None]


def test_a_profile_that_cannot_be_read_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "broken.json"
    path.write_text("[", encoding="utf-8")
    monkeypatch.setattr(Session, "end_profile", lambda _: path)
    with pytest.raises(EvidenceError, match="profile cannot be read"):
        observe_placement(_model(tmp_path), CPU)
