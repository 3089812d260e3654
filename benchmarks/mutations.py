"""Wrong and right changes to the models of a folder: which does the validator catch, which pass.

Wrong changes are such as a bad fold, fusion or export makes (`mutations_wrong`), right ones are our
own and those that anyone may make (`mutations_right`). Which wrong ones must be caught is decided
without the validator, see `mutations_truth`: those that show in an output more than ten times
beyond the noise floor. The same pairs are put to the checks of other packages, where they are
installed, with their defaults. Models of float32 also take part in float16.

Run: python benchmarks/mutations.py [FOLDER] [--count N] [--seed N] [--write FILE.md] [--json FILE]

FOLDER is `$ONNX_ACT_CORPUS` when left out. At least N wrong changes that show and N right ones are
made. Exit code 1 when one that shows is not caught, or a right one is rejected.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mutations_judges import OURS, PEERS, SAME
from mutations_page import page
from mutations_trial import HALF, Mutant, applicable, is_fault, try_models
from mutations_truth import SHOWS

from onnx_act.errors import OnnxActError
from onnx_act.evidence.machine import cpu_model
from onnx_act.report.document import environment
from onnx_act.runtime.isolate import run_isolated

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Larger files take part with one mutant in as many megabytes, and never in float16.
_SMALL: Final = 1_500_000
_LARGEST: Final = 20_000_000
_LEFT_OUT: Final = ("malformed",)
#: For the models of one process.
_TIME_LIMIT_S: Final = 600.0
# Not all wrong changes show, and some come out twice.
_SPARE: Final = 1.35
# Starting a process takes longer than judging a few mutants of a small model.
_TOGETHER: Final = 12
Kinds = list[tuple[bool, str]]


def names_in(folder: Path) -> list[str]:
    """The models of a folder that take part."""
    found = []
    for path in sorted(folder.rglob("*.onnx")):
        name = path.relative_to(folder)
        if name.parts[0] in _LEFT_OUT or path.stat().st_size > _LARGEST:
            continue
        found.append(name.as_posix())
        if path.stat().st_size <= _SMALL:
            found.append(f"{name.as_posix()}{HALF}")
    return found


def share_out(
    places: dict[str, tuple[list[str], list[str]]], sizes: dict[str, int], count: int
) -> dict[str, Kinds]:
    """What is done to each model, so that kinds, and then models, come equally often.

    Args:
        places: for each model its wrong and its right kinds.
        sizes: of the files; one of a megabyte and a half counts as a small one four times.
        count: of wrong ones and of right ones.
    """
    given: dict[str, Kinds] = {name: [] for name in places}
    for which in (0, 1):
        load: Counter[str] = Counter()
        kinds = sorted({kind for found in places.values() for kind in found[which]})
        made = 0
        while made < count and kinds:
            for kind in kinds:
                able = [name for name, found in places.items() if kind in found[which]]
                name = min(able, key=lambda n: (load[n] + given[n].count((not which, kind)), n))
                load[name] += 1 + (3 * sizes[name]) // _SMALL
                given[name].append((which == 0, kind))
                made += 1
    return given


def mutants_of(folder: Path, count: int, peers: Sequence[str], seed: int) -> Iterable[Mutant]:
    """Make and judge them all, model by model."""
    names = names_in(folder)
    places, sizes = {}, {}
    for name in names:
        kinds = applicable(folder, name, seed)
        if kinds is not None:
            places[name] = kinds
            sizes[name] = (folder / name.removesuffix(HALF)).stat().st_size
    print(f"{len(places)} of {len(names)} models can be run", file=sys.stderr)
    given = share_out(places, sizes, int(_SPARE * count) + 1)
    todo = [(name, wanted) for name, wanted in given.items() if wanted]
    for start in range(0, len(todo), _TOGETHER):
        part = todo[start : start + _TOGETHER]
        try:
            found = _tried(folder, part, peers, seed)
        except OnnxActError:
            # One of them ended the process: each by itself.
            found = []
            for one in part:
                try:
                    found += _tried(folder, [one], peers, seed)
                except OnnxActError as error:
                    print(f"{one[0]}: {error}", file=sys.stderr)
        yield from found


def _tried(
    folder: Path, part: list[tuple[str, Kinds]], peers: Sequence[str], seed: int
) -> list[Mutant]:
    return run_isolated(try_models, folder, part, peers, seed, timeout_s=_TIME_LIMIT_S)


def failures(mutants: Iterable[Mutant]) -> tuple[list[Mutant], list[Mutant]]:
    """The wrong ones that show and were not caught, and the right ones that were rejected."""
    found = list(mutants)
    missed = [m for m in found if is_fault(m, SHOWS) and m.answers[OURS] == SAME]
    rejected = [m for m in found if not m.is_wrong and m.answers[OURS] != SAME]
    return missed, rejected


def tell(mutant: Mutant) -> None:
    """Name on stderr what ours judged wrongly."""
    missed, rejected = failures([mutant])
    for what in [*("NOT CAUGHT" for _ in missed), *("REJECTED" for _ in rejected)]:
        shows = f"{mutant.beyond:.3g} times beyond noise" if mutant.is_wrong else mutant.reason
        print(f"{what}: {mutant.model}: {mutant.kind}: {mutant.what} ({shows})", file=sys.stderr)


def main() -> int:
    """Make, judge, print; 1 when ours misses or rejects what it must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=os.environ.get("ONNX_ACT_CORPUS"))
    parser.add_argument("--count", type=int, default=300, help="of wrong ones and of right ones")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.folder is None:
        parser.error("name a folder of models, or set ONNX_ACT_CORPUS")
    started = time.monotonic()
    mutants = []
    for mutant in mutants_of(Path(options.folder), options.count, list(PEERS), options.seed):
        mutants.append(mutant)
        tell(mutant)
        if sys.stderr.isatty():
            print(f"\r{len(mutants)} judged", end="", file=sys.stderr)
    seconds = time.monotonic() - started
    facts = {**environment(), "cpu": cpu_model()}
    text = page(mutants, facts, seconds)
    print(text)
    if options.write is not None:
        options.write.write_text(text)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(m) for m in mutants], indent=1))
    missed, rejected = failures(mutants)
    return 1 if missed or rejected else 0


if __name__ == "__main__":
    sys.exit(main())
