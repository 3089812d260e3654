"""How exact each way to write an activation is, as plain data and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from onnx_act.activations.catalogue import find
from onnx_act.activations.formula import number
from onnx_act.evidence.accuracy import NO_DIGIT
from onnx_act.evidence.written_ways import MeasuredWays, measure_ways
from onnx_act.runtime.isolate import run_isolated
from onnx_act.runtime.session import runtime_version
from onnx_act.runtime.target import short_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console
    from rich.table import Table

    from onnx_act.activations.activation import Parameters
    from onnx_act.evidence.written_ways import MeasuredWay

_TIME_LIMIT_S: Final = 300.0


def activation_accuracy(
    name: str,
    parameters: Parameters | None,
    providers: Sequence[str],
    timeout_s: float = _TIME_LIMIT_S,
) -> tuple[MeasuredWays, ...]:
    """Measure every way to write an activation, in a process of its own for each provider.

    Args:
        name: one activation, by any of its names.
        parameters: values for it; defaults for the rest.
        providers: the full names of execution providers.
        timeout_s: how long each provider may take, in seconds.

    Raises:
        UnknownNameError: nobody knows the activation or a parameter.
        UsageError: a value that a parameter cannot take.
        EvidenceError: the runtime crashed, hung, or runs no way at all.
    """
    activation, preset = find(name)
    values = activation.bind({**preset, **(parameters or {})})
    return tuple(
        run_isolated(measure_ways, activation.name, values, provider, timeout_s=timeout_s)
        for provider in providers
    )


def accuracy_entries(measured: Sequence[MeasuredWays]) -> list[dict[str, Any]]:
    """One entry per provider and way, as plain data that JSON can hold.

    A number that is not finite is null: an infinite error is a NaN where the function has a
    value.
    """
    version = runtime_version()
    return [
        {
            "provider": of_provider.provider,
            "runtime": version,
            "opset": of_provider.opset,
            "dtype": "float32",
            **way.to_dict(),
        }
        for of_provider in measured
        for way in of_provider.ways
    ]


def render_accuracy(
    console: Console, name: str, parameters: Parameters | None, measured: Sequence[MeasuredWays]
) -> None:
    """Print one table per provider.

    Args:
        console: where to.
        name: the activation, by any of its names.
        parameters: values for it; defaults for the rest.
        measured: what was found.
    """
    from rich.text import Text  # noqa: PLC0415 - the JSON does without

    activation, preset = find(name)
    values = activation.bind({**preset, **(parameters or {})})
    shown = ", ".join(f"{k}={v if isinstance(v, str) else number(v)}" for k, v in _plain(values))
    title = f"{activation.name}{f' with {shown}' if shown else ''}"
    for of_provider in measured:
        place = (
            f"float32 on {short_name(of_provider.provider)}, "
            f"ONNX Runtime {runtime_version()}, opset {of_provider.opset}"
        )
        console.print(Text(f"{title}: {place}", style="bold"))
        console.print(_table(of_provider))
        for way in of_provider.ways:
            if way.reason:
                console.print(Text(f"{way.key} does not run: {way.reason}"))
    for line in _legend(measured):
        console.print(Text(line))


def _plain(values: Parameters) -> Iterator[tuple[str, float | str]]:
    for name, value in values.items():
        if isinstance(value, (str, float)):
            yield name, value


def _table(measured: MeasuredWays) -> Table:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("written as", overflow="fold", max_width=60)
    table.add_column("key", no_wrap=True)
    for figure in ("median ulp", "p99 ulp", "max abs"):
        table.add_column(figure, no_wrap=True, justify="right")
    table.add_column("not the limit at", overflow="fold")
    table.add_column("exactness", no_wrap=True)
    for way in measured.ways:
        table.add_row(*(Text(cell) for cell in _cells(way)))
    return table


def _cells(way: MeasuredWay) -> tuple[str, ...]:
    written = f"{way.written} [per channel]" if way.is_channelwise else way.written
    found = way.accuracy
    if found is None:
        return written, way.key, "", "", "", "", "does not run"
    return (
        written,
        way.key,
        _ulp(found.median_ulp),
        _ulp(found.p99_ulp),
        f"{found.max_abs:.1e}",
        ", ".join(found.wrong_at),
        way.exactness.value if way.exactness else "",
    )


def _ulp(value: float) -> str:
    return (
        f"{value:.2f}" if value < 1000 else ("all digits" if value >= NO_DIGIT else f"{value:.0f}")
    )


def _legend(measured: Sequence[MeasuredWays]) -> Iterator[str]:
    ways = [way for of_provider in measured for way in of_provider.ways]
    yield "Errors against float64 on inputs in [-100, 100], both tails; see docs/accuracy.md."
    if any(way.accuracy and way.accuracy.p99_ulp >= NO_DIGIT for way in ways):
        yield "all digits: the error is as large as the result, or larger."
    if any(way.is_channelwise for way in ways):
        yield "per channel: every factor is written once for each channel, behind a convolution."
