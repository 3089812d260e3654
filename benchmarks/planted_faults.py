"""Faults planted one at a time in models that are right: how often `--locate` names the place.

Each fault is one of `faults.KINDS` at a node that is drawn. The candidate with the fault is handed
over as it is, with every inner name changed, or folded afterwards (BatchNormalization into
convolutions, as a conversion does). Right is the value that the node of the fault makes; or, where
the candidate has no such value any more, a finding with that node among those between the last
values that agree and the first that does not, which is counted in a column of its own. A fault
that changes no value beyond the noise floor, and no output by the verdict of `validate` either,
cannot be found by anybody and is counted apart.

Run: python benchmarks/planted_faults.py [FOLDER] [--faults N] [--seed N] [--json FILE]

FOLDER holds models (`$ONNX_ACT_CORPUS` when left out); those with at least 20 sites and 6 MB at
most are taken, beside six networks that are generated. Exit code 1 when fewer than 95 % of the
faults are named, or a model that is right is said to part from itself.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
from faults import KINDS, Fault, generated, plant, renamed

import onnx_act
from onnx_act.errors import EvidenceError, ModelError
from onnx_act.evidence.equivalence import judge_equivalence
from onnx_act.evidence.locate import locate_parting
from onnx_act.graph.finding import find_sites
from onnx_act.graph.model import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx_act.evidence.location import Location

LEAST_RATE: Final = 0.95
_LEAST_SITES: Final = 20
_MOST_BYTES: Final = 13_000_000
_GENERATED: Final = 6
_THREADS: Final = 1
_OUTCOMES: Final = {
    "named": "named",
    "among": "named among others",
    "elsewhere": "elsewhere",
    "missed": "missed",
    "apart": "below the noise floor",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One fault in one model, and what was said of it.

    `outcome` is `named`, `among` (named as one of several nodes, whose inner values the candidate
    does not have), `apart` (nothing differs beyond the noise floor), `elsewhere` (another node was
    named) or `missed` (an output differs and no value was named).
    """

    model: str
    kind: str
    handed: str
    node: str
    outcome: str
    said: str


def as_it_is(model: onnx.ModelProto, _: Path) -> onnx.ModelProto:
    """The candidate with the names of the reference."""
    return model


def with_other_names(model: onnx.ModelProto, _: Path) -> onnx.ModelProto:
    """The candidate with none of the inner names."""
    return renamed(model)


def folded(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """The candidate after folding, which moves values and removes some."""
    target = folder / "folded.onnx"
    target.unlink(missing_ok=True)
    (entry,) = onnx_act.fuse(model, target, fuse="portable", validate=False).models
    return onnx.load(target) if entry.output else model


HANDED: Final[dict[str, Callable[[onnx.ModelProto, Path], onnx.ModelProto]]] = {
    "as it is": as_it_is,
    "renamed": with_other_names,
    "folded": folded,
}


def try_fault(
    source: onnx.ModelProto,
    name: str,
    kind: str,
    handed: str,
    rng: np.random.Generator,
    folder: Path,
) -> Trial | None:
    """Plant one fault and look for it; None where the model takes none, or does not run with it."""
    broken = onnx.ModelProto()
    broken.CopyFrom(source)
    fault = plant(broken, kind, rng)
    if fault is None:
        return None
    reference, candidate = folder / "reference.onnx", folder / "candidate.onnx"
    try:
        onnx.save(source, reference)
        onnx.save(HANDED[handed](broken, folder), candidate)
        location = locate_parting(reference, candidate, threads=_THREADS)
        outcome = _outcome(location, fault, reference, candidate)
    except (EvidenceError, ModelError):
        return None
    said = "" if location.first is None else location.first.value
    return Trial(name, kind, handed, fault.node or fault.output, outcome, said)


def _outcome(location: Location, fault: Fault, reference: Path, candidate: Path) -> str:
    first = location.first
    if first is None:
        verdict = judge_equivalence(reference, candidate, threads=_THREADS)
        return "apart" if verdict.passed else "missed"
    if first.value == fault.output:
        return "named"
    is_among = fault.node != "" and any(n.name == fault.node for n in first.nodes)
    return "among" if is_among else "elsewhere"


def models_in(folder: Path | None) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The generated networks, and the models of a folder that have enough sites and run."""
    for seed in range(_GENERATED):
        yield f"generated {seed}", generated(seed)
    for path in sorted(folder.rglob("*.onnx")) if folder is not None else ():
        if path.stat().st_size > _MOST_BYTES:
            continue
        try:
            if len(find_sites(load_model(path))) < _LEAST_SITES:
                continue
            if locate_parting(path, path, threads=_THREADS).parts:
                print(f"{path}: is said to part from itself")
                sys.exit(1)
        except (EvidenceError, ModelError):
            continue
        model = onnx.load(path)
        for number, node in enumerate(model.graph.node):
            node.name = node.name or f"node {number}"
        yield path.name, model


def run(models: list[tuple[str, onnx.ModelProto]], count: int, seed: int) -> list[Trial]:
    """So many faults, models, kinds and ways of handing over in turn."""
    found: list[Trial] = []
    drawn = 0
    ways, kinds = list(HANDED), list(KINDS)
    with tempfile.TemporaryDirectory() as place:
        while len(found) < count and drawn < 20 * count:
            name, model = models[drawn % len(models)]
            turn = drawn // len(models)
            kind, handed = kinds[(turn + drawn) % len(kinds)], ways[turn % len(ways)]
            rng = np.random.default_rng((seed, drawn))
            drawn += 1
            trial = try_fault(model, name, kind, handed, rng, Path(place))
            if trial is None:
                continue
            found.append(trial)
            if len(found) % 20 == 0:
                print(f"{len(found)} faults, {100 * rate(found):.1f} % named", flush=True)
            if trial.outcome in {"elsewhere", "missed"}:
                print(f"{trial.outcome}: {trial}", flush=True)
    return found


def rate(trials: list[Trial]) -> float:
    """The share of the faults that can be found that was named."""
    counts = Counter(t.outcome for t in trials)
    visible = len(trials) - counts["apart"]
    return (counts["named"] + counts["among"]) / visible if visible else 0.0


def table(trials: list[Trial], of: str) -> str:
    """A Markdown table of outcomes, by a field of the trials."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for trial in trials:
        rows[getattr(trial, of)][trial.outcome] += 1
    head = (of, "planted", *_OUTCOMES.values())
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for key, counts in sorted(rows.items()):
        cells = [key, str(counts.total()), *(str(counts[o]) for o in _OUTCOMES)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Plant, look, count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--faults", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    known = os.environ.get("ONNX_ACT_CORPUS")
    folder = given.folder or (Path(known) if known else None)
    started = time.monotonic()
    models = list(models_in(folder))
    trials = run(models, given.faults, given.seed)
    for of in ("kind", "handed", "model"):
        print(f"\n{table(trials, of)}")
    share = rate(trials)
    apart = sum(t.outcome == "apart" for t in trials)
    print(
        f"\n{len(trials)} faults in {len(models)} models, {apart} below the noise floor; of the "
        f"others {100 * share:.1f} % named, in {time.monotonic() - started:.0f} s"
    )
    if given.json is not None:
        data = [{f: getattr(t, f) for f in Trial.__slots__} for t in trials]
        given.json.write_text(json.dumps(data, indent=1))
    return 0 if share >= LEAST_RATE and len(trials) >= given.faults else 1


if __name__ == "__main__":
    sys.exit(main())
