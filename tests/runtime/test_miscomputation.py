"""Optimisers that change a result, and those that only round otherwise."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser
from tiny_models import one_node

from onnx_act.errors import EvidenceError, ProviderUnavailableError
from onnx_act.runtime import miscomputation as module
from onnx_act.runtime.attendant import ATTENDANT
from onnx_act.runtime.miscomputation import miscomputation, overflow
from onnx_act.runtime.session import CPU, OptimizationLevel, Session, open_session, runtime_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onnx_act.runtime.session import SessionSettings
    from onnx_act.runtime.tensors import Array

# Before this ONNX Runtime takes Z in the wrong layout, on x86.
_RIGHT_SINCE = (1, 27)


def _model(body: str, inputs: str, outputs: str, **weights: Array) -> bytes:
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g ({inputs}) => ({outputs}) {{ {body} }}"""
    )
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in weights.items()
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _residual(channels: int) -> bytes:
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((channels, channels, 3, 3)) / np.sqrt(9 * channels)
    image = f"float[1,{channels},6,6]"
    return _model(
        """p = Conv <pads = [1, 1, 1, 1]> (x, W, B)
           y = com.microsoft.FusedConv <pads = [1, 1, 1, 1], activation = "Relu"> (x, W, B, p)""",
        f"{image} x",
        f"{image} y",
        W=drawn.astype(np.float32),
        B=rng.standard_normal(channels).astype(np.float32),
    )


@pytest.mark.parametrize("channels", [4, 16, 32])
def test_a_fused_convolution_with_a_sum(channels: int) -> None:
    found = miscomputation(_residual(channels))
    version = tuple(int(part) for part in runtime_version().split(".")[:2])
    if version >= _RIGHT_SINCE:
        assert found is None
    elif channels >= 16 and platform.machine() in {"x86_64", "AMD64"}:
        assert found is not None
        assert "its optimiser changes the result (max difference " in found


def _dense(terms: int, dtype: Any, activation: str) -> bytes:
    """A layer of many terms and one that the optimiser fuses with it."""
    rng = np.random.default_rng(terms)
    kind = {"float32": "float", "float16": "float16"}[np.dtype(dtype).name]
    return _model(
        f"m = MatMul (x, W) a = Add (m, B) y = {activation} (a)",
        f"{kind}[4,{terms}] x",
        f"{kind}[4,32] y",
        W=rng.standard_normal((terms, 32)).astype(dtype),
        B=rng.standard_normal(32).astype(dtype),
    )


@pytest.mark.parametrize("terms", [1, 64, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("activation", ["Relu", "Sigmoid", "Tanh", "Elu"])
def test_rounding_is_not_miscomputing(terms: int, dtype: Any, activation: str) -> None:
    assert miscomputation(_dense(terms, dtype, activation)) is None


def test_convolutions_in_another_layout_only_round_otherwise() -> None:
    rng = np.random.default_rng(1)
    model = _model(
        "c = Conv (x, W, B) s = Sigmoid (c) y = Mul (c, s)",
        "float[2,32,12,12] x",
        "float[2,32,10,10] y",
        W=rng.standard_normal((32, 32, 3, 3)).astype(np.float32),
        B=rng.standard_normal(32).astype(np.float32),
    )
    assert miscomputation(model) is None


def _tampered(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Array], Array] | Exception
) -> None:
    """An optimiser that does something to the first output."""

    class Optimised(Session):
        def run(
            self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None
        ) -> tuple[Array, ...]:
            if isinstance(change, Exception):
                raise change
            first, *others = super().run(feeds, outputs)
            return (change(first), *others)

    def opened(model: bytes, settings: SessionSettings) -> Session:
        session = open_session(model, settings)
        if settings.level is OptimizationLevel.ALL:
            session.__class__ = Optimised
        return session

    monkeypatch.setattr(module, "open_session", opened)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda y: y + np.float32(4.5), "changes the result (max difference 4.5)"),
        (lambda y: y * np.float32(1.01), "changes the result (max difference "),
        (lambda y: np.where(y > 0, np.float32("nan"), y), "max difference inf"),
        (lambda y: np.where(y > 0, np.float32("inf"), y), "max difference inf"),
        (lambda y: y.astype(np.float64), "max difference inf"),
        (lambda y: y[:, :2], "max difference inf"),
    ],
)
def test_what_an_optimiser_must_not_do(
    change: Callable[[Array], Array], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tampered(monkeypatch, change)
    found = miscomputation(one_node("Relu"))
    assert found is not None
    assert said in found


def test_a_last_place_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    _tampered(monkeypatch, lambda y: np.nextafter(y, np.float32(np.inf)))
    assert miscomputation(one_node("Relu")) is None


def test_integers_are_held_to_the_last_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model("y = Add (x, x)", "int64[4] x", "int64[4] y")
    assert miscomputation(model) is None
    _tampered(monkeypatch, lambda y: y + 1)
    assert "max difference inf" in (miscomputation(model) or "")


def test_numbers_that_are_none_are_no_difference() -> None:
    model = _model("z = Sub (x, x) q = Div (z, z) y = Relu (q)", "float[4] x", "float[4] y")
    assert miscomputation(model) is None


def test_a_model_that_does_not_run_optimised(monkeypatch: pytest.MonkeyPatch) -> None:
    _tampered(monkeypatch, EvidenceError("output and sum shape must match"))
    assert miscomputation(one_node("Relu")) == (
        "its optimiser makes something of it that does not run: output and sum shape must match"
    )


def test_a_model_that_does_not_run_at_all() -> None:
    found = miscomputation(one_node("NoSuchOperator"))
    assert found is not None
    assert found.startswith("whether its result is right cannot be told: ")


def _activation(body: str, dtype: str, opset: int) -> bytes:
    found = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g ({dtype}[1,4] x) => ({dtype}[1,4] y) {{ {body} }}"""
    )
    assert isinstance(found, onnx.ModelProto)
    return bytes(found.SerializeToString())


@pytest.mark.parametrize(("dtype", "size"), [("float", "100"), ("double", "1000")])
def test_what_leaves_its_dtype_on_the_way(dtype: str, size: str) -> None:
    body = "e = Exp (x) y = Log (e)"
    assert overflow(_activation(body, dtype, 17)) == f"it makes inf of {size}"


def test_what_stays_within_its_dtype() -> None:
    assert overflow(_activation("y = Softplus (x)", "float", 18)) is None
    assert overflow(_activation("y = Sigmoid (x)", "float16", 18)) is None


def test_of_what_does_not_run_nothing_is_told() -> None:
    assert overflow(one_node("NoSuchOperator")) is None


def test_a_provider_that_is_not_there() -> None:
    with pytest.raises(ProviderUnavailableError):
        miscomputation(one_node("Relu"), "NoSuchExecutionProvider")


def test_a_provider_is_held_against_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that runs something else, with its optimiser as without: here the CPU stands for it."""
    model, other = one_node("Relu"), one_node("Abs")
    opened: list[str] = []

    def open_there(model: bytes, settings: SessionSettings) -> Session:
        opened.append(settings.provider)
        if settings.provider == CPU:
            return open_session(model, settings)
        return open_session(wrong, replace(settings, provider=CPU))

    monkeypatch.setattr(module, "open_session", open_there)
    # The pretence does not reach another process.
    monkeypatch.setattr(ATTENDANT, "call", lambda function, _, *args: function(*args))
    wrong = other
    found = miscomputation(model, "OtherExecutionProvider")
    assert found is not None
    assert found.startswith("its result is not the CPU's (max difference ")
    assert CPU in opened
    wrong = model
    assert miscomputation(model, "OtherExecutionProvider") is None
