"""Which value of one model answers to which of another, on outlines that are written down here."""

from __future__ import annotations

from dataclasses import replace

from onnx_act.evidence.aligning import Method, align, interface
from onnx_act.graph.taps import Outline, Step

# Each line: operator, variable inputs, output, what stands for the constants and attributes.
Line = tuple[str, str, str, str]
_CHAIN: tuple[Line, ...] = (
    ("Conv", "x", "c", "w1"),
    ("BatchNormalization", "c", "n", "scale shift mean var"),
    ("Relu", "n", "a", ""),
    ("Conv", "a", "d", "w2"),
    ("Relu", "d", "y", ""),
)


def _outline(*lines: Line, inputs: tuple[str, ...] = ("x",)) -> Outline:
    steps = []
    for number, (operator, taken, made, held) in enumerate(lines):
        variables, constants = tuple(taken.split()), tuple(held.split())
        empty = ("",) * len(variables)
        steps.append(
            Step(
                name=f"node{number}",
                op_type=operator,
                domain="",
                inputs=(*variables, *("" for _ in constants)),
                constants=(*empty, *constants),
                dims=(*(None for _ in variables), *((4,) for _ in constants)),
                written="",
                outputs=(made,),
                provenance={},
            )
        )
    types = {made: ("float32", (1, 4)) for _, _, made, _ in lines}
    return Outline(inputs, (lines[-1][2],), tuple(steps), types, {})


def _renamed(lines: tuple[Line, ...], **names: str) -> tuple[Line, ...]:
    return tuple(
        (
            operator,
            " ".join(names.get(v, v) for v in taken.split()),
            names.get(made, made),
            held,
        )
        for operator, taken, made, held in lines
    )


def _but(lines: tuple[Line, ...], place: int, line: Line) -> tuple[Line, ...]:
    return (*lines[:place], line, *lines[place + 1 :])


def _pairs(reference: Outline, candidate: Outline) -> dict[str, str]:
    return {v.reference: v.candidate for v in align(reference, candidate).values}


_OTHER_NAMES = {"c": "p", "n": "q", "a": "r", "d": "s"}


def test_a_model_is_aligned_with_itself_by_name() -> None:
    found = align(_outline(*_CHAIN), _outline(*_CHAIN))
    assert [(v.reference, v.candidate) for v in found.values] == [(n, n) for n in "cnady"]
    assert {v.method for v in found.values} == {Method.NAME}
    assert found.trusts_names
    assert found.unaligned == ()


def test_other_names_do_not_matter() -> None:
    found = align(_outline(*_CHAIN), _outline(*_renamed(_CHAIN, **_OTHER_NAMES)))
    assert {v.reference: v.candidate for v in found.values} == {**_OTHER_NAMES, "y": "y"}
    assert found.values[0].method is Method.STRUCTURE


def test_names_that_were_counted_up_are_not_believed() -> None:
    # An Identity in front moves every number by one.
    numbered = {"c": "1", "n": "2", "a": "3", "d": "4"}
    moved = {"c": "2", "n": "3", "a": "4", "d": "5"}
    one = _renamed(_CHAIN, **numbered)
    other = (("Identity", "x", "1", ""), *_renamed(_CHAIN, **moved))
    reference, candidate = _outline(*other), _outline(*other)
    assert align(reference, candidate).trusts_names
    swapped = _outline(*_renamed(_CHAIN, c="2", n="1", a="4", d="3"))
    found = align(_outline(*one), swapped)
    assert not found.trusts_names
    pairs = {v.reference: v.candidate for v in found.values}
    assert pairs == {"1": "2", "2": "1", "3": "4", "4": "3", "y": "y"}


def test_a_changed_constant_and_other_names() -> None:
    changed = _but(_renamed(_CHAIN, **_OTHER_NAMES), 1, ("BatchNormalization", "p", "q", "a b c d"))
    assert _pairs(_outline(*_CHAIN), _outline(*changed)) == {**_OTHER_NAMES, "y": "y"}


def test_another_operator_and_other_names_are_bridged_from_behind() -> None:
    changed = _but(_renamed(_CHAIN, **_OTHER_NAMES), 2, ("Elu", "q", "r", ""))
    assert _pairs(_outline(*_CHAIN), _outline(*changed)) == {**_OTHER_NAMES, "y": "y"}


def test_a_value_that_took_in_its_user_is_not_the_same_under_its_name() -> None:
    folded = (("Conv", "x", "c", "w1*scale"), ("Relu", "c", "a", ""), *_CHAIN[3:])
    found = align(_outline(*_CHAIN), _outline(*folded))
    # What bears the convolution's name is the normalised value, as its user tells.
    assert {v.reference: v.candidate for v in found.values} == {
        "n": "c",
        "a": "a",
        "d": "d",
        "y": "y",
    }
    assert found.unaligned == ("c",)


def test_a_changed_weight_with_the_same_user_keeps_its_name() -> None:
    changed = _but(_CHAIN, 0, ("Conv", "x", "c", "w9"))
    assert _pairs(_outline(*_CHAIN), _outline(*changed)) == {n: n for n in "cnady"}


def test_commuted_operands_are_the_same() -> None:
    one = _outline(("Relu", "x", "a", ""), ("Mul", "x a", "b", ""), ("Relu", "b", "y", ""))
    other = _outline(("Relu", "x", "p", ""), ("Mul", "p x", "q", ""), ("Relu", "q", "y", ""))
    found = align(one, other)
    assert [(v.candidate, v.method) for v in found.values[:2]] == [
        ("p", Method.STRUCTURE),
        ("q", Method.STRUCTURE),
    ]


def test_exchanged_operands_are_not() -> None:
    one = _outline(("Relu", "x", "a", ""), ("Sub", "x a", "b", ""), ("Relu", "b", "y", ""))
    other = _outline(("Relu", "x", "p", ""), ("Sub", "p x", "q", ""), ("Relu", "q", "y", ""))
    pairs = _pairs(one, other)
    # What parts is aligned all the same, from behind.
    assert pairs == {"a": "p", "b": "q", "y": "y"}


def test_duplicates_that_the_candidate_has_once() -> None:
    one = _outline(("Relu", "x", "a", ""), ("Relu", "x", "b", ""), ("Add", "a b", "y", ""))
    other = _outline(("Relu", "x", "p", ""), ("Add", "p p", "y", ""))
    assert _pairs(one, other) == {"a": "p", "b": "p", "y": "y"}


def test_of_two_that_were_the_same_one_is_changed() -> None:
    one = _outline(("Mul", "x", "a", "2"), ("Mul", "x", "b", "2"), ("Sub", "a b", "y", ""))
    other = _outline(("Mul", "x", "a", "3"), ("Mul", "x", "b", "2"), ("Sub", "a b", "y", ""))
    assert _pairs(one, other) == {"a": "a", "b": "b", "y": "y"}


def test_outputs_are_paired_by_position_where_their_names_differ() -> None:
    one = _outline(("Conv", "x", "y", "w1"))
    other = _outline(("Gemm", "in", "out", "w2"), inputs=("in",))
    (found,) = align(one, other).values
    assert (found.reference, found.candidate, found.method) == ("y", "out", Method.INTERFACE)


def test_nothing_aligns() -> None:
    one = _outline(("Conv", "x", "y", "w1"))
    other = _outline(("Gemm", "x", "a", "w2"), ("Relu", "a", "b", ""))
    two = replace(other, outputs=("a", "b"))
    found = align(one, two)
    assert found.values == ()
    assert found.unaligned == ("y",)


def test_interfaces() -> None:
    assert interface(["a", "b"], ["b", "a"]) == {"a": "a", "b": "b"}
    assert interface(["a", "b"], ["p", "q"]) == {"a": "p", "b": "q"}
    assert interface(["a", "b"], ["b"]) == {"b": "b"}
