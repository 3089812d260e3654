"""Comparisons of a model with itself, and with one that is a little slower."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

_RUNS = 40


def _above(count: int, runs: int, chance: float) -> float:
    """The probability of more than so many."""
    return sum(
        math.comb(runs, k) * chance**k * (1 - chance) ** (runs - k)
        for k in range(count + 1, runs + 1)
    )


@pytest.mark.parametrize(("runs", "chance"), [(40, 0.05), (200, 0.05), (10, 0.5)])
def test_the_bound_is_the_least_that_chance_does_not_exceed(
    runs: int, chance: float, script: Callable[[str], ModuleType]
) -> None:
    bound = script("a_a").most_claims(runs, chance, 0.001)
    assert _above(bound, runs, chance) <= 0.001 < _above(bound - 1, runs, chance)


def _comparison(module: ModuleType, verdict: str) -> Any:
    return module.Comparison(1.0, 0.99, 1.01, verdict, is_precise=True, seconds=1.0, busy=False)


@pytest.mark.parametrize(
    ("claims", "found", "code"), [(0, 4, 0), (1, 4, 0), (2, 4, 1), (0, 3, 1), (0, 0, 1)]
)
def test_the_exit_code_tells_whether_both_promises_hold(
    claims: int,
    found: int,
    code: int,
    tmp_path: Path,
    script: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = script("a_a")

    def told(_: Path, __: Path, seconds: float, runs: int, ___: int) -> list[Any]:
        if seconds == module.PLANTED_S:
            return [
                _comparison(module, "slower" if k < found else "no difference shown")
                for k in range(runs)
            ]
        return [
            _comparison(module, "faster" if k < claims else "no difference shown")
            for k in range(runs)
        ]

    monkeypatch.setattr(module, "layers_for", lambda *_: 3)
    monkeypatch.setattr(module, "comparisons", told)
    figures = tmp_path / "figures.json"
    options = ["--runs", "20", "--planted", "4", "--json", str(figures)]
    assert module.main(options) == code
    assert f"{claims} of 20 claim a difference" in capsys.readouterr().out
    stored = json.loads(figures.read_text())
    assert (len(stored["itself"]), len(stored["planted"])) == (20, 4)


@pytest.mark.slow
def test_no_difference_is_claimed_and_a_planted_one_is_found(
    tmp_path: Path, script: Callable[[str], ModuleType]
) -> None:
    """More claims than this come once in a thousand times where one of twenty is wrong."""
    module = script("a_a")
    count = module.layers_for(module.PLANTED, tmp_path, 1)
    # One layer of so many is 2 to 5 % of them.
    assert 15 <= count <= 50
    base = module.layers(count, tmp_path / "a.onnx")
    more = module.layers(count + 1, tmp_path / "b.onnx")
    claims = sum(one.claims for one in module.comparisons(base, base, 1.0, _RUNS, 1))
    assert claims <= module.most_claims(_RUNS)
    for one in module.comparisons(base, more, module.PLANTED_S, 3, 1):
        assert one.verdict == "slower", one
        assert 0.93 < one.median < 1.0
        assert one.seconds < module.PLANTED_S + 30.0
