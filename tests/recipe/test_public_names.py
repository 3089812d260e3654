"""The surface of the package: what `import onnx_act` offers, and nothing else."""

from __future__ import annotations

import inspect

import pytest

import onnx_act
from onnx_act import errors

VERBS = {
    "bench",
    "catalog",
    "convert",
    "convert_batch",
    "fuse",
    "inspect",
    "rejudge",
    "swap",
    "tune",
    "validate",
}
RESULTS = {"JobOutcome", "ModelEntry", "Outcome", "Report"}


def _exceptions() -> set[str]:
    found = vars(errors).items()
    return {k for k, v in found if isinstance(v, type) and issubclass(v, errors.OnnxActError)}


def test_everything_is_listed() -> None:
    assert set(onnx_act.__all__) == VERBS | RESULTS | _exceptions()
    assert onnx_act.__all__ == sorted(onnx_act.__all__)
    assert len(set(onnx_act.__all__)) == len(onnx_act.__all__)
    assert dir(onnx_act) == sorted(onnx_act.__all__)


@pytest.mark.parametrize("name", onnx_act.__all__)
def test_every_name_can_be_used_and_says_what_it_is(name: str) -> None:
    found = getattr(onnx_act, name)
    assert found.__name__ == name
    assert found.__module__.startswith("onnx_act.")
    assert inspect.getdoc(found)
    # A second look finds the same object, now without being loaded.
    assert getattr(onnx_act, name) is found


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'covnert'"):
        getattr(onnx_act, "covnert")  # noqa: B009 - mypy knows that it is not there


def test_the_tree_of_exceptions_is_the_one_that_is_drawn() -> None:
    drawn = errors.__doc__
    assert drawn is not None
    for name in _exceptions():
        code = getattr(errors, name).exit_code
        line = next(line for line in drawn.splitlines() if f" {name} " in f" {line} ")
        assert str(code) in line.split()


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_is_typed_and_documented(verb: str) -> None:
    function = getattr(onnx_act, verb)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())
