"""How `doctor` shows what it found out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from onnx_act.report.placement_summary import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console


def render_doctor(console: Console, document: dict[str, Any]) -> None:
    """Print it: versions, machine, providers, then what to type."""
    console.print(f"onnx-act {document['version']}", style="bold")
    for name, value in document["environment"].items():
        console.print(f"  {name} {escape(value)}")
    for line in _machine(document):
        console.print(f"  {escape(line)}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("provider", "runs", "why not"):
        table.add_column(column, overflow="fold")
    for provider in document["providers"]:
        if provider["compiled_in"] or provider["short"] in {"cpu", "cuda"}:
            runs = "yes" if provider["runs"] else "no"
            table.add_row(provider["short"], runs, escape(provider["reason"]))
    console.print(table)
    for note in document["notes"]:
        console.print(f"note: {escape(note)}", soft_wrap=True)
    if document["problem"]:
        console.print(f"problem: {escape(document['problem'])}", style="bold red")
    console.print("what to type:", style="bold")
    for line in document["advice"]:
        console.print(f"  {escape(line)}", soft_wrap=True)


def _machine(document: dict[str, Any]) -> Iterator[str]:
    cores, usable, quota = document["cores"], document["usable_cores"], document["cpu_quota"]
    counted = f"{cores} cores" if usable == cores else f"{usable} of {cores} cores"
    limited = "" if quota is None else f", time of {quota:g} of them"
    yield f"processor {document['cpu']}, {counted}{limited}"
    if document["cpu_features"] is not None:
        yield f"instructions {' '.join(document['cpu_features']) or 'none beyond the basic ones'}"
    for name, value in document["threads"].items():
        yield f"{name}={value}"
    for device in document["devices"]:
        memory = size_text(device["memory_bytes"])
        yield f"device {device['name']}, memory {memory}, driver {device['driver']}"
    yield _cache_line(document["cache"])


def _cache_line(cache: dict[str, Any]) -> str:
    if cache["folder"] is None:
        return "answers of runtimes are not kept: there is no home folder; set ONNX_ACT_CACHE_DIR"
    if cache["cleared"] is not None:
        return f"{_counted(cache['cleared'])} deleted from {cache['folder']}"
    kept = f"{_counted(cache['answers'])} kept in {cache['folder']} ({size_text(cache['bytes'])})"
    return f"{kept}; onnx-act doctor --clear-cache deletes them"


def _counted(count: int) -> str:
    return "1 answer of a runtime is" if count == 1 else f"{count} answers of runtimes are"
