"""Which packages brought the `onnxruntime` that is imported, and whether they are in the way."""

from __future__ import annotations

import contextlib
import importlib.metadata
from pathlib import Path
from typing import Final

import onnxruntime

_FOLDER: Final = "onnxruntime"
_MARK: Final = "\nonnxruntime/__init__.py,"

# Distributions that all install into one `onnxruntime` package folder. Looked up by name, because
# a list of files is not kept by every installer.
_DISTRIBUTIONS: Final = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-qnn",
    "onnxruntime-migraphx",
    "onnxruntime-rocm",
    "onnxruntime-training",
    "onnxruntime-silicon",
    "onnxruntime-webgpu",
    "onnxruntime-trt-rtx",
    "onnxruntime-vitisai",
    "ort-nightly",
    "ort-nightly-gpu",
)


def installed_distributions() -> dict[str, str]:
    """Distributions that install into the `onnxruntime` package folder, with their versions."""
    found: dict[str, str] = {}
    for name in (*_DISTRIBUTIONS, *_claimants()):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.setdefault(name, importlib.metadata.version(name))
    return found


def shadowing_problem() -> str | None:
    """What to do when several distributions lie on top of each other; None when all is well."""
    installed = installed_distributions()
    if len(installed) < 2:
        return _foreign_folder(installed)
    listed = ", ".join(f"{name} {version}" for name, version in installed.items())
    keep = next((name for name in installed if name != "onnxruntime"), "onnxruntime")
    shared = _shared_files(tuple(installed))
    count = f" ({shared} files belong to more than one)" if shared else ""
    return (
        f"{listed} are installed together, but share one package folder, so that the files of "
        f"one overwrote the other's{count}. Uninstall all and install one again: "
        f'`pip uninstall -y {" ".join(installed)} && pip install "{keep}"`'
    )


def _foreign_folder(installed: dict[str, str]) -> str | None:
    """Whether what is imported is not what a package installed."""
    imported = str(onnxruntime.__version__)
    for name, version in installed.items():
        # Nightly builds have a date in the package's version alone.
        if not version.startswith(imported):
            return (
                f"ONNX Runtime {imported} is imported from {Path(onnxruntime.__file__).parent}, "
                f"but the package {name} is {version}: another folder of that name, or what an "
                f"uninstalled package left behind, is in the way. Install it again: "
                f'`pip install --force-reinstall --no-deps "{name}=={version}"`'
            )
    return None


def _claimants() -> tuple[str, ...]:
    """Distributions whose list of files has the package's `__init__`."""
    found = []
    for distribution in importlib.metadata.distributions():
        # As text: to take apart the lists of all packages would take a second.
        if _MARK in (distribution.read_text("RECORD") or ""):
            name = distribution.metadata["Name"]
            if name:
                found.append(str(name).lower().replace("_", "-"))
    return tuple(dict.fromkeys(found))


def _shared_files(names: tuple[str, ...]) -> int:
    """How many files of the package folder are on the lists of several distributions."""
    seen: set[str] = set()
    shared: set[str] = set()
    for name in names:
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        files = {str(f) for f in _files(distribution) if f.parts and f.parts[0] == _FOLDER}
        shared |= files & seen
        seen |= files
    return len(shared)


def _files(distribution: importlib.metadata.Distribution) -> list[importlib.metadata.PackagePath]:
    try:
        return list(distribution.files or ())
    except (OSError, ValueError):
        return []
