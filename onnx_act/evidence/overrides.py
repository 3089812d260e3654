"""Tolerances that a user gives in the place of the derived ones."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onnx_act.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from onnx_act.evidence.envelope import Envelope
    from onnx_act.runtime.session import OptimizationLevel

_PROBLEMS: Final = {
    "shape": "has another shape",
    "nan": "has NaN in other places than the reference",
    "text": "has other texts",
}
EVERY: Final = ""
"""Stands for every output of floats in `GivenTolerances`."""


@dataclass(frozen=True, slots=True)
class GivenTolerances:
    """What may differ by how much, by the user's word.

    An output passes when for every element `|c - r| <= atol + rtol * |r|`. Of the two, one that
    is not given is 0. An output that is named goes by its own numbers; one of floats that is not
    goes by those for every output, and without such by the derived tolerance.

    Attributes:
        atol: (output, absolute tolerance) pairs; `EVERY` for all outputs of floats.
        rtol: (output, relative tolerance) pairs.

    Raises:
        UsageError: A number is negative or not finite.
    """

    atol: tuple[tuple[str, float], ...] = ()
    rtol: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        for option, pairs in (("atol", self.atol), ("rtol", self.rtol)):
            for output, value in pairs:
                if not (math.isfinite(value) and value >= 0.0):
                    of = f" for output {output!r}" if output else ""
                    raise UsageError(f"{option}{of} is a number of at least 0, not {value:g}")

    def for_output(self, name: str, *, is_float: bool) -> tuple[float, float] | None:
        """(atol, rtol) for an output; None where its tolerance is to be derived."""
        atol, rtol = dict(self.atol), dict(self.rtol)
        keys = [name, EVERY] if is_float else [name]
        found = [next((table[k] for k in keys if k in table), None) for table in (atol, rtol)]
        if found[0] is None and found[1] is None:
            return None
        return found[0] or 0.0, found[1] or 0.0

    def check(self, outputs: Collection[str]) -> None:
        """Have every name be that of an output.

        Raises:
            UsageError: One is not; the message suggests another.
        """
        for name, _ in (*self.atol, *self.rtol):
            if name == EVERY or name in outputs:
                continue
            near = difflib.get_close_matches(name, list(outputs), 1)
            hint = f"; did you mean {near[0]!r}?" if near else f": it has {', '.join(outputs)}"
            raise UsageError(f"the reference has no output {name!r}{hint}")


def severity_under(given: tuple[float, float], problem: str, envelope: Envelope) -> float:
    """Error over what was given, at the worst; at most 1 passes.

    Args:
        given: atol and rtol.
        problem: What no tolerance helps against, if anything.
        envelope: Of all elements.
    """
    return math.inf if problem else envelope.factor(*given)


def minimum_atol_of(problem: str, envelope: Envelope, given: tuple[float, float]) -> float:
    """The smallest atol with which, at the given rtol, every element passes."""
    return math.inf if problem else max(0.0, envelope.minimum_atol(given[1]))


def reason_beyond_given(
    level: OptimizationLevel,
    problem: str,
    severity: float,
    given: tuple[float, float],
    minimum_atol: float,
) -> str:
    """Why an output does not pass what was given; empty when it does."""
    if severity <= 1.0:
        return ""
    at = f"at level {level.value}"
    if problem:
        return f"{_PROBLEMS[problem]} {at}"
    return (
        f"is {severity:.3g} times as far off as was given (atol {given[0]:g}, rtol {given[1]:g}) "
        f"{at}; it would take atol {minimum_atol:.3g}"
    )


def tolerances_from_mappings(
    atol: float | Mapping[str, float] | None, rtol: float | Mapping[str, float] | None
) -> GivenTolerances:
    """One number for every output of floats, or a number by output."""
    return GivenTolerances(_pairs(atol), _pairs(rtol))


def _pairs(given: float | Mapping[str, float] | None) -> tuple[tuple[str, float], ...]:
    if given is None:
        return ()
    if isinstance(given, (int, float)):
        return ((EVERY, float(given)),)
    return tuple((name, float(value)) for name, value in given.items())


def tolerances_from_texts(
    atol: Sequence[str] | None, rtol: Sequence[str] | None
) -> GivenTolerances:
    """Tolerances as options write them: `1e-4`, or `logits:1e-3` (names may hold colons).

    Raises:
        UsageError: One does not parse.
    """
    return GivenTolerances(_parsed("--atol", atol), _parsed("--rtol", rtol))


def _parsed(option: str, texts: Sequence[str] | None) -> tuple[tuple[str, float], ...]:
    found = []
    for text in texts or ():
        name, _, number = text.rpartition(":")
        try:
            found.append((name, float(number)))
        except ValueError:
            raise UsageError(f"{option} takes 1e-4 or OUTPUT:1e-4, not {text!r}") from None
    return tuple(found)
