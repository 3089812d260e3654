"""Writing the recipe that repeats a conversion exactly."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onnx_act.errors import UsageError
from onnx_act.recipe.content import content_hash
from onnx_act.report.document import environment, package_version
from onnx_act.rewrite.fuse_mode import FuseMode
from onnx_act.tuning.memory import save_profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_act.recipe.request import ConversionRequest
    from onnx_act.rewrite.swap_request import SwapRequest
    from onnx_act.tuning.outcome import TuningOutcome

_RECIPE: Final = ".recipe.toml"
_PROFILE: Final = ".profile.json"
_ARRAYS: Final = ".arrays.npz"
_DELETE: Final = "\x7f"
# What decides which nodes are written, and how.
_DECIDING: Final = ("onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")


def check_recipe_paths(target: Path | None, source: Path, request: ConversionRequest) -> None:
    """Refuse to write over a recipe, or a recipe over what is used, before any work.

    Args:
        target: the output, which a saved recipe stands beside; None where nothing is written.
        source: the model.
        request: what is to be done.

    Raises:
        UsageError: something would be overwritten, or there is no output to save a recipe beside.
    """
    if target is None:
        if request.save_recipe and not request.dry_run:
            raise UsageError("a recipe is saved beside the output: it needs one")
        return
    files = [source, request.recipe, request.feeds.data]
    if request.recipe is not None and request.recipe.resolve() == target.resolve():
        raise UsageError(f"the output {target} is the recipe, which is never written")
    if not request.save_recipe:
        return
    if request.tune is not None:
        files += [request.tune.profile, request.tune.save_profile]
    for step in request.swap:
        files += [file.path for swap in step.requests for file in swap.files.values()]
    used = {f.resolve() for f in files if f is not None}
    for suffix in (_RECIPE, _PROFILE, _ARRAYS):
        path = _beside(target, suffix)
        if path.resolve() in used:
            raise UsageError(f"--save-recipe would overwrite {path}, which this run uses")
        if path.is_dir():
            raise UsageError(f"--save-recipe would write {path}, which is a folder")


def save_recipe(
    target: Path,
    source: Path,
    request: ConversionRequest,
    tuning: TuningOutcome | None,
    speedups: Mapping[str, float],
) -> Path:
    """Write `TARGET.recipe.toml`; with tuning also `TARGET.profile.json`, which it refers to.

    Args:
        target: the output.
        source: the original.
        request: what was done, defaults and all.
        tuning: what tuning found.
        speedups: what measuring of fusions gave.

    Returns:
        The recipe's path.

    Raises:
        UsageError: it cannot be written.
    """
    path = _beside(target, _RECIPE)
    try:
        saving = _Saving(target, request)
        if tuning is not None:
            saving.profile = _profile(target, request, tuning)
        made = ", ".join(f"{k} {v}" for k, v in environment().items() if k in _DECIDING)
        comment = (
            f"# Repeats how {json.dumps(target.name)} was made.\n"
            f"# onnx-act {package_version()}; {made}\n"
            f"# from {json.dumps(source.name)}, {content_hash(source)}\n\n"
        )
        partial = path.with_name(f".{path.name}.tmp")
        partial.write_text(comment + saving.text(speedups), encoding="utf-8", newline="\n")
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)


def _profile(target: Path, request: ConversionRequest, tuning: TuningOutcome) -> Path:
    """Where the choices of tuning are: in a file of their own unless they came from one."""
    if request.tune is not None and request.tune.profile is not None:
        return request.tune.profile
    path = _beside(target, _PROFILE)
    # A profile grows; this one is about one run.
    path.unlink(missing_ok=True)
    save_profile(path, [tuning])
    return path


@dataclass(slots=True)
class _Saving:
    """A recipe being written.

    Attributes:
        target: the output that it stands beside.
        request: what was done.
        profile: what tuning chose.
        files: paths as they are written -> what they hold.
        arrays: values that came from no file.
    """

    target: Path
    request: ConversionRequest
    profile: Path | None = None
    files: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, Any] = field(default_factory=dict)

    def text(self, speedups: Mapping[str, float]) -> str:
        """The TOML text."""
        request, feeds = self.request, self.request.feeds
        fields: dict[str, Any] = {
            "provider": list(request.providers),
            "seed": feeds.seed,
            "threads": request.threads,
        }
        if feeds.shapes:
            fields["shape"] = [f"{n}:{','.join(map(str, dims))}" for n, dims in feeds.shapes]
        if feeds.ranges:
            ranges = ((name, float(low), float(high)) for name, (low, high) in feeds.ranges)
            fields["input_range"] = [f"{name}:{low!r},{high!r}" for name, low, high in ranges]
        if feeds.normalize is not None:
            numbers = (feeds.normalize.mean, feeds.normalize.std)
            mean, std = (",".join(repr(float(n)) for n in each) for each in numbers)
            fields["normalize"] = f"mean={mean};std={std}"
        if feeds.data is not None:
            fields["data"] = self._file(feeds.data)
        fields |= {
            "validate": request.validate,
            "bench": request.bench,
            "time": float(request.bench_seconds),
            "strict_placement": request.strict_placement,
            "timeout": float(request.timeout_s),
        }
        parts = [_table(fields), *(f"[[step]]\n{_table(step)}" for step in self._steps())]
        for name, table in (
            ("bound", request.bounds.given()),
            ("files", self.files),
            ("measured", dict(speedups)),
        ):
            if table:
                parts.append(f"[{name}]\n{_table(table)}")
        return "\n".join(parts)

    def _steps(self) -> list[dict[str, Any]]:
        request = self.request
        steps: list[dict[str, Any]] = []
        if request.opset is not None:
            steps.append({"opset": request.opset})
        if request.undo:
            steps.append({"undo": True})
        for step in request.swap:
            fields: dict[str, Any] = {"swap": [self._swap(swap) for swap in step.requests]}
            if step.where:
                fields["where"] = list(step.where)
            steps.append({**fields, "optional": step.optional})
        if request.fuse is not FuseMode.NONE:
            steps.append({"fuse": str(request.fuse), "max_growth": float(request.max_growth)})
        if request.tune is not None:
            tune = {
                "tune": True,
                "budget": float(request.tune.budget_s),
                "allow_contrib": request.tune.contrib,
                "allow_approximate": request.tune.approximate,
            }
            profile = {} if self.profile is None else {"profile": self._file(self.profile)}
            steps.append(tune | profile)
        return steps

    def _swap(self, swap: SwapRequest) -> dict[str, Any]:
        """A swap with every parameter that is not carried over from what is replaced."""
        carried = {p.meaning for p in swap.source.parameters}
        values: dict[str, Any] = {}
        for slot in swap.target.parameters:
            if slot.name in swap.files:
                values[slot.name] = f"@{self._file(swap.files[slot.name].path)}"
            elif slot.name in swap.given:
                given = swap.given[slot.name]
                values[slot.name] = self._array(given) if isinstance(given, np.ndarray) else given
            elif slot.meaning not in carried:
                values[slot.name] = slot.default
        names = {"from": _source_name(swap), "to": swap.target.name}
        return {**names, "parameters": values} if values else names

    def _array(self, array: Any) -> float | str:
        path = _beside(self.target, _ARRAYS)
        if array.ndim == 0:
            return float(array)
        # One file per array: a file with several would be looked up by site.
        number = len(self.arrays)
        if number:
            path = _beside(self.target, f".{number}{_ARRAYS}")
        self.arrays[path.name] = array
        np.savez(path, value=array)
        return f"@{self._file(path)}"

    def _file(self, path: Path) -> str:
        """A path as the recipe writes it, with its content noted."""
        place, folder = path.resolve(), self.target.resolve().parent
        written = place.as_posix()
        if place.parts[:2] == folder.parts[:2]:
            # Folders that have nothing but the root in common are not moved together.
            written = Path(os.path.relpath(place, folder)).as_posix()
        self.files[written] = content_hash(path)
        return written


def _source_name(swap: SwapRequest) -> str:
    """The name that stands for the source and the values it must have."""
    if not swap.source_values:
        return swap.source.name
    presets = (p.name for p in swap.source.presets if dict(p.values) == dict(swap.source_values))
    return next(presets)


def _table(fields: Mapping[str, Any]) -> str:
    return "".join(f"{_key(name)} = {_value(value)}\n" for name, value in fields.items())


def _key(name: str) -> str:
    plain = name.replace("_", "").replace("-", "").isalnum() and name.isascii()
    return name if plain else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        items = [_value(v) for v in value]
        if len(items) < 2:
            return f"[{', '.join(items)}]"
        return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    return repr(value)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace(_DELETE, "\\u007f")
