"""Inputs made up for a model: seeded, symmetric about zero, reaching both tails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_act.errors import EvidenceError, UsageError
from onnx_act.runtime.datasets import Dataset, load_data
from onnx_act.runtime.tensors import FLOATS, Array, Dimension, TensorSpec, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from onnx_act.runtime.session import Session

KINDS = ("normal", "wide", "heavy", "small", "knots", "zero")
"""What the feeds of a model hold, in turn.

`normal` is N(0, 1). `wide` is N(0, 3), which carries most activations into both tails. `heavy` is
Student's t with 2 degrees of freedom, cut at +-1000 (+-200 in float16, so that a few layers do
not overflow). `small` is N(0, 0.1), where a slope at zero shows. `knots` draws from the points at
which activations bend or are cut. `zero` is zero throughout.
"""

DEFAULT_COUNT = 4

# Bends and bounds of the activations of ONNX and torch: hardsigmoid and hardswish +-3, relu6 and
# clips 6 and +-1, shrinks +-0.5, sigmoid approximations +-2.5, thresholds 0 and 20 (softplus).
_KNOTS = np.array([0.0, 0.5, 1.0, 2.5, 3.0, 6.0, 20.0])
_HEAVY_LIMIT = {"float16": 200.0}
_DEFAULT_HEAVY_LIMIT = 1000.0
_INTEGER_RANGE = (0, 9)

# What a free dimension may be when 16 does not run: 64 and 224 for networks that halve their
# picture several times, 1 for a step of a sequence.
_SIZES = (16, 64, 224, 1)
_BATCH_NAMES = frozenset({"n", "b", "bs", "batch", "batch_size", "batchsize", "num_batch"})

_OPTIONS = "give its size with --shape NAME:1,3,224,224 or real inputs with --data FILE.npz"


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """What a model shall be run on; small and picklable, unlike the feeds themselves.

    Attributes:
        seed: Seeds everything that is random.
        count: How many feeds are generated; they go through `KINDS` in turn.
        shapes: (input name, dimensions) pairs that overrule what the model leaves free.
        ranges: (input name, (low, high)) pairs: uniform values in that closed range.
        data: Real inputs instead of generated ones: `.npz`, `.npy`, or a folder.
        batch: Rows in a feed. Left out, generated feeds alternate between 1 and 2 rows and data
            comes in up to 64 rows.
    """

    seed: int = 0
    count: int = DEFAULT_COUNT
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    ranges: tuple[tuple[str, tuple[float, float]], ...] = ()
    data: Path | None = None
    batch: int | None = None


def make_feeds(
    specs: Sequence[TensorSpec],
    *,
    seed: int = 0,
    count: int = DEFAULT_COUNT,
    shapes: Mapping[str, Sequence[int]] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    batch: int | None = 1,
    size: int = 16,
) -> list[dict[str, Array]]:
    """Generate feeds, the i-th of kind `KINDS[i % len(KINDS)]`.

    A feed depends on the seed, its position and the input's position, not on how many feeds
    there are. Integers are uniform in 0..9, since an integer may be a token, a length or an
    index; booleans are fair coins. A symbolic dimension has one size wherever its name occurs;
    the first dimension of an input and those named like a batch get `batch`, others `size`.

    Args:
        specs: The model's inputs.
        seed: Seeds everything.
        count: How many.
        shapes: Dimensions of inputs by name, which overrule the model's free ones.
        ranges: Closed ranges of inputs by name, drawn from uniformly.
        batch: Rows; None alternates between 1 and 2 from feed to feed.
        size: The size of every other free dimension.

    Raises:
        EvidenceError: An input is a string, a sequence or of a type that nothing can be
            generated for.
        UsageError: A shape or range names no input, or a shape contradicts the model's.
    """
    shapes = shapes or {}
    ranges = ranges or {}
    for name in (*shapes, *ranges):
        if name not in {spec.name for spec in specs}:
            inputs = ", ".join(spec.name for spec in specs)
            raise UsageError(f"the model has no input {name!r}; its inputs are {inputs}")
    for spec in specs:
        if not spec.is_tensor or spec.dtype == "string":
            raise EvidenceError(
                f"no values can be generated for input {spec.name!r} of type {spec.dtype}; "
                f"give real inputs with --data FILE.npz"
            )
    feeds = []
    for index in range(count):
        rows = 1 + index % 2 if batch is None else batch
        dims = _resolved(specs, shapes, rows, size)
        feeds.append(
            {
                spec.name: _values(
                    np.random.default_rng((seed, index, position)),
                    spec,
                    dims[spec.name],
                    KINDS[index % len(KINDS)],
                    ranges.get(spec.name),
                )
                for position, spec in enumerate(specs)
            }
        )
    return feeds


def feeds_for(session: Session, request: FeedRequest) -> Dataset:
    """Feeds that a session accepts.

    Free dimensions are guesses until the model has run on them, so generated feeds are tried:
    a size that the model refuses, or that leaves only empty outputs, gives way to the next one.
    That costs a run or two.

    Args:
        session: The model, ready to run.
        request: What to run it on.

    Raises:
        EvidenceError: Nothing that was tried runs; the message says which option to give.
        UsageError: The data or the shapes do not fit the model.
    """
    if request.data is not None:
        return load_data(request.data, session.inputs, batch=request.batch or 64)
    free = any(not isinstance(dim, int) for spec in session.inputs for dim in spec.shape)
    batches = (None, 1) if request.batch is None else (request.batch,)
    refusals: list[str] = []
    for size in _SIZES if free else _SIZES[:1]:
        for batch in batches:
            feeds = make_feeds(
                session.inputs,
                seed=request.seed,
                count=request.count,
                shapes=dict(request.shapes),
                ranges=dict(request.ranges),
                batch=batch,
                size=size,
            )
            refusal = _refusal(session, feeds[:2])
            if refusal is None:
                origin = tuple(KINDS[i % len(KINDS)] for i in range(len(feeds)))
                return Dataset(tuple(feeds), None, origin)
            refusals.append(refusal)
            if not free:
                break
    inputs = ", ".join(f"{spec.name} {spec.dtype}{list(spec.shape)}" for spec in session.inputs)
    raise EvidenceError(
        f"the model does not run on generated inputs: {refusals[0]} (inputs: {inputs}); {_OPTIONS}"
    )


def _refusal(session: Session, feeds: Sequence[Mapping[str, Array]]) -> str | None:
    """Why these feeds do not do, or None."""
    names = [spec.name for spec in session.tensor_outputs]
    for feed in feeds:
        try:
            results = session.run(feed, names)
        except EvidenceError as error:
            return str(error)
        if results and all(result.size == 0 for result in results):
            return "every output is empty"
    return None


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


def _values(
    rng: np.random.Generator,
    spec: TensorSpec,
    shape: tuple[int, ...],
    kind: str,
    limits: tuple[float, float] | None,
) -> Array:
    dtype = numpy_dtype(spec.dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        low, high = (int(limits[0]), int(limits[1])) if limits else _INTEGER_RANGE
        return rng.integers(low, high, shape, endpoint=True).astype(dtype)
    if spec.dtype not in FLOATS:
        raise EvidenceError(
            f"no values can be generated for input {spec.name!r} of type {spec.dtype}; "
            f"give real inputs with --data FILE.npz"
        )
    if limits:
        return np.asarray(rng.uniform(*limits, shape)).astype(dtype)
    return np.asarray(_floats(rng, spec.dtype, shape, kind)).astype(dtype)


def _floats(rng: np.random.Generator, dtype: str, shape: tuple[int, ...], kind: str) -> Any:
    match kind:
        case "normal":
            return rng.standard_normal(shape)
        case "wide":
            return 3.0 * rng.standard_normal(shape)
        case "small":
            return 0.1 * rng.standard_normal(shape)
        case "heavy":
            limit = _HEAVY_LIMIT.get(dtype, _DEFAULT_HEAVY_LIMIT)
            return np.clip(rng.standard_t(2, shape), -limit, limit)
        case "knots":
            return rng.choice(np.concatenate([-_KNOTS, _KNOTS]), shape)
    return np.zeros(shape)
