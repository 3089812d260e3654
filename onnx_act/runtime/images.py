"""Pictures from files, as the arrays that an image network takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onnx_act.errors import UsageError
from onnx_act.runtime.tensors import FLOATS, Array, TensorSpec, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from PIL import Image

SUFFIXES: Final = (".png", ".jpg", ".jpeg")
"""What a file with a picture ends in."""

_MODES: Final = {1: "L", 3: "RGB", 4: "RGBA"}
# Mean and standard deviation of the training pictures of ImageNet, by channel, for pixels in
# 0..1: what torchvision's classifiers are trained with.
_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_GIVEN: Final = re.compile(r"mean=(?P<mean>[^;]+);std=(?P<std>[^;]+)")
_NAMES: Final = "0..1, -1..1, 0..255, imagenet or mean=0.5,0.5,0.5;std=0.5,0.5,0.5"


@dataclass(frozen=True, slots=True)
class Normalization:
    """What becomes of a pixel p, which is in 0..1: `(p - mean) / std`.

    Attributes:
        mean: one number for each channel, or one for all.
        std: the same; positive.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def applied(self, pixels: Array, spec: TensorSpec) -> Array:
        """Pixels, as [height, width, channels] in 0..1, normalised in float64.

        Raises:
            UsageError: there are other channels than numbers.
        """
        channels = pixels.shape[-1]
        for numbers in (self.mean, self.std):
            if len(numbers) not in (1, channels):
                raise UsageError(
                    f"--normalize has {len(numbers)} numbers, and input {spec.name!r} has "
                    f"{channels} {'channel' if channels == 1 else 'channels'}"
                )
        return np.asarray((pixels - np.array(self.mean)) / np.array(self.std))


def parse_normalization(text: str) -> Normalization:
    """How pixels are normalised, as `--normalize` writes it.

    Args:
        text: `0..1`, `-1..1`, `0..255`, `imagenet`, or `mean=...;std=...` with one number or one
            for each channel, for pixels in 0..1.

    Raises:
        UsageError: it is none of these.
    """
    match text.strip().lower():
        case "0..1":
            return Normalization()
        case "-1..1":
            return Normalization((0.5,), (0.5,))
        case "0..255":
            return Normalization(std=(1.0 / 255.0,))
        case "imagenet":
            return Normalization(*_IMAGENET)
    given = _GIVEN.fullmatch(text.replace(" ", ""))
    try:
        assert given is not None
        mean, std = (tuple(float(n) for n in given[key].split(",")) for key in ("mean", "std"))
    except (AssertionError, ValueError):
        raise UsageError(f"--normalize takes {_NAMES}, not {text!r}") from None
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and min(std) > 0.0):
        raise UsageError(f"--normalize needs finite numbers and a positive std, not {text!r}")
    return Normalization(mean, std)


@dataclass(frozen=True, slots=True)
class PictureInput:
    """An input that takes pictures.

    Attributes:
        spec: the input.
        height: in pixels.
        width: in pixels.
        channels: 1, 3 or 4.
        channels_first: whether a picture is [channels, height, width].
        rows: pictures in a feed; 0 where any number goes, None where the input is one picture
            without an axis that counts them.
    """

    spec: TensorSpec
    height: int
    width: int
    channels: int
    channels_first: bool
    rows: int | None


def picture_inputs(
    specs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[int]]
) -> list[PictureInput]:
    """How each input of a model takes pictures.

    Args:
        specs: the model's inputs.
        shapes: dimensions by input name, which overrule those that the model leaves free.

    Raises:
        UsageError: one of them takes none, or of a size that is not known.
    """
    if not specs:
        raise UsageError("the model has no input, so it takes no images")
    return [_picture_input(spec, shapes.get(spec.name)) for spec in specs]


def read_pictures(
    files: Sequence[Path], wanted: PictureInput, normalization: Normalization | None
) -> Array:
    """Pictures as one array, [pictures, ...] in the layout and element type of an input.

    They are turned as their camera says, converted to the input's number of channels, and resized
    with antialiasing, without keeping the proportions and without cutting anything off. Pixels are
    in 0..1 unless it is asked otherwise, and as they are, 0..255, in an input of `uint8`.

    Raises:
        UsageError: a file cannot be read, Pillow is not installed, or pixels of integers are to
            be normalised.
    """
    dtype = numpy_dtype(wanted.spec.dtype)
    is_float = wanted.spec.dtype in FLOATS
    if not is_float and normalization is not None:
        raise UsageError(
            f"--normalize is for float inputs: input {wanted.spec.name!r} takes pixels as they "
            f"are, in 0..255"
        )
    rows = []
    for file in files:
        pixels: Array = _pixels(file, wanted)
        if is_float:
            rule = normalization or Normalization()
            pixels = rule.applied(pixels / 255.0, wanted.spec)
        rows.append(pixels.transpose(2, 0, 1) if wanted.channels_first else pixels)
    return np.stack(rows).astype(dtype)


def _picture_input(spec: TensorSpec, given: Sequence[int] | None) -> PictureInput:
    dims = spec.shape if given is None else tuple(given)
    shown = f"input {spec.name!r} {spec.dtype}({', '.join(str(d or '?') for d in spec.shape)})"
    no_image = UsageError(
        f"{shown} is no image, so it cannot be fed from image files: those are [rows, channels, "
        f"height, width] or [rows, height, width, channels], of 1, 3 or 4 channels; give arrays "
        f"for all inputs with --data FILE.npz"
    )
    if spec.dtype not in FLOATS and spec.dtype != "uint8":
        raise no_image
    if len(dims) not in (3, 4):
        raise no_image
    rows = dims[0] if len(dims) == 4 else None
    first, middle, last = dims[-3:]
    channels_first = first in _MODES
    if not channels_first and last not in _MODES:
        raise no_image
    channels = first if channels_first else last
    height, width = (middle, last) if channels_first else (first, middle)
    if not isinstance(height, int) or not isinstance(width, int):
        raise UsageError(
            f"{shown} leaves the size of images open; give it with "
            f"--shape {spec.name}:{'1,' if len(dims) == 4 else ''}"
            + (f"{channels},224,224" if channels_first else f"224,224,{channels}")
        )
    if height < 1 or width < 1:
        raise no_image
    assert isinstance(channels, int)
    count = None if len(dims) == 3 else rows if isinstance(rows, int) else 0
    return PictureInput(spec, height, width, channels, channels_first, count)


def _pixels(file: Path, wanted: PictureInput) -> Array:
    """One picture as uint8 [height, width, channels]."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415 - optional
    except ImportError:
        raise UsageError('reading images needs Pillow: pip install "onnx-act[images]"') from None
    try:
        with Image.open(file) as stored:
            upright = _of_eight_bits(ImageOps.exif_transpose(stored))
            picture = upright.convert(_MODES[wanted.channels])
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        raise UsageError(f"{file}: cannot be read as an image ({error})") from error
    except Image.DecompressionBombError as error:
        raise UsageError(f"{file}: {error}") from error
    resized = picture.resize((wanted.width, wanted.height), Image.Resampling.BILINEAR)
    pixels: Any = np.asarray(resized)
    return np.asarray(pixels.reshape(wanted.height, wanted.width, wanted.channels))


def _of_eight_bits(picture: Image.Image) -> Image.Image:
    """A picture of 16 bits a pixel with 8: converting it would cut what is above 255."""
    from PIL import Image  # noqa: PLC0415 - optional

    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture, dtype=np.int64)
    return Image.fromarray(np.clip(values // 257, 0, 255).astype(np.uint8))
