"""Where the time of a model goes: what is an activation's, and what nobody can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from simulated import network

from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.profile import Profile, ProfiledNode
from onnx_act.runtime.session import CPU
from onnx_act.tuning.shares import Shares, measure_shares

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx


def _shares(proto: onnx.ModelProto, folder: Path) -> Shares:
    model = load_model(proto)
    before = [n.name for n in model.content.graph]
    found = measure_shares(
        model, find_sites(model), folder, provider=CPU, threads=1, feeds=FeedRequest()
    )
    assert [n.name for n in model.content.graph] == before
    return found


def _told(*nodes: tuple[str, str, float]) -> Callable[..., Profile]:
    profile = Profile(tuple(ProfiledNode(*n) for n in nodes), 0.01, 0.01, ())

    def answer(*_: Any, **__: Any) -> Profile:
        return profile

    return answer


def test_a_slow_activation_has_most_of_the_time(tmp_path: Path) -> None:
    shares = _shares(network("Softplus", rows=4096), tmp_path)
    assert shares.unknown == frozenset()
    assert 0.5 < shares.sites["a0"] <= 1
    assert shares.all_sites == pytest.approx(shares.sites["a0"])
    assert dict(shares.profile.shapes) == {"x": (4096, 16)}


def test_an_operator_that_the_runtime_takes_apart_is_not_known_to_take_no_time(
    tmp_path: Path,
) -> None:
    """ONNX Runtime has no kernel of Mish-18: it runs the function's body, under other names."""
    shares = _shares(network("Mish", opset=18, rows=4096), tmp_path)
    assert shares.unknown == {"a0"}
    assert shares.all_sites is None


@pytest.mark.parametrize(
    ("nodes", "share", "unknown"),
    [
        ([("onnx-act:0:", "Elu", 3.0), ("onnx-act:1:", "MatMul", 1.0)], 0.75, False),
        # Taken into the product behind it, or the one before it.
        ([("onnx-act:1:", "MatMul", 1.0)], 0.0, False),
        ([("onnx-act:0:onnx-act:1:", "MatMul", 1.0)], 0.0, False),
        # A change of layout bears no number either, and is nobody's.
        ([("onnx-act:1:", "MatMul", 1.0), ("ReorderOutput", "ReorderOutput", 1.0)], 0.0, False),
        ([("Exp_7", "Exp", 2.0), ("onnx-act:1:", "MatMul", 2.0)], 0.0, True),
        ([("onnx-act:0:", "Elu", 1.0), ("Exp_7", "Exp", 3.0)], 0.25, False),
        ([], 0.0, False),
    ],
)
def test_what_names_tell(
    nodes: list[tuple[str, str, float]],
    share: float,
    unknown: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onnx_act.tuning.shares.run_isolated", _told(*nodes))
    shares = _shares(network("Elu"), tmp_path)
    assert shares.sites == {"a0": pytest.approx(share)}
    assert shares.unknown == (frozenset({"a0"}) if unknown else frozenset())
    reorders = sum(s for _, kind, s in nodes if kind.startswith("Reorder"))
    assert shares.layout == pytest.approx(reorders / (sum(n[2] for n in nodes) or 1.0))
