"""What comes before what in a model's main graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from onnx_act.graph.taps import Outline, Step


class ValuesBefore:
    """The order of one model's values."""

    def __init__(self, model: Outline) -> None:
        self._steps = model.steps
        self._makers = {v: step for step in model.steps for v in step.outputs if v}
        self._depths: dict[str, int] = {}
        for step in model.steps:
            deepest = max((self._depths.get(v, 0) for v in step.inputs), default=0)
            self._depths.update((v, deepest + 1) for v in step.outputs if v)

    def depth(self, value: str) -> int:
        """Operators on the longest path to a value; 0 for inputs."""
        return self._depths.get(value, 0)

    def nearest(self, chosen: Collection[str]) -> dict[str, tuple[str, ...]]:
        """For every chosen value the chosen ones that it is computed from with none between."""
        # Of any value: the chosen ones that are seen when one looks back from its users.
        seen: dict[str, tuple[str, ...]] = {}
        found: dict[str, tuple[str, ...]] = {}
        for step in self._steps:
            here = tuple(dict.fromkeys(v for i in step.inputs for v in seen.get(i, ())))
            for value in step.outputs:
                if value in chosen:
                    found[value] = here
                    seen[value] = (value,)
                else:
                    seen[value] = here
        return found

    def steps_to(self, value: str, known: Collection[str]) -> tuple[Step, ...]:
        """The steps that compute a value from known ones, in order; its own step is last."""
        needed: dict[int, Step] = {}
        pending = [value]
        while pending:
            step = self._makers.get(pending.pop())
            if step is None or id(step) in needed:
                continue
            needed[id(step)] = step
            pending.extend(v for v in step.inputs if v and v not in known)
        last = self._makers.get(value)
        ordered = [s for s in self._steps if id(s) in needed and s is not last]
        return (*ordered, last) if last is not None else tuple(ordered)
