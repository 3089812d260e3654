"""What the installed runtime can run, found by letting it run a tiny model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx_act.errors import EvidenceError, ProviderUnavailableError
from onnx_act.runtime.attendant import ATTENDANT
from onnx_act.runtime.feeds import make_feeds
from onnx_act.runtime.session import (
    CPU,
    OptimizationLevel,
    SessionSettings,
    open_session,
    runtime_version,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_act.runtime.tensors import Array


@dataclass(frozen=True, slots=True)
class Capability:
    """Whether a provider runs a model by itself.

    Attributes:
        ok: The model was created, every node was placed on the provider, and it ran.
        reason: Why not, in one line; empty when `ok`.
    """

    ok: bool
    reason: str


_TIME_LIMIT_S = 60.0
_KNOWN: dict[tuple[str, str, str, OptimizationLevel], Capability] = {}


def can_run(
    model: bytes,
    provider: str = CPU,
    *,
    level: OptimizationLevel = OptimizationLevel.ALL,
    feeds: Mapping[str, Array] | None = None,
    may_crash: bool = False,
) -> Capability:
    """Create a session for a tiny model and run it once.

    For models of our own making only: what a stranger's model does is not bounded here (see
    `onnx_act.runtime.isolate`). Answers are remembered for as long as the
    process lives, by the model's bytes, the runtime's version, the provider and the level.

    Args:
        model: A serialised model.
        provider: The full name of an execution provider.
        level: The optimisation level that it must run at.
        feeds: What to run it on; generated when left out. Not part of what is remembered.
        may_crash: Whether some kernel is known to end the process instead of refusing: the model
            then runs in another process, and a crash is a no. Models for other providers than
            the CPU always do.
    """
    key = (hashlib.sha256(model).hexdigest(), runtime_version(), provider, level)
    if key not in _KNOWN:
        settings = SessionSettings(provider, level, threads=1)
        apart = may_crash or provider != CPU
        _KNOWN[key] = (_try_apart if apart else _try)(model, settings, feeds)
    return _KNOWN[key]


def forget() -> None:
    """Forget every answer, as after the installed runtime was exchanged."""
    _KNOWN.clear()


def _try_apart(
    model: bytes, settings: SessionSettings, feeds: Mapping[str, Array] | None
) -> Capability:
    try:
        return ATTENDANT.call(_try, _TIME_LIMIT_S, model, settings, feeds)
    except EvidenceError as error:
        return Capability(ok=False, reason=str(error))


def _try(model: bytes, settings: SessionSettings, feeds: Mapping[str, Array] | None) -> Capability:
    try:
        session = open_session(model, settings)
        for node in session.placed_elsewhere or ():
            return Capability(
                ok=False, reason=f"{settings.provider} leaves {node.op_type} to {node.provider}"
            )
        if session.placed_elsewhere is None and settings.provider != CPU:
            # A runtime that does not say where nodes went can still be told not to use the CPU.
            session = open_session(model, replace(settings, cpu_may_help=False))
        session.run(make_feeds(session.inputs, count=1)[0] if feeds is None else feeds)
    except (EvidenceError, ProviderUnavailableError) as error:
        return Capability(ok=False, reason=str(error))
    return Capability(ok=True, reason="")
