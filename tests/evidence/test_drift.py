from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_models import Net

from onnx_act.errors import EvidenceError
from onnx_act.evidence.drift import measure_drift
from onnx_act.runtime.feeds import FeedRequest
from onnx_act.runtime.session import open_session

if TYPE_CHECKING:
    from pathlib import Path


def test_a_model_does_not_drift_from_itself(tmp_path: Path) -> None:
    model = Net().save(tmp_path / "a.onnx")
    (output,) = measure_drift(model, model, threads=1).outputs
    assert output.difference is not None
    assert output.difference.identical
    assert output.accuracy_before is None


def test_a_swap_drifts(tmp_path: Path) -> None:
    before = Net().save(tmp_path / "a.onnx")
    after = Net(second="Elu").save(tmp_path / "b.onnx")
    drift = measure_drift(before, after, threads=1)
    (output,) = drift.outputs
    assert output.difference is not None
    assert output.difference.max_abs > 0.1
    assert 0.0 < output.difference.sqnr_db < 40.0
    assert (drift.feeds, drift.rows) == (4, 0)
    json.dumps(drift.to_dict(), allow_nan=False)


def test_labels_give_accuracies(tmp_path: Path) -> None:
    before = Net(classifies=True).save(tmp_path / "a.onnx")
    after = Net(classifies=True, second="Sigmoid").save(tmp_path / "b.onnx")
    rng = np.random.default_rng(0)
    x = rng.normal(rng.normal(0, 3, (100, 3, 1, 1)), 1, (100, 3, 8, 8)).astype(np.float32)
    (scores,) = open_session(before).run({"x": x})
    labels = scores.argmax(axis=1)
    assert len(set(labels.tolist())) > 1
    labels[:10] += 1
    np.savez(tmp_path / "d.npz", x=x, labels=labels)
    drift = measure_drift(before, after, request=FeedRequest(data=tmp_path / "d.npz"), threads=1)
    (output,) = drift.outputs
    assert drift.rows == 100
    assert drift.origin == ("data",)
    assert output.accuracy_before is not None
    assert output.accuracy_after is not None
    assert (output.accuracy_before.agreed, output.accuracy_before.total) == (90, 100)
    assert output.accuracy_after.agreed < 90
    assert output.difference is not None
    assert output.difference.top1 is not None
    assert output.difference.top1.total == 100


def test_models_that_cannot_be_compared_are_an_error(tmp_path: Path) -> None:
    model = Net().save(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes(b"nothing")
    with pytest.raises(EvidenceError):
        measure_drift(model, tmp_path / "b.onnx")
