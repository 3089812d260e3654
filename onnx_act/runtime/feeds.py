"""Inputs made up for a model: seeded, symmetric about zero, reaching both tails."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnx_act.errors import EvidenceError, UsageError
from onnx_act.runtime.datasets import Dataset, load_data
from onnx_act.runtime.kinds import (
    DEFAULT_COUNT,
    HUGE_DIVISORS,
    KINDS,
    check_generable,
    check_range,
    values_of_kind,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from onnx_act.runtime.images import Normalization
    from onnx_act.runtime.session import Session
    from onnx_act.runtime.tensors import Array, Dimension, TensorSpec

# What a free dimension may be when 16 does not run: 64 and 224 for networks that halve their
# picture several times, 1 for a step of a sequence.
_SIZES = (16, 64, 224, 1)
_BATCH_NAMES = frozenset({"n", "b", "bs", "batch", "batch_size", "batchsize", "num_batch"})

# What integers are drawn from that nothing is known of: tokens and lengths, flags, and a single
# index, of which 0 and 1 are the ones that most models have.
_INTEGER_RANGES = (None, (0, 1), (1, 1), (0, 0))
# How many feeds show that a size is right: one of each number of rows.
_ENOUGH = 2

_DATA = "real inputs with --data FILE.npz"


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """What a model shall be run on; small and picklable, unlike the feeds themselves.

    Attributes:
        seed: Seeds everything that is random; not negative.
        count: How many feeds are generated; they go through `KINDS` in turn.
        shapes: (input name, dimensions) pairs that overrule what the model leaves free.
        ranges: (input name, (low, high)) pairs: uniform values in that closed range.
        data: Real inputs instead of generated ones: `.npz`, `.npy`, an image, or a folder.
        batch: Rows in a feed. Left out, generated feeds alternate between 1 and 2 rows and data
            comes in up to 64 rows (4 images).
        knots: Where activations of the model bend, for feeds of that kind.
        normalize: What images are turned into, see `onnx_act.runtime.images.Normalization`.

    Raises:
        UsageError: The seed is negative.
    """

    seed: int = 0
    count: int = DEFAULT_COUNT
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    ranges: tuple[tuple[str, tuple[float, float]], ...] = ()
    data: Path | None = None
    batch: int | None = None
    knots: tuple[float, ...] = ()
    normalize: Normalization | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"the seed is a number from 0 on, not {self.seed}")


def make_feeds(
    specs: Sequence[TensorSpec],
    *,
    seed: int = 0,
    start: int = 0,
    count: int = DEFAULT_COUNT,
    shapes: Mapping[str, Sequence[int]] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    batch: int | None = 1,
    size: int = 16,
    knots: Sequence[float] = (),
    divisor: float = 1.0,
) -> list[dict[str, Array]]:
    """Generate feeds, the i-th of kind `KINDS[i % len(KINDS)]`.

    A feed depends on the seed, its position and the input's position, not on how many feeds
    there are. Integers are uniform in 0..9, since an integer may be a token, a length or an
    index; booleans are fair coins. A symbolic dimension has one size wherever its name occurs;
    the first dimension of an input and those named like a batch get `batch`, others `size`.

    Args:
        specs: The model's inputs.
        seed: Seeds everything.
        start: The position of the first feed.
        count: How many.
        shapes: Dimensions of inputs by name, which overrule the model's free ones.
        ranges: Closed ranges of inputs by name, drawn from uniformly.
        batch: Rows; None alternates between 1 and 2 from feed to feed.
        size: The size of every other free dimension.
        knots: Where activations of the model bend.
        divisor: What `huge` feeds are divided by.

    Raises:
        EvidenceError: An input is a string, a sequence or of a type that nothing can be
            generated for.
        UsageError: A shape or range names no input, a shape contradicts the model's, or an
            input cannot hold numbers of its range.
    """
    shapes = shapes or {}
    ranges = ranges or {}
    by_name = {spec.name: spec for spec in specs}
    for name in (*shapes, *ranges):
        if name not in by_name:
            raise UsageError(
                f"the model has no input {name!r}; its inputs are {', '.join(by_name)}"
            )
    for spec in specs:
        check_generable(spec)
    for name, limits in ranges.items():
        check_range(by_name[name], limits)
    feeds = []
    for index in range(start, start + count):
        rows = 1 + index % 2 if batch is None else batch
        dims = _resolved(specs, shapes, rows, size)
        feeds.append(
            {
                spec.name: values_of_kind(
                    np.random.default_rng((seed, index, position)),
                    spec,
                    dims[spec.name],
                    KINDS[index % len(KINDS)],
                    limits=ranges.get(spec.name),
                    knots=knots,
                    divisor=divisor,
                )
                for position, spec in enumerate(specs)
            }
        )
    return feeds


def feeds_for(session: Session, request: FeedRequest) -> Dataset:
    """Feeds that a session accepts.

    Free dimensions are guesses until the model has run on them, and so are integers that may be
    indices, so generated feeds are tried: a size that the model refuses, or that leaves only
    empty outputs, gives way to the next one. That costs a run or two; one of every feed where
    there are integers. A `huge` feed is tried too, and divided until it leaves half of every
    output finite.

    Args:
        session: The model, ready to run.
        request: What to run it on.

    Raises:
        EvidenceError: Nothing that was tried runs; the message says which option to give.
        UsageError: The data, the shapes or the ranges do not fit the model.
    """
    if request.data is not None:
        return load_data(
            request.data,
            session.inputs,
            batch=request.batch,
            shapes=dict(request.shapes),
            normalize=request.normalize,
        )
    refusals: list[str] = []
    for guess in _guesses(session.inputs, request):
        feeds = _tried(session, guess, request.count, refusals)
        if feeds is not None:
            origin = tuple(KINDS[i % len(KINDS)] for i in range(len(feeds)))
            return Dataset(tuple(feeds), None, origin)
    inputs = ", ".join(f"{spec.name} {spec.dtype}{list(spec.shape)}" for spec in session.inputs)
    raise EvidenceError(
        f"the model does not run on generated inputs: {refusals[0]} (inputs: {inputs}); "
        f"{_options(session.inputs)}"
    )


def _guesses(
    specs: Sequence[TensorSpec], request: FeedRequest
) -> Iterator[partial[list[dict[str, Array]]]]:
    """Ways to make feeds, in the order in which they are tried."""
    free = any(not isinstance(dim, int) for spec in specs for dim in spec.shape)
    given = dict(request.ranges)
    unbounded = [spec.name for spec in specs if _is_integer(spec) and spec.name not in given]
    batches = (None, 1) if request.batch is None else (request.batch,)
    for size in _SIZES if free else _SIZES[:1]:
        for batch in batches if free else batches[:1]:
            for limits in _INTEGER_RANGES if unbounded else (None,):
                bounded = {} if limits is None else dict.fromkeys(unbounded, limits)
                yield partial(
                    make_feeds,
                    specs,
                    seed=request.seed,
                    shapes=dict(request.shapes),
                    ranges=bounded | given,
                    batch=batch,
                    size=size,
                    knots=request.knots,
                )


def _tried(
    session: Session,
    make: partial[list[dict[str, Array]]],
    count: int,
    refusals: list[str],
) -> list[dict[str, Array]] | None:
    """As many feeds, when the model runs on them; else None, and a refusal more."""
    feeds: list[dict[str, Array]] = []
    # Whether the model runs on integers is for each feed to show; on sizes, for two.
    needed = count if any(_is_integer(spec) for spec in session.inputs) else _ENOUGH
    for index in range(count):
        one = partial(make, start=index, count=1)
        (feed,) = one()
        if KINDS[index % len(KINDS)] == "huge" and _has_free_floats(session.inputs, make):
            feed = _kept_finite(session, one)
        if index < needed:
            refusal = _refusal(session, feed)
            if refusal is not None:
                refusals.append(refusal)
                return None
        feeds.append(feed)
    return feeds


def counts_rows(session: Session, rows: int) -> bool:
    """Whether some input of a model has, or can be given, so many rows."""
    return any(
        _counts_rows(dim, axis, spec) and (not isinstance(dim, int) or dim == rows)
        for spec in session.inputs
        for axis, dim in enumerate(spec.shape)
    )


def _refusal(session: Session, feed: Mapping[str, Array]) -> str | None:
    """Why this feed does not do, or None."""
    try:
        results = session.run(feed, [spec.name for spec in session.tensor_outputs])
    except EvidenceError as error:
        return str(error)
    if results and all(result.size == 0 for result in results):
        return "every output is empty"
    return None


def _kept_finite(session: Session, make: partial[list[dict[str, Array]]]) -> dict[str, Array]:
    """A huge feed, divided until half of every output is finite, or as far as it goes."""
    names = [spec.name for spec in session.tensor_outputs if spec.is_float]
    feed: dict[str, Array] = {}
    for divisor in HUGE_DIVISORS:
        (feed,) = make(divisor=divisor)
        try:
            results = session.run(feed, names)
        except EvidenceError:
            continue
        shares = [np.mean(np.isfinite(r.astype(np.float64))) for r in results if r.size]
        if min(shares, default=1.0) >= 0.5:
            break
    return feed


def _has_free_floats(specs: Sequence[TensorSpec], make: partial[list[dict[str, Array]]]) -> bool:
    """Whether some input is a float that no range bounds."""
    return any(spec.is_float and spec.name not in make.keywords["ranges"] for spec in specs)


def _is_integer(spec: TensorSpec) -> bool:
    return spec.is_tensor and spec.dtype.startswith(("int", "uint"))


def _options(specs: Sequence[TensorSpec]) -> str:
    """What to type when generated inputs do not do."""
    ranges = [spec.name for spec in specs if _is_integer(spec)]
    integers = f"bound integers with --input-range {ranges[0]}:0,99, " if ranges else ""
    return f"give its size with --shape NAME:1,3,224,224, {integers}or {_DATA}"


def _resolved(
    specs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[int]], batch: int, size: int
) -> dict[str, tuple[int, ...]]:
    """Every input's dimensions, with one size for each symbolic name."""
    known: dict[str, int] = {}
    for spec in specs:
        if spec.name in shapes:
            _check_shape(spec, shapes[spec.name])
            known.update(
                (dim, given)
                for dim, given in zip(spec.shape, shapes[spec.name], strict=False)
                if isinstance(dim, str)
            )
    resolved = {}
    for spec in specs:
        if spec.name in shapes:
            resolved[spec.name] = tuple(shapes[spec.name])
            continue
        resolved[spec.name] = tuple(
            _dimension(dim, known, batch if _counts_rows(dim, axis, spec) else size)
            for axis, dim in enumerate(spec.shape)
        )
    return resolved


def _dimension(dim: Dimension, known: dict[str, int], default: int) -> int:
    if isinstance(dim, int):
        return dim
    if dim is None:
        return default
    # Exporters write derived sizes as sums ("past_length + length"): the parts decide.
    parts = [part.strip() for part in dim.split("+")]
    if len(parts) > 1 and all(part.isdigit() or part in known for part in parts):
        return sum(int(part) if part.isdigit() else known[part] for part in parts)
    return known.setdefault(dim, default)


def _counts_rows(dim: Dimension, axis: int, spec: TensorSpec) -> bool:
    if isinstance(dim, str) and (dim.lower() in _BATCH_NAMES or "batch" in dim.lower()):
        return True
    return axis == 0 and len(spec.shape) > 1


def _check_shape(spec: TensorSpec, given: Sequence[int]) -> None:
    # An empty shape stands for an unknown rank as well, so it contradicts nothing.
    fits = not spec.shape or (
        len(given) == len(spec.shape)
        and all(
            not isinstance(dim, int) or dim == size
            for dim, size in zip(spec.shape, given, strict=True)
        )
    )
    if not fits:
        raise UsageError(
            f"shape {list(given)} was given for input {spec.name!r}, the model wants "
            f"{list(spec.shape)}"
        )
