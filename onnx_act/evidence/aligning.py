"""Which value inside one model answers to which value inside another.

A name that both have is believed, unless the two models say by their structure that names mean
nothing between them (numbers that an exporter counted up). What has no common name is aligned by
what makes it: the same operator on aligned values, forward from the inputs, and then backward from
the outputs, so that one place where the models differ does not hide what lies behind it.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_act.graph.taps import Outline, Step

_COMMUTATIVE: Final = frozenset({"Add", "Mul", "Max", "Min", "Sum", "Mean", "And", "Or", "Xor"})


class Method(Enum):
    """What an alignment rests on."""

    NAME = "name"
    STRUCTURE = "structure"
    INTERFACE = "interface"


@dataclass(frozen=True, slots=True)
class AlignedValue:
    """A value of the reference with its counterpart.

    Attributes:
        reference: its name in the reference.
        candidate: the counterpart's name in the candidate.
        method: what says so: `name`, `structure`, or `interface` for outputs of the models.
    """

    reference: str
    candidate: str
    method: Method


@dataclass(frozen=True, slots=True)
class Alignment:
    """Two models, value by value.

    Attributes:
        values: what is aligned, in the order in which the reference computes it; inputs are not
            among them.
        unaligned: the values of the reference that have no counterpart.
        trusts_names: whether names were believed.
    """

    values: tuple[AlignedValue, ...]
    unaligned: tuple[str, ...]
    trusts_names: bool


def align(reference: Outline, candidate: Outline) -> Alignment:
    """Find the counterparts of the values of a model in another.

    Linear in the size of both models.

    Args:
        reference: the model whose values are asked about.
        candidate: the model that is searched.
    """
    return _Aligner(reference, candidate).run()


def interface(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """Inputs, or outputs, of two models: by name, else by position; none where neither does."""
    if set(ours) <= set(theirs):
        return {name: name for name in ours}
    if len(ours) == len(theirs):
        return dict(zip(ours, theirs, strict=True))
    return {name: name for name in ours if name in set(theirs)}


class _Aligner:
    def __init__(self, reference: Outline, candidate: Outline) -> None:
        self._reference = reference
        self._candidate = candidate
        self._inputs = interface(reference.inputs, candidate.inputs)
        self._found: dict[str, tuple[str, Method]] = {}
        self._taken: set[str] = set()
        self._makers = _makers(reference)
        self._their_makers = _makers(candidate)
        self._users = _users(reference)
        self._their_users = _users(candidate)
        self._order = [v for s in reference.steps for v in s.outputs if v]

    def run(self) -> Alignment:
        ours = _digests(self._reference, {name: name for name in self._reference.inputs})
        back = {theirs: own for own, theirs in self._inputs.items()}
        theirs = _digests(self._candidate, back)
        classes: dict[str, list[str]] = defaultdict(list)
        for name, digest in theirs.items():
            classes[digest].append(name)
        trusted = self._are_names_trusted(ours, theirs, classes)
        for name in self._order:
            self._by_name_or_digest(name, classes.get(ours[name], []), trusted)
        self._pair_outputs()
        self._forward()
        self._backward()
        aligned = tuple(
            AlignedValue(name, *self._found[name]) for name in self._order if name in self._found
        )
        unaligned = tuple(name for name in self._order if name not in self._found)
        return Alignment(aligned, unaligned, trusted)

    def _are_names_trusted(
        self, ours: Mapping[str, str], theirs: Mapping[str, str], classes: Mapping[str, list[str]]
    ) -> bool:
        """Whether values that certainly are the same have the same name more often than not."""
        votes: Counter[bool] = Counter()
        for name in self._order:
            others = classes.get(ours[name], [])
            if others and name in theirs:
                votes[name in others] += 1
        return votes[True] >= votes[False]

    def _by_name_or_digest(self, name: str, same: Sequence[str], trusted: bool) -> None:
        # Also against a value that is certainly the same: a model may compute something twice,
        # and be wrong in one of the places.
        if trusted and name in self._their_makers and self._fits(name, name):
            self._take(name, name, Method.NAME)
            return
        if same:
            free = next((other for other in same if other not in self._taken), same[-1])
            self._take(name, free, Method.STRUCTURE)

    def _pair_outputs(self) -> None:
        pairs = interface(self._reference.outputs, self._candidate.outputs)
        for own, other in pairs.items():
            if own in self._makers and other in self._their_makers and own not in self._found:
                self._take(own, other, Method.INTERFACE)

    def _forward(self) -> None:
        """The same operator on aligned values, whatever its constants hold."""
        users: dict[tuple[object, ...], list[Step]] = defaultdict(list)
        for step in self._candidate.steps:
            users[_operation(step, step.inputs)].append(step)
        for step in self._reference.steps:
            if any(v in self._found for v in step.outputs if v):
                continue
            operands = [self._counterpart(v) if v else "" for v in step.inputs]
            if None in operands:
                continue
            key = _operation(step, [str(v) for v in operands])
            free = [s for s in users.get(key, ()) if self._taken.isdisjoint(s.outputs)]
            # Those with the same attributes and constants first, then those of the same shapes.
            alike = [s for s in free if (s.written, s.constants) == (step.written, step.constants)]
            alike += [s for s in free if s.dims == step.dims]
            if alike:
                self._take_outputs(step, alike[0])

    def _backward(self) -> None:
        """The operands of operators whose results are aligned."""
        for step in reversed(self._reference.steps):
            result = next((v for v in step.outputs if v in self._found), None)
            if result is None:
                continue
            other = self._their_makers.get(self._found[result][0])
            if other is None or (step.op_type, step.domain) != (other.op_type, other.domain):
                continue
            if len(step.inputs) != len(other.inputs):
                continue
            for own, theirs in zip(step.inputs, other.inputs, strict=True):
                if own and theirs and self._are_counterparts_possible(own, theirs):
                    self._take(own, theirs, Method.STRUCTURE)

    def _are_counterparts_possible(self, own: str, other: str) -> bool:
        if own in self._found or other in self._taken:
            return False
        return own in self._makers and other in self._their_makers and self._fits(own, other)

    def _counterpart(self, name: str) -> str | None:
        found = self._found.get(name)
        return self._inputs.get(name) if found is None else found[0]

    def _take_outputs(self, step: Step, other: Step) -> None:
        for own, theirs in zip(step.outputs, other.outputs, strict=False):
            if own and theirs and own not in self._found and self._fits(own, theirs):
                self._take(own, theirs, Method.STRUCTURE)

    def _take(self, own: str, other: str, method: Method) -> None:
        self._found[own] = (other, method)
        self._taken.add(other)

    def _fits(self, own: str, other: str) -> bool:
        """Whether nothing speaks against it that the two are the same value.

        They are not where other constants make them and other operators use them: where
        BatchNormalization is folded into a convolution, the convolution's result may be the
        normalised value. Of shapes only ranks are asked: another size is a finding.
        """
        ours, made = self._makers[own], self._their_makers[other]
        if ours.constants != made.constants and self._users[own] != self._their_users[other]:
            return False
        shape = self._reference.types[own][1]
        theirs = self._candidate.types[other][1]
        return shape is None or theirs is None or len(shape) == len(theirs)


def _makers(model: Outline) -> dict[str, Step]:
    return {name: step for step in model.steps for name in step.outputs if name}


def _users(model: Outline) -> dict[str, Counter[str]]:
    """The operators that use each value, counted."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for step in model.steps:
        for name in step.inputs:
            if name:
                found[name][step.op_type] += 1
    return found


def _operation(step: Step, operands: Sequence[str]) -> tuple[object, ...]:
    commutes = step.domain == "" and step.op_type in _COMMUTATIVE
    return (step.domain, step.op_type, *(sorted(operands) if commutes else operands))


def _digests(model: Outline, inputs: Mapping[str, str]) -> dict[str, str]:
    """For every value a digest of all that it is computed from, the inputs under common names."""
    known = {name: f"input {inputs.get(name, '?' + name)}" for name in model.inputs}
    made: dict[str, str] = {}
    for step in model.steps:
        constants = (*step.constants, *([""] * (len(step.inputs) - len(step.constants))))
        operands = [
            made.get(v) or known.get(v) or f"unknown {v}" if v else f"constant {constant}"
            for v, constant in zip(step.inputs, constants, strict=True)
        ]
        text = repr((_operation(step, operands), step.written))
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        made.update((v, f"{digest} {k}") for k, v in enumerate(step.outputs) if v)
    return made
