"""The runtime's own profile of a model: what each node costs in one run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from onnx import parser

from onnx_act.errors import EvidenceError, UsageError
from onnx_act.runtime import profile as module
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.profile import profile_model

if TYPE_CHECKING:
    from pathlib import Path


def _model(body: str, shape: str = "64,512") -> bytes:
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[{shape}] x) => (float[{shape}] y) {{ {body} }}"""
    )
    serialised: bytes = model.SerializeToString()
    return serialised


def test_every_node_has_its_time() -> None:
    found = profile_model(_model("[slow] a = Softplus (x) [fast] y = Neg (a)"))
    assert [(n.name, n.op_type) for n in found.nodes] == [("slow", "Softplus"), ("fast", "Neg")]
    slow, fast = (n.seconds for n in found.nodes)
    assert slow > fast >= 0
    assert found.seconds == pytest.approx(slow + fast)
    # What nodes take together is a part of a run.
    assert found.run_s > 0.3 * found.seconds
    assert found.open_s > 0
    assert found.shapes == (("x", (64, 512)),)


def test_sizes_that_are_free_have_one_row_or_what_is_asked_for() -> None:
    model = _model("[n] y = Neg (x)", "N,4")
    assert profile_model(model).shapes == (("x", (1, 4)),)
    asked = FeedRequest(shapes=(("x", (7, 4)),))
    assert profile_model(model, request=asked).shapes == (("x", (7, 4)),)
    with pytest.raises(UsageError):
        profile_model(model, request=FeedRequest(shapes=(("x", (7, 5)),)))


def test_a_loop_is_counted_for_one_run() -> None:
    body = """n = Constant <value = int64 {4}> ()
        c = Constant <value = bool {1}> ()
        y = Loop (n, c, x) <body = b (int64 i, bool go, float[64,512] v)
            => (bool on, float[64,512] w) { on = Identity (go) [inner] w = Softplus (v) }>"""
    found = profile_model(_model(body))
    once = profile_model(_model("[inner] y = Softplus (x)"))
    inner = next(n.seconds for n in found.nodes if n.name == "inner")
    single = next(n.seconds for n in once.nodes if n.name == "inner")
    # Four times in each run; another process may have had the machine meanwhile.
    assert 1.5 * single < inner < 40 * single


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    profile_model(_model("y = Neg (x)"))
    assert not [p for p in tmp_path.rglob("*") if "profile" in p.name or "onnx-act" in p.name]


def test_a_model_that_does_not_run() -> None:
    with pytest.raises(EvidenceError):
        profile_model(_model("y = NoSuchThing (x)"))


@pytest.mark.parametrize("content", ["", "{", "3", '{"a": 1}', '"text"'])
def test_a_profile_that_cannot_be_read(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended:
        def end_profile(self) -> Path:
            path = tmp_path / "profile.json"
            path.write_text(content)
            return path

    with pytest.raises(EvidenceError, match="the runtime's profile"):
        module._events(Ended())  # type: ignore[arg-type]
    monkeypatch.undo()


def _kernel(name: str, op_type: str, duration: float) -> dict[str, Any]:
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "dur": duration,
        "args": {"op_name": op_type},
    }


def test_the_median_over_runs_without_the_first() -> None:
    events = [_kernel("a", "Elu", d) for d in (900, 500, 10, 30, 20)]
    (node,) = module._nodes(events, 5)
    assert (node.name, node.op_type) == ("a", "Elu")
    assert node.seconds == pytest.approx(20e-6)


def test_what_runs_several_times_in_a_run_is_added_up() -> None:
    events = [_kernel("a", "Elu", d) for d in (1, 1, 1, 1, 10, 20, 30, 40)]
    (node,) = module._nodes(events, 4)
    assert node.seconds == pytest.approx(50e-6)
    # In some runs once more than in others: evenly, over all.
    (node,) = module._nodes([*events, _kernel("a", "Elu", 16)], 4)
    assert node.seconds == pytest.approx(30e-6)


def test_events_that_are_no_kernels_do_not_count() -> None:
    events = [
        {"cat": "Session", "name": "model_run", "dur": 100},
        {"cat": "Node", "name": "a_fence_before", "dur": 100},
        {"cat": "Node", "name": "a_kernel_time", "dur": "long", "args": []},
        {"name": "b_kernel_time"},
        json.loads("{}"),
    ]
    (node,) = module._nodes(events, 1)
    assert (node.name, node.op_type, node.seconds) == ("a", "", 0.0)
