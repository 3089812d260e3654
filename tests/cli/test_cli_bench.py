from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from command_line import assert_wrong_use, run_here
from tiny_files import conv_model, save

import onnx_act

if TYPE_CHECKING:
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]

JSON = ("--format", "json")
FAST = ("--time", "200ms")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(conv_model(), tmp_path / "model.onnx")


@pytest.fixture
def free(tmp_path: Path) -> Path:
    node = onnx.helper.make_node("Softplus", ["x"], ["y"])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [value("x", onnx.TensorProto.FLOAT, ["N", 16])],
        [value("y", onnx.TensorProto.FLOAT, ["N", 16])],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    return save(
        onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "free.onnx"
    )


def test_it_says_what_it_measured_under(model: Path, capsys: Capture) -> None:
    ran = run_here(capsys, "bench", model, model, "--threads", "1", *FAST, *JSON)
    assert ran.code == 0
    (latency,) = ran.entry["latency"]
    assert (latency["threads"], latency["level"], latency["batch"]) == (1, "all", None)
    assert latency["precision"] == 0.005
    assert latency["is_precise"] in {True, False}
    assert latency["cpu"]
    assert latency["runtime_version"]
    assert latency["provider_options"] == {}
    assert "operators" not in ran.entry
    for timing in (latency["a"], latency["b"]):
        assert timing["min_s"] <= timing["median_s"] <= timing["p99_s"]
        assert timing["low_s"] <= timing["high_s"]
        assert timing["creation_s"] > 0
        assert timing["file_bytes"] == model.stat().st_size
        if sys.platform == "linux":
            assert 0 < timing["model_memory_bytes"] < timing["peak_memory_bytes"]


def test_external_weights_count_as_part_of_the_file(tmp_path: Path, capsys: Capture) -> None:
    proto = conv_model()
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    ran = run_here(capsys, "bench", path, *FAST, *JSON)
    (latency,) = ran.entry["latency"]
    sizes = [path.stat().st_size, (tmp_path / "weights.bin").stat().st_size]
    assert latency["a"]["file_bytes"] == sum(sizes)


def test_every_combination_is_a_row(free: Path, capsys: Capture) -> None:
    options = ("--levels", "--threads", "1,2", "--batch", "1,8", "--time", "1s")
    ran = run_here(capsys, "bench", free, free, *options, *JSON)
    assert ran.code == 0
    found = [(row["level"], row["threads"], row["batch"]) for row in ran.entry["latency"]]
    levels = ("disable", "basic", "extended", "all")
    assert found == [(level, n, rows) for level in levels for n in (1, 2) for rows in (1, 8)]
    assert all(row["shapes"] == [["x", [row["batch"], 16]]] for row in ran.entry["latency"])
    assert all(row["ratio"]["median"] > 0 for row in ran.entry["latency"])
    ran = run_here(capsys, "bench", free, free, "--threads", "1,2", *FAST)
    assert "latency by setting" in ran.out
    assert "original / result" in ran.out


@pytest.mark.parametrize("two", [False, True])
def test_time_by_operator(two: bool, free: Path, capsys: Capture) -> None:
    models = [free, free] if two else [free]
    ran = run_here(capsys, "bench", *models, "--per-op", *FAST, *JSON)
    (operators,) = ran.entry["operators"]
    assert operators["provider"] == "CPUExecutionProvider"
    assert (operators["b"] is not None) == two
    (softplus,) = operators["a"]["operators"]
    assert (softplus["op_type"], softplus["count"]) == ("Softplus", 1)
    assert softplus["time_s"] > 0
    assert operators["a"]["activation_share"] == pytest.approx(1.0)
    ran = run_here(capsys, "bench", *models, "--per-op", *FAST)
    assert "time by operator on cpu" in ran.out
    assert "activations that are operators of their own take 100.0 %" in ran.out


def test_the_time_is_all_taken_on_request(free: Path, capsys: Capture) -> None:
    ran = run_here(capsys, "bench", free, "--precision", "0", "--time", "500ms", *JSON)
    (latency,) = ran.entry["latency"]
    assert latency["precision"] is None
    assert latency["is_precise"] is False
    assert latency["seconds"] >= 0.4
    ran = run_here(capsys, "bench", free, "--precision", "90%", "--time", "60s", *JSON)
    (latency,) = ran.entry["latency"]
    assert latency["precision"] == pytest.approx(0.9)
    assert latency["is_precise"] is True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--threads", "one"), "--threads takes numbers from 0 on, such as 1 or 1,2, not 'one'"),
        (("--threads", "-1"), "--threads takes numbers from 0 on, such as 1 or 1,2, not '-1'"),
        (("--batch", "0"), "--batch takes numbers from 1 on, such as 1 or 1,2, not '0'"),
        (("--batch", "1,,2"), "--batch takes numbers from 1 on, such as 1 or 1,2, not '1,,2'"),
        (("--precision", "100%"), "--precision takes a part below 100 %"),
        (("--precision", "a lot"), "--precision takes a part below 100 %"),
        (("--batch", "3"), "the model does not take 3 rows"),
    ],
)
def test_wrong_options(options: tuple[str, ...], said: str, model: Path, capsys: Capture) -> None:
    assert_wrong_use(run_here(capsys, "bench", model, *options, *FAST), said)


def test_from_python(free: Path) -> None:
    report = onnx_act.bench(
        free,
        seconds=0.5,
        levels=["disable", "all"],
        threads=[1, 2],
        batch=[1, 8],
        per_op=True,
        precision=0.5,
    )
    (entry,) = report.to_dict()["models"]
    assert len(entry["latency"]) == 8
    assert {row["precision"] for row in entry["latency"]} == {0.5}
    assert len(entry["operators"]) == 1
    one = onnx_act.bench(free, seconds=0.1, threads=1, batch=4, precision=None)
    (latency,) = one.to_dict()["models"][0]["latency"]
    assert (latency["threads"], latency["batch"], latency["precision"]) == (1, 4, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"levels": ["fastest"]}, "levels are disable, basic, extended, all, not 'fastest'"),
        ({"levels": []}, "at least one level"),
        ({"threads": [1, -1]}, "from 0 on"),
        ({"batch": 0}, "one row at least"),
        ({"precision": 1.5}, "between 0 and 1"),
        ({"precision": 0.0}, "between 0 and 1"),
        ({"seconds": 0.0}, "more than 0 seconds"),
    ],
)
def test_wrong_requests_raise(options: dict[str, object], said: str, free: Path) -> None:
    with pytest.raises(onnx_act.UsageError, match=said):
        onnx_act.bench(free, **options)  # type: ignore[arg-type]


def test_data_is_cut_to_the_rows(free: Path, tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, x=np.ones((16, 16), np.float32))
    ran = run_here(capsys, "bench", free, "--data", data, "--batch", "2,4", *FAST, *JSON)
    assert [row["shapes"][0][1] for row in ran.entry["latency"]] == [[2, 16], [4, 16]]
