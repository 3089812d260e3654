"""Keeping to a budget of time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Clock:
    """How much of a budget is left.

    Attributes:
        budget_s: all of it, in seconds.
        reserved_s: what is kept back for the end.
    """

    budget_s: float
    reserved_s: float = 0.0
    _started: float = field(default_factory=time.perf_counter)

    def spent_s(self) -> float:
        """What has been used so far."""
        return time.perf_counter() - self._started

    def left_s(self) -> float:
        """What is left without touching what is kept back; never negative."""
        return max(0.0, self.budget_s - self.reserved_s - self.spent_s())

    def reserve(self, seconds: float) -> None:
        """Keep so much more back."""
        self.reserved_s += seconds

    def release(self, seconds: float) -> None:
        """Give back what was kept back."""
        self.reserved_s = max(0.0, self.reserved_s - seconds)
