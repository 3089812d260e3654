"""The tails and the knee of every activation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from onnx_act.activations.catalogue import named
from onnx_act.activations.domain_parts import DomainPart, Part, domain_parts


def _ends(name: str, **parameters: float) -> list[float]:
    activation = named(name)
    parts = domain_parts(activation, activation.bind(parameters))
    for before, after in itertools.pairwise(parts):
        assert before.high == after.low
    assert [parts[0].low, parts[-1].high] == [-math.inf, math.inf]
    return [part.high for part in parts[:-1]]


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("relu", [0.0]),
        ("leaky_relu", [0.0]),
        ("relu6", [0.0, 6.0]),
        ("hardswish", [-3.0, 3.0]),
        ("hardsigmoid", [-3.0, 3.0]),
        ("hardshrink", [-0.5, 0.5]),
        ("hardtanh", [-1.0, 1.0]),
    ],
)
def test_the_ends_of_lines_are_found_exactly(name: str, ends: list[float]) -> None:
    assert _ends(name) == ends


def test_a_parameter_moves_the_ends() -> None:
    assert _ends("hardtanh", min_val=-2.0, max_val=5.0) == [-2.0, 5.0]
    assert _ends("threshold", threshold=10.0, value=0.0) == [10.0]


def test_a_tail_begins_where_the_slope_is_within_a_hundredth_of_its_limit() -> None:
    # The derivative of softplus is the logistic: within 0.01 of its limits beyond log(99).
    low, high = _ends("softplus")
    assert low == pytest.approx(-math.log(99.0), abs=1 / 128)
    assert high == pytest.approx(math.log(99.0), abs=1 / 128)
    # That of elu left of zero is exp(x), with 1 as the larger limit.
    assert _ends("elu")[0] == pytest.approx(math.log(0.01), abs=1 / 128)


def test_symmetric_slopes_have_symmetric_ends() -> None:
    for name in ("sigmoid", "tanh", "erf", "softsign", "gelu", "silu"):
        low, high = _ends(name)
        assert low == pytest.approx(-high, abs=1 / 64)
        assert 1.0 < high < 10.0


def test_a_line_has_no_parts() -> None:
    identity = named("identity")
    assert domain_parts(identity, identity.bind({})) == ()


def test_of_a_parameter_per_channel_the_median_counts() -> None:
    prelu = named("prelu")
    slopes = prelu.bind({"weight": np.array([0.1, 0.2, 0.3])})
    assert [p.part for p in domain_parts(prelu, slopes)] == [Part.LEFT, Part.RIGHT]


def test_a_tail_does_not_hold_its_end_and_a_knee_holds_both() -> None:
    x = np.array([-4.0, -3.0, 0.0, 3.0, 4.0, 5.0])
    left = DomainPart(Part.LEFT, -math.inf, -3.0)
    knee = DomainPart(Part.KNEE, -3.0, 3.0)
    right = DomainPart(Part.RIGHT, 3.0, math.inf)
    assert [p.count(x) for p in (left, knee, right)] == [1, 3, 2]
    assert not left.overlaps(-3.0, 5.0)
    assert knee.overlaps(3.0, 5.0)
    assert right.overlaps(-1.0, 3.5)
