from __future__ import annotations

import pytest

from onnx_act.errors import UsageError
from onnx_act.evidence.overrides import (
    EVERY,
    GivenTolerances,
    tolerances_from_mappings,
    tolerances_from_texts,
)


def test_options_are_read() -> None:
    found = tolerances_from_texts(["1e-4", "logits:1e-3", "a:b:2"], ["boxes:0.01"])
    assert found.atol == ((EVERY, 1e-4), ("logits", 1e-3), ("a:b", 2.0))
    assert found.rtol == (("boxes", 0.01),)


def test_a_name_wins_and_what_is_not_given_is_nothing() -> None:
    found = tolerances_from_mappings({EVERY: 1e-4, "logits": 1e-3}, {"boxes": 0.01})
    assert found.for_output("logits", is_float=True) == (1e-3, 0.0)
    assert found.for_output("boxes", is_float=True) == (1e-4, 0.01)
    assert found.for_output("classes", is_float=False) is None
    assert tolerances_from_mappings(0.5, None).for_output("y", is_float=True) == (0.5, 0.0)
    assert tolerances_from_mappings(None, None).for_output("y", is_float=True) is None


@pytest.mark.parametrize("text", ["much", "logits:", "logits:-1", "nan", "inf"])
def test_what_is_no_tolerance_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="atol"):
        tolerances_from_texts([text], None)


def test_an_unknown_output_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"no output 'logit'; did you mean 'logits'"):
        GivenTolerances((("logit", 1.0),)).check(["logits", "boxes"])
    with pytest.raises(UsageError, match=r"no output 'x': it has logits, boxes"):
        GivenTolerances((("x", 1.0),)).check(["logits", "boxes"])
