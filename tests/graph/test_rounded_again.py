"""Which weights were only rounded again, told from those that were changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnx_act.graph.factors import factors_between, together, unit_in_last_place
from onnx_act.graph.model import load_model
from onnx_act.graph.rounded_again import weights_rounded_again

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

SHORT = [np.float16, ml_dtypes.bfloat16]
both = pytest.mark.parametrize("kind", SHORT)


def _kernel(kind: Any, shape: tuple[int, ...] = (4, 3, 3, 3)) -> Array:
    return np.asarray(np.random.default_rng(1).normal(0, 0.3, shape), kind)


def _scaled(kernel: Array, axis: int, seed: int = 2) -> Array:
    count = kernel.shape[axis]
    factors = np.random.default_rng(seed).uniform(0.3, 3.0, (count,))
    factors[::2] *= -1
    shape = [1] * kernel.ndim
    shape[axis] = -1
    scaled: Array = (kernel.astype(np.float64) * factors.reshape(shape)).astype(kernel.dtype)
    return scaled


@both
def test_a_unit_is_the_distance_to_the_next_number(kind: Any) -> None:
    # Numbers below the smallest normal one are as far apart as those just above it.
    numbers = np.array([1.0, 1.5, 2.0, -3.0, 0.0, 65000.0, 1e-4, 1e-7, 3e-40], kind)
    magnitudes = np.abs(numbers)
    following = np.nextafter(magnitudes, np.array(np.inf, kind)).astype(np.float64)
    distances = following - magnitudes.astype(np.float64)
    np.testing.assert_array_equal(unit_in_last_place(numbers), distances)


@both
@pytest.mark.parametrize("axis", [0, 1])
def test_a_weight_times_a_factor_for_each_channel(kind: Any, axis: int) -> None:
    kernel = _kernel(kind)
    once = _scaled(kernel, axis)
    assert factors_between(kernel, once)
    assert factors_between(once, kernel)
    assert factors_between(kernel, _scaled(once, axis, seed=3))
    assert factors_between(kernel[:, :1], _scaled(kernel, 0)[:, :1])


@both
def test_one_factor_for_all(kind: Any) -> None:
    column = _kernel(kind, (16, 1))
    assert factors_between(column, (column.astype(np.float64) / 3).astype(kind))
    assert factors_between(column[:, 0], (column[:, 0].astype(np.float64) / 3).astype(kind))


@both
@pytest.mark.parametrize("is_scaled", [False, True])
def test_one_element_further_off_than_rounding(kind: Any, *, is_scaled: bool) -> None:
    kernel = _kernel(kind)
    after = _scaled(kernel, 0) if is_scaled else kernel.copy()
    assert factors_between(kernel, after)
    for change in (1 << 3, 1 << 5, 1 << 15):
        flipped = after.copy()
        flipped.view(np.uint16)[2, 1, 0, 2] ^= change
        assert not factors_between(kernel, flipped)
    lost = after.copy()
    lost[1, 2, 2, 2] = 0
    assert not factors_between(kernel, lost)
    lost[1] = 0
    assert not factors_between(kernel, lost)
    infinite = after.copy()
    infinite[0, 0, 0, 0] = np.inf
    assert not factors_between(kernel, infinite)


@both
def test_numbers_that_have_nothing_to_do_with_each_other(kind: Any) -> None:
    kernel = _kernel(kind)
    assert not factors_between(kernel, kernel[::-1])
    assert not factors_between(kernel, np.abs(kernel))
    # Cut to fewer bits than rounding leaves.
    cut = kernel.copy()
    cut.view(np.uint16)[...] &= 0xFFF0
    assert not factors_between(kernel, cut)


@both
def test_a_factor_for_each_element_says_nothing(kind: Any) -> None:
    bias = _kernel(kind, (8,))
    assert not factors_between(bias, _scaled(bias, 0))
    by_channel = bias.reshape(8, 1, 1, 1)
    assert not factors_between(by_channel, _scaled(by_channel, 0))
    small = _kernel(kind, (3, 3))
    assert not factors_between(small, _scaled(small, 0))


@both
def test_a_bias_by_the_factors_of_its_kernel(kind: Any) -> None:
    kernel, bias = _kernel(kind), _kernel(kind, (4,))
    (factors,) = factors_between(kernel, _scaled(kernel, 0))
    after = _scaled(bias, 0)
    assert factors.explain(bias, after)
    assert not factors.explain(bias, _scaled(bias, 0, seed=3))
    assert not factors.explain(bias, bias)
    for change in (1 << 3, 1 << 5, 1 << 15):
        flipped = after.copy()
        flipped.view(np.uint16)[2] ^= change
        assert not factors.explain(bias, flipped)
    lost = after.copy()
    lost[1] = 0
    assert not factors.explain(bias, lost)
    unlike = factors_between(kernel, _scaled(kernel, 0, seed=4))
    wider = factors_between(_kernel(kind, (5, 8)), _scaled(_kernel(kind, (5, 8)), 0))
    (of_four, of_five) = together([*unlike, factors, *wider])
    assert of_four.explain(bias, after)
    assert not of_four.explain(bias, lost)
    assert not together(unlike)[0].explain(bias, after)
    longer = _kernel(kind, (5,))
    assert of_five.explain(longer, _scaled(longer, 0))
    assert not factors.explain(longer, _scaled(longer, 0))


def _model(weights: dict[str, Array], *, constants: bool = False) -> onnx.ModelProto:
    """A product by `w`, a sum with `b`, a PRelu by `s`; other weights are read by nothing."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["a"]),
        helper.make_node("PRelu", ["a", "s"], ["y"]),
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    if constants:
        nodes[:0] = [helper.make_node("Constant", [], [t.name], value=t) for t in tensors]
    code = helper.np_dtype_to_tensor_dtype(weights["w"].dtype)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", code, [4, 8])],
        [helper.make_tensor_value_info("y", code, None)],
        [] if constants else tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def _weights(kind: Any) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    shapes = {"w": (8, 6), "b": (6,), "s": (6,)}
    return {name: rng.normal(0, 1, shape).astype(kind) for name, shape in shapes.items()}


def _found(before: onnx.ModelProto, after: onnx.ModelProto, most: int = 1 << 20) -> list[str]:
    return sorted(weights_rounded_again(load_model(before), load_model(after), most))


@both
@pytest.mark.parametrize("constants", [False, True])
def test_weights_of_a_model_that_another_one_rounded_again(kind: Any, *, constants: bool) -> None:
    own = _weights(kind)
    before = _model(own, constants=constants)
    assert _found(before, before) == []
    after = own | {"w": _scaled(own["w"], 1)}
    assert _found(before, _model(after)) == ["w"]
    assert _found(before, _model(after, constants=True)) == ["w"]
    assert _found(before, _model(after), most=own["w"].nbytes - 1) == []
    np.testing.assert_array_equal(
        weights_rounded_again(load_model(before), load_model(_model(after)), 1 << 20)["w"], own["w"]
    )


def test_what_a_change_left_behind_unread_is_not_what_it_kept() -> None:
    own = _weights(np.float16)
    after = own | {"w": _scaled(own["w"], 1), "left": own["w"]}
    assert _found(_model(own), _model(after)) == ["w"]


def test_a_matrix_that_was_transposed_and_multiplied() -> None:
    own = _weights(np.float16)
    after = _model(own | {"w": _scaled(own["w"], 1).T.copy()})
    after.graph.node[0].CopyFrom(helper.make_node("Gemm", ["x", "w"], ["m"], transB=1))
    assert _found(_model(own), after) == ["w"]


def test_a_bias_counts_with_its_weight() -> None:
    own = _weights(np.float16)
    both_scaled = own | {"w": _scaled(own["w"], 1), "b": _scaled(own["b"], 0)}
    assert _found(_model(own), _model(both_scaled)) == ["b", "w"]
    alone = own | {"b": _scaled(own["b"], 0)}
    assert _found(_model(own), _model(alone)) == []
    lost = both_scaled | {"b": both_scaled["b"] * np.array([0, 1, 1, 1, 1, 1], np.float16)}
    assert _found(_model(own), _model(lost)) == ["w"]


def test_what_does_not_count() -> None:
    own = _weights(np.float16)
    before = _model(own)
    slopes = own | {"s": (own["s"] * 1.01).astype(np.float16)}
    assert _found(before, _model(slopes)) == []
    wide = _weights(np.float32)
    assert _found(_model(wide), _model(wide | {"w": _scaled(wide["w"], 1)})) == []
    # What the candidate also has unchanged, for another use of it, it did not make of this one.
    twice = own | {"w": own["w"], "b": (own["b"] + np.float16(0.25)).astype(np.float16)}
    assert _found(before, _model(twice)) == []
