"""What tuning found before: on this machine in the cache, on another in a profile."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from onnx_act.errors import UsageError
from onnx_act.runtime.cache import Question, keep, processor, recall
from onnx_act.runtime.session import runtime_version
from onnx_act.tuning.outcome import TuningOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from onnx_act.tuning.outcome import GroupOutcome

_SCHEMA: Final = "onnx-act/profile/1"
#: In a profile: the way in which sites are written was the best one.
AS_IT_IS: Final = ""


@dataclass(frozen=True, slots=True)
class TuningProfile:
    """What was measured on some machine, to be applied on another.

    Attributes:
        runtime: the version of ONNX Runtime.
        processor: the first words on the processor.
        providers: full names.
        threads: threads within an operator.
        choices: signature of a group -> the key of the way to write it, `AS_IT_IS` to leave it.
    """

    runtime: str
    processor: str
    providers: tuple[str, ...]
    threads: int
    choices: Mapping[str, str]


def recall_outcome(question: Question) -> TuningOutcome | None:
    """What tuning the same model in the same way found on this machine."""
    kept = recall(question)
    if kept is None:
        return None
    try:
        return TuningOutcome.from_dict(kept)
    except (LookupError, TypeError, ValueError, ArithmeticError, AssertionError, AttributeError):
        return None


def keep_outcome(question: Question, outcome: TuningOutcome) -> None:
    """Keep it, and what it says of each group for models to come."""
    keep(question, outcome.to_dict())


def recall_group(signature: str, provider: str, threads: int) -> str | None:
    """The key of the best way for a group, measured in another model of this machine.

    Returns:
        None where nothing is known.
    """
    chosen = (recall(_about(signature, provider, threads)) or {}).get("chosen")
    return chosen if isinstance(chosen, str) else None


def keep_group(group: GroupOutcome, provider: str, threads: int) -> None:
    """Keep the way that was chosen for a group."""
    keep(_about(group.signature, provider, threads), {**group.to_dict(), "sites": []})


def _about(signature: str, provider: str, threads: int) -> Question:
    return Question("respelling", provider, (), (signature, f"{threads} threads"))


def check_profile_path(path: Path, files: Iterable[Path | None]) -> None:
    """Refuse a profile that would overwrite something, before any work.

    Args:
        path: where it is to go.
        files: inputs and outputs of the command.

    Raises:
        UsageError: it is one of them, or a file that is no profile.
    """
    if path.resolve() in {f.resolve() for f in files if f is not None}:
        raise UsageError(f"--save-profile {path} would overwrite a file of this command")
    if path.is_dir():
        raise UsageError(f"--save-profile {path} is a folder; give the profile a file name")
    if path.exists() and path.stat().st_size:
        load_profile(path)


def save_profile(path: Path, outcomes: Sequence[TuningOutcome]) -> None:
    """Write what was found into a file, for `load_profile`.

    What the file says already is kept where it was measured alike: a profile grows model by model.

    Raises:
        UsageError: it cannot be written, or is a file that is no profile.
    """
    first = outcomes[0]
    groups = _groups_measured_alike(path, first)
    for outcome in outcomes:
        for group in outcome.groups:
            chosen = group.chosen if outcome.is_kept and group.chosen else AS_IT_IS
            if chosen == AS_IT_IS and group.signature in groups:
                # That nothing was shown in this model takes back nothing that was in another.
                continue
            groups[group.signature] = {**group.to_dict(), "chosen": chosen, "sites": []}
    document = {
        "schema": _SCHEMA,
        "runtime": runtime_version(),
        "processor": _machine(),
        "providers": list(first.providers),
        "threads": first.threads,
        "groups": list(groups.values()),
    }
    partial = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None


def _groups_measured_alike(path: Path, outcome: TuningOutcome) -> dict[str, Any]:
    """The groups of a profile of this machine, runtime, providers and threads, by signature."""
    if not path.exists() or not path.stat().st_size:
        return {}
    known = load_profile(path)
    alike = (known.providers, known.threads) == (outcome.providers, outcome.threads)
    if not alike or not is_measured_here(known):
        return {}
    groups = json.loads(path.read_text(encoding="utf-8"))["groups"]
    return {str(group["signature"]): group for group in groups}


def load_profile(path: Path) -> TuningProfile:
    """Read what `save_profile` wrote.

    Raises:
        UsageError: it is not there, or is no profile.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a profile: {error}") from None
    if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
        raise UsageError(
            f"{path} is not a profile: its schema is not {_SCHEMA}; "
            f"onnx-act tune --save-profile writes one"
        )
    try:
        return TuningProfile(
            str(document["runtime"]),
            str(document["processor"]),
            tuple(str(p) for p in document["providers"]),
            int(document["threads"]),
            dict(_choices(document["groups"])),
        )
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise UsageError(f"{path} is a profile that is damaged: {error!r}") from None


def _choices(groups: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    for group in groups:
        yield str(group["signature"]), str(group["chosen"] or AS_IT_IS)


def is_measured_here(profile: TuningProfile) -> bool:
    """Whether a profile comes from a machine and a runtime like these."""
    return profile.runtime == runtime_version() and profile.processor == _machine()


def _machine() -> str:
    """A digest of what `processor` says, behind its name."""
    told = processor()
    name = next((line for line in told.splitlines() if line.startswith("model name")), told)
    shown = name.partition(":")[2].strip() or name.splitlines()[0]
    return f"{shown} ({hashlib.sha256(told.encode()).hexdigest()[:12]})"
