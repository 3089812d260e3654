"""An earlier report as a baseline: which of its models are those of this run, and the bounds.

What is compared, and when it is worse, is in `regressions`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from onnx_act.errors import UnknownNameError, UsageError
from onnx_act.recipe.option_values import parse_limit, parse_named_limit, parse_part
from onnx_act.recipe.regressions import BaselineBounds, EarlierModel, with_comparison

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx_act.report.document import ModelEntry

_Key = TypeVar("_Key")
_PREFIX: Final = "onnx-act/"
_MAJOR: Final = "1"
_BOUNDS: Final = ("speedup", "tolerance")


@dataclass(frozen=True, slots=True)
class Baseline:
    """A report of an earlier run, and what it has of the models of this one.

    Attributes:
        path: the report's file.
        version: the version of this program that wrote it.
        schema: what sort of report it is.
        bounds: by how much the evidence may be worse now.
        matched: the earlier entry of each model that both runs have, by its path in this one.
        new: models of this run that the report has not.
        gone: models of the report that this run has not.
    """

    path: Path
    version: str
    schema: str
    bounds: BaselineBounds
    matched: Mapping[str, dict[str, Any]]
    new: tuple[str, ...]
    gone: tuple[str, ...]

    def of(self, model: str) -> EarlierModel | None:
        """What the report has of a model of this run, None where it is new."""
        record = self.matched.get(model)
        return None if record is None else EarlierModel(str(self.path), record, self.bounds)

    def compared(self, entry: ModelEntry) -> ModelEntry:
        """A complete entry of this run, compared with the report's where it has one.

        Raises:
            UsageError: the report is damaged.
        """
        earlier = self.of(entry.path)
        return entry if earlier is None else with_comparison(entry, earlier)

    def details(self) -> dict[str, Any]:
        """The part of a document that tells what it was compared with."""
        return {
            "baseline": {
                "path": str(self.path),
                "schema": self.schema,
                "version": self.version,
                "bounds": self.bounds.to_dict(),
                "new": list(self.new),
                "gone": list(self.gone),
            }
        }


def read_baseline(
    path: Path, command: str, models: Sequence[str], bounds: BaselineBounds | None = None
) -> Baseline:
    """Read a report that the same command wrote, and find the models of this run in it.

    A model is found by its path as it was named, by the file that the path means from here or
    from the report's folder, or else by its file name, where only one model in either run has it.

    Args:
        path: the report, in JSON.
        command: the verb.
        models: the models of this run, as they are named.
        bounds: by how much the evidence may be worse now; the defaults when left out.

    Raises:
        UsageError: it is no such report, is damaged, or has none of the models.
    """
    document = _read(path)
    _check_schema(path, document, command)
    records = _records(path, document)
    matched = _match(path, [str(record["path"]) for record in records], models)
    if not matched:
        here, there = ", ".join(models), ", ".join(str(r["path"]) for r in records) or "no model"
        raise UsageError(f"--baseline {path} has nothing of {here}: it is of {there}")
    for index in matched.values():
        # What cannot be compared with itself is damaged: that is said before hours of work.
        record, limits = records[index], bounds or BaselineBounds()
        earlier = EarlierModel(str(path), record, limits)
        earlier.compare(record.get("equivalence"), record.get("latency"))
    taken = set(matched.values())
    return Baseline(
        path=path,
        version=str(document.get("version", "an unknown version")),
        schema=document["schema"],
        bounds=bounds or BaselineBounds(),
        matched={model: records[index] for model, index in matched.items()},
        new=tuple(model for model in models if model not in matched),
        gone=tuple(str(r["path"]) for index, r in enumerate(records) if index not in taken),
    )


def parse_baseline_bounds(texts: Iterable[str]) -> BaselineBounds:
    """Bounds as `--baseline-bound` writes them: `speedup=5%`, `tolerance=2`.

    Raises:
        UsageError: one of them does not parse, or has a limit that cannot be.
        UnknownNameError: there is no such bound.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, limit = parse_named_limit(text, "--baseline-bound", "speedup=5%")
        _check_bound(name)
        option = f"--baseline-bound {name}"
        if name == "speedup":
            found[name] = parse_part(limit, option) or 0.0
        else:
            found[name] = parse_limit(limit, option)
    return baseline_bounds_from(found)


def baseline_bounds_from(limits: Mapping[str, float]) -> BaselineBounds:
    """Bounds from a mapping of names to limits; `speedup` is a part, 0.05 for 5 %.

    Raises:
        UsageError: a limit that cannot be.
        UnknownNameError: there is no such bound.
    """
    for name in limits:
        _check_bound(name)
    return BaselineBounds(**limits)


def _check_bound(name: str) -> None:
    if name not in _BOUNDS:
        raise UnknownNameError("baseline bound", name, _BOUNDS)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text, parse_float=_finite, parse_constant=_finite)
    except OSError as error:
        raise UsageError(f"cannot read --baseline {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise UsageError(
            f"--baseline {path} is not JSON: it takes what --report FILE.json wrote"
        ) from None
    if not isinstance(document, dict) or not str(document.get("schema", "")).startswith(_PREFIX):
        raise UsageError(
            f"--baseline {path} is no report of onnx-act: --report FILE.json makes one"
        )
    return document


def _finite(number: str) -> float:
    """A number of a report, which has none that are not finite."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(number)
    return value


def _check_schema(path: Path, document: dict[str, Any], command: str) -> None:
    schema = str(document["schema"])
    verb, _, major = schema.removeprefix(_PREFIX).partition("/")
    again = f"make a new one with onnx-act {command} ... --report FILE.json"
    if major != _MAJOR:
        raise UsageError(
            f"--baseline {path} has schema {schema!r}, and this version reads "
            f"{_PREFIX}{command}/{_MAJOR}: {again}"
        )
    if verb != command:
        raise UsageError(f"--baseline {path} is a report of {verb}, not of {command}: {again}")


def _records(path: Path, document: dict[str, Any]) -> list[dict[str, Any]]:
    records = document.get("models")
    if isinstance(records, list) and all(isinstance(r, dict) and "path" in r for r in records):
        return records
    raise UsageError(f"--baseline {path} is damaged: it does not list models with their paths")


def _match(report: Path, then: Sequence[str], now: Sequence[str]) -> dict[str, int]:
    """The index of each model of this run among those of the report, where it is there."""
    files = [{Path(p).resolve(), (report.parent / p).resolve()} for p in then]
    matched: dict[str, int] = {}
    for model in now:
        here = Path(model).resolve()
        same = [i for i, path in enumerate(then) if path == model]
        free = set(range(len(then))) - set(matched.values())
        same = [i for i in (*same, *(i for i, f in enumerate(files) if here in f)) if i in free]
        if same:
            matched[model] = same[0]
    left = set(range(len(then))) - set(matched.values())
    names = _by_name((then[i], i) for i in sorted(left))
    for name, models in _by_name((m, m) for m in now if m not in matched).items():
        if len(models) == 1 and len(names.get(name, ())) == 1:
            matched[models[0]] = names[name][0]
    return matched


def _by_name(paths: Iterable[tuple[str, _Key]]) -> dict[str, list[_Key]]:
    """What stands for each path, by the name of its file."""
    found: dict[str, list[_Key]] = {}
    for path, key in paths:
        found.setdefault(path.replace("\\", "/").rpartition("/")[2], []).append(key)
    return found
