"""How much memory opening and running a model takes, asked of the system."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onnx_act.runtime.feeds import FeedRequest, feeds_for
from onnx_act.runtime.session import open_session

if TYPE_CHECKING:
    from onnx_act.runtime.session import SessionSettings

_STATUS: Final = Path("/proc/self/status")
_PEAK: Final = "VmHWM"
_KIB: Final = 1024
# The runtime's arena still grows in the second run.
_RUNS: Final = 3


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a process that did nothing but open and run one model.

    Attributes:
        peak_bytes: The most that it ever held.
        model_bytes: How much of that came after everything but the model was loaded.
    """

    peak_bytes: int
    model_bytes: int


def measure_memory(
    model: Path, settings: SessionSettings, request: FeedRequest | None = None
) -> Memory | None:
    """Open and run a model a few times; to be called in a process of its own.

    Args:
        model: The file.
        settings: How to open it.
        request: What to run on; the first feed is used. Generated inputs have one row unless it
            says otherwise.

    Returns:
        None where the system does not tell (anywhere but on Linux).

    Raises:
        EvidenceError: The model does not run.
        ProviderUnavailableError: The provider is not there.
        UsageError: Shapes or data do not fit the model.
    """
    before = peak_memory()
    if before is None:
        return None
    wanted = request or FeedRequest()
    session = open_session(model, settings)
    feed = feeds_for(session, replace(wanted, count=1, batch=wanted.batch or 1)).feeds[0]
    names = [spec.name for spec in session.tensor_outputs]
    for _ in range(_RUNS):
        session.run(feed, names)
    peak = peak_memory()
    return None if peak is None else Memory(peak, peak - before)


def peak_memory(status: Path = _STATUS) -> int | None:
    """The most memory that this process ever held, in bytes; None where the system does not tell.

    Args:
        status: Where the system writes it.
    """
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        words = value.split()
        if name == _PEAK and words and words[0].isdecimal():
            return int(words[0]) * _KIB
    return None
