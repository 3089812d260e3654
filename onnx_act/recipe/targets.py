"""What the named providers can run, found by asking them."""

from __future__ import annotations

from dataclasses import dataclass

from onnx_act.runtime.probe import can_run
from onnx_act.runtime.target import short_name


@dataclass(frozen=True, slots=True)
class ProviderTargets:
    """The providers that a result must run on, together.

    Attributes:
        providers: their full names.
    """

    providers: tuple[str, ...]

    def reason_against(self, model: bytes, *, may_crash: bool = False) -> str | None:
        """Why some provider cannot run this tiny model; None when every one does."""
        for provider in self.providers:
            capability = can_run(model, provider, may_crash=may_crash)
            if not capability.ok:
                return f"{short_name(provider)}: {capability.reason}"
        return None
