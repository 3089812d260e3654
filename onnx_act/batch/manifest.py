"""What a folder of results remembers of how they came about, so that a batch can be resumed.

`OUT_DIR/.onnx-act/` holds `manifest.jsonl`, to which each outcome is added when it is known; the
reports of all models; and a lock, so that two batches never write to one folder at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnx_act.batch import remote
from onnx_act.batch.files import LineFile, write_whole
from onnx_act.batch.fingerprint import are_as_told
from onnx_act.batch.inputs import is_remote
from onnx_act.batch.jobs import JobOutcome, outcome_from
from onnx_act.errors import UsageError
from onnx_act.runtime.cache import CACHE_VARIABLE, cache_folder

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import PurePath

STATE: Final = ".onnx-act"
_FORMAT: Final = 1
_PAUSE_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class _Remembered:
    """One line of the manifest."""

    digest: str
    outcome: JobOutcome


class Manifest:
    """What is known of a folder of results.

    Args:
        out_dir: the folder.
        digest: of what is asked for now.
        versions: of what would do it.
        target_of: tells the path or URL of the result at a place.
    """

    def __init__(
        self,
        out_dir: Path,
        digest: str,
        versions: Mapping[str, str],
        target_of: Callable[[PurePath], str | None],
    ) -> None:
        self._out_dir = out_dir
        self._target_of = target_of
        self._digest = digest
        self._versions = dict(versions)
        self._file = LineFile(out_dir / STATE / "manifest.jsonl")
        self._known: dict[str, _Remembered] = {}
        for record in self._file.records():
            # A line of another format, or a damaged one, is as good as none.
            with suppress(KeyError, TypeError, ValueError):
                if record["format"] == _FORMAT:
                    told = outcome_from(record["outcome"])
                    self._known[str(record["place"])] = _Remembered(str(record["digest"]), told)

    def report_of(self, place: PurePath) -> Path:
        """Where the report of one model is kept."""
        return self._out_dir / STATE / "reports" / place.parent / f"{place.name}.json"

    def earlier(self, place: PurePath, source: str) -> JobOutcome | None:
        """The outcome that one model would have again; None when that is not known.

        Args:
            place: of its result in the folder.
            source: the model, by its path or URL.
        """
        known = self._known.get(place.as_posix())
        if known is None or known.digest != self._digest:
            return None
        before = known.outcome
        if before.versions != self._versions or not _are_as_told(source, before.inputs):
            return None
        output = None if before.output is None else self._target_of(place)
        if output is not None and not _are_as_told(output, before.outputs):
            return None
        report = None if before.report is None else str(self.report_of(place))
        return replace(before, path=source, output=output, report=report, is_skipped=True)

    def remember(self, place: PurePath, outcome: JobOutcome) -> None:
        """Add an outcome.

        Raises:
            OSError: it cannot be written.
        """
        self._file.add(_line(place.as_posix(), _Remembered(self._digest, outcome)))

    def tidy(self) -> None:
        """Leave one line for each model, where there are more.

        Raises:
            OSError: it cannot be written.
        """
        if sum(1 for _ in self._file.records()) <= 2 * len(self._known):
            return
        lines = (json.dumps(_line(p, k), ensure_ascii=False) for p, k in self._known.items())
        write_whole(self._file.path, "".join(f"{line}\n" for line in lines))


def _are_as_told(model: str, told: Mapping[str, str]) -> bool:
    """Whether the files of a model, at a path or a URL, are what they were."""
    if is_remote(model):
        return remote.are_as_told(model, told)
    return are_as_told(Path(model).parent, told)


def _line(place: str, known: _Remembered) -> dict[str, Any]:
    told = replace(known.outcome, is_skipped=False).to_dict()
    return {"format": _FORMAT, "place": place, "digest": known.digest, "outcome": told}


def state_folder(results: str) -> Path:
    """Where this machine keeps what is needed to resume, of results with a URL.

    Raises:
        UsageError: there is no place for it.
    """
    folder = cache_folder()
    if folder is None:
        raise UsageError(f"name a folder for what is needed to resume: {CACHE_VARIABLE}=DIR")
    name = hashlib.sha256(results.rstrip("/").encode()).hexdigest()[:16]
    return folder / "batches" / name


@contextmanager
def sole_writer(out_dir: Path, patience_s: float = 20.0) -> Iterator[tuple[int, ...]]:
    """See that no other batch writes to a folder.

    The processes of jobs inherit the lock: a batch that was killed goes on to hold it until the
    last of them, which ends by itself, is gone.

    Args:
        out_dir: the folder; made where it is not there.
        patience_s: how long to wait for an earlier batch to end, in seconds.

    Yields:
        What the processes of jobs must inherit.

    Raises:
        UsageError: another batch is at it, or the folder cannot be written.
    """
    state = out_dir / STATE
    try:
        state.mkdir(parents=True, exist_ok=True)
        handle = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UsageError(f"cannot write to {out_dir}: {error.strerror or error}") from None
    try:
        if sys.platform == "win32":
            yield ()
            return
        deadline = time.monotonic() + patience_s
        while not _is_locked(handle):
            if time.monotonic() > deadline:
                raise UsageError(
                    f"another batch writes to {out_dir}; wait for it to end, or give another "
                    f"--out-dir"
                )
            time.sleep(_PAUSE_S)
        yield (handle,)
    finally:
        if sys.platform != "win32":
            # A fork of this process would go on to hold it.
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _is_locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
