"""What the benchmark of tuning measures: stacks of one activation, and networks of a corpus.

A stack is 8 Conv3x3 of 64 channels on 56x56, each with the activation behind it; its weights are
random and scaled so that values keep the spread of a normal distribution from layer to layer.
With Relu in its place, and the same weights, it shows what an activation that costs nothing
would bring.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import onnx
from fuse_models import Network

from onnx_act.activations.catalogue import named
from onnx_act.activations.readings import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_SIDE: Final = 56
_WIDTH: Final = 64
_DEPTH: Final = 8
_SLOPES: Final = (0.05, 0.4)
_MANY: Final = 400


class Net(Protocol):
    """A network to be tuned."""

    @property
    def wanted(self) -> float:
        """The ratio that tuning should reach on a machine that does nothing else."""

    def write(self, path: Path, *, small: bool) -> None:
        """Write it, small or of the size to be measured."""

    def write_limit(self, path: Path, *, small: bool) -> bool:
        """Write it with Relu in place of its activation; False where that says nothing."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack of Conv3x3, each with an activation behind it.

    Attributes:
        activation: writes it.
        catalogue_name: what it is, or what spreads values as much.
        parameters: of it, where they are not the catalogue's defaults.
        opset: the first that has its operator, and not below 17.
        wanted: the ratio that tuning should reach.
    """

    activation: Callable[[Network, str], str]
    catalogue_name: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    opset: int = 17
    wanted: float = 0.98

    def write(self, path: Path, *, small: bool) -> None:
        """Write it, small or of the size to be measured."""
        onnx.save(self._model(self.activation, small=small), path)

    def write_limit(self, path: Path, *, small: bool) -> bool:
        """Write it with Relu and the same weights."""
        if self.catalogue_name == "relu":
            return False
        onnx.save(self._model(_relu, small=small), path)
        return True

    def _model(self, activation: Callable[[Network, str], str], *, small: bool) -> onnx.ModelProto:
        side, width, depth = (8, 8, 2) if small else (_SIDE, _WIDTH, _DEPTH)
        net = Network([1, width, side, side])
        x = "x"
        # Network.conv doubles the variance, as suits an activation that halves it.
        gain = 1.0 / math.sqrt(2.0 * self._second_moment())
        for layer in range(depth):
            z = net.conv(x, width, width, gain=gain if layer else math.sqrt(0.5))
            x = activation(net, z)
        return net.model(x, self.opset)

    def _second_moment(self) -> float:
        """The mean of f(z)^2 over normal z."""
        z = np.linspace(-6.0, 6.0, 2001)
        weight = np.exp(-z * z / 2.0)
        found = evaluate(named(self.catalogue_name).expression(dict(self.parameters)), z)
        return float(np.sum(weight * found**2) / np.sum(weight))


@dataclass(frozen=True, slots=True)
class Chain:
    """Very many activations on a tiny tensor, where another node costs more than it saves."""

    wanted: float = 0.98

    def write(self, path: Path, *, small: bool) -> None:
        """Write it, small or of the size to be measured."""
        net = Network([1, 16])
        x = "x"
        for _ in range(20 if small else _MANY):
            x = net.op("Elu", x)
        onnx.save(net.model(x), path)

    def write_limit(self, path: Path, *, small: bool) -> bool:
        """Nothing: Relu of Relu is nothing at all."""
        del path, small
        return False


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the corpus."""

    source: Path
    wanted: float = 0.98

    def write(self, path: Path, *, small: bool) -> None:
        """A copy, at its one size."""
        del small
        shutil.copyfile(self.source, path)

    def write_limit(self, path: Path, *, small: bool) -> bool:
        """Nothing: with Relu it would be another network."""
        del path, small
        return False


def _relu(net: Network, x: str) -> str:
    return net.op("Relu", x)


def _operator(op_type: str, **attributes: float | str) -> Callable[[Network, str], str]:
    return lambda net, x: net.op(op_type, x, **attributes)


def _per_channel_prelu(net: Network, x: str) -> str:
    # Slopes of their own generator: the weights stay those of the stack with Relu.
    slopes = np.random.default_rng(len(net.nodes)).uniform(*_SLOPES, (_channels(net), 1, 1))
    return net.op("PRelu", x, net.constant(slopes))


def _channels(net: Network) -> int:
    return net.shape[1]


def _silu(net: Network, x: str) -> str:
    return net.op("Mul", x, net.op("Sigmoid", x))


def _spelled_mish(net: Network, x: str) -> str:
    return net.op("Mul", x, net.op("Tanh", net.op("Softplus", x)))


def _spelled_hardswish(net: Network, x: str) -> str:
    shifted = net.op("Add", x, net.constant(3.0))
    gate = net.op("Clip", shifted, net.constant(0.0), net.constant(6.0))
    return net.op("Div", net.op("Mul", x, gate), net.constant(6.0))


_MIDDLE: Final = {"negative_slope": sum(_SLOPES) / 2}

_STACKS: Final[dict[str, Stack]] = {
    "Mish": Stack(_operator("Mish"), "mish", opset=18, wanted=2.7),
    "Mish, spelled": Stack(_spelled_mish, "mish", wanted=2.7),
    "PRelu, per channel": Stack(_per_channel_prelu, "leaky_relu", _MIDDLE, wanted=1.6),
    "Elu": Stack(_operator("Elu"), "elu", wanted=1.2),
    "Selu": Stack(_operator("Selu"), "selu"),
    "Celu": Stack(_operator("Celu"), "celu"),
    "Softplus": Stack(_operator("Softplus"), "softplus"),
    "LeakyRelu": Stack(_operator("LeakyRelu", alpha=0.1), "leaky_relu"),
    "SiLU, Swish": Stack(_operator("Swish"), "silu", opset=24),
    "SiLU, spelled": Stack(_silu, "silu"),
    "HardSwish": Stack(_operator("HardSwish"), "hardswish"),
    "HardSwish, spelled": Stack(_spelled_hardswish, "hardswish"),
    "GELU, erf": Stack(_operator("Gelu"), "gelu", opset=20),
    "GELU, tanh": Stack(_operator("Gelu", approximate="tanh"), "gelu", opset=20),
    "Relu": Stack(_relu, "relu"),
}
_STORED: Final[dict[str, float]] = {
    "exported/csp_mish_decomposed.onnx": 4.0,
    "exported/srgan_prelu.onnx": 1.15,
    "exported/pilotnet_elu.onnx": 1.2,
    "exported/mobilenetv3_hardswish_opset9.onnx": 0.98,
    "exported/bert_erf_gelu_dynamic.onnx": 0.98,
    "exported/snn_selu_mlp.onnx": 0.98,
    "trained/unitree_policy_elu.onnx": 0.98,
}


def all_nets(corpus: Path | None) -> dict[str, Net]:
    """Name -> network; those of a corpus as far as they are there."""
    nets: dict[str, Net] = {f"stack, {name}": stack for name, stack in _STACKS.items()}
    nets[f"{_MANY} Elu on 16 numbers"] = Chain()
    for name, wanted in _STORED.items():
        if corpus is not None and (corpus / name).is_file():
            nets[name.removesuffix(".onnx")] = Stored(corpus / name, wanted)
    return nets
