"""The networks of the tuning benchmark, small: what they claim to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnx_act
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.session import CPU, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType


@pytest.fixture
def tune_models(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("tune_models")


def test_each_stack_holds_what_it_is_called(tune_models: ModuleType, tmp_path: Path) -> None:
    names = {"PRelu, per channel": "prelu"}
    for title, stack in tune_models._STACKS.items():
        path = tmp_path / "net.onnx"
        stack.write(path, small=True)
        onnx.checker.check_model(onnx.load(path), full_check=True)
        (entry,) = onnx_act.inspect(path).models
        found = [site["activation"] for site in entry.to_dict()["sites"]]
        assert found == [names.get(title, stack.catalogue_name)] * 2, title


def test_nothing_vanishes_or_grows_in_a_stack(tune_models: ModuleType, tmp_path: Path) -> None:
    """Of a network whose result is nearly zero, anything would seem equivalent."""
    path = tmp_path / "net.onnx"
    for title, stack in tune_models._STACKS.items():
        stack.write(path, small=False)
        session = open_session(path, SessionSettings(CPU, threads=1))
        feed = {"x": np.random.default_rng(0).standard_normal((1, 64, 56, 56), np.float32)}
        (result,) = session.run(feed, [session.tensor_outputs[0].name])
        moment = float(np.mean(np.square(result)))
        assert 0.1 < moment < 10.0, title


def test_the_limit_has_the_same_weights(tune_models: ModuleType, tmp_path: Path) -> None:
    net, limit = tmp_path / "net.onnx", tmp_path / "limit.onnx"

    def kernels(path: Path) -> list[np.ndarray]:
        weights = onnx.load(path).graph.initializer
        return [numpy_helper.to_array(w) for w in weights if len(w.dims) == 4]

    for title, stack in tune_models._STACKS.items():
        stack.write(net, small=True)
        if not stack.write_limit(limit, small=True):
            assert title == "Relu"
            continue
        for a, b in zip(kernels(net), kernels(limit), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=title)
        operators = {node.op_type for node in onnx.load(limit).graph.node}
        assert operators == {"Conv", "Relu"}, title


def test_slopes_differ_by_channel_and_layer(tune_models: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    tune_models._STACKS["PRelu, per channel"].write(path, small=True)
    weights = onnx.load(path).graph.initializer
    slopes = [numpy_helper.to_array(w) for w in weights if len(w.dims) == 3]
    assert [s.shape for s in slopes] == [(8, 1, 1)] * 2
    assert len(np.unique(slopes)) == 16
    assert np.min(slopes) >= 0.05
    assert np.max(slopes) <= 0.4


def test_the_corpus_is_used_as_far_as_it_is_there(tune_models: ModuleType, tmp_path: Path) -> None:
    assert not any("/" in name for name in tune_models.all_nets(None))
    (tmp_path / "exported").mkdir()
    stored = tmp_path / "exported" / "pilotnet_elu.onnx"
    tune_models.Chain().write(stored, small=True)
    nets = tune_models.all_nets(tmp_path)
    (name,) = [name for name in nets if "/" in name]
    assert name == "exported/pilotnet_elu"
    nets[name].write(tmp_path / "copy.onnx", small=True)
    assert (tmp_path / "copy.onnx").read_bytes() == stored.read_bytes()


def test_the_chain_runs(tune_models: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "chain.onnx"
    tune_models.Chain().write(path, small=False)
    assert sum(n.op_type == "Elu" for n in onnx.load(path).graph.node) == 400
    session = open_session(path, SessionSettings(CPU, threads=1))
    feed = feeds_for(session, FeedRequest(count=1)).feeds[0]
    (result,) = session.run(feed, [session.tensor_outputs[0].name])
    assert np.all(np.isfinite(result))
