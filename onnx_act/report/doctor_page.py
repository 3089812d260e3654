"""What `doctor` finds out about this machine, and how it shows it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from rich.markup import escape
from rich.table import Table

from onnx_act.errors import ProviderUnavailableError
from onnx_act.evidence.machine import cpu_count, cpu_model
from onnx_act.report.document import environment, package_version
from onnx_act.runtime.cache import cache_folder, count_answers
from onnx_act.runtime.target import (
    installed_distributions,
    provider_states,
    shadowing_problem,
    short_name,
)

if TYPE_CHECKING:
    from rich.console import Console

_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "ORT_NUM_THREADS", "MKL_NUM_THREADS")


def doctor_document() -> dict[str, Any]:
    """Versions, providers that run and those that do not and why, and advice, as JSON data."""
    states = provider_states()
    problem = shadowing_problem()
    cpu_runs = any(s.runs and short_name(s.name) == "cpu" for s in states)
    return {
        "schema": "onnx-act/doctor/1",
        "version": package_version(),
        "environment": environment(),
        "exit_code": 0 if cpu_runs and problem is None else ProviderUnavailableError.exit_code,
        "cpu": cpu_model(),
        "cores": cpu_count(),
        "threads": {k: os.environ[k] for k in _THREAD_VARIABLES if k in os.environ},
        "cache": _cache(),
        "distributions": installed_distributions(),
        "providers": [
            {
                "name": s.name,
                "short": short_name(s.name),
                "compiled_in": s.compiled_in,
                "runs": s.runs,
                "reason": s.reason,
            }
            for s in states
        ],
        "problem": problem,
        "advice": _advice(problem),
        "models": [],
    }


def _cache() -> dict[str, Any]:
    folder = cache_folder()
    return {"folder": None if folder is None else str(folder), "answers": count_answers()}


def _cache_line(cache: dict[str, Any]) -> str:
    if cache["folder"] is None:
        return "answers of runtimes are not kept: there is no home folder; set ONNX_ACT_CACHE_DIR"
    count = cache["answers"]
    kept = "1 answer of a runtime is" if count == 1 else f"{count} answers of runtimes are"
    return f"{kept} kept in {cache['folder']}; delete the folder to have them asked again"


def _advice(problem: str | None) -> list[str]:
    if problem is not None:
        return [problem]
    advice = ["onnx-act inspect MODEL.onnx  # what activations are in a model"]
    installed = installed_distributions()
    if "onnxruntime-gpu" not in installed:
        there = " ".join(installed) or "onnxruntime"
        advice.append(
            f"pip uninstall -y {there} && pip install onnxruntime-gpu"
            "  # to run on CUDA (CUDA 13 and cuDNN 9 are needed as well)"
        )
    return advice


def render_doctor(console: Console, document: dict[str, Any]) -> None:
    """Print it: versions, providers, then what to type."""
    console.print(f"onnx-act {document['version']}", style="bold")
    for name, value in document["environment"].items():
        console.print(f"  {name} {escape(value)}")
    console.print(f"  processor {escape(document['cpu'])}, {document['cores']} cores")
    for name, value in document["threads"].items():
        console.print(f"  {name}={value}")
    console.print(f"  {escape(_cache_line(document['cache']))}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("provider", "runs", "why not"):
        table.add_column(column, overflow="fold")
    for provider in document["providers"]:
        if provider["compiled_in"] or provider["short"] in {"cpu", "cuda"}:
            runs = "yes" if provider["runs"] else "no"
            table.add_row(provider["short"], runs, escape(provider["reason"]))
    console.print(table)
    if document["problem"]:
        console.print(f"problem: {escape(document['problem'])}", style="bold red")
    console.print("what to type:", style="bold")
    for line in document["advice"]:
        console.print(f"  {escape(line)}", soft_wrap=True)
