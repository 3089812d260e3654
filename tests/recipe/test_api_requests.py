"""The ways to ask for a conversion in Python, and what is answered to a wrong one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

import onnx_act

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(models: Path) -> Path:
    return models / "digits_cnn_relu.onnx"


def _planned(model: Path, **options: Any) -> list[tuple[str, str, str]]:
    entry = onnx_act.convert(model, dry_run=True, **options).to_dict()["models"][0]
    return [(c["rule"], c["before"], c["after"]) for c in entry["changes"]]


@pytest.mark.parametrize(
    ("swap", "after"),
    [
        ({"relu": "gelu"}, "gelu"),
        ({"ReLU": "LeakyRelu:alpha=0.2"}, "leaky_relu(negative_slope=0.2)"),
        ({"relu": ("leaky_relu", {"negative_slope": 0.2})}, "leaky_relu(negative_slope=0.2)"),
        ({"relu": ("elu", {})}, "elu"),
        (["relu=elu:alpha=0.5"], "elu(alpha=0.5)"),
        (["relu=elu", "relu=silu"], "elu"),
        (("relu=quick_gelu",), "swish(beta=1.702)"),
    ],
)
def test_the_forms_of_a_swap(swap: Any, after: str, model: Path) -> None:
    changes = _planned(model, swap=swap)
    assert len(changes) == 4
    assert {before for _, before, _ in changes} == {"relu"}
    assert all(now == after or now.startswith(f"{after}(") for _, _, now in changes)


def test_a_slope_for_every_channel(model: Path, tmp_path: Path) -> None:
    """The file holds one array for each site, under its id."""
    sites = onnx_act.inspect(model).to_dict()["models"][0]["sites"]
    widths = (16, 16, 32, 32)
    slopes: dict[str, Any] = {
        site["id"]: np.linspace(0.1, 0.9, width).reshape(-1, 1, 1)
        for site, width in zip(sites, widths, strict=True)
    }
    np.savez(tmp_path / "slopes.npz", **slopes)
    out = tmp_path / "out.onnx"
    report = onnx_act.swap(model, out, [f"relu=prelu:slope=@{tmp_path / 'slopes.npz'}"])
    assert report.exit_code == 0
    graph = onnx.load(out).graph
    tensors = {i.name: i for i in graph.initializer}
    tensors |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"}
    stored = {name: onnx.numpy_helper.to_array(tensor) for name, tensor in tensors.items()}
    found = [stored[n.input[1]] for n in graph.node if n.op_type == "PRelu"]
    assert len(found) == 4
    for array, slope in zip(found, slopes.values(), strict=True):
        np.testing.assert_allclose(np.squeeze(array), np.squeeze(slope), rtol=1e-6)


def test_where(model: Path) -> None:
    assert len(_planned(model, swap={"relu": "elu"}, where="index:1-2")) == 2
    assert len(_planned(model, swap={"relu": "elu"}, where="not index:0")) == 3


def test_how_far_to_fuse(model: Path) -> None:
    folds = {"fold_batch_normalization"}
    assert {rule for rule, _, _ in _planned(model, fuse="portable")} == folds
    assert {rule for rule, _, _ in _planned(model, fuse="contrib")} > folds
    assert {rule for rule, _, _ in _planned(model, fuse="auto")} >= folds
    assert _planned(model, fuse="none") == _planned(model, fuse=False) == _planned(model) == []


def test_fused_and_undone(model: Path, tmp_path: Path) -> None:
    fused, plain = tmp_path / "fused.onnx", tmp_path / "plain.onnx"
    assert onnx_act.fuse(model, fused, fuse="contrib").exit_code == 0
    assert {n.domain for n in onnx.load(fused).graph.node} == {"", "com.microsoft"}
    report = onnx_act.fuse(fused, plain, undo=True)
    assert (report.command, report.exit_code) == ("fuse", 0)
    assert {n.domain for n in onnx.load(plain).graph.node} == {""}
    assert onnx_act.validate(model, plain).exit_code == 0


def test_fusing_and_undoing_do_not_go_together(model: Path) -> None:
    for wrong in ({"undo": True, "fuse": "auto"}, {"undo": True, "fuse": True}, {"fuse": False}):
        with pytest.raises(onnx_act.UsageError):
            onnx_act.fuse(model, None, **wrong)


def test_an_opset_is_raised_only_on_request(model: Path, tmp_path: Path) -> None:
    kept, raised = tmp_path / "kept.onnx", tmp_path / "raised.onnx"
    onnx_act.swap(model, kept, {"relu": "gelu"})
    onnx_act.swap(model, raised, {"relu": "gelu"}, opset=20)
    assert "Gelu" not in {n.op_type for n in onnx.load(kept).graph.node if not n.domain}
    assert "Gelu" in {n.op_type for n in onnx.load(raised).graph.node if not n.domain}
    assert [(o.domain, o.version) for o in onnx.load(kept).opset_import if not o.domain] == [
        ("", 17)
    ]
    assert [o.version for o in onnx.load(raised).opset_import if not o.domain] == [20]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"swap": {"relu": "gleu"}}, "UnknownNameError", "did you mean gelu"),
        ({"swap": {"relu": ("elu", {"beta": 1})}}, "UnknownNameError", "alpha"),
        ({"swap": {"relu": ("elu", {"alpha": "x"})}}, "UsageError", "a number"),
        ({"swap": ["relu"]}, "UsageError", "FROM=TO"),
        ({"swap": {"elu": "relu"}}, "NoSiteMatchedError", "4 relu"),
        ({"swap": {"relu": "elu"}, "where": "colour:red"}, "SelectorError", "'colour'"),
        ({"swap": {"relu": "elu"}, "where": "after:Gemm"}, "NoSiteMatchedError", "none of the 4"),
        ({"fuse": True, "where": "after:Conv"}, "UsageError", "needs swap"),
        ({"fuse": True, "providers": ["cudda"]}, "UnknownNameError", "cuda"),
        ({"fuse": "portible"}, "UnknownNameError", "did you mean portable"),
        ({"fuse": "portable", "undo": True}, "UsageError", "neither fuse, swap nor tune"),
        ({"swap": {"relu": "elu"}, "undo": True}, "UsageError", "neither fuse, swap nor tune"),
        ({"fuse": "portable", "max_growth": 0.5}, "UsageError", "at least 1"),
        ({"fuse": True, "opset": 3}, "UsageError", "only raised"),
        ({"fuse": True, "shapes": {"picture": (1, 1, 8, 8)}}, "UsageError", "'picture'"),
        ({"fuse": True, "data": "nowhere.npz"}, "UsageError", "nowhere.npz"),
    ],
)
def test_a_wrong_request_raises(
    options: dict[str, Any], error: str, message: str, model: Path
) -> None:
    with pytest.raises(getattr(onnx_act, error), match=message) as caught:
        onnx_act.convert(model, bench=False, **options)
    assert caught.value.exit_code == 2


def test_a_file_that_is_no_model_raises(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    for call in (onnx_act.inspect, onnx_act.convert, onnx_act.bench):
        with pytest.raises(onnx_act.ModelReadError, match="not an ONNX model") as caught:
            call(tmp_path / "text.onnx")
        assert caught.value.exit_code == 3


def test_an_output_that_is_the_input_raises(model: Path) -> None:
    before = model.read_bytes()
    with pytest.raises(onnx_act.UsageError, match="never written"):
        onnx_act.fuse(model, model)
    assert model.read_bytes() == before
