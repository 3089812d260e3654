"""Writing a model so that nothing is ever lost or half there.

A model is first staged: written under a temporary name in the target folder, complete with the
weights it needs, so that a runtime can open it. It takes its final name by a rename, or vanishes.
Weights that did not change are not rewritten when the output stays in their folder, and are copied
from file to file by the kernel, only the parts still in use, when it does not.
"""

from __future__ import annotations

import filecmp
import os
import platform
import secrets
import zlib
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import onnx
import onnx_ir as ir

from onnx_act.errors import ModelUnsupportedError, UsageError
from onnx_act.graph.model import OnnxModel, check_model, graphs_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

# Protobuf cannot hold more in one message.
_LARGEST_FILE: Final = (1 << 31) - 1
# Runtimes map external data by the page.
_PAGE: Final = 4096
_CHUNK: Final = 1 << 24


@dataclass(slots=True)
class StagedModel:
    """A model written beside its target under a temporary name.

    Use it as a context manager: what was not committed is removed.

    Attributes:
        target: where `commit` puts it.
        path: the temporary file, complete and loadable.
        shares_weights_with: external files that the output refers to in place.
    """

    target: Path
    path: Path
    shares_weights_with: tuple[Path, ...]
    _proto: onnx.ModelProto
    _data: Path | None

    def keep_content_of(self, original: Path) -> None:
        """Make it the original, byte for byte, where all of that is in one file.

        For a result that is the same graph: what a second writing would change is nobody's wish.
        """
        if self._data is None and not self.shares_weights_with:
            _write(self.path, original.read_bytes())

    def commit(self) -> Path | None:
        """Put the model, and its weights, under their final names.

        Returns:
            A weight file of an earlier output that was left as it is, because another model may
            refer to it; None when there is none.
        """
        beside: Path | None = None
        if self._data is not None:
            usual = self.target.with_name(self.target.name + ".data")
            place = _data_place(usual, self._data)
            beside = usual if place != usual else None
            _relocate(self._proto, self._data.name, place.name)
            _write(self.path, self._proto.SerializeToString())
            if not place.exists():
                self._data.replace(place)
                self._data = None
        self.path.replace(self.target)
        return beside

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for leftover in (self.path, self._data):
            if leftover is not None:
                leftover.unlink(missing_ok=True)


def check_target(source: Path | None, target: Path) -> None:
    """Refuse an output that would overwrite an input.

    Raises:
        UsageError: it is the input, or one of its weight files, or cannot be a file.
    """
    try:
        is_folder = target.is_dir()
        is_input = source is not None and (
            # Path.resolve raises for a link that leads to itself before Python 3.13.
            os.path.realpath(target) == os.path.realpath(source)
            or (target.exists() and target.samefile(source))
        )
    except OSError as error:  # such as a name that is too long
        raise UsageError(f"cannot write {target}: {error.strerror or error}") from None
    if is_folder:
        raise UsageError(f"{target} is a folder; give the output a file name")
    if is_input:
        raise UsageError(f"the output is the input ({source}); input files are never written")


def stage_model(model: OnnxModel, target: Path) -> StagedModel:
    """Write `model` beside `target` under a temporary name, and check what was written.

    Raises:
        UsageError: the target would overwrite the input, or cannot be written.
        ModelUnsupportedError: the model does not fit a file.
    """
    check_target(model.path, target)
    proto = ir.to_proto(model.content)
    _strip_weight_types(proto, model.declared)
    base = _base_folder(model)
    externals = list(_external_tensors(proto))
    sources = {(base / _info(t)["location"]).resolve() for t in externals}
    if target.resolve() in sources:
        raise UsageError(f"{target} holds the weights of the input; input files are never written")
    tag = f"{os.getpid()}-{machine_mark()}{secrets.token_hex(4)}"
    # Short enough that a name which the folder can hold is not refused for ours.
    name = target.name[:64]
    path = target.parent / f".{name}.{tag}.tmp"
    data: Path | None = None
    shared: tuple[Path, ...] = ()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if externals and base.resolve() != target.parent.resolve():
            data = target.parent / f".{name}.{tag}.data.tmp"
            _copy_weights(externals, base, data)
        elif externals:
            shared = tuple(sorted(sources))
        _check_size(proto)
        _write(path, proto.SerializeToString())
    except OSError as error:
        _remove(path, data)
        raise UsageError(f"cannot write {target}: {error.strerror or error}") from None
    except BaseException:
        _remove(path, data)
        raise
    staged = StagedModel(target, path, shared, proto, data)
    try:
        check_model(proto, path, str(target))
    except BaseException:
        _remove(path, data)
        raise
    return staged


def machine_mark() -> str:
    """Four characters that tell in whose list of processes the one in a temporary name is."""
    return f"{zlib.crc32(platform.node().encode()) & 0xFFFF:04x}"


def _check_size(proto: onnx.ModelProto) -> None:
    if proto.ByteSize() > _LARGEST_FILE:
        raise ModelUnsupportedError(
            "the model does not fit a file of 2 GB; keep its weights as external data"
        )


def _remove(*paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            # Where the folder itself is the problem there is nothing to remove.
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _data_place(usual: Path, data: Path) -> Path:
    """The first of `model.onnx.data`, `model.onnx.1.data` ... that is free or holds the same bytes.

    A file that is there is never replaced: other models may refer to it.
    """
    for number in count():
        stem = usual.name.removesuffix(".data")
        place = usual.with_name(f"{stem}.{number}.data") if number else usual
        if not place.exists() or filecmp.cmp(place, data, shallow=False):
            return place
    raise AssertionError


def _base_folder(model: OnnxModel) -> Path:
    if model.path is not None:
        return model.path.resolve().parent
    for scope in model.scopes():
        for value in scope.graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                return Path(value.const_value.base_dir)
    return Path()


def _external_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model that is kept outside of it, wherever it stands."""
    graphs = list(graphs_of(proto))
    nodes = [*(n for f in proto.functions for n in f.node), *(n for g in graphs for n in g.node)]
    tensors = [
        *(t for g in graphs for t in g.initializer),
        *(t for n in nodes for a in n.attribute for t in (a.t, *a.tensors)),
    ]
    return (t for t in tensors if onnx.external_data_helper.uses_external_data(t))


def _strip_weight_types(proto: onnx.ModelProto, declared: frozenset[str]) -> None:
    """Take out the value_info of weights that the file did not have: they say it themselves."""
    for graph in graphs_of(proto):
        own = {t.name for t in graph.initializer} - declared
        kept = [v for v in graph.value_info if v.name not in own]
        if len(kept) != len(graph.value_info):
            del graph.value_info[:]
            graph.value_info.extend(kept)


def _info(tensor: onnx.TensorProto) -> dict[str, str]:
    return {e.key: e.value for e in tensor.external_data}


def _copy_weights(tensors: list[onnx.TensorProto], base: Path, data: Path) -> None:
    """Copy the stretches that are in use into one file, and point the tensors at it."""
    placed: dict[tuple[Path, int, int], int] = {}
    end = 0
    with data.open("wb") as out:
        for tensor in tensors:
            info = _info(tensor)
            source = (base / info["location"]).resolve()
            start = int(info.get("offset", 0))
            length = int(info["length"]) if "length" in info else source.stat().st_size - start
            key = (source, start, length)
            if key not in placed:
                end = -(-end // _PAGE) * _PAGE
                with source.open("rb") as stored:
                    _copy_range(stored.fileno(), start, out.fileno(), end, length, source)
                placed[key] = end
                end += length
            del tensor.external_data[:]
            for name, value in (
                ("location", data.name),
                ("offset", str(placed[key])),
                ("length", str(length)),
            ):
                tensor.external_data.add(key=name, value=value)
        out.truncate(end)
        os.fsync(out.fileno())


def _copy_range(source: int, start: int, target: int, place: int, length: int, name: Path) -> None:
    """Copy bytes between files inside the kernel, without bringing them into this process."""
    left = length
    while left:
        done = os.copy_file_range(source, target, min(left, _CHUNK), start, place)
        if done == 0:
            raise UsageError(f"{name} is shorter than the model says")
        start, place, left = start + done, place + done, left - done


def _relocate(proto: onnx.ModelProto, old: str, new: str) -> None:
    for tensor in _external_tensors(proto):
        for entry in tensor.external_data:
            if entry.key == "location" and entry.value == old:
                entry.value = new


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def serialised(model: OnnxModel) -> bytes:
    """A model whose weights are all its own, as a file would hold it."""
    content: bytes = ir.to_proto(model.content).SerializeToString()
    return content


def weights_folder(model: OnnxModel) -> Path | None:
    """The folder of a model's external weights; None when it has none."""
    for scope in model.scopes():
        for value in scope.graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                return Path(value.const_value.base_dir)
    return None


def stored_bytes(path: Path, model: OnnxModel) -> int:
    """The size of a model's file and of the files with its external weights, in bytes.

    Args:
        path: The model's file.
        model: What was read from it.
    """
    weights = {
        Path(value.const_value.path)
        for scope in model.scopes()
        for value in scope.graph.initializers.values()
        if isinstance(value.const_value, ir.ExternalTensor)
    }
    return sum(file.stat().st_size for file in {path, *weights} if file.exists())


def stage_temporarily(model: OnnxModel, folder: Path, name: str) -> StagedModel:
    """Stage a model that is only to be run: beside its external weights, to share them.

    Args:
        model: what to stage.
        folder: for it where no weight is external, or where their folder cannot be written; the
            weights are copied then.
        name: the end of its file name.
    """
    beside = weights_folder(model)
    if beside is not None:
        # The folder may be one that cannot be written.
        with suppress(UsageError):
            return stage_model(model, beside / name)
    return stage_model(model, folder / name)
