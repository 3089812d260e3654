from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from tiny_models import model_of, one_node

from onnx_act.errors import EvidenceError, UsageError
from onnx_act.runtime.datasets import load_data
from onnx_act.runtime.feeds import FeedRequest, feeds_for, make_feeds
from onnx_act.runtime.kinds import KINDS
from onnx_act.runtime.session import open_session
from onnx_act.runtime.tensors import TensorSpec

if TYPE_CHECKING:
    from pathlib import Path


def spec(name: str, *shape: int | str | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, shape, is_tensor=True)


def test_feeds_are_symmetric_and_reach_both_tails() -> None:
    feeds = make_feeds([spec("x", 64, 64)], count=len(KINDS))
    for kind, feed in zip(KINDS, feeds, strict=True):
        x = feed["x"]
        assert x.dtype == np.float32
        if kind in {"zero", "constant"}:
            assert len(np.unique(x)) == 1
            assert x.any() == (kind == "constant")
            continue
        assert 0.4 < np.mean(x < 0) < 0.6
        assert abs(np.mean(np.sign(x))) < 0.1
    by_kind = dict(zip(KINDS, (feed["x"] for feed in feeds), strict=True))
    assert np.abs(by_kind["heavy"]).max() > 15.0
    assert by_kind["wide"].min() < -6.0
    assert by_kind["wide"].max() > 6.0
    assert np.abs(by_kind["small"]).max() < 1.0
    assert {-3.0, 0.0, 3.0, 6.0} <= set(by_kind["knots"].ravel().tolist())


def test_heavy_tails_stay_finite_in_float16() -> None:
    feed = make_feeds([spec("x", 500, 500, dtype="float16")], count=3)[2]["x"]
    assert feed.dtype == np.float16
    assert np.isfinite(feed).all()
    assert np.abs(feed).max() == 200.0


def test_feeds_depend_on_the_seed_and_the_place_only() -> None:
    specs = [spec("x", 2, 3), spec("y", 2, 3)]
    few, many = make_feeds(specs, seed=5, count=2), make_feeds(specs, seed=5, count=4)
    other = make_feeds(specs, seed=6, count=2)
    np.testing.assert_array_equal(few[1]["x"], many[1]["x"])
    assert not np.array_equal(few[0]["x"], few[0]["y"])
    assert not np.array_equal(few[0]["x"], other[0]["x"])


def test_one_symbol_is_one_size() -> None:
    specs = [
        spec("a", "batch", "past", 4),
        spec("b", "batch", "past + length"),
        spec("c", None, "length"),
    ]
    feed = make_feeds(specs, shapes={"c": [1, 7]}, batch=2)[0]
    assert feed["a"].shape == (2, 16, 4)
    assert feed["b"].shape == (2, 23)
    assert feed["c"].shape == (1, 7)


def test_rows_alternate() -> None:
    feeds = make_feeds([spec("x", "N", 3)], count=3, batch=None)
    assert [len(feed["x"]) for feed in feeds] == [1, 2, 1]


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("int64", 0, 9), ("uint8", 0, 9), ("bool", 0, 1)]
)
def test_integers_are_small_and_not_negative(dtype: str, low: int, high: int) -> None:
    x = make_feeds([spec("x", 400, dtype=dtype)])[0]["x"]
    assert x.dtype == np.dtype(dtype)
    assert x.min() == low
    assert x.max() == high


def test_ranges_are_kept() -> None:
    specs = [spec("x", 400, dtype="int64"), spec("z", 400)]
    feed = make_feeds(specs, ranges={"x": (3, 5), "z": (0.0, 0.5)})[0]
    assert set(feed["x"].tolist()) == {3, 4, 5}
    assert 0.0 <= feed["z"].min() < feed["z"].max() <= 0.5


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (TensorSpec("words", "string", (1,), is_tensor=True), "string"),
        (TensorSpec("words", "seq(tensor(float))", (), is_tensor=False), "seq"),
        (TensorSpec("words", "complex64", (1,), is_tensor=True), "complex64"),
    ],
)
def test_what_cannot_be_generated_is_named(bad: TensorSpec, what: str) -> None:
    with pytest.raises(EvidenceError, match=f"'words' of type {what}"):
        make_feeds([bad])


def test_wrong_shapes_are_wrong_use() -> None:
    with pytest.raises(UsageError, match=r"no input 'y'; its inputs are x"):
        make_feeds([spec("x", 1)], shapes={"y": [1]})
    with pytest.raises(UsageError, match=r"\[2, 4\].*wants \['N', 3\]"):
        make_feeds([spec("x", "N", 3)], shapes={"x": [2, 4]})


def reshaping(size: int) -> bytes:
    """A model whose free dimension must be `size`, whatever it says."""
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "p",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "S"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, size])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [1, size])],
    )
    return model_of(graph)


def test_sizes_are_tried_until_the_model_runs() -> None:
    feeds = feeds_for(open_session(reshaping(64)), FeedRequest(count=3)).feeds
    assert [feed["x"].shape for feed in feeds] == [(1, 64)] * 3


def test_a_model_that_runs_on_nothing_says_which_option_to_give() -> None:
    session = open_session(reshaping(63))
    with pytest.raises(EvidenceError, match=r"--shape NAME.*--data FILE"):
        feeds_for(session, FeedRequest())
    given = FeedRequest(shapes=(("x", (1, 63)),), count=1)
    assert feeds_for(session, given).feeds[0]["x"].shape == (1, 63)


class TestLoading:
    def test_rows_fill_batches(self, tmp_path: Path) -> None:
        x = np.arange(300.0).reshape(100, 3)
        np.savez(tmp_path / "d.npz", x=x, labels=np.arange(100))
        data = load_data(tmp_path / "d.npz", [spec("x", "N", 3)], batch=64)
        assert [feed["x"].shape for feed in data.feeds] == [(64, 3), (36, 3)]
        assert data.feeds[0]["x"].dtype == np.float32
        assert data.labels is not None
        np.testing.assert_array_equal(data.labels, np.arange(100))

    def test_a_fixed_batch_is_kept(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "d.npz", anything=np.ones((5, 3)), y=np.arange(5))
        one = load_data(tmp_path / "d.npz", [spec("x", 1, 3)])
        assert [feed["x"].shape for feed in one.feeds] == [(1, 3)] * 5
        two = load_data(tmp_path / "d.npz", [spec("x", 2, 3)])
        assert (len(two.feeds), two.unused_rows) == (2, 1)
        assert two.labels is not None
        assert two.labels.tolist() == [0, 1, 2, 3]

    def test_stacks_single_samples_and_constants(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "d.npz", x=np.ones((4, 1, 3)), scale=np.float64(2), w=np.ones(5))
        specs = [spec("x", 1, 3), spec("scale"), spec("w", 5)]
        data = load_data(tmp_path / "d.npz", specs)
        assert len(data.feeds) == 4
        assert data.feeds[3]["scale"].shape == ()
        assert data.feeds[3]["w"].shape == (5,)
        np.save(tmp_path / "one.npy", np.ones(3))
        assert load_data(tmp_path / "one.npy", specs[:1]).feeds[0]["x"].shape == (1, 3)

    def test_a_folder_in_sorted_order(self, tmp_path: Path) -> None:
        for name, value in (("b", 2.0), ("a", 1.0)):
            np.save(tmp_path / f"{name}.npy", np.full((1, 3), value))
        data = load_data(tmp_path, [spec("x", 1, 3)])
        assert [feed["x"][0, 0] for feed in data.feeds] == [1.0, 2.0]
        assert data.labels is None

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"a": np.ones((1, 3)), "b": np.ones(1)}, r"input 'x'; the file has a \(1, 3\)"),
            ({"x": np.ones((1, 4))}, r"shape \(1, 4\), the model wants \(N, 3\)"),
            ({"x": np.ones((2, 3)), "labels": np.ones(3)}, "3 labels for 2 rows"),
            ({"x": np.ones((1, 3), complex)}, "complex128, the model wants float32"),
            ({"labels": np.ones(1)}, "the file has none"),
        ],
    )
    def test_what_does_not_fit_is_said(
        self, arrays: dict[str, Any], message: str, tmp_path: Path
    ) -> None:
        np.savez(tmp_path / "d.npz", **arrays)
        with pytest.raises(UsageError, match=message):
            load_data(tmp_path / "d.npz", [spec("x", "N", 3)])

    def test_files_that_are_no_data(self, tmp_path: Path) -> None:
        (tmp_path / "d.npz").write_bytes(b"PK nothing")
        for path in (tmp_path / "d.npz", tmp_path / "none.npz", tmp_path / "d.txt"):
            with pytest.raises(UsageError, match=path.name):
                load_data(path, [spec("x", 1)])


def test_labels_that_are_an_input_are_an_input(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", y=np.ones((2, 3)))
    data = load_data(tmp_path / "d.npz", [spec("y", "N", 3)])
    assert data.labels is None


def test_a_request_for_data_reads_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.ones((5, 3)))
    session = open_session(one_node("Relu", shape=["N", 3]))
    data = feeds_for(session, FeedRequest(data=tmp_path / "d.npz", batch=2))
    assert data.origin == ("data",) * 3
    assert len(data.first(2).feeds) == 2


def looking_up(rows: int) -> bytes:
    """A table that is indexed, as a model that says nothing of its size."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["y"])],
        "p",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["B", "S"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("table", TensorProto.FLOAT, [rows], [0.5] * rows)],
    )
    return model_of(graph)


@pytest.mark.parametrize(("rows", "found"), [(10, set(range(10))), (2, {0, 1}), (1, {0})])
def test_integers_are_tried_until_the_model_runs(rows: int, found: set[int]) -> None:
    feeds = feeds_for(open_session(looking_up(rows)), FeedRequest()).feeds
    assert {int(i) for feed in feeds for i in feed["ids"].ravel()} == found


def test_integers_that_fit_nothing_say_which_option_to_give() -> None:
    session = open_session(looking_up(3))
    request = FeedRequest(ranges=(("ids", (0.0, 5.0)),))
    with pytest.raises(EvidenceError, match="--input-range ids:0,99"):
        feeds_for(session, request)
    given = feeds_for(session, FeedRequest(ranges=(("ids", (0.0, 2.0)),)))
    assert {int(i) for feed in given.feeds for i in feed["ids"].ravel()} == {0, 1, 2}


def test_feeds_of_a_session_are_those_of_the_seed_whatever_their_number() -> None:
    session = open_session(one_node("Relu", shape=["N", 3]))
    few = feeds_for(session, FeedRequest(seed=7, count=2))
    many = feeds_for(session, FeedRequest(seed=7, count=2 * len(KINDS)))
    assert many.origin == KINDS * 2
    for one, other in zip(few.feeds, many.feeds, strict=False):
        np.testing.assert_array_equal(one["x"], other["x"])
    # The second round is of the same kinds, and of other numbers.
    assert not np.array_equal(many.feeds[0]["x"], many.feeds[len(KINDS)]["x"])
    late = make_feeds(session.inputs, seed=7, start=9, count=1, batch=None)
    np.testing.assert_array_equal(late[0]["x"], many.feeds[9]["x"])


def test_a_negative_seed_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="the seed"):
        FeedRequest(seed=-1)


def test_an_input_that_no_file_can_hold_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.ones(3))
    odd = TensorSpec("x", "seq(tensor(float))", (), is_tensor=False)
    with pytest.raises(UsageError, match="input 'x' is a seq"):
        load_data(tmp_path / "d.npz", [odd])
