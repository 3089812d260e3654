"""Real inputs from files, cut into feeds that a model takes."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_act.errors import UsageError
from onnx_act.runtime import images
from onnx_act.runtime.kinds import EXTREME, ORDINARY
from onnx_act.runtime.tensors import Array, TensorSpec, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from onnx_act.runtime.images import Normalization

LABELS = ("labels", "label", "y")
"""Names of an array that holds the right answers, unless the model has an input of that name."""

_SUFFIXES = (".npz", ".npy")
# The most rows of arrays in a feed, where the model leaves it open.
_ROWS = 64
# The same of images, which are large, and how many feeds of them are read of a long folder: as
# many as evidence uses.
_PICTURES = 4
_PICTURE_FEEDS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """What a model is run on.

    Attributes:
        feeds: One mapping from input name to array for every run.
        labels: The right answers, one for every row over all feeds, or None.
        origin: One word for each feed that says what it holds (`normal`, `data`).
        unused_rows: Rows at the end of the data that do not fill a batch of a fixed size.
    """

    feeds: tuple[dict[str, Array], ...]
    labels: Array | None
    origin: tuple[str, ...]
    unused_rows: int = 0

    def first(self, count: int) -> Dataset:
        """The first feeds, without labels."""
        return Dataset(self.feeds[:count], None, self.origin[:count])

    @property
    def is_extreme(self) -> tuple[bool, ...]:
        """For every feed, whether figures over feeds leave it out."""
        return tuple(kind in EXTREME for kind in self.origin)

    def ordinary(self) -> Dataset:
        """The feeds that look like inputs, with the labels; all of them where none does.

        The rest looks for faults, and figures of what a model usually does must not hold it.
        """
        kept = [k for k, kind in enumerate(self.origin) if kind in ORDINARY]
        if len(kept) in (0, len(self.feeds)):
            return self
        feeds = tuple(self.feeds[k] for k in kept)
        return Dataset(feeds, self.labels, tuple(self.origin[k] for k in kept), self.unused_rows)


def load_data(
    path: Path,
    specs: Sequence[TensorSpec],
    *,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    normalize: Normalization | None = None,
) -> Dataset:
    """Read inputs from `.npz`, `.npy`, `.png`, `.jpg`, or a folder of one sort in sorted order.

    The first axis of an array counts rows. An input whose first dimension is free gets up to
    `batch` rows at a time, one whose first dimension is fixed gets that many; an array with one
    axis more than the input is a stack of whole inputs. An array of exactly the input's fixed
    shape is given to every feed where other inputs have more rows.

    An image is resized to the input's height and width, in the layout that the input's shape
    tells, and goes to every input. Of a long folder, images are taken at even distances.

    Args:
        path: A file whose arrays are keyed by input name (a model with one input also takes a
            single array of any name), with the right answers under one of `LABELS` if there
            are any; or a folder of such files.
        specs: The model's inputs.
        batch: The most rows in a feed; 64 when left out, 4 of images.
        shapes: Dimensions of inputs by name, which give images a size that the model leaves open.
        normalize: What becomes of the pixels of images, 0..1 when left out.

    Raises:
        UsageError: The file cannot be read, or does not hold what the model wants; the message
            says what there is and what is wanted. Or Pillow is not there to read images.
    """
    files = _files(path)
    if files[0].suffix.lower() in images.SUFFIXES:
        return _load_pictures(path, files, specs, batch, shapes or {}, normalize)
    if normalize is not None:
        raise UsageError(f"--normalize is for images, and {path} holds arrays")
    parts = [_read_arrays(file, specs) for file in files]
    feeds: list[dict[str, Array]] = []
    labels: list[Array] = []
    unused = 0
    for file, arrays, answers in parts:
        cut, used, left = _cut(file, arrays, specs, batch or _ROWS)
        feeds += cut
        unused += left
        if answers is not None:
            if left + used != len(answers):
                raise UsageError(f"{file}: {len(answers)} labels for {left + used} rows")
            labels.append(answers[:used])
    if not feeds:
        raise UsageError(f"{path}: no complete batch of rows in it")
    complete = len(labels) == len(parts)
    return Dataset(
        tuple(feeds), np.concatenate(labels) if complete else None, ("data",) * len(feeds), unused
    )


def _files(path: Path) -> list[Path]:
    """The files of a data set, all of one sort, at least one."""
    if not path.is_dir():
        if not path.is_file():
            raise UsageError(f"{path}: no such file or folder")
        if path.suffix.lower() not in (*_SUFFIXES, *images.SUFFIXES):
            raise UsageError(
                f"{path}: data is read from .npz or .npy files, from .png or .jpg images, or from "
                f"a folder of one of these"
            )
        return [path]
    entries = sorted(path.iterdir())
    sorts = [
        [file for file in entries if file.suffix.lower() in suffixes and file.is_file()]
        for suffixes in (_SUFFIXES, images.SUFFIXES)
    ]
    if all(sorts):
        raise UsageError(
            f"{path}: there are arrays ({sorts[0][0].name}) and images ({sorts[1][0].name}) in "
            f"this folder; name one of them, or a folder of one sort"
        )
    if not any(sorts):
        raise UsageError(f"{path}: no .npz, .npy, .png or .jpg file in this folder")
    return sorts[0] or sorts[1]


def _load_pictures(
    path: Path,
    files: Sequence[Path],
    specs: Sequence[TensorSpec],
    batch: int | None,
    shapes: Mapping[str, Sequence[int]],
    normalize: Normalization | None,
) -> Dataset:
    """Feeds of as many images as go into each."""
    wanted = images.picture_inputs(specs, shapes)
    fixed = {1 if each.rows is None else each.rows for each in wanted if each.rows != 0}
    if len(fixed) > 1:
        raise UsageError("the inputs take different numbers of images: give arrays with --data")
    rows = next(iter(fixed), min(batch or _PICTURES, len(files)))
    whole = min(len(files), rows * _PICTURE_FEEDS)
    if fixed:
        whole -= whole % rows
    if not whole:
        raise UsageError(
            f"{path}: a feed of this model is {rows} images, and there are {len(files)}"
        )
    taken = [files[k * len(files) // whole] for k in range(whole)]
    feeds: list[dict[str, Array]] = []
    for start in range(0, whole, rows):
        part = taken[start : start + rows]
        feed = {}
        for each in wanted:
            read = images.read_pictures(part, each, normalize)
            feed[each.spec.name] = read[0] if each.rows is None else read
        feeds.append(feed)
    return Dataset(tuple(feeds), None, ("data",) * len(feeds), len(files) - whole)


def _read_arrays(
    path: Path, specs: Sequence[TensorSpec]
) -> tuple[Path, dict[str, Array], Array | None]:
    try:
        loaded = np.load(path, allow_pickle=False)
        stored = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: cannot be read as numpy data ({error})") from error
    wanted = {spec.name for spec in specs}
    answers = [name for name in LABELS if name in stored and name not in wanted]
    labels = np.asarray(stored.pop(answers[0])) if answers else None
    for name in answers[1:]:
        stored.pop(name)
    if len(specs) == 1 and len(stored) == 1 and not wanted & stored.keys():
        return path, {specs[0].name: next(iter(stored.values()))}, labels
    missing = [spec for spec in specs if spec.name not in stored]
    if missing:
        there = ", ".join(f"{name or 'one array'} {a.shape}" for name, a in stored.items())
        wants = ", ".join(f"{spec.name} {_shape_text(spec)}" for spec in specs)
        raise UsageError(
            f"{path}: no array for input {missing[0].name!r}; the file has {there or 'none'}, "
            f"the model wants {wants}"
        )
    return path, {name: array for name, array in stored.items() if name in wanted}, labels


def _cut(
    path: Path, arrays: Mapping[str, Array], specs: Sequence[TensorSpec], batch: int
) -> tuple[list[dict[str, Array]], int, int]:
    """Feeds, rows used, rows left over."""
    if not specs:
        return [{}], 1, 0
    pieces = {
        spec.name: _pieces(path, _converted(path, arrays[spec.name], spec), spec, batch)
        for spec in specs
    }
    count = max(len(cut) for cut, _, _ in pieces.values())
    feeds: list[dict[str, Array]] = [{} for _ in range(count)]
    for name, (cut, _, _) in pieces.items():
        if len(cut) not in (1, count):
            lengths = ", ".join(f"{key} {len(value[0])}" for key, value in pieces.items())
            raise UsageError(f"{path}: the inputs have different numbers of batches: {lengths}")
        for index, feed in enumerate(feeds):
            feed[name] = cut[index % len(cut)]
    # The first input that changes from feed to feed says how many rows there are.
    used, left = next((used, over) for cut, used, over in pieces.values() if len(cut) == count)
    return feeds, used, left


def _pieces(path: Path, array: Array, spec: TensorSpec, batch: int) -> tuple[list[Array], int, int]:
    """One input's arrays for each feed, rows used, rows left over."""
    rank = len(spec.shape)
    if rank == 0:
        if array.ndim == 0:
            return [array], 1, 0
        return [np.asarray(value) for value in array.reshape(-1)], array.size, 0
    if array.ndim == rank + 1:
        return [row for row in array if _fits(path, row, spec)], len(array), 0
    if array.ndim == rank - 1:
        array = array[np.newaxis]
    first = spec.shape[0]
    size = first if isinstance(first, int) and first > 0 else max(1, min(batch, len(array)))
    fixed = size == first
    stop = len(array) // size * size if fixed else len(array)
    _fits(path, array[: size if fixed else None], spec)
    return [array[i : min(i + size, stop)] for i in range(0, stop, size)], stop, len(array) - stop


def _fits(path: Path, array: Array, spec: TensorSpec) -> bool:
    """Raise unless the axes behind the first have the model's fixed sizes."""
    wrong = array.ndim != len(spec.shape) or any(
        isinstance(want, int) and want != have
        for want, have in zip(spec.shape[1:], array.shape[1:], strict=False)
    )
    if wrong:
        raise UsageError(
            f"{path}: the array for input {spec.name!r} has shape {array.shape}, the model wants "
            f"{_shape_text(spec)}"
        )
    return True


def _converted(path: Path, array: Array, spec: TensorSpec) -> Array:
    try:
        dtype = numpy_dtype(spec.dtype)
    except TypeError:
        raise UsageError(
            f"{path}: input {spec.name!r} is a {spec.dtype}, which no file of arrays holds"
        ) from None
    if array.dtype == dtype:
        return array
    into_float = spec.is_float and array.dtype.kind in "fiub"
    if into_float or np.can_cast(array.dtype, dtype, "same_kind"):
        return array.astype(dtype)
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        info = np.iinfo(dtype)
        if array.size == 0 or (array.min() >= info.min and array.max() <= info.max):
            return array.astype(dtype)
    raise UsageError(
        f"{path}: the array for input {spec.name!r} is {array.dtype}, the model wants {spec.dtype}"
    )


def _shape_text(spec: TensorSpec) -> str:
    return f"({', '.join('?' if dim is None else str(dim) for dim in spec.shape)})"
