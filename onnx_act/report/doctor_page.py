"""What `doctor` finds out about this machine, as plain data."""

from __future__ import annotations

from typing import Any

from onnx_act.errors import ProviderUnavailableError
from onnx_act.evidence.machine import cpu_count, cpu_model
from onnx_act.report.document import environment, package_version
from onnx_act.runtime.cache import cache_folder, clear_answers, count_answers, size_of_answers
from onnx_act.runtime.devices import nvidia_devices
from onnx_act.runtime.host import cores, cpu_features, cpu_quota, thread_variables
from onnx_act.runtime.installed import installed_distributions, shadowing_problem
from onnx_act.runtime.target import provider_states, short_name


def doctor_document(*, clear_cache: bool = False) -> dict[str, Any]:
    """Versions, providers that run and those that do not and why, and advice, as JSON data.

    Args:
        clear_cache: whether to delete the kept answers of runtimes first.
    """
    cleared = clear_answers() if clear_cache else None
    states = provider_states()
    problem = shadowing_problem()
    cpu_runs = any(s.runs and short_name(s.name) == "cpu" for s in states)
    features = cpu_features()
    document = {
        "schema": "onnx-act/doctor/1",
        "version": package_version(),
        "environment": environment(),
        "exit_code": 0 if cpu_runs and problem is None else ProviderUnavailableError.exit_code,
        "cpu": cpu_model(),
        "cpu_features": None if features is None else list(features),
        "cores": cores(),
        "usable_cores": cpu_count(),
        "cpu_quota": cpu_quota(),
        "threads": thread_variables(),
        "devices": [
            {
                "name": device.name,
                "driver": device.driver,
                "memory_bytes": device.memory_bytes,
                "used_bytes": device.used_bytes,
            }
            for device in nvidia_devices()
        ],
        "cache": _cache(cleared),
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
        "models": [],
    }
    document["notes"] = _notes(document)
    document["advice"] = _advice(document)
    return document


def _cache(cleared: int | None) -> dict[str, Any]:
    folder = cache_folder()
    return {
        "folder": None if folder is None else str(folder),
        "answers": count_answers(),
        "bytes": size_of_answers(),
        "cleared": cleared,
    }


def _notes(document: dict[str, Any]) -> list[str]:
    """What about this machine makes times doubtful or models slow."""
    notes = []
    quota, usable = document["cpu_quota"], document["usable_cores"]
    if quota is not None and quota < usable:
        threads = max(1, int(quota))
        notes.append(
            f"the time of {quota:g} processors is granted to {usable} of them: ONNX Runtime would "
            f"start {usable} threads, which then wait for each other; give --threads {threads}"
        )
    if usable < document["cores"]:
        notes.append(
            f"this process may use {usable} of {document['cores']} processors (taskset, or a "
            f"container, says so)"
        )
    features = document["cpu_features"]
    if features is not None and not {"avx2", "neon"} & set(features):
        notes.append(
            "the processor has neither AVX2 nor NEON, or hides it: ONNX Runtime takes its slowest "
            "kernels, and times say nothing about other machines"
        )
    if document["devices"] and not any(
        p["runs"] for p in document["providers"] if p["short"] in {"cuda", "tensorrt"}
    ):
        name = document["devices"][0]["name"]
        notes.append(f"there is an NVIDIA device ({name}), but no provider runs on it")
    return notes


def _advice(document: dict[str, Any]) -> list[str]:
    """What to type, the most urgent first."""
    if document["problem"] is not None:
        return [document["problem"]]
    advice = ["onnx-act inspect MODEL.onnx  # what activations are in a model"]
    others = [p["short"] for p in document["providers"] if p["runs"] and p["short"] != "cpu"]
    named = " ".join(f"--provider {name}" for name in others)
    if named:
        advice.append(
            f"onnx-act convert MODEL.onnx -o OUT.onnx --fuse {named}"
            "  # for every provider that runs here"
        )
    installed = document["distributions"]
    if "onnxruntime-gpu" not in installed:
        there = " ".join(installed) or "onnxruntime"
        advice.append(
            f"pip uninstall -y {there} && pip install onnxruntime-gpu"
            "  # to run on CUDA (CUDA 13 and cuDNN 9 are needed as well)"
        )
    return advice
