"""Every way to write every activation, at every opset and dtype, is valid and computes it."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from float_runs import against_reference, run_graph, sign_symmetric_grid
from lowered import DTYPES, lowered_model, provenance_free_names

from onnx_act.activations.activation import MICROSOFT, Activation
from onnx_act.activations.catalogue import CATALOGUE, named
from onnx_act.activations.primitives import maximum, minimum
from onnx_act.graph.lower import (
    ExpressionLowering,
    LoweringUnavailableError,
    OperatorLowering,
    lowerings,
)

if TYPE_CHECKING:
    from onnx_act.graph.lower import Lowering

NEWEST = onnx.defs.onnx_opset_version()
OPSETS = (6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 20, 22, 24, NEWEST)

#: Parameters that are not the defaults, beside which the defaults are taken as well.
OTHERS: dict[str, dict[str, float | str]] = {
    "leaky_relu": {"negative_slope": 0.3},
    "prelu": {"slope": -0.2},
    "rrelu": {"lower": 0.1, "upper": 0.5},
    "threshold": {"threshold": 0.25, "value": -1.5},
    "hardtanh": {"min": 0.25, "max": math.inf},
    "hardshrink": {"lambd": 0.25},
    "softshrink": {"lambd": 0.75},
    "elu": {"alpha": 0.5},
    "selu": {"alpha": 1.5, "gamma": 1.25},
    "celu": {"alpha": 2.0},
    "softplus": {"beta": 2.0},
    "hardsigmoid": {"alpha": 0.25, "beta": 0.375},
    "swish": {"beta": 1.702},
    "gelu": {"approximate": "tanh"},
}

#: The first opset at which an expression can be written, where that is not 7; typed by hand from
#: the operators that each needs (Max and Min with a bound are Relu and Clip, which are older).
FIRST_EXPRESSION = {
    "identity": 6,
    "relu": 6,
    "relu6": 6,
    "hardtanh": 6,
    "squared_relu": 6,
    "sigmoid": 6,
    "hardsigmoid": 6,
    "tanh": 6,
    "rectified_tanh": 6,
    "tanhshrink": 6,
    "silu": 6,
    "mish": 6,
    "hardswish": 6,
    "exp": 6,
    "logsigmoid": 6,
    "softplus": 6,
    "swish": 6,
    "softshrink": 6,
    "leaky_relu": 9,
    "prelu": 9,
    "rrelu": 9,
    "threshold": 9,
    "hardshrink": 9,
    "erf": 9,
}


def _given(activation: Activation) -> list[dict[str, float | str]]:
    return [{}, *([OTHERS[activation.name]] if activation.name in OTHERS else [])]


@lru_cache(maxsize=4096)
def _holds(
    content: bytes, name: str, items: tuple[tuple[str, float | str], ...], steps: float
) -> bool:
    """Run one model against the reference; remembered, since opsets often write the same."""
    model = onnx.ModelProto.FromString(content)
    kind = onnx.helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)
    # Decomposed GELU cubes x: 30 is as far as float16 goes. Exp leaves float16 at 11.
    reach = 30.0 if kind.itemsize > 2 else 10.0
    x = sign_symmetric_grid(reach).astype(kind)
    activation = named(name)
    y = run_graph(model, x)
    against_reference(activation, activation.bind(dict(items)), x, y, steps=steps)
    return True


def _steps(model: onnx.ModelProto, lowering: Lowering, dtype: ir.DataType) -> float:
    """How much more than its dtype's rounding a lowering may lose."""
    if dtype is not ir.DataType.DOUBLE:
        return 1.0
    # Attributes are float32 whatever the operator computes in, and so are HardSwish's own; and
    # onnx's evaluator, which runs what ONNX Runtime has no double kernel for, takes Erf from a
    # polynomial that is good to 1.5e-7.
    single = isinstance(lowering, OperatorLowering) or any(
        n.op_type in {"Erf", "HardSigmoid"} for n in model.graph.node
    )
    return 2.0**29 if single else 1.0


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name.lower())
@pytest.mark.parametrize("activation", CATALOGUE, ids=lambda a: a.name)
def test_every_lowering_computes_its_activation(activation: Activation, dtype: ir.DataType) -> None:
    ran = 0
    for given in _given(activation):
        parameters = activation.bind(given)
        seen: set[bytes] = set()
        for opset in OPSETS:
            contrib = dtype is ir.DataType.FLOAT
            for lowering in lowerings(activation, parameters, opset, contrib=contrib):
                try:
                    model = lowered_model(lowering, activation, parameters, dtype, opset)
                except LoweringUnavailableError:
                    continue
                onnx.checker.check_model(model)
                bare = onnx.ModelProto()
                bare.CopyFrom(model)
                del bare.opset_import[:]
                key = bare.graph.SerializeToString()
                if key in seen:
                    continue
                seen.add(key)
                steps = _steps(model, lowering, dtype)
                items = tuple(given.items())
                ran += _holds(model.SerializeToString(), activation.name, items, steps)
    assert ran >= len(_given(activation))


@pytest.mark.parametrize("activation", CATALOGUE, ids=lambda a: a.name)
def test_standard_operators_have_the_types_they_are_given(activation: Activation) -> None:
    # Full check: inference goes through, so every operator exists with these inputs.
    missing: list[str] = []
    for given in _given(activation):
        parameters = activation.bind(given)
        for opset in OPSETS:
            for lowering in lowerings(activation, parameters, opset):
                try:
                    model = lowered_model(
                        lowering, activation, parameters, ir.DataType.FLOAT, opset
                    )
                except LoweringUnavailableError as error:
                    missing.append(str(error))
                    continue
                onnx.checker.check_model(model, full_check=True)
                inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
                (y,) = inferred.graph.output
                assert [d.dim_param for d in y.type.tensor_type.shape.dim] == ["N"]
    assert all("the model is at" in reason for reason in missing)


@pytest.mark.parametrize("activation", CATALOGUE, ids=lambda a: a.name)
def test_the_expression_exists_from_its_first_opset_on(activation: Activation) -> None:
    parameters = activation.bind()
    works = []
    for opset in range(6, NEWEST + 1):
        (expression,) = (
            w for w in lowerings(activation, parameters, opset) if isinstance(w, ExpressionLowering)
        )
        try:
            lowered_model(expression, activation, parameters, ir.DataType.FLOAT, opset)
        except LoweringUnavailableError:
            works.append(False)
        else:
            works.append(True)
    first = 6 + works.index(True)
    assert all(works[works.index(True) :])
    wanted = FIRST_EXPRESSION.get(activation.name, 9 if activation.name == "gelu" else 7)
    assert first == wanted


def test_operators_are_offered_where_they_exist() -> None:
    for activation in CATALOGUE:
        parameters = activation.bind()
        for opset in (6, 9, 10, 12, 14, 18, 20, 24):
            for lowering in lowerings(activation, parameters, opset, contrib=True):
                if isinstance(lowering, OperatorLowering) and not lowering.operator.is_contrib():
                    schema = onnx.defs.get_schema(lowering.operator.op_type, opset, "")
                    assert not schema.deprecated
            plain = lowerings(activation, parameters, opset)
            assert not any(
                isinstance(w, OperatorLowering) and w.operator.domain == MICROSOFT for w in plain
            )


def test_what_a_dtype_cannot_hold_is_refused() -> None:
    threshold = named("threshold")
    parameters = threshold.bind({"threshold": 1e6, "value": -1.0})
    (expression,) = lowerings(threshold, parameters, 17)
    with pytest.raises(LoweringUnavailableError, match="does not fit float16"):
        lowered_model(expression, threshold, parameters, ir.DataType.FLOAT16, 17)
    lowered_model(expression, threshold, parameters, ir.DataType.FLOAT, 17)
    leaky = named("leaky_relu")
    huge = leaky.bind({"negative_slope": math.inf})
    with pytest.raises(LoweringUnavailableError, match="alpha"):
        lowered_model(lowerings(leaky, huge, 17)[0], leaky, huge, ir.DataType.FLOAT, 17)


def test_a_constant_is_written_once() -> None:
    gelu = named("gelu")
    parameters = gelu.bind({"approximate": "tanh"})
    (*_, expression) = lowerings(gelu, parameters, 20)
    model = lowered_model(expression, gelu, parameters, ir.DataType.FLOAT, 20)
    held = [n.attribute[0].t.raw_data for n in model.graph.node if n.op_type == "Constant"]
    assert len(held) == len(set(held))
    assert provenance_free_names(model)


def test_numbers_are_computed_before_they_are_written() -> None:
    # (lower + upper) / 2 of rrelu is one constant, and -lambd of softshrink a bound of Clip.
    for name, wanted in (
        ("rrelu", ["Greater", "Mul", "Where"]),
        ("softshrink", ["Clip", "Sub"]),
    ):
        activation = named(name)
        (*_, expression) = lowerings(activation, activation.bind(), 17)
        model = lowered_model(expression, activation, activation.bind(), DTYPES[0], 17)
        assert [n.op_type for n in model.graph.node if n.op_type != "Constant"] == wanted


def test_a_per_channel_slope_is_an_operand() -> None:
    prelu = named("prelu")
    slope = np.array([0.1, -0.5, 0.25, 2.0]).reshape(4, 1, 1)
    parameters = prelu.bind({"slope": slope})
    for lowering in lowerings(prelu, parameters, 17):
        model = lowered_model(
            lowering, prelu, parameters, ir.DataType.FLOAT, 17, shape=("N", 4, 1, 1)
        )
        onnx.checker.check_model(model, full_check=True)
        column = sign_symmetric_grid(30.0).reshape(-1, 1, 1, 1)
        x = np.broadcast_to(column, (len(column), 4, 1, 1)).astype(np.float32)
        against_reference(prelu, parameters, x, run_graph(model, x))


@pytest.mark.parametrize("opset", [6, 10, 11, 20])
def test_bounds_of_any_formula_are_clips(opset: int) -> None:
    # No entry of the catalogue has a lower bound alone that is not zero; one of a user's may.
    for formula, wanted in (
        (lambda x: maximum(x, 2.0), "Clip"),
        (lambda x: minimum(x, -1.0), "Clip"),
        (lambda x: maximum(minimum(x, 3.0), -0.5), "Clip"),
        (lambda x: maximum(x, 0.0), "Relu"),
    ):
        bounded = Activation("bounded", formula)
        model = lowered_model(ExpressionLowering(""), bounded, {}, DTYPES[0], opset)
        onnx.checker.check_model(model, full_check=True)
        assert wanted in {n.op_type for n in model.graph.node}
        x = sign_symmetric_grid(30.0).astype(np.float32)
        against_reference(bounded, {}, x, run_graph(model, x))
