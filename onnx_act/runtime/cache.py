"""What a runtime answered to probes, kept on disk so that it is asked once per machine.

One small JSON file per answer. That a file is damaged, missing or cannot be written never
matters but to the time it takes to ask again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnx_act.runtime.session import CPU, runtime_build, runtime_version

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Names the folder of answers; without it they go where the system wants caches.
CACHE_VARIABLE: Final = "ONNX_ACT_CACHE_DIR"
# To be raised when the same question comes to mean something else.
_FORMAT: Final = 2
_SUFFIX: Final = ".json"
_NAME: Final = re.compile(r"[0-9a-f]{64}\.json")
_CPUINFO: Final = Path("/proc/cpuinfo")
# What names a processor and says what it can do, on x86 and on ARM.
_CPU_FIELDS: Final = frozenset({"model name", "flags", "Features", "CPU implementer", "CPU part"})

_KNOWN: dict[tuple[Path | None, str], dict[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Question:
    """Something that the installed runtime, on this machine, always answers alike.

    Attributes:
        kind: What is asked.
        provider: The full name of the execution provider that is asked.
        models: The serialised models that it is asked about.
        settings: Whatever else the answer depends on, such as the level of optimisation.
    """

    kind: str
    provider: str
    models: tuple[bytes, ...]
    settings: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """A digest of the question, the runtime and the machine."""
        about = (self.kind, self.provider, *self.settings, *_circumstances(self.provider))
        digest = hashlib.sha256()
        for part in (*(text.encode() for text in about), *self.models):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.hexdigest()


def recall(question: Question) -> dict[str, Any] | None:
    """The answer that was kept, a JSON object; None when there is none that can be read."""
    place = cache_folder()
    key = question.key
    if (place, key) in _KNOWN:
        return _KNOWN[place, key]
    if place is None:
        return None
    try:
        stored = json.loads((place / (key + _SUFFIX)).read_text(encoding="utf-8"))
        answer = stored["answer"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    _KNOWN[place, key] = answer
    return answer


def keep(question: Question, answer: dict[str, Any]) -> None:
    """Keep an answer, a JSON object, for this process and where possible for those to come."""
    place = cache_folder()
    key = question.key
    _KNOWN[place, key] = answer
    if place is None:
        return
    entry = {
        "kind": question.kind,
        "provider": question.provider,
        "runtime": runtime_version(),
        "answer": answer,
    }
    partial: Path | None = None
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place, prefix=".", suffix=".tmp")
        partial = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(entry, out)
        # Whoever reads sees the old file or the new one, also with several writers at once.
        partial.replace(place / (key + _SUFFIX))
    except OSError:
        if partial is not None:
            _remove(partial)


def cache_folder() -> Path | None:
    """The folder of kept answers, whether it is there or not; None when there is no home."""
    stated = os.environ.get(CACHE_VARIABLE)
    if stated:
        return Path(stated).absolute()
    # Relative paths in this variable are to be ignored, says its specification.
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if shared and Path(shared).is_absolute():
        return Path(shared) / "onnx-act"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    match sys.platform:
        case "win32":
            return Path(os.environ.get("LOCALAPPDATA", home / "AppData/Local")) / "onnx-act/cache"
        case "darwin":
            return home / "Library/Caches/onnx-act"
        case _:
            return home / ".cache/onnx-act"


def count_answers() -> int:
    """How many answers are kept on disk."""
    return len(_entries())


def size_of_answers() -> int:
    """Bytes of the answers that are kept on disk."""
    return sum(size for _, size in _entries())


def clear_answers() -> int:
    """Delete the answers that are kept, and nothing else in their folder; how many there were.

    Those that cannot be deleted stay, and are not counted.
    """
    forget_answers()
    deleted = 0
    for path, _ in _entries():
        try:
            path.unlink()
        except OSError:
            continue
        deleted += 1
    return deleted


def _entries() -> list[tuple[Path, int]]:
    """The files of answers with their sizes in bytes."""
    place = cache_folder()
    if place is None:
        return []
    found = []
    try:
        for entry in os.scandir(place):
            # Whatever else is in the folder is not ours.
            if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                size = entry.stat(follow_symlinks=False).st_size
                found.append((Path(entry.path), size))
    except OSError:
        return found
    return found


def forget_answers() -> None:
    """Forget what this process remembers; files stay."""
    _KNOWN.clear()


def _circumstances(provider: str) -> Iterator[str]:
    yield f"format {_FORMAT}"
    yield runtime_version()
    yield runtime_build()
    yield processor()
    if provider != CPU:
        # Which device answered is not told, but it does not change under a machine's name.
        yield platform.node()


@cache
def processor() -> str:
    """The processor's name and what it can do, which decides which kernels a runtime picks."""
    told = {platform.machine(), platform.processor()}
    try:
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.partition(":")[0].strip() in _CPU_FIELDS:
                told.add(line)
    except OSError:
        pass
    return "\n".join(sorted(told))


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        return
