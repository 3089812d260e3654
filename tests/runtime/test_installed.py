"""Packages that bring ONNX Runtime, when one is there and when several lie on each other."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

import onnxruntime
import pytest

from onnx_act.runtime.installed import installed_distributions, shadowing_problem

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, the only one that is looked at."""
    monkeypatch.setattr(importlib.metadata.Distribution, "discover", _discovered(tmp_path))
    return tmp_path


def _discovered(folder: Path) -> object:
    finder = importlib.metadata.MetadataPathFinder

    def discover(**wanted: str) -> object:
        context = importlib.metadata.DistributionFinder.Context(path=[str(folder)], **wanted)
        return finder.find_distributions(context)

    return staticmethod(discover)


def _install(folder: Path, name: str, version: str, *files: str) -> None:
    place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    place.mkdir()
    place.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
    )
    listed = (f"{place.name}/METADATA", *files)
    place.joinpath("RECORD").write_text("".join(f"{f},,\n" for f in listed), encoding="utf-8")


_FILES = ("onnxruntime/__init__.py", "onnxruntime/capi/_pybind_state.py")


def test_one_package_is_well(packages: Path) -> None:
    _install(packages, "onnxruntime", onnxruntime.__version__, *_FILES)
    _install(packages, "onnxruntime-extensions", "0.1", "onnxruntime_extensions/__init__.py")
    assert installed_distributions() == {"onnxruntime": onnxruntime.__version__}
    assert shadowing_problem() is None


@pytest.mark.parametrize("other", ["onnxruntime-gpu", "onnxruntime-openvino"])
def test_two_lie_on_each_other(packages: Path, other: str) -> None:
    _install(packages, "onnxruntime", "1.31.1", *_FILES)
    _install(packages, other, "1.24.1", *_FILES, "onnxruntime/other.so")
    problem = shadowing_problem()
    assert problem is not None
    assert f"onnxruntime 1.31.1, {other} 1.24.1 are installed together" in problem
    assert "(2 files belong to more than one)" in problem
    assert f'pip uninstall -y onnxruntime {other} && pip install "{other}"' in problem


def test_a_package_of_another_name_is_found_by_its_files(packages: Path) -> None:
    _install(packages, "onnxruntime", onnxruntime.__version__, *_FILES)
    _install(packages, "our_own-runtime", "9.0", *_FILES)
    assert installed_distributions()["our-own-runtime"] == "9.0"
    problem = shadowing_problem()
    assert problem is not None
    assert "our-own-runtime 9.0" in problem


def test_what_is_imported_must_be_what_was_installed(packages: Path) -> None:
    _install(packages, "onnxruntime", "1.0.0", *_FILES)
    problem = shadowing_problem()
    assert problem is not None
    assert f"ONNX Runtime {onnxruntime.__version__} is imported from" in problem
    assert '--force-reinstall --no-deps "onnxruntime==1.0.0"' in problem


def test_this_environment_is_well() -> None:
    assert len(installed_distributions()) == 1
    assert shadowing_problem() is None
