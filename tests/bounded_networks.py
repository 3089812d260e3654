"""Random networks of the operators of which intervals are known, and numbers to feed them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import parser

Array = np.ndarray[Any, np.dtype[Any]]

SHAPE: Final = (2, 3, 6, 6)
_HEAD: Final = '<ir_version: 9, opset_import: ["": {opset}]>'
_INPUTS: Final = (
    "float[2,3,6,6] x, float[2,3,6,6] w, uint8[2,3,6,6] u, int8[2,3,6,6] i, bool[2,3,6,6] p"
)
#: Attributes and numbers are drawn from these.
NUMBERS: Final = (-3.0, -1.0, -0.1, 0.0, 0.1, 0.5, 1.0, 6.0)
# One operand, and a result of the same shape; {n} and {m} stand for numbers, {k} for a positive.
_SAME_SHAPE: Final = (
    "Relu ({a})",
    "Abs ({a})",
    "Neg ({a})",
    "Exp ({a})",
    "Sqrt ({a})",
    "Reciprocal ({a})",
    "Sigmoid ({a})",
    "HardSigmoid <alpha = {n}, beta = {m}> ({a})",
    "HardSwish ({a})",
    "Tanh ({a})",
    "Softplus ({a})",
    "Softsign ({a})",
    "Erf ({a})",
    "Elu <alpha = {n}> ({a})",
    "Selu ({a})",
    "Celu <alpha = {k}> ({a})",
    "Mish ({a})",
    "ThresholdedRelu <alpha = {n}> ({a})",
    "LeakyRelu <alpha = {n}> ({a})",
    "PRelu ({a}, slopes)",
    "Softmax <axis = 1> ({a})",
    "Ceil ({a})",
    "Floor ({a})",
    "Round ({a})",
    "Identity ({a})",
    "Dropout ({a})",
    "Mul ({a}, {a})",
    "Pow ({a}, {c})",
    "Add ({a}, {c})",
    "Sub ({c}, {a})",
    "Mul ({c}, {a})",
    "Div ({a}, {c})",
    "Div ({c}, {a})",
    "Max ({a}, {c})",
    "Min ({c}, {a}, {d})",
    "Clip ({a}, {c}, {d})",
    'Clip ({a}, "", {d})',
    "Sum ({a}, {a}, {c})",
    "Mean ({a}, {c})",
    "Expand ({a}, one)",
    "CastLike ({a}, x)",
)
# What most rules are about, more often.
_PIECES: Final = (
    "Relu ({a})",
    "LeakyRelu <alpha = {n}> ({a})",
    "PRelu ({a}, {c})",
    "Max ({a}, {c})",
    "Min ({a}, {c})",
    "Clip ({a}, {c}, {d})",
    "Clip ({a}, {c})",
    "Clip ({a})",
)
_OTHER_SHAPE: Final = (
    "MaxPool <kernel_shape = [2, 2], strides = [2, 2]> ({a})",
    "MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> ({a})",
    "MaxPool <ceil_mode = 1, kernel_shape = [2, 2], strides = [2, 2], pads = [1, 1, 1, 1]> ({a})",
    "MaxPool <ceil_mode = 1, kernel_shape = [2, 2], strides = [2, 2]> ({a})",
    'MaxPool <auto_pad = "SAME_UPPER", kernel_shape = [3, 3], strides = [2, 2]> ({a})',
    "MaxPool <dilations = [2, 2], kernel_shape = [2, 2], pads = [1, 1, 1, 1]> ({a})",
    "AveragePool <kernel_shape = [2, 2], pads = [1, 0, 0, 1]> ({a})",
    "GlobalAveragePool ({a})",
    "GlobalMaxPool ({a})",
    "ReduceMean ({a}, axes)",
    "ReduceSum ({a}, axes)",
    "ReduceMax ({a}, axes)",
    "ReduceMin ({a}, axes)",
    "ReduceL1 ({a}, axes)",
    "ReduceL2 ({a}, axes)",
    "ReduceSumSquare ({a}, axes)",
    "Concat <axis = 1> ({a}, {a})",
    "Transpose <perm = [1, 0, 2, 3]> ({a})",
    "Slice ({a}, from, to)",
    "Gather <axis = 1> ({a}, first)",
    "Unsqueeze ({a}, two)",
    "Flatten ({a})",
    "Tile ({a}, twice)",
    "Pad ({a}, pads)",
    "Pad ({a}, pads, {c})",
    'Pad <mode = "edge"> ({a}, pads)',
    'Resize <mode = "nearest"> ({a}, "", scales)',
    'Resize <mode = "linear"> ({a}, "", scales)',
    'Resize <mode = "cubic"> ({a}, "", scales)',
)
_OF_TWO: Final = (
    "Add ({a}, {b})",
    "Sub ({a}, {b})",
    "Mul ({a}, {b})",
    "Div ({a}, {b})",
    "Pow ({a}, {b})",
    "Max ({a}, {b})",
    "Min ({a}, {b})",
    "Sum ({a}, {b}, {a})",
    "Where (p, {a}, {b})",
    "Concat <axis = 1> ({a}, {b})",
    "Clip ({a}, low, high)",
)
# Into another type and back.
_THROUGH: Final = (
    "Cast <to = 10> ({a})",
    "Cast <to = 11> ({a})",
    "QuantizeLinear ({a}, scale, {z})",
)
_SETUP: Final = """
    slopes = Constant <value = float[3,1,1] {0.5, 0.0, 2.0}> ()
    slope = Constant <value = float[1] {-0.5}> ()
    first = Constant <value = int64[1] {0}> ()
    one = Constant <value = int64[1] {1}> ()
    two = Constant <value = int64[1] {2}> ()
    axes = Constant <value = int64[2] {2, 3}> ()
    from = Constant <value = int64[2] {0, 1}> ()
    to = Constant <value = int64[2] {1, 3}> ()
    twice = Constant <value = int64[4] {1, 2, 1, 1}> ()
    pads = Constant <value = int64[8] {0, 0, 1, 0, 0, 0, 0, 1}> ()
    scales = Constant <value = float[4] {1, 1, 2, 1.5}> ()
    scale = Constant <value = float {0.05}> ()
    none = Constant <value = uint8 {0}> ()
    middle = Constant <value = uint8 {128}> ()
    lowest = Constant <value = int8 {-128}> ()
    high_zero = Constant <value = int8 {5}> ()
    low = ReduceMin <keepdims = 0> (w)
    high = ReduceMax <keepdims = 0> (w)
    from_u = Cast <to = 1> (u)
    from_i = Cast <to = 1> (i)
    from_q = DequantizeLinear (u, scale, none)
    from_r = DequantizeLinear (i, scale, lowest)
    from_s = DequantizeLinear (i, scale, high_zero)
"""


@dataclass(slots=True)
class _Network:
    """Lines of a graph, and the values of each shape."""

    lines: list[str] = field(default_factory=list)
    of_shape: dict[str, list[str]] = field(default_factory=dict)

    def add(self, line: str, shape: str) -> str:
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {line}")
        self.of_shape.setdefault(shape, []).append(name)
        return name


@st.composite
def bounded_networks(draw: st.DrawFn, most: int = 12) -> onnx.ModelProto:
    """A model of opset 18; all that it computes is an output."""
    network = _Network()
    network.of_shape[""] = ["x", "w", "from_u", "from_i", "from_q", "from_r", "from_s"]
    for _ in range(draw(st.integers(1, most))):
        _grow(draw, network)
    numbers = "\n".join(
        f"c{k} = Constant <value = float {{{n}}}> ()" for k, n in enumerate(NUMBERS)
    )
    text = f"{_HEAD.format(opset=18)} g ({_INPUTS}) => (x2) {{ {numbers} {_SETUP} x2 = Neg (x) "
    model = parser.parse_model(text + "\n".join(network.lines) + "}")
    assert isinstance(model, onnx.ModelProto)
    del model.graph.output[:]
    made = [v for n in model.graph.node if n.op_type != "Constant" for v in n.output]
    model.graph.output.extend(onnx.ValueInfoProto(name=v) for v in made)
    return model


def _grow(draw: st.DrawFn, network: _Network) -> None:
    shape = draw(st.sampled_from(sorted(network.of_shape)))
    here = network.of_shape[shape]
    a = here[-1] if draw(st.booleans()) else draw(st.sampled_from(here))
    b = draw(st.sampled_from(here))
    kinds = [_SAME_SHAPE, _PIECES, _OTHER_SHAPE, _PIECES, _OF_TWO, _THROUGH]
    is_image = all(word not in shape for word in ("Flatten", "Unsqueeze"))
    if not is_image or shape.count("|") > 2:
        kinds = [_SAME_SHAPE, _PIECES, _OF_TWO]
    line = draw(st.sampled_from(draw(st.sampled_from(kinds))))
    if "slopes" in line and shape:
        line = "PRelu ({a}, slope)"
    if "Where" in line and shape:
        line = "Max ({a}, {b})"
    numbers = st.sampled_from(NUMBERS)
    places = st.integers(0, len(NUMBERS) - 1)
    filled = line.format(
        a=a,
        b=b,
        c=f"c{draw(places)}",
        d=f"c{draw(places)}",
        n=draw(numbers),
        m=draw(numbers),
        k=draw(st.sampled_from((0.5, 1.0, 2.0))),
        z=(zero := draw(st.sampled_from(("none", "middle", "lowest", "high_zero")))),
    )
    if line in _THROUGH:
        there = network.add(filled, f"{shape}|inner{len(network.lines)}")
        del network.of_shape[f"{shape}|inner{len(network.lines) - 1}"]
        back = f"DequantizeLinear ({there}, scale, {zero})"
        network.add(back if "Quantize" in line else f"Cast <to = 1> ({there})", shape)
    elif line in _OTHER_SHAPE or "Concat" in line:
        network.add(filled, f"{shape}|{line.split('(')[0]}{'' if '{b}' in line else line}")
    else:
        network.add(filled, shape)


def wild_numbers(rng: np.random.Generator) -> dict[str, Array]:
    """Numbers of every size and both signs, infinities, and zeros of both signs."""

    def floats() -> Array:
        sizes = 10.0 ** rng.uniform(-45, 38, SHAPE)
        numbers = np.where(rng.random(SHAPE) < 0.5, rng.standard_normal(SHAPE) * 3, sizes)
        numbers *= rng.choice([-1.0, 1.0], SHAPE)
        special = rng.choice([0.0, -0.0, 1.0, -1.0, 6.0, np.inf, -np.inf], SHAPE)
        return np.where(rng.random(SHAPE) < 0.2, special, numbers).astype(np.float32)

    return {
        "x": floats(),
        "w": floats(),
        "u": rng.integers(0, 256, SHAPE).astype(np.uint8),
        "i": rng.integers(-128, 128, SHAPE).astype(np.int8),
        "p": rng.random(SHAPE) < 0.5,
    }


def tame_numbers(rng: np.random.Generator) -> dict[str, Array]:
    """Normal numbers: what computes overflows seldom, and more is seen of what follows."""
    feeds = wild_numbers(rng)
    scales = {name: rng.choice([0.1, 1.0, 3.0]) for name in ("x", "w")}
    drawn = {n: (rng.standard_normal(SHAPE) * s).astype(np.float32) for n, s in scales.items()}
    return {**feeds, **drawn}
