"""The catalogue, or one activation of it, as plain data and as text for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from onnx_act.activations.catalogue import CATALOGUE, find
from onnx_act.activations.differentiate import differentiate
from onnx_act.activations.formula import latex, number, text
from onnx_act.activations.properties import Monotonic, Saturating, describe
from onnx_act.activations.readings import derivative, evaluate
from onnx_act.report.plot import save_plot, terminal_plot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from onnx_act.activations.activation import (
        Activation,
        Operator,
        Parameter,
        Parameters,
        ParameterValue,
    )
    from onnx_act.activations.properties import Properties

KINK_RULE: Final = "from the left at a kink"
_SAMPLES: Final = (-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0)
_SYMBOLS: Final = {
    "Phi": "Phi is the standard normal distribution function, (1 + erf(x / sqrt(2))) / 2",
    "sigmoid(": "sigmoid(x) = 1 / (1 + exp(-x))",
    "softplus(": "softplus(x) = log(1 + exp(x))",
    "expm1(": "expm1(x) = exp(x) - 1",
    "clip(": "clip(x, low, high) = min(max(x, low), high)",
    "where(": "where(c, a, b) is a where c holds, else b",
}


def catalog_document(
    name: str | None = None, parameters: Parameters | None = None
) -> dict[str, object]:
    """The catalogue as plain data that JSON can hold.

    Args:
        name: one activation, by any of its names; all of them without it.
        parameters: values for that activation; defaults for the rest.

    Returns:
        `{"activations": [...]}`. A number that JSON cannot hold is the text `inf` or `-inf`.

    Raises:
        UnknownNameError: nobody knows the activation or a parameter.
        UsageError: a value that a parameter cannot take.
    """
    if name is None:
        return {"activations": [_entry(a, a.bind()) for a in CATALOGUE]}
    return {"activations": [_entry(*_chosen(name, parameters))]}


def _chosen(
    name: str, parameters: Parameters | None
) -> tuple[Activation, dict[str, ParameterValue]]:
    activation, preset = find(name)
    return activation, activation.bind({**preset, **(parameters or {})})


def _entry(activation: Activation, values: Parameters) -> dict[str, object]:
    return {
        "name": activation.name,
        "aliases": list(activation.aliases),
        "presets": [{"name": p.name, "parameters": dict(p.values)} for p in activation.presets],
        "parameters": [_parameter_entry(p, values[p.name]) for p in activation.parameters],
        "formula": _formula_entry(activation, values),
        "variants": [
            {"parameters": choice, "formula": _formula_entry(activation, {**values, **choice})}
            for choice in _choices(activation)
        ],
        "properties": describe(activation, values).to_dict(),
        "lowerings": {
            "operators": [_operator_entry(o, values) for o in activation.operators],
            "expression": text(activation.expression(values)),
        },
        "note": activation.note,
    }


def _choices(activation: Activation) -> list[dict[str, str]]:
    return [{p.name: choice} for p in activation.parameters for choice in p.choices]


def _parameter_entry(slot: Parameter, value: ParameterValue) -> dict[str, object]:
    return {
        "name": slot.name,
        "default": _plain(slot.default),
        "value": _plain(value),
        "meaning": slot.meaning,
        "aliases": list(slot.aliases),
        "choices": list(slot.choices),
        "is_per_channel": slot.per_channel,
        "is_positive": slot.positive,
    }


def _formula_entry(activation: Activation, values: Parameters) -> dict[str, object]:
    root = activation.open_expression(values)
    slope = differentiate(root)
    return {
        "text": text(root),
        "latex": latex(root),
        "derivative": {"text": text(slope), "latex": latex(slope), "at_kinks": KINK_RULE},
    }


def _operator_entry(operator: Operator, values: Parameters) -> dict[str, object]:
    return {
        "op_type": operator.op_type,
        "domain": operator.domain,
        "since": operator.since,
        "attributes": _attributes(operator, values),
        "inputs": list(operator.inputs),
        "requires": {k: _plain(v) for k, v in operator.requires.items()},
        "fits": operator.fits(values),
    }


def _attributes(operator: Operator, values: Parameters) -> dict[str, str]:
    """For each attribute the parameter that it carries, or else its value."""
    written = operator.attribute_values(values)
    return {
        name: source if isinstance(source, str) else _shown(written[name])
        for name, source in operator.attributes.items()
    }


def _plain(value: ParameterValue) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def _shown(value: ParameterValue) -> str:
    if isinstance(value, np.ndarray):
        return f"array of shape {value.shape}"
    return number(value) if isinstance(value, float) else str(value)


def render_catalog(
    console: Console, name: str | None = None, parameters: Parameters | None = None
) -> None:
    """Print the catalogue as a table of at most 100 columns, or the page of one activation.

    Args:
        console: where to.
        name: one activation, by any of its names; the table of all without it.
        parameters: values for that activation; defaults for the rest.

    Raises:
        UnknownNameError: nobody knows the activation or a parameter.
        UsageError: a value that a parameter cannot take.
    """
    if name is None:
        _render_table(console)
    else:
        _render_page(console, *_chosen(name, parameters))


def save_page_plot(name: str, parameters: Parameters | None, path: Path) -> None:
    """Draw the activation of a page into a .svg or .png file; see `plot.save_plot`."""
    save_plot(*_chosen(name, parameters), path)


def _render_table(console: Console) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - the JSON does without
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("formula", max_width=31, overflow="fold")
    table.add_column("range", no_wrap=True)
    table.add_column("operators", max_width=18, overflow="fold")
    table.add_column("also called", max_width=15, overflow="fold")
    for activation in CATALOGUE:
        cells = (
            activation.name,
            text(activation.open_expression()),
            str(describe(activation).range),
            ", ".join(_operator_name(o) for o in activation.operators),
            ", ".join(_other_names(activation)),
        )
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    console.print(Text("Operators with the first opset that has them; ms. is com.microsoft."))
    console.print(Text("Ranges are those of the default parameters. More: onnx-act catalog NAME"))


def _other_names(activation: Activation) -> tuple[str, ...]:
    return (*activation.aliases, *(p.name for p in activation.presets))


def _operator_name(operator: Operator) -> str:
    return f"{'ms.' if operator.is_contrib() else ''}{operator.op_type}-{operator.since}"


def _render_page(console: Console, activation: Activation, values: Parameters) -> None:
    from rich.table import Table  # noqa: PLC0415 - the JSON does without
    from rich.text import Text  # noqa: PLC0415

    names = ", ".join(_other_names(activation))
    console.print(Text(activation.name + (f" (also {names})" if names else ""), style="bold"))
    page = Table.grid(padding=(0, 2))
    page.add_column(no_wrap=True)
    page.add_column(overflow="fold")
    for label, content in _lines(activation, values):
        page.add_row(Text(label), Text(content))
    console.print(page)
    console.print()
    console.print(_value_table(activation, values))
    if console.encoding.lower().startswith("utf"):
        console.print()
        plot = terminal_plot(activation, values, width=min(console.width, 80))
        console.print(Text(plot, no_wrap=True), soft_wrap=True)


def _lines(activation: Activation, values: Parameters) -> Iterator[tuple[str, str]]:
    """The rows of a page: a label, empty when it is that of the row above, and its content."""
    root = activation.open_expression(values)
    slope = differentiate(root)
    formulas = f"{text(root)} {text(slope)}"
    properties = describe(activation, values)
    yield "f(x)", text(root)
    yield "f'(x)", text(slope) + (f", {KINK_RULE}" if properties.kinks else "")
    yield from _labelled("where", (m for s, m in _SYMBOLS.items() if s in formulas))
    yield "LaTeX", latex(root)
    yield "LaTeX of f'", latex(slope)
    yield from _labelled("parameters", (_sentence(p, values) for p in activation.parameters))
    yield "range", str(properties.range)
    yield "properties", ", ".join(_facts(properties))
    operators = [_operator_sentence(o, values) for o in activation.operators]
    expression = f"the expression {text(activation.expression(values))}"
    yield from _labelled("lowerings", [*operators, expression])
    if activation.note:
        yield "note", activation.note


def _labelled(label: str, contents: Iterable[str]) -> Iterator[tuple[str, str]]:
    for i, content in enumerate(contents):
        yield ("" if i else label), content


def _sentence(slot: Parameter, values: Parameters) -> str:
    parts = [slot.meaning]
    if slot.choices:
        parts.append(f"one of {', '.join(slot.choices)}")
    if slot.positive:
        parts.append("greater than 0")
    if slot.per_channel:
        parts.append("one number, or one per channel")
    if values[slot.name] != slot.default:
        parts.append(f"default {_shown(slot.default)}")
    if slot.aliases:
        parts.append(f"also {', '.join(slot.aliases)}")
    return f"{slot.name} = {_shown(values[slot.name])}: {'; '.join(parts)}"


def _facts(properties: Properties) -> Iterator[str]:
    turns = properties.monotonic is Monotonic.NO
    yield "not monotonic" if turns else properties.monotonic.value
    if not properties.is_continuous:
        yield "not continuous"
    yield "smooth" if properties.is_smooth else f"kinks at {_listed(properties.kinks)}"
    yield "zero-centred" if properties.is_zero_centred else "not zero-centred"
    yield "bounded" if properties.is_bounded else "unbounded"
    match properties.saturating:
        case Saturating.NONE:
            yield "saturates on no side"
        case Saturating.BOTH:
            yield "saturates on both sides"
        case side:
            yield f"saturates on the {side.value}"


def _listed(numbers: Iterable[float]) -> str:
    return ", ".join(number(n) for n in numbers)


def _operator_sentence(operator: Operator, values: Parameters) -> str:
    domain = f"{operator.domain}." if operator.domain else ""
    inner = [f"{k} = {v}" for k, v in _attributes(operator, values).items()]
    inner.extend(f"input {k}" for k in operator.inputs)
    call = f"{domain}{operator.op_type}" + (f"({', '.join(inner)})" if inner else "")
    needs = ", ".join(f"{k} = {_shown(v)}" for k, v in operator.requires.items())
    return f"{call} since opset {operator.since}" + (f", only with {needs}" if needs else "")


def _value_table(activation: Activation, values: Parameters) -> Table:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - the JSON does without
    from rich.table import Table  # noqa: PLC0415

    root, x = activation.expression(values), np.array(_SAMPLES)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("x")
    for point in _SAMPLES:
        table.add_column(number(point), justify="right")
    for label, row in (("f(x)", evaluate(root, x)), ("f'(x)", derivative(root, x))):
        table.add_row(label, *(number(round(v, 5) + 0.0) for v in row.tolist()))
    return table
