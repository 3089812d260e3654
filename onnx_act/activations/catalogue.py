"""All activations, and finding one by any of its names."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Final

from onnx_act.activations import exponentials, gated, rectifiers, sigmoids
from onnx_act.activations.formula import text
from onnx_act.errors import UnknownNameError

if TYPE_CHECKING:
    from onnx_act.activations.activation import Activation, Parameters, ParameterValue

#: Every activation. Where two of the same number of free parameters are the same function, the
#: earlier one names it.
CATALOGUE: Final[tuple[Activation, ...]] = (
    rectifiers.IDENTITY,
    rectifiers.RELU,
    rectifiers.RELU6,
    rectifiers.LEAKY_RELU,
    rectifiers.PRELU,
    rectifiers.RRELU,
    rectifiers.HARDTANH,
    rectifiers.THRESHOLD,
    rectifiers.SQUARED_RELU,
    rectifiers.HARDSHRINK,
    rectifiers.SOFTSHRINK,
    exponentials.ELU,
    exponentials.SELU,
    exponentials.CELU,
    exponentials.SOFTPLUS,
    exponentials.LOGSIGMOID,
    exponentials.EXP,
    sigmoids.SIGMOID,
    sigmoids.HARDSIGMOID,
    sigmoids.TANH,
    sigmoids.RECTIFIED_TANH,
    sigmoids.TANHSHRINK,
    sigmoids.SOFTSIGN,
    sigmoids.ERF,
    gated.SILU,
    gated.SWISH,
    gated.GELU,
    gated.MISH,
    gated.HARDSWISH,
)


def _key(name: str) -> str:
    return name.strip().lower().replace("_", "").replace("-", "").replace(" ", "")


def _index() -> dict[str, tuple[Activation, Parameters]]:
    index: dict[str, tuple[Activation, Parameters]] = {}
    for activation in CATALOGUE:
        for name in (activation.name, *activation.aliases):
            index[_key(name)] = (activation, {})
        for preset in activation.presets:
            index[_key(preset.name)] = (activation, preset.values)
    return index


_BY_NAME: Final = _index()


def known_names() -> tuple[str, ...]:
    """Every name that `find` takes, as it is best written."""
    names = [n for a in CATALOGUE for n in (a.name, *a.aliases, *(p.name for p in a.presets))]
    return tuple(sorted(names))


def find(name: str) -> tuple[Activation, dict[str, ParameterValue]]:
    """The activation of this name, with the parameters that the name itself sets.

    Args:
        name: a torch.nn.functional name, an ONNX operator or Keras name; case, underscores and
            hyphens do not matter. `quick_gelu` is `swish` with beta 1.702.

    Raises:
        UnknownNameError: nobody knows it; the message suggests the nearest names.
    """
    found = _BY_NAME.get(_key(name))
    if found is None:
        raise UnknownNameError("activation", name, known_names())
    activation, preset = found
    return activation, dict(preset)


@cache
def catalogue_digest() -> str:
    """A digest of all formulas: another one where an activation is written in other ways."""
    lines = []
    for activation in CATALOGUE:
        given = activation.defaults()
        lines.append(f"{activation.name}: {text(activation.expression(given))}")
        for way in activation.respellings:
            written = text(activation.expression(given, way))
            lines.append(f"{activation.name} {way.name} {way.is_channelwise}: {written}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def named(name: str) -> Activation:
    """The activation whose own name this is (not an alias)."""
    activation, preset = find(name)
    assert not preset
    return activation
