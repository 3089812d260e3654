"""The declaration of one activation: parameters, formula, operators, and how to read it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Union

import numpy as np

from onnx_act.activations.primitives import (
    ArraySource,
    Expr,
    X,
    array,
    as_expr,
    parameter,
)
from onnx_act.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

ParameterValue = Union[float, str, "npt.NDArray[np.float64]"]
Parameters = Mapping[str, ParameterValue]
#: What a declaration's read-back may ask: the function's values at given points.
Sampler = Callable[["Array"], "Array"]
MICROSOFT: Final = "com.microsoft"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an activation.

    Attributes:
        name: as in torch.nn.functional where it has one.
        default: the value when none is given.
        meaning: what it does; a swap carries a value over between parameters of one meaning.
        choices: the values of a parameter that is not a number.
        per_channel: whether it may hold one value per channel or element.
        positive: whether it must be greater than zero.
        aliases: other names, such as those of ONNX attributes and Keras.
    """

    name: str
    default: float | str
    meaning: str
    choices: tuple[str, ...] = ()
    per_channel: bool = False
    positive: bool = False
    aliases: tuple[str, ...] = ()

    def check(self, value: ParameterValue, activation: str) -> ParameterValue:
        """`value`, normalised.

        Raises:
            UsageError: it is not a value this parameter can take; the message says which are.
        """
        where = f"{activation}:{self.name}"
        if self.choices:
            if value not in self.choices:
                raise UsageError(f"{where} is one of {', '.join(self.choices)}, not {value!r}")
            return value
        if isinstance(value, np.ndarray):
            if not self.per_channel:
                raise UsageError(f"{where} takes one number, not an array of shape {value.shape}")
            if not np.isfinite(value).all():
                raise UsageError(f"{where} has values that are not finite")
            return np.asarray(value, dtype=np.float64)
        try:
            number = float(value)
        except ValueError:
            raise UsageError(f"{where} takes a number, not {value!r}") from None
        if np.isnan(number):
            raise UsageError(f"{where} is not a number")
        if self.positive and number <= 0:
            raise UsageError(f"{where} must be greater than 0, not {number:g}")
        return number


@dataclass(frozen=True, slots=True)
class Operator:
    """A lowering to one operator.

    Attributes:
        op_type: the operator.
        since: the first opset of `domain` that has it with this meaning.
        attributes: ONNX attribute -> the parameter it carries, or a fixed value, or a function of
            the parameters.
        inputs: parameters that are further inputs, in order.
        requires: values that parameters must have for this operator to be right.
        domain: the operator's domain.
    """

    op_type: str
    since: int
    attributes: Mapping[str, str | float | Callable[[Parameters], float]] = field(
        default_factory=dict
    )
    inputs: tuple[str, ...] = ()
    requires: Mapping[str, float | str] = field(default_factory=dict)
    domain: str = ""

    def is_contrib(self) -> bool:
        """Whether the operator is outside the ONNX standard."""
        return self.domain != ""

    def fits(self, parameters: Parameters) -> bool:
        """Whether these parameters have the values the operator needs."""
        return all(
            not isinstance(parameters[k], np.ndarray) and parameters[k] == v
            for k, v in self.requires.items()
        )

    def attribute_values(self, parameters: Parameters) -> dict[str, float | str]:
        """The attributes to write, by ONNX name."""
        values: dict[str, float | str] = {}
        for name, source in self.attributes.items():
            if isinstance(source, str):
                value = parameters[source]
                assert not isinstance(value, np.ndarray)
                values[name] = value
            else:
                values[name] = source(parameters) if callable(source) else source
        return values


def value_at(f: Sampler, x: float) -> float:
    """The value of a sampled function of one number at `x`."""
    return float(np.reshape(f(np.array([x])), -1)[0])


def any_parameters(_: Parameters) -> bool:
    """Whether a respelling is right for these parameters: for all."""
    return True


@dataclass(frozen=True, slots=True)
class Respelling:
    """Another formula of the same function, for the sake of what runtimes do with it.

    Every operation of the formula is one operator of the model, in this order. That the function
    is the same is proved by test; how exact it is in some runtime is measured there.

    Attributes:
        name: unique among those of the activation; kept in caches and profiles.
        formula: as that of the activation, with the same arguments.
        suits: whether it is right for these parameters.
        is_channelwise: whether its factors are written one per channel even where they are all
            the same, because runtimes make a depthwise convolution of such a product.
        note: what speaks for it, in a few words.
    """

    name: str
    formula: Callable[..., Expr]
    suits: Callable[[Parameters], bool] = any_parameters
    is_channelwise: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Preset:
    """Another name for an activation with some parameters set, such as quick_gelu."""

    name: str
    values: Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class Activation:
    """One activation, declared once.

    Attributes:
        name: as in torch.nn.functional where it has one.
        formula: builds the expression from the variable and the parameters, in order.
        parameters: what the formula takes.
        operators: the operators that compute it, the preferred first.
        read_back: from samples of a function of this kind, its parameters; None when the samples
            cannot be of this kind. The result is a proposal: `identify` confirms it.
        aliases: other names; case and underscores never matter.
        presets: names that stand for this activation with some parameters set.
        respellings: further formulas of it, which a runtime may run faster or more exactly.
        note: what a user should know beyond the formula.
        index_only: True when it is listed only on request, being plain arithmetic elsewhere.
    """

    name: str
    formula: Callable[..., Expr]
    parameters: tuple[Parameter, ...] = ()
    operators: tuple[Operator, ...] = ()
    read_back: Callable[[Sampler], dict[str, ParameterValue] | None] | None = None
    aliases: tuple[str, ...] = ()
    presets: tuple[Preset, ...] = ()
    respellings: tuple[Respelling, ...] = ()
    note: str = ""
    index_only: bool = False

    def __reduce__(self) -> tuple[Callable[[str], Activation], tuple[str]]:
        # Formulas are lambdas, which do not pickle; and another process has its own declaration.
        return _declared, (self.name,)

    def defaults(self) -> dict[str, ParameterValue]:
        """The default of every parameter."""
        return {p.name: p.default for p in self.parameters}

    def parameter_named(self, name: str) -> Parameter:
        """The parameter of this name or alias.

        Raises:
            UnknownNameError: there is none.
        """
        wanted = name.lower()
        for candidate in self.parameters:
            if wanted == candidate.name or wanted in candidate.aliases:
                return candidate
        known = [p.name for p in self.parameters]
        if not known:
            raise UsageError(f"{self.name} has no parameters, so {name!r} cannot be set")
        raise UnknownNameError(f"parameter of {self.name}", name, known)

    def bind(self, given: Parameters | None = None) -> dict[str, ParameterValue]:
        """All parameters: those given, checked and by their own names, and defaults.

        Raises:
            UsageError: a name or value that this activation does not take.
        """
        bound = self.defaults()
        for name, value in (given or {}).items():
            found = self.parameter_named(name)
            bound[found.name] = found.check(value, self.name)
        return bound

    def expression(
        self, given: Parameters | None = None, respelling: Respelling | None = None
    ) -> Expr:
        """The formula with these parameters (defaults for the rest) as an expression over x.

        Args:
            given: parameters.
            respelling: one of `respellings`, to take its formula instead.
        """
        values = self.bind(given)
        formula = self.formula if respelling is None else respelling.formula
        return formula(X, *(_operand(values[p.name], p.name) for p in self.parameters))

    def open_expression(self, given: Parameters | None = None) -> Expr:
        """The formula with its numeric parameters left open, for printing."""
        values = self.bind(given)
        args = (values[p.name] if p.choices else parameter(p.name) for p in self.parameters)
        return self.formula(X, *args)


def _declared(name: str) -> Activation:
    from onnx_act.activations.catalogue import named  # noqa: PLC0415 - it imports this module

    return named(name)


def _operand(value: ParameterValue, name: str) -> Expr | str:
    if isinstance(value, str):
        return value
    if isinstance(value, np.ndarray):
        values = value
        return array(ArraySource(f"{name}@{id(values)}", values.shape, lambda: values))
    return as_expr(float(value))
