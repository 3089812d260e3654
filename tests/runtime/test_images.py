from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny_models import one_node

from onnx_act.errors import UsageError
from onnx_act.runtime.datasets import load_data
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.images import Normalization, parse_normalization
from onnx_act.runtime.session import open_session
from onnx_act.runtime.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

# Rows of red, green and blue, each in two columns.
PIXELS = np.array(
    [[[255, 0, 0]] * 2, [[0, 255, 0]] * 2, [[0, 0, 51]] * 2],
    dtype=np.uint8,
)


def spec(*shape: int | str | None, name: str = "x", dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, shape, is_tensor=True)


def picture(path: Path, pixels: Any = PIXELS) -> Path:
    Image.fromarray(np.asarray(pixels)).save(path)
    return path


def test_layouts_follow_the_shape(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png")
    for shape, axes in (
        ((1, 3, 3, 2), (2, 0, 1)),
        ((1, 3, 2, 3), None),
        ((3, 3, 2), (2, 0, 1)),
    ):
        x = load_data(file, [spec(*shape)]).feeds[0]["x"]
        assert x.shape == shape
        if axes is not None:
            np.testing.assert_allclose(x.reshape(3, 3, 2), PIXELS.transpose(axes) / 255.0)
    # Of [1, 3, 2, 3] either axis could be the channels: the first one is.
    last = load_data(file, [spec(1, 5, 4, 3)]).feeds[0]["x"]
    assert last.shape == (1, 5, 4, 3)
    assert last[0, 0, 0].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "red"),
    [
        ("0..1", (1.0, 0.0, 0.0)),
        ("-1..1", (1.0, -1.0, -1.0)),
        ("0..255", (255.0, 0.0, 0.0)),
        ("imagenet", (0.515 / 0.229, -0.456 / 0.224, -0.406 / 0.225)),
        ("mean=0.5; std=0.25", (2.0, -2.0, -2.0)),
        ("mean=1,0,0;std=1,2,4", (0.0, 0.0, 0.0)),
    ],
)
def test_pixels_are_normalised(text: str, red: tuple[float, ...], tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png")
    data = load_data(file, [spec(1, 3, 3, 2)], normalize=parse_normalization(text))
    # float32 of a float64 result: half a unit in the last place.
    np.testing.assert_allclose(data.feeds[0]["x"][0, :, 0, 0], red, rtol=2.0**-24, atol=2e-7)


@pytest.mark.parametrize("text", ["imagnet", "mean=1", "mean=a;std=1", "mean=0;std=0", ""])
def test_other_normalisations_are_wrong_use(text: str) -> None:
    with pytest.raises(UsageError, match="--normalize"):
        parse_normalization(text)


def test_numbers_must_be_as_many_as_channels(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png")
    with pytest.raises(UsageError, match="3 numbers, and input 'x' has 1 channel"):
        load_data(file, [spec(1, 1, 3, 2)], normalize=parse_normalization("imagenet"))


def test_pixels_of_integers_stay_as_they_are(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png")
    x = load_data(file, [spec(1, 3, 2, 3, dtype="uint8")]).feeds[0]["x"]
    assert x.dtype == np.uint8
    whole = load_data(file, [spec(1, 3, 3, 2, dtype="uint8")]).feeds[0]["x"]
    np.testing.assert_array_equal(whole[0], PIXELS.transpose(2, 0, 1))
    with pytest.raises(UsageError, match="float inputs"):
        load_data(file, [spec(1, 3, 3, 2, dtype="uint8")], normalize=Normalization())


def test_colours_are_converted(tmp_path: Path) -> None:
    grey = picture(tmp_path / "grey.png", np.full((4, 4), 102, np.uint8))
    assert np.allclose(load_data(grey, [spec(1, 3, 4, 4)]).feeds[0]["x"], 0.4)
    clear = picture(tmp_path / "clear.png", np.full((4, 4, 4), 51, np.uint8))
    assert np.allclose(load_data(clear, [spec(1, 3, 4, 4)]).feeds[0]["x"], 0.2)
    assert load_data(clear, [spec(1, 4, 4, 4)]).feeds[0]["x"].shape == (1, 4, 4, 4)
    deep = picture(tmp_path / "deep.png", np.full((4, 4), 257 * 51, np.uint16))
    assert np.allclose(load_data(deep, [spec(1, 1, 4, 4)]).feeds[0]["x"], 0.2)


def test_a_picture_is_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # EXIF 2.3, tag Orientation: 3 is upside down
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    x = load_data(tmp_path / "a.png", [spec(1, 3, 3, 2)]).feeds[0]["x"]
    np.testing.assert_allclose(x[0], PIXELS[::-1, ::-1].transpose(2, 0, 1) / 255.0)


def folder_of(tmp_path: Path, count: int) -> Path:
    for index in range(count):
        picture(tmp_path / f"{index:03}.png", np.full((2, 2, 3), index, np.uint8))
    return tmp_path


def shown(feeds: Sequence[dict[str, Any]]) -> list[list[int]]:
    """Which pictures each feed holds."""
    return [np.rint(255.0 * feed["x"][:, 0, 0, 0]).astype(int).tolist() for feed in feeds]


def test_a_folder_fills_feeds(tmp_path: Path) -> None:
    data = load_data(folder_of(tmp_path, 6), [spec("N", 3, 2, 2)])
    assert shown(data.feeds) == [[0, 1, 2, 3], [4, 5]]
    assert (data.origin, data.labels, data.unused_rows) == (("data", "data"), None, 0)
    fixed = load_data(tmp_path, [spec(4, 3, 2, 2)])
    assert len(fixed.feeds) == 1
    assert fixed.unused_rows == 2
    with pytest.raises(UsageError, match="is 7 images, and there are 6"):
        load_data(tmp_path, [spec(7, 3, 2, 2)])


def test_a_long_folder_is_read_at_even_distances(tmp_path: Path) -> None:
    data = load_data(folder_of(tmp_path, 160), [spec(1, 3, 2, 2)])
    assert shown(data.feeds) == [[10 * index] for index in range(16)]
    assert data.unused_rows == 144


def test_every_input_gets_the_picture(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png")
    feed = load_data(file, [spec(1, 3, 3, 2, name="a"), spec(1, 3, 2, 3, name="b")]).feeds[0]
    assert {name: array.shape for name, array in feed.items()} == {
        "a": (1, 3, 3, 2),
        "b": (1, 3, 2, 3),
    }
    np.testing.assert_allclose(feed["a"][0], PIXELS.transpose(2, 0, 1) / 255.0)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([spec(1, 2, name="info")], r"input 'info' float32\(1, 2\) is no image"),
        ([spec(1, 3, 4, 4, name="ids", dtype="int64")], "input 'ids' int64.* is no image"),
        ([spec(1, 5, 4, 6, name="w")], "input 'w' .* is no image"),
        ([spec("N", 3, "H", "W", name="w")], "--shape w:1,3,224,224"),
        ([spec("H", "W", 3, name="w")], "--shape w:224,224,3"),
    ],
)
def test_what_is_no_image_is_wrong_use(
    others: list[TensorSpec], message: str, tmp_path: Path
) -> None:
    file = picture(tmp_path / "a.png")
    with pytest.raises(UsageError, match=message):
        load_data(file, [spec(1, 3, 3, 2), *others])


def test_a_size_that_is_open_comes_from_the_request(tmp_path: Path) -> None:
    session = open_session(one_node("Relu", shape=["N", 3, "H", "W"]))
    request = FeedRequest(data=picture(tmp_path / "a.png"), shapes=(("x", (1, 3, 5, 4)),))
    assert feeds_for(session, request).feeds[0]["x"].shape == (1, 3, 5, 4)


def test_files_that_are_no_images_are_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(UsageError, match=r"a\.png: cannot be read as an image"):
        load_data(tmp_path / "a.png", [spec(1, 3, 3, 2)])


def test_a_folder_of_two_sorts_is_wrong_use(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", np.ones(3))
    with pytest.raises(UsageError, match=r"arrays \(b\.npy\) and images \(a\.png\)"):
        load_data(tmp_path, [spec(1, 3, 3, 2)])


def test_arrays_are_not_normalised(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.ones((1, 3)))
    with pytest.raises(UsageError, match="holds arrays"):
        load_data(tmp_path / "b.npy", [spec(1, 3)], normalize=Normalization())


def test_without_pillow_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = picture(tmp_path / "a.png")
    real = builtins.__import__

    def without_pillow(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "PIL":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    with pytest.raises(UsageError, match=r'pip install "onnx-act\[images\]"'):
        load_data(file, [spec(1, 3, 3, 2)])
