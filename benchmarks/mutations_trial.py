"""One model of the mutation benchmark: its mutants, the truth about them, and what judges say.

In a module that can be imported, so that every model has a process of its own: a mutant that ends
the runtime is a line in the table, not the end of it.
"""

from __future__ import annotations

import math
import tempfile
import time
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
from mutations_judges import DIFFERS, OURS, SAME, Peer, ours
from mutations_right import RIGHT
from mutations_truth import Truth
from mutations_wrong import WRONG
from proto_edits import FLOAT, FLOAT16, retyped

from onnx_act.errors import OnnxActError
from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.session import CPU, OptimizationLevel, SessionSettings, open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    Kinds = list[tuple[bool, str]]

#: Beside the name of a model that was made 16-bit for this.
HALF: Final = " in float16"
_PLAIN: Final = SessionSettings(CPU, OptimizationLevel.DISABLE, threads=1)


@dataclass(frozen=True)
class Mutant:
    """One changed model, and what was said of it.

    Attributes:
        model: The original, as listed.
        kind: The kind of change, see `WRONG` and `RIGHT`.
        is_wrong: Which of the two it is.
        what: What was changed.
        beyond: How many times beyond the noise floor a wrong change shows; infinite without
            doubt, 0 for right ones.
        answers: What each judge said.
        reason: Ours, where it found a difference.
        seconds: How long ours took.
    """

    model: str
    kind: str
    is_wrong: bool
    what: str
    beyond: float
    answers: dict[str, str]
    reason: str
    seconds: float


def try_models(
    folder: Path, models: Sequence[tuple[str, Kinds]], peers: Sequence[str], seed: int
) -> list[Mutant]:
    """`try_model` for several models, one after the other."""
    return [m for name, kinds in models for m in try_model(folder, name, kinds, peers, seed)]


def read_original(folder: Path, name: str) -> onnx.ModelProto:
    """A model of the corpus, in float16 where its name says so."""
    model = onnx.load(folder / name.removesuffix(HALF))
    return retyped(model, FLOAT, FLOAT16) if name.endswith(HALF) else model


def try_model(
    folder: Path, name: str, kinds: Sequence[tuple[bool, str]], peers: Sequence[str], seed: int
) -> list[Mutant]:
    """Change a model in several ways and have every change judged.

    Args:
        folder: the corpus.
        name: the model's path in it.
        kinds: for each mutant whether it is wrong, and its kind.
        peers: the other packages that are asked.
        seed: of what is changed; each place in `kinds` changes something else.
    """
    warnings.simplefilter("ignore")
    model = read_original(folder, name)
    found: list[Mutant] = []
    with tempfile.TemporaryDirectory() as place:
        original, changed = Path(place) / "original.onnx", Path(place) / "changed.onnx"
        onnx.save(model, original)
        truth: Truth | None = None
        others: dict[str, Peer] | None = None
        seen: set[bytes] = {model.SerializeToString(deterministic=True)}
        for place_number, (is_wrong, kind) in enumerate(kinds):
            rng = np.random.default_rng((seed, place_number, zlib.crc32(f"{name} {kind}".encode())))
            made = _made(model, kind, rng, is_wrong=is_wrong)
            if made is None or (key := made[0].SerializeToString(deterministic=True)) in seen:
                continue
            seen.add(key)
            if is_wrong and truth is None:
                truth = Truth(model)
            beyond = truth.beyond_noise(made[0]) if is_wrong and truth is not None else 0.0
            if not is_wrong and not _runs(made[0]):
                # What the runtime has no kernel for cannot be judged.
                continue
            onnx.save(made[0], changed)
            started = time.perf_counter()
            same, reason = ours(original, changed)
            seconds = time.perf_counter() - started
            if others is None:
                others = {peer: Peer(peer, original) for peer in peers}
            answers = {OURS: SAME if same else DIFFERS}
            answers |= {peer: ask(changed) for peer, ask in others.items()}
            found.append(Mutant(name, kind, is_wrong, made[1], beyond, answers, reason, seconds))
    return found


def _made(
    model: onnx.ModelProto, kind: str, rng: np.random.Generator, *, is_wrong: bool
) -> tuple[onnx.ModelProto, str] | None:
    work = onnx.ModelProto()
    work.CopyFrom(model)
    if is_wrong:
        what = WRONG[kind](work, rng)
        return None if what is None else (work, what)
    changed = RIGHT[kind](work, rng)
    return None if changed is None else (changed, "")


def _runs(model: onnx.ModelProto) -> bool:
    try:
        open_session(model.SerializeToString(), _PLAIN)
    except OnnxActError:
        return False
    return True


def applicable(folder: Path, name: str, seed: int) -> tuple[list[str], list[str]] | None:
    """The wrong kinds and the right kinds that a model has a place for; None if it cannot be run.

    Our own right kinds are named without being tried: that takes as long as making them.
    """
    warnings.simplefilter("ignore")
    try:
        model = read_original(folder, name)
        session = open_session(model.SerializeToString(), _PLAIN)
        feeds_for(session, FeedRequest(count=1))
    except (OnnxActError, ValueError, OSError):
        return None
    rng = np.random.default_rng(seed)
    wrong = [kind for kind in WRONG if _made(model, kind, rng, is_wrong=True) is not None]
    right = [
        kind for kind in RIGHT if kind.startswith("ours") or _made(model, kind, rng, is_wrong=False)
    ]
    return wrong, right


def is_fault(mutant: Mutant, shows: float) -> bool:
    """Whether a wrong change shows beyond doubt in an output."""
    return mutant.is_wrong and (math.isinf(mutant.beyond) or mutant.beyond > shows)
