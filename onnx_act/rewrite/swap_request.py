"""What a user asks to be swapped: `FROM=TO[:name=value,...]`."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from onnx_act.activations.catalogue import find
from onnx_act.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from onnx_act.activations.activation import Activation, Parameter, Parameters, ParameterValue
    from onnx_act.graph.sites import Site


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """Per-channel values from a `.npz`, one array for all sites or one per site.

    Attributes:
        path: where they were read from.
        arrays: by the id, output or node name of a site; a single array serves all.
    """

    path: Path
    arrays: Mapping[str, npt.NDArray[np.float64]]

    def values_for(self, site: Site) -> npt.NDArray[np.float64] | None:
        """The array of a site; None when the file has none for it."""
        names = (site.id, site.output.name or "", *(n.name or "" for n in site.nodes))
        for name in names:
            if name in self.arrays:
                return self.arrays[name]
        return next(iter(self.arrays.values())) if len(self.arrays) == 1 else None


@dataclass(frozen=True, slots=True)
class SwapRequest:
    """One swap.

    Attributes:
        source: the activation to replace.
        source_values: values its parameters must have, when a preset such as quick_gelu named it.
        target: the activation to put there.
        given: parameters of the target that were stated.
        files: parameters of the target that come from a file.
        text: the request as it was written.
    """

    source: Activation
    target: Activation
    source_values: Mapping[str, ParameterValue] = field(default_factory=dict)
    given: Mapping[str, ParameterValue] = field(default_factory=dict)
    files: Mapping[str, ArrayFile] = field(default_factory=dict)
    text: str = ""

    def covers(self, site: Site) -> bool:
        """Whether the site holds what this request replaces."""
        return site.activation is self.source and all(
            site.parameters.get(k) == v for k, v in self.source_values.items()
        )


def split_swap(text: str) -> tuple[str, str, dict[str, str]]:
    """The two names and the stated values of a request, as texts.

    Raises:
        UsageError: it is not of the form `FROM=TO[:name=value,...]`.
    """
    source, equals, rest = text.partition("=")
    if not equals or not source.strip() or not rest.strip():
        raise UsageError(f"--swap {text!r} is not of the form FROM=TO[:name=value,...]")
    name, _, settings = rest.partition(":")
    given: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in settings.split(","))):
        key, assigned, value = part.partition("=")
        if not assigned:
            raise UsageError(f"--swap {text!r}: {part!r} is not of the form name=value")
        given[key.strip()] = value.strip()
    return source.strip(), name.strip(), given


def parse_swap(text: str) -> SwapRequest:
    """A request as the command line writes it.

    Args:
        text: such as `relu=leaky_relu:negative_slope=0.1` or `relu=prelu:slope=@slopes.npz`.

    Raises:
        UsageError: it does not parse, names what nobody knows, or a value that cannot be.
    """
    source, name, given = split_swap(text)
    return make_swap(source, name, given, text)


def make_swap(
    source: str, target: str, given: Mapping[str, ParameterValue], text: str | None = None
) -> SwapRequest:
    """A request from names and parameter values; text values `@file.npz` are read.

    Raises:
        UsageError: a name nobody knows, or a value that cannot be.
    """
    old, old_values = find(source)
    new, preset = find(target)
    values: dict[str, ParameterValue] = dict(preset)
    files: dict[str, ArrayFile] = {}
    for key, value in given.items():
        slot = new.parameter_named(key)
        if isinstance(value, str) and value.startswith("@"):
            if not slot.per_channel:
                raise UsageError(f"{new.name}:{slot.name} takes one number, not a file")
            files[slot.name] = _read_arrays(Path(value[1:]), slot, new.name)
        else:
            values[slot.name] = slot.check(value, new.name)
    shown = text if text is not None else f"{source}={target}"
    return SwapRequest(old, new, old_values, values, files, shown)


def _read_arrays(path: Path, slot: Parameter, activation: str) -> ArrayFile:
    try:
        # Opened here: numpy forgets to close a damaged file (2.4).
        with path.open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise UsageError(f"{path} is not an .npz file; save it with numpy.savez")
            arrays = {k: np.asarray(stored[k], dtype=np.float64) for k in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"cannot read {path}: {reason}") from None
    if not arrays:
        raise UsageError(f"{path} holds no array")
    for name, array in arrays.items():
        try:
            slot.check(array, activation)
        except UsageError as error:
            raise UsageError(f"{path}, array {name!r}: {error}") from None
    return ArrayFile(path, arrays)


def carried_over(request: SwapRequest, site: Site) -> Parameters | str:
    """The target's parameters at a site: stated ones, those both sides share, then defaults.

    Returns:
        The reason, as text, when a shared value is none that the target can take.

    Raises:
        UsageError: a file has no array for the site.
    """
    values: dict[str, ParameterValue] = {}
    source = request.source
    meanings = {p.meaning: site.parameters.get(p.name) for p in source.parameters}
    for slot in request.target.parameters:
        held = meanings.get(slot.meaning)
        stated = slot.name in request.given or slot.name in request.files
        if held is None or stated or (isinstance(held, np.ndarray) and not slot.per_channel):
            continue
        try:
            values[slot.name] = slot.check(held, request.target.name)
        except UsageError as error:
            return f"what it has cannot be carried over ({error}); state {slot.name} in the request"
    values.update(request.given)
    for name, file in request.files.items():
        array = file.values_for(site)
        if array is None:
            raise UsageError(
                f"{file.path} has no array for {site.id}; name one after the site's id, its output "
                "or its node, or give a single array for all"
            )
        values[name] = array
    return request.target.bind(values)
