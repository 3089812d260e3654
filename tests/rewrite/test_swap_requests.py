"""What `--swap` takes, and how it answers what it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnx_act.errors import UnknownNameError, UsageError
from onnx_act.rewrite.swap_request import make_swap, parse_swap

if TYPE_CHECKING:
    from pathlib import Path


def test_the_plain_form() -> None:
    request = parse_swap("relu=silu")
    assert (request.source.name, request.target.name) == ("relu", "silu")
    assert not request.given
    assert not request.source_values
    assert request.text == "relu=silu"


@pytest.mark.parametrize(
    "text",
    [
        "LeakyRelu=Elu:alpha=0.5",
        "leaky_relu=elu:ALPHA=0.5",
        " leaky-relu = ELU : alpha = 0.5 ",
        "leaky_relu=elu:alpha=0.5,",
        "leaky_relu=elu:alpha=.5",
        "leaky_relu=elu:alpha=5e-1",
    ],
)
def test_case_blanks_and_other_names_do_not_matter(text: str) -> None:
    request = parse_swap(text)
    assert (request.source.name, request.target.name) == ("leaky_relu", "elu")
    assert request.given == {"alpha": 0.5}


def test_parameters_have_their_own_name_whatever_they_were_called() -> None:
    assert parse_swap("relu=hardtanh:min_val=-2,max_value=2").given == {"min": -2.0, "max": 2.0}


def test_a_preset_on_the_left_narrows_what_is_covered() -> None:
    request = parse_swap("quick_gelu=relu")
    assert request.source.name == "swish"
    assert request.source_values == {"beta": 1.702}


def test_a_preset_on_the_right_sets_its_parameter_and_a_stated_one_overrules_it() -> None:
    assert parse_swap("relu=quick_gelu").given == {"beta": 1.702}
    assert parse_swap("relu=quick_gelu:beta=2").given == {"beta": 2.0}
    assert parse_swap("relu=fast_gelu").given == {"approximate": "tanh"}


def test_infinite_bounds_are_numbers() -> None:
    assert parse_swap("relu=clip:min=0,max=inf").given == {"min": 0.0, "max": np.inf}


@pytest.mark.parametrize("text", ["", "relu", "relu=", "=relu", "  =  ", "relu= ", "relu:elu"])
def test_what_is_no_swap(text: str) -> None:
    with pytest.raises(UsageError, match=r"FROM=TO\[:name=value,...\]") as caught:
        parse_swap(text)
    assert caught.value.exit_code == 2
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("relu=leaky_relu:0.1", "'0.1' is not of the form name=value"),
        ("relu=leaky_relu:negative_slope", "'negative_slope' is not of the form name=value"),
        ("relu=leaky_relu:negative_slope=", "takes a number, not ''"),
        ("relu=leaky_relu:negative_slope=fast", "takes a number, not 'fast'"),
        ("relu=leaky_relu:negative_slope=0.1=2", "takes a number, not '0.1=2'"),
        ("relu=leaky_relu:negative_slope=nan", "is not a number"),
        ("relu=celu:alpha=0", "must be greater than 0, not 0"),
        ("relu=softplus:beta=-1", "must be greater than 0, not -1"),
        ("relu=gelu:approximate=erf", "is one of none, tanh, not 'erf'"),
        ("relu=silu:beta=1", "silu has no parameters, so 'beta' cannot be set"),
        ("relu=leaky_relu:negative_slope=@x.npz", "takes one number, not a file"),
    ],
)
def test_a_parameter_that_cannot_be(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_swap(text)
    assert caught.value.exit_code == 2
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("rleu=silu", "relu"),
        ("relu=sliu", "silu"),
        ("relu=leakyrel", "leaky_relu"),
        ("relu=hard_swich", "hard_swish"),
        ("relu=leaky_relu:negative_slop=0.1", "negative_slope"),
        ("relu=elu:alfa=1", "alpha"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(text: str, near: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        parse_swap(text)
    assert caught.value.exit_code == 2
    assert near in caught.value.suggestions
    assert "did you mean" in str(caught.value)


def test_a_name_that_is_like_no_other_is_answered_with_all_of_them() -> None:
    with pytest.raises(UnknownNameError, match=r"known: .*elu.*gelu.*relu"):
        parse_swap("relu=xyzzy")


def test_python_says_the_same_as_text() -> None:
    stated = make_swap("relu", "elu", {"alpha": 0.5}, "relu=elu:alpha=0.5")
    assert stated == parse_swap("relu=elu:alpha=0.5")


def test_an_array_given_in_python_is_checked() -> None:
    request = make_swap("relu", "prelu", {"slope": np.array([0.1, 0.2])})
    np.testing.assert_array_equal(np.asarray(request.given["slope"]), [0.1, 0.2])
    with pytest.raises(UsageError, match="takes one number, not an array of shape"):
        make_swap("relu", "elu", {"alpha": np.array([0.1, 0.2])})
    with pytest.raises(UsageError, match="not finite"):
        make_swap("relu", "prelu", {"slope": np.array([0.1, np.nan])})


def test_arrays_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "slopes.npz"
    np.savez(path, a=np.array([1, 2], np.float32), b=np.array([3.0]))
    request = parse_swap(f"relu=prelu:slope=@{path}")
    assert set(request.files["slope"].arrays) == {"a", "b"}
    assert all(v.dtype == np.float64 for v in request.files["slope"].arrays.values())


def test_files_that_hold_no_arrays(tmp_path: Path) -> None:
    single = tmp_path / "one.npy"
    np.save(single, np.zeros(2))
    empty = tmp_path / "empty.npz"
    np.savez(empty)
    text = tmp_path / "text.npz"
    text.write_text("0.1 0.2", encoding="utf-8")
    words = tmp_path / "words.npz"
    np.savez(words, a=np.array(["high"]))
    cut = tmp_path / "cut.npz"
    np.savez(cut, a=np.zeros(100))
    cut.write_bytes(cut.read_bytes()[:200])
    nothing = tmp_path / "nothing.npz"
    nothing.touch()
    for path, said in (
        (cut, "cannot read"),
        (nothing, "cannot read"),
        (single, "is not an .npz file"),
        (empty, "holds no array"),
        (text, "cannot read"),
        (words, "cannot read"),
        (tmp_path / "absent.npz", r"absent\.npz: No such file or directory$"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            parse_swap(f"relu=prelu:slope=@{path}")
        assert caught.value.exit_code == 2
        assert path.name in str(caught.value)


def test_values_that_are_not_finite_are_refused_as_in_python(tmp_path: Path) -> None:
    path = tmp_path / "slopes.npz"
    np.savez(path, a=np.array([0.1, np.inf]))
    with pytest.raises(UsageError, match=r"slopes.npz, array 'a': .* not finite"):
        parse_swap(f"relu=prelu:slope=@{path}")
